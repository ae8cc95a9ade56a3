"""Is the world fit to be judged? What each guard answers while it is not, and in which words."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from support.moments import canary_world, moment_of, with_rollout
from support.world import FLAG, World, rollout, settled_world

from memorystack_operator.core.guards.world import (
    blind,
    calibrating,
    canaries_missing,
    not_applied_yet,
    pods_crashing,
    superseded_by_new_budgets,
    superseded_by_new_spec,
)
from memorystack_operator.core.situation import Move, Outcome, Situation
from memorystack_operator.core.state import RolloutState

WAIT = ": two minutes of traffic are needed, ten at most; the flag is not flipped yet"


@pytest.fixture
def world() -> World:
    """One of three pods carries the flag."""
    return canary_world()


def carrier(world: World) -> str:
    (name,) = world.status.rollout.pods
    return name


def others(world: World) -> list[str]:
    return [p.name for p in world.pods if p.name != carrier(world)]


# -- the question has changed ------------------------------------------------------


def test_another_value_of_the_flag_under_trial_ends_its_trial(world: World):
    assert superseded_by_new_spec(moment_of(world)) is None
    world.edit(features={**FLAG, "cache": {"maxSize": 500}})
    assert superseded_by_new_spec(moment_of(world)) is None
    world.edit(features={"parallelIngest": {"concurrency": 5}})
    text = "parallelIngest changed in the spec while it was tried"
    assert superseded_by_new_spec(moment_of(world)) == Outcome(Move.REVERT, "Superseded", text)


def test_an_edited_budget_ends_the_trial_and_an_edited_step_does_not(world: World):
    assert superseded_by_new_budgets(moment_of(world)) is None
    budgets = [{"operation": "store", "p95": "250ms"}, {"operation": "recall", "p95": "400ms"}]
    world.edit(rollout=rollout(budgets=budgets))
    assert superseded_by_new_budgets(moment_of(world)) is None
    world.edit(rollout=rollout(budgets=budgets[:1]))
    text = "the budgets changed, so evidence starts again"
    assert superseded_by_new_budgets(moment_of(world)) == Outcome(Move.REVERT, "Superseded", text)


# -- crashes -----------------------------------------------------------------------


def crashed(world: World, here: int, *, at_the_flip: int = 0, gone: int = 0, **changes: object) -> Outcome | None:
    """The canary pod has restarted so often; `gone`: crashes of pods that have left the arm."""
    for pod in world.pods:
        pod.restarts = here if pod.name == carrier(world) else 9
    known = {carrier(world): at_the_flip} if at_the_flip else {}
    return pods_crashing(with_rollout(moment_of(world), restarts=known, crashes=gone, **changes))


def after(crashes: int) -> Outcome:
    text = f"the canary pods restarted {crashes} times since they got the flag"
    return Outcome(Move.REVERT, "PodsCrashing", text)


def test_one_restart_may_be_chance_and_the_second_is_the_flags(world: World):
    assert crashed(world, 0) is None
    assert crashed(world, 1) is None
    assert crashed(world, 2) == after(2)


def test_restarts_count_from_the_flip_on_and_those_of_pods_that_left_count_too(world: World):
    assert crashed(world, 6, at_the_flip=5) is None
    assert crashed(world, 8, at_the_flip=5) == after(3)
    assert crashed(world, 6, at_the_flip=5, gone=1) == after(2)


def test_a_pod_that_was_made_anew_takes_no_crash_from_the_count(world: World):
    assert crashed(world, 0, at_the_flip=5, gone=2) == after(2)


def test_without_the_flag_no_crash_is_its_doing(world: World):
    assert crashed(world, 9, state=RolloutState.WITHDRAWN) is None


# -- nothing can be read -----------------------------------------------------------


def unread(world: World, *names: str, seconds: float, **changes: object) -> Outcome | None:
    for pod in world.pods:
        pod.readable = pod.name not in names
    since = world.now - timedelta(seconds=seconds)
    return blind(with_rollout(moment_of(world), blind_since=since, **changes))


def unreadable(seconds: int, who: str) -> str:
    return f"evidence unreadable for {seconds} s ({who}); this is no verdict"


def test_what_can_be_read_is_not_blind(world: World):
    assert blind(moment_of(world)) is None


def test_blindness_holds_for_two_minutes_and_then_withdraws_the_flag(world: World):
    who = carrier(world)
    assert unread(world, who, seconds=40.7) == Outcome(Move.HOLD, "MetricsUnavailable", unreadable(40, who))
    assert unread(world, who, seconds=120) == Outcome(Move.HOLD, "MetricsUnavailable", unreadable(120, who))
    assert unread(world, who, seconds=121) == Outcome(Move.WITHDRAW, "MetricsUnavailable", unreadable(121, who))


def test_blindness_names_the_ready_pods_that_do_not_answer_or_that_an_arm_has_none(world: World):
    first, second = others(world)
    assert unread(world, first, second, seconds=1).message == unreadable(1, f"{first}, {second}")
    for pod in world.pods:
        pod.ready = pod.name == carrier(world)
    assert unread(world, seconds=1).message == unreadable(1, "no pod of one arm is ready")


def test_flags_that_are_off_are_not_withdrawn(world: World):
    off = unread(world, carrier(world), seconds=600, state=RolloutState.CALIBRATING)
    assert (off.move, off.reason) == (Move.HOLD, "MetricsUnavailable")
    assert unread(world, carrier(world), seconds=600, state=RolloutState.WITHDRAWN) is None


# -- what is known before the flip -------------------------------------------------


def before_the_flip(seconds: int, *, traffic: bool = True) -> World:
    """So long after its pods were made, a flag was edited."""
    world = World(settled_world(5).stack)
    world.run(seconds, traffic=traffic)
    world.edit(features=FLAG)
    world.tick(traffic=traffic)
    assert world.status.rollout.state is RolloutState.CALIBRATING
    return world


def test_after_the_flip_nothing_is_waited_for(world: World):
    assert calibrating(moment_of(world, history=True)) is None


def test_with_enough_history_the_flag_is_flipped_and_the_design_effects_are_told():
    moment = moment_of(before_the_flip(200), history=True)
    said = calibrating(moment)
    assert said == Outcome(Move.FLIP, "Calibrated", moment.calibration.message)
    assert "design effects" in said.message


def test_a_short_history_is_waited_for_and_the_operations_that_lack_it_are_named():
    said = calibrating(moment_of(before_the_flip(35), history=True))
    assert said == Outcome(Move.HOLD, "Calibrating", f"not enough history yet for recall, store{WAIT}")


def test_without_any_traffic_the_remedy_is_told():
    text = "no traffic yet: send some (on one machine: memorystack load), or promote by hand"
    silent = before_the_flip(35, traffic=False)
    assert calibrating(moment_of(silent, history=True)) == Outcome(Move.HOLD, "Calibrating", text)


def without_rings(world: World, **changes: object) -> Situation:
    """Between two readings of the histories."""
    moment = with_rollout(moment_of(world), **changes)
    pods = tuple(
        replace(p, evidence=p.evidence.model_copy(update={"ring": (), "long_ring": ()})) for p in moment.seen.pods
    )
    return replace(moment, seen=replace(moment.seen, pods=pods))


def test_between_two_readings_of_the_histories_the_last_word_stands():
    world = before_the_flip(35)
    first = Outcome(Move.HOLD, "Calibrating", f"not enough history yet{WAIT}")
    assert calibrating(without_rings(world, message="parallelIngest is staged")) == first
    last = f"not enough history yet for store{WAIT}"
    assert calibrating(without_rings(world, message=last)) == Outcome(Move.HOLD, "Calibrating", last)


# -- the arm is not complete -------------------------------------------------------


def test_below_its_number_of_pods_the_step_waits(world: World):
    assert canaries_missing(moment_of(world)) is None
    text = "0 of 1 canary pods are ready; the step's clock stands still"
    missing = with_rollout(moment_of(world), pods=())
    assert canaries_missing(missing) == Outcome(Move.HOLD, "CanaryPodsMissing", text)


def not_there(world: World, seconds: float, *, flags: str = "older") -> Outcome | None:
    """The canary pod reports these flags, so long after the flip."""
    for pod in world.pods:
        pod.flags = flags if pod.name == carrier(world) else pod.flags
    since = world.now - timedelta(seconds=seconds)
    return not_applied_yet(with_rollout(moment_of(world), applied_at=None, state_since=since))


def test_pods_that_report_other_flags_are_named_and_after_a_quarter_of_a_minute_that_is_a_fault(world: World):
    text = f"{carrier(world)} does not report the flags yet"
    assert not_there(world, 15) == Outcome(Move.HOLD, "FlagsSettling", text)
    assert not_there(world, 16) == Outcome(Move.HOLD, "FlagsNotApplied", text)


def test_while_nobody_has_looked_again_the_whole_arm_is_waited_for(world: World):
    text = "the canary does not report the flags yet"
    assert not_there(world, 1, flags=world.status.rollout.revision) == Outcome(Move.HOLD, "FlagsSettling", text)


def test_an_arm_that_has_confirmed_its_flags_or_has_no_pod_is_not_waited_for(world: World):
    assert not_applied_yet(moment_of(world)) is None
    assert not_applied_yet(with_rollout(moment_of(world), applied_at=None, pods=())) is None
