"""Where the pairs of windows under way stand."""

from __future__ import annotations

from math import log

import pytest
from support.moments import canary_world, moment_of, proving, switching, with_rollout
from support.proving import proving_world
from support.world import FLAG, World, settled_world

from memorystack_operator.core.limits import switchback_level
from memorystack_operator.core.reverse import Reverse, compare
from memorystack_operator.core.situation import Situation
from memorystack_operator.core.standing import Lean, Reversal, Standing, reversal_of, standing_of
from memorystack_operator.core.state import RolloutState
from memorystack_operator.core.trial import CLEARED


def switching_world() -> World:
    """A flag that harms a shared part, tried by the switchback."""
    world = settled_world()
    world.edit(features=FLAG)
    assert world.run(60, until=lambda w: bool(w.flagged))
    world.shared = 0.3
    assert world.run(200, until=lambda w: w.phase == "Switchback")
    return world


def standing(world: World) -> Standing:
    found = standing_of(world.stack.spec, world.status.rollout)
    assert found is not None
    return found


def test_without_pairs_there_is_no_standing():
    world = settled_world()
    assert standing_of(world.stack.spec, world.status.rollout) is None
    world.edit(features=FLAG)
    assert world.run(60, until=lambda w: bool(w.flagged))
    assert standing_of(world.stack.spec, world.status.rollout) is None


def test_a_switchback_tells_its_window_and_leans_to_one_side_as_pairs_come_in():
    world = switching_world()
    first = standing(world)
    assert (first.kind, first.pair, first.window, first.counting) == ("Switchback", 1, 1, False)
    assert [lean.fraction for lean in first.leans] == [0.0, 0.0]
    seen = set()
    while world.status.rollout and world.status.rollout.switchback.worse < 4:
        found = standing(world)
        seen.add((found.window, found.flags))
        assert (found.flags == "on") is bool(world.flagged)
        world.tick()
    assert {window for window, _ in seen} == {1, 2}
    assert {flags for _, flags in seen} == {"on", "off"}
    late = standing(world)
    assert "worse with the flag in 4, better in 0, equal in 0" in late.played
    harms, cleared = late.leans
    assert (harms.name, cleared.name) == ("harms", "cleared")
    assert harms.fraction > 0.2
    assert cleared.fraction == 0.0


def test_a_flag_that_does_nothing_leans_to_being_cleared():
    world = switching_world()
    world.shared = 0.0
    assert world.run(300, until=lambda w: w.status.rollout.switchback.tied >= 3)
    harms, cleared = standing(world).leans
    assert harms.fraction == 0.0
    assert 0.3 < cleared.fraction < 1.0


@pytest.mark.parametrize("make", [switching_world, proving_world])
def test_while_the_world_cannot_be_measured_it_waits_and_counts_the_dropped_pair(make):
    world = make()
    world.run(3)
    next(p for p in world.pods if p.name in world.status.rollout.pods).readable = False
    world.run(8)
    found = standing(world)
    assert (found.flags, found.counting) == ("waiting", False)
    assert "dropped 1" in found.played


def test_proving_tells_both_keys_and_what_they_come_to_together():
    world = proving_world()
    assert world.run(300, until=lambda w: w.status.rollout.proving.pairs >= 3)
    found = standing(world)
    assert found.kind == "Proving"
    assert found.played == "3 whole"
    assert [(lean.operation, lean.name) for lean in found.leans] == [("store", n) for n in ("own", "shared", "proved")]
    assert all(0.0 <= lean.fraction <= 1.0 for lean in found.leans)
    assert any(lean.fraction > 0 for lean in found.leans)


# -- from a record, without living through it --------------------------------------


def found(situation: Situation) -> Standing | None:
    return standing_of(situation.spec, situation.rollout)


