"""May a stage begin? What each guard in its way answers, and in which words."""

from __future__ import annotations

import pytest
from support.moments import moment_of, with_status
from support.world import FLAG, POOL, World, rollout, settled_world

from memorystack_operator.api.status import Rejection
from memorystack_operator.core.guards.idle import (
    deployment_settling,
    first_deployment,
    flags_still_leaving,
    new_template,
    nothing_to_do,
    paused_before_start,
    pods_missing,
    ready_to_begin,
)
from memorystack_operator.core.situation import Move, Outcome, Situation
from memorystack_operator.core.status import Settling

VALUE = '{"concurrency":4}'


@pytest.fixture
def world() -> World:
    """Three pods at rest, and a flag was edited a moment ago."""
    world = settled_world(5)
    world.edit(features=FLAG)
    return world


def rejected(world: World, *stages: str, template: str = "", value: str = VALUE) -> Situation:
    """These flags were rejected, one after the other."""
    where = template or world.status.stable.template
    found = tuple(
        Rejection(stage=stage, value=value, template=where, reason=f"Reason{n}", message=f"slow {n}", at=world.now)
        for n, stage in enumerate(stages)
    )
    return with_status(moment_of(world), rejected=found)


def test_the_first_spec_of_a_stack_is_adopted_as_it_is(world: World):
    text = "first deployment: all flags as in the spec, nothing to compare with"
    assert first_deployment(with_status(moment_of(world), stable=None)) == Outcome(Move.ADOPT, "Adopted", text)
    assert first_deployment(moment_of(world)) is None


def test_another_pod_template_is_an_ordinary_update_that_nobody_judges(world: World):
    assert new_template(moment_of(world)) is None
    older = world.status.stable.model_copy(update={"template": "older"})
    text = "the pod template changed: an ordinary rolling update, not judged"
    assert new_template(with_status(moment_of(world), stable=older)) == Outcome(Move.RETEMPLATE, "NotJudged", text)


# -- a stage has ended, and its flags leave ----------------------------------------

GONE = Outcome(Move.SETTLED, "Settled", "every pod serves the stable flags")


def leaving(world: World, later: float = 0) -> Outcome | None:
    settling = Settling(record="r", since=world.now)
    return flags_still_leaving(with_status(moment_of(world, later=later), settling=settling))


def waiting_for(names: str) -> Outcome:
    return Outcome(Move.HOLD, "FlagsSettling", f"waiting for {names} to serve the stable flags")


def test_where_no_stage_has_ended_no_flag_is_waited_for(world: World):
    world.pods[0].flags = "older"
    assert flags_still_leaving(moment_of(world)) is None


def test_pods_that_serve_other_flags_are_waited_for_by_name_however_long_it_takes(world: World):
    assert leaving(world) == GONE
    world.pods[0].flags = world.pods[2].flags = "older"
    assert leaving(world) == waiting_for("mem-1, mem-3")
    assert leaving(world, later=3600) == waiting_for("mem-1, mem-3")


@pytest.mark.parametrize(
    ("later", "answer"), [(0, waiting_for("mem-2")), (40, waiting_for("mem-2")), (41, GONE)], ids=["0", "40", "41"]
)
def test_a_pod_that_cannot_be_read_is_waited_for_until_its_lease_has_run_out(
    world: World, later: float, answer: Outcome
):
    world.pods[1].readable = False
    assert leaving(world, later) == answer


def test_a_pod_that_is_not_ready_is_not_waited_for(world: World):
    world.pods[1].ready = False
    assert leaving(world) == GONE


# -- is there anything to try? -----------------------------------------------------


def test_a_flag_that_differs_is_something_to_do(world: World):
    assert nothing_to_do(moment_of(world)) is None


def test_a_stack_as_its_spec_says_has_nothing_to_do_whatever_was_rejected_before():
    as_in_spec = Outcome(Move.HOLD, "AsInSpec", "every flag of the spec serves everywhere")
    assert nothing_to_do(moment_of(settled_world(5))) == as_in_spec
    assert nothing_to_do(rejected(settled_world(5), "parallelIngest")) == as_in_spec


def test_a_rejected_flag_is_told_with_all_that_does_not_serve_because_of_it(world: World):
    said = "parallelIngest rejected: slow 0 (not serving: parallelIngest)"
    assert nothing_to_do(rejected(world, "parallelIngest")) == Outcome(Move.HOLD, "Reason0", said)
    world.edit(features={**FLAG, **POOL})
    both = "parallelIngest rejected: slow 0 (not serving: httpPool, parallelIngest)"
    assert nothing_to_do(rejected(world, "parallelIngest")) == Outcome(Move.HOLD, "Reason0", both)


def test_of_several_rejections_the_last_is_told(world: World):
    told = nothing_to_do(rejected(world, "cache", "parallelIngest"))
    assert told == Outcome(Move.HOLD, "Reason1", "parallelIngest rejected: slow 1 (not serving: parallelIngest)")


@pytest.mark.parametrize("other", [{"template": "older"}, {"value": '{"concurrency":5}'}])
def test_what_was_rejected_in_another_template_or_value_is_tried(world: World, other: dict[str, str]):
    assert nothing_to_do(rejected(world, "parallelIngest", **other)) is None


# -- and may it begin now? ---------------------------------------------------------


def test_a_pause_by_spec_or_by_hand_holds_back_the_first_step(world: World):
    paused = Outcome(Move.HOLD, "Paused", "paused; parallelIngest waits to be tried")
    assert paused_before_start(moment_of(world)) is None
    assert paused_before_start(with_status(moment_of(world), paused=True)) == paused
    world.edit(rollout=rollout(paused=True))
    assert paused_before_start(moment_of(world)) == paused


def test_a_deployment_that_rolls_out_holds_everything_back(world: World):
    assert deployment_settling(moment_of(world)) is None
    world.settled = False
    text = "the Deployment is still rolling out; the step's clock stands still"
    assert deployment_settling(moment_of(world)) == Outcome(Move.HOLD, "DeploymentNotSettled", text)


STEP, LARGER, PAUSE = {"weight": 34, "minDuration": "5s"}, {"weight": 67, "minDuration": "5s"}, {"pause": {}}


@pytest.mark.parametrize(
    ("steps", "needed"),
    [
        pytest.param([STEP, LARGER], 2, id="one of three and another"),
        pytest.param([LARGER], 3, id="two of three and another"),
        pytest.param([PAUSE, LARGER], 3, id="a pause needs no pod"),
    ],
)
def test_the_first_step_needs_its_pods_and_one_to_compare_with(world: World, steps: list[dict], needed: int):
    world.edit(rollout=rollout(steps=steps))
    for pod in world.pods[needed:]:
        pod.ready = False
    assert pods_missing(moment_of(world)) is None
    world.pods[0].ready = False
    text = f"{needed - 1} of the {needed} pods that the first step needs are ready"
    assert pods_missing(moment_of(world)) == Outcome(Move.HOLD, "PodsNotReady", text)


def test_the_next_flag_begins_with_its_name_and_its_value(world: World):
    world.edit(features={**FLAG, "cache": {"maxSize": 500}})
    said = f"parallelIngest is staged: {VALUE}"
    assert ready_to_begin(moment_of(world)) == Outcome(Move.BEGIN, "RolloutStarted", said)
