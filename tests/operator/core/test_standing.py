"""Where the pairs of windows under way stand."""

from __future__ import annotations

import pytest
from support.proving import proving_world
from support.world import FLAG, World, settled_world

from memorystack_operator.core.standing import Standing, standing_of


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