@pytest.mark.parametrize(
    ("changes", "window", "counting"),
    [
        ({}, 1, False),
        ({"second": True}, 2, False),
        ({"counting_since": canary_world().now}, 1, True),
    ],
    ids=["first", "second", "counting"],
)
def test_a_standing_tells_the_pair_and_its_window(changes: dict, window: int, counting: bool):
    situation = switching(moment_of(canary_world()), (1.0, 1.0, 1.0), pair=4, discarded=2, **changes)
    told = found(situation)
    assert (told.kind, told.pair, told.window, told.counting) == ("Switchback", 5, window, counting)
    assert told.played == "worse with the flag in 9, better in 2, equal in 1, dropped 2"
    assert told.flags == ("on" if situation.rollout.switchback.on else "off")


def test_while_it_waits_no_window_is_counted():
    since = canary_world().now
    told = found(switching(moment_of(canary_world()), (1.0, 1.0, 1.0), waiting=True, counting_since=since))
    assert (told.flags, told.counting) == ("waiting", False)


def test_a_trial_leans_to_harm_by_its_level_and_to_innocence_by_what_it_has_lost():
    situation = moment_of(canary_world())
    needed = log(1 / switchback_level(situation.spec, 1))
    harm, clear = found(switching(situation, (2.0, 2.0, 2.0))).leans
    assert harm == Lean(operation="store", name="harms", fraction=round(2 / needed, 3), holds=False)
    assert clear == Lean(operation="store", name="cleared", fraction=0.0, holds=False)
    harm, clear = found(switching(situation, (-1.0, -1.0, -1.0))).leans
    assert (harm.fraction, clear.fraction) == (0.0, round(1 / -CLEARED, 3))
    assert found(switching(situation, (99.0, 99.0, 99.0))).leans[0].holds
    assert found(switching(situation, (-9.0, -9.0, -9.0))).leans[1].holds


def test_a_proof_leans_by_its_keys_and_with_a_trial_beside_it_by_both():
    situation = moment_of(canary_world())
    plain = found(proving(situation))
    keys = [(name, key) for name in ("store", "recall") for key in ("own", "shared", "proved")]
    assert (plain.kind, plain.played) == ("Proving", "12 whole, dropped 3")
    assert sorted((lean.operation, lean.name) for lean in plain.leans) == sorted(keys)
    beside = found(proving(situation, (2.0, 2.0, 2.0)))
    assert beside.leans[: len(keys)] == plain.leans
    assert beside.leans[len(keys) :] == found(switching(situation, (2.0, 2.0, 2.0))).leans
    assert found(proving(situation, (2.0, 2.0, 2.0), trying=False)).leans == plain.leans


def test_pairs_that_are_over_stand_nowhere():
    situation = moment_of(canary_world())
    for there in (switching(situation, (1.0, 1.0, 1.0)), proving(situation)):
        assert found(with_rollout(there, state=RolloutState.PROGRESSING)) is None


def test_a_reverse_canary_leans_by_the_comparison_of_the_operation_that_was_over_budget():
    situation = moment_of(canary_world())
    test = Reverse(number=2, operation="store", promoted_at=situation.now, same=1.0)
    asked = with_rollout(situation, reverse=test)
    compared = compare(test, situation.rollout.evidence["store"], situation.spec)
    questions = {"regressed": compared.regressed, "over": compared.over, "same": compared.same}
    told = reversal_of(asked.spec, asked.rollout)
    assert told == Reversal(
        number=2,
        operation="store",
        pods=situation.rollout.pods,
        flags="on",
        leans=tuple(
            Lean(operation="store", name=name, fraction=round(f.fraction, 3), holds=f.holds)
            for name, f in questions.items()
        ),
    )
    assert 0 < told.leans[2].fraction < 1
    before = with_rollout(asked, state=RolloutState.CALIBRATING, evidence={})
    assert reversal_of(before.spec, before.rollout) == told.model_copy(update={"flags": "off", "leans": ()})


def test_where_no_two_values_are_compared_there_is_no_reversal():
    situation = moment_of(canary_world())
    test = Reverse(number=1, operation="store", promoted_at=situation.now)
    assert reversal_of(situation.spec, None) is None
    assert reversal_of(situation.spec, situation.rollout) is None
    switched = with_rollout(switching(situation, (1.0, 1.0, 1.0)), reverse=test)
    assert reversal_of(switched.spec, switched.rollout) is None
