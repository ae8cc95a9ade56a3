"""A promoted flag that was suspected later, in plain words and as the live view has it."""

from __future__ import annotations

import pytest
from support.watched import outcome, promoted_world, reversing, slow, spoil, watch_on
from support.world import World

from memorystack_operator.core.explain import Explanation, explain
from memorystack_operator.core.standing import Reversal, reversal_of, standing_of


def told(world: World) -> Explanation:
    return explain("mem", world.stack.spec, world.status)


def text(world: World) -> str:
    found = told(world)
    return " ".join((found.headline, *found.sentences))


def compared() -> World:
    world = promoted_world()
    watch_on(world, 30)
    spoil(world)
    assert watch_on(world, 40, until=reversing)
    return world


def regressed() -> World:
    world = compared()
    assert watch_on(world, 10, until=outcome("RolledBack"))
    return world


def flooding() -> World:
    world = promoted_world()
    world.flooding = {world.status.stable.revision: 0.5}
    return world


def flooded() -> World:
    world = flooding()
    assert watch_on(world, 120, until=outcome("RolledBack"))
    return world


def innocent() -> World:
    world = promoted_world(timeout="30m")
    slow(world, 0.25)
    assert watch_on(world, 90, until=outcome("Kept"))
    return world


def aborted() -> World:
    world = compared()
    world.act("abort@1")
    assert watch_on(world, 1, until=lambda w: w.status.rollout is None)
    return world


def superseded() -> World:
    world = compared()
    world.edit(features={"parallelIngest": {"concurrency": 8}})
    assert watch_on(world, 1, until=lambda w: w.status.history[-1].outcome == "Superseded")
    return world


def failing() -> World:
    world = promoted_world()
    world.failed["stable"] = 0.05
    assert watch_on(world, 30, until=outcome("RolledBack"))
    return world


@pytest.mark.parametrize(
    ("world", "parts"),
    [
        (failing, ("every pod serves its older value", "failed requests, limit 1 %", "with the promoted one", "memorystack retry")),
        (regressed, ("every pod serves its older value", "blames nobody", "got the older value", "to 1 is needed to take it back", "memorystack retry")),
        (flooded, ("every pod serves its older value", "pairs of short windows", "was worse with the promoted one", "memorystack retry")),
        (innocent, ("stays: every pod serves it", "all pods went back and forth", "it is the environment")),
        (aborted, ("a person ended the comparison", "got the older value back")),
        (superseded, ("a newer change came", "changed in the spec")),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
def test_a_late_question_that_ended_says_what_came_of_it(world, parts):
    made = world()
    if made.status.rollout:  # the newer change is under way already
        made.status = made.status.model_copy(update={"rollout": None})
    found = text(made)
    for part in parts:
        assert part in found, found
    assert told(made).reverse


def test_while_it_is_compared_the_text_speaks_of_two_values_and_not_of_a_trial():
    world = compared()
    world.tick()
    assert world.phase == "ReverseCanary"
    found = text(world)
    for part in (
        "is suspected now: some pods have its older value back",
        "half of the pods get",
        "with the promoted one",
    ):
        assert part in found, found
    assert "memorystack retry" not in found


def test_a_suspected_flag_is_told_by_its_state_on_the_way():
    world = flooding()
    assert watch_on(world, 60, until=lambda w: w.phase == "Calibrating")
    assert "is about to be compared with its older value" in text(world)
    assert watch_on(world, 60, until=lambda w: w.phase == "Switchback")
    assert "goes back and forth" in text(world)
    assert reversal_of(world.stack.spec, world.status.rollout) is None
    assert standing_of(world.stack.spec, world.status.rollout) is not None


def test_the_evidence_of_the_record_is_that_of_the_comparison():
    """better: of the older value, at the level of the reverse canary; same: only of the operation that was asked about"""
    record = regressed().status.history[-1]
    asked, other = record.judged["recall"], record.judged["store"]
    assert record.reverse
    assert asked.log_e["better"] >= asked.needed["better"] > other.needed["better"]
    assert "same" in asked.log_e
    assert "same" not in other.log_e


def seen(world: World) -> Reversal:
    found = reversal_of(world.stack.spec, world.status.rollout)
    assert found is not None
    return found


def test_without_a_reverse_canary_there_is_no_reversal():
    world = promoted_world()
    assert reversal_of(world.stack.spec, world.status.rollout) is None


def test_a_reversal_tells_which_pods_have_the_older_value_and_leans_to_one_side():
    world = promoted_world()
    watch_on(world, 30)
    spoil(world)
    assert watch_on(world, 40, until=lambda w: w.phase == "Calibrating")
    assert (seen(world).flags, seen(world).leans) == ("off", ())
    assert watch_on(world, 5, until=reversing)
    first = seen(world)
    assert (first.number, first.operation, first.flags) == (1, "recall", "on")
    assert sorted(first.pods) == sorted(world.flagged)
    assert all(lean.fraction < 1 for lean in first.leans)
    last = first
    while world.status.rollout:
        last = seen(world)
        world.tick()
    leans = {lean.name: lean.fraction for lean in last.leans}
    assert leans["regressed"] > 0.2
    assert leans["over"] > 0.2
    assert leans["same"] == 0.0
