"""The last decision in plain words, from worlds that came to each of them."""

from __future__ import annotations

import pytest
from support.proving import proving_world
from support.world import FLAG, POOL, World, rollout, settled_world, stack

from memorystack_operator.core.explain import Explanation, explain


def told(world: World, stage: str = "") -> Explanation:
    return explain("mem", world.stack.spec, world.status, stage)


def text(world: World) -> str:
    found = told(world)
    return " ".join((found.headline, *found.sentences))


def ended(world: World) -> bool:
    return bool(world.status.history) and world.status.settling is None


def flagged(world: World) -> bool:
    return bool(world.flagged)


def promoted() -> World:
    world = settled_world()
    world.edit(features=FLAG)
    assert world.run(120, until=ended)
    return world


def improved() -> World:
    world = World(stack())
    world.bad["store", "stable"] = 0.6
    world.run(200)
    world.edit(features=FLAG)
    assert world.run(200, until=ended)
    return world


def harmful() -> World:
    world = settled_world()
    world.bad["store", "canary"] = 0.5
    world.edit(features=FLAG)
    assert world.run(200, until=ended)
    return world


def interfering() -> World:
    world = settled_world()
    world.edit(features=FLAG)
    assert world.run(60, until=flagged)
    world.shared = 0.3
    return world


def convicted() -> World:
    world = interfering()
    assert world.run(900, until=ended)
    return world


def failing() -> World:
    world = settled_world()
    world.failed["canary"] = 0.04
    world.edit(features=FLAG)
    assert world.run(300, until=ended)
    return world


def crashing() -> World:
    world = settled_world()
    world.edit(features=FLAG)
    assert world.run(60, until=flagged)
    pod = next(p for p in world.pods if p.lease)
    for _ in range(2):
        world.restart_pod(pod)
    assert world.run(10, until=ended)
    return world


def aborted() -> World:
    world = settled_world()
    world.edit(features=FLAG)
    assert world.run(60, until=flagged)
    world.act("abort@1")
    assert world.run(5, until=ended)
    return world


def promoted_by_hand() -> World:
    world = settled_world()
    world.edit(features=FLAG)
    assert world.run(60, until=flagged)
    world.act("promote@1")
    assert world.run(5, until=ended)
    return world


def superseded() -> World:
    world = settled_world()
    world.edit(features=FLAG)
    assert world.run(60, until=flagged)
    world.edit(features={"parallelIngest": {"concurrency": 8}})
    assert world.run(5, until=ended)
    return world


def inconclusive() -> World:
    world = settled_world()
    for key in world.bad:
        world.bad[key] = 0.048
    world.edit(features=FLAG, rollout=rollout(analysis={"interval": "1s", "timeout": "1m"}))
    assert world.run(600, until=ended)
    return world


@pytest.mark.parametrize(
    ("world", "parts"),
    [
        (promoted, ("every pod serves it", "recall requests with the flag 0.0 % took longer than 250ms", "20 to 1 was needed", "at most 5 %", "Nothing is left to do")),
        (improved, ("every pod serves it", "against 55.5 % of 220", "to 1; 20 to 1 was needed")),
        (harmful, ("was taken back", "store requests with the flag", "against 0.0 %", "at most 1 %", "more of them bad than without it", "memorystack retry")),
        (convicted, ("was taken back", "on all pods", "on and off by lot", "pairs of short windows", "Before it was withdrawn")),
        (failing, ("was taken back", "requests fail")),
        (crashing, ("was taken back", "Pods with the flag died")),
        (aborted, ("aborted by a person", "A person decided")),
        (promoted_by_hand, ("every pod serves it", "A person decided")),
        (superseded, ("overtaken by a newer change", "changed in the spec")),
        (inconclusive, ("could not be judged in time", "Neither harm nor harmlessness")),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
def test_an_ended_stage_says_what_became_of_it_why_and_what_follows(world, parts):
    found = text(world())
    for part in parts:
        assert part in found, found


def test_the_numbers_behind_it_are_the_records_own():
    world = harmful()
    found, record = told(world), world.status.history[-1]
    store = next(j for j in found.judged if j.operation == "store")
    assert store.canary_bad == record.judged["store"].canary_bad
    assert store.budget == "250ms"
    assert store.evidence["worse"] >= store.needed["worse"]
    assert found.at == record.ended_at
    assert found.message == record.message
    assert Explanation.model_validate_json(found.model_dump_json(by_alias=True)) == found


def test_a_stage_under_way_is_told_by_its_state():
    world = settled_world(20)
    world.edit(features=FLAG)
    world.run(10)
    assert "about to be tried" in text(world)
    assert "No pod has it yet" in text(world)
    assert world.run(300, until=flagged)
    world.run(6)
    assert "is being tried" in text(world)
    assert "20 to 1 promotes it" in text(world)
    assert "so far" in text(world)


def test_a_withdrawn_flag_is_not_said_to_be_guilty():
    world = interfering()
    assert world.run(60, until=lambda w: w.phase == "Withdrawn")
    assert "no pod serves it" in text(world)
    assert "says nothing against it yet" in text(world)
    assert world.run(120, until=lambda w: w.phase == "Switchback")
    world.run(30)
    assert "is put on and off by lot" in text(world)
    assert told(world).switchback is not None


def test_a_held_stage_waits_for_a_person():
    world = settled_world()
    for key in world.bad:
        world.bad[key] = 0.048
    world.edit(features=FLAG, rollout=rollout(analysis={"interval": "1s", "timeout": "1m", "onInconclusive": "Hold"}))
    assert world.run(600, until=lambda w: w.phase == "Held")
    assert "waits for a person" in text(world)


def test_a_flag_that_is_proved_in_pairs_says_so_while_it_is_and_when_it_was():
    world = proving_world()
    world.run(40)
    assert "is put on and off to prove that it keeps the budget" in text(world)
    assert "pairs of windows with it and without it" in text(world)
    assert world.run(1800, until=ended)
    assert "it assumes that the flag's effect on shared parts ends with the request" in text(world)
    assert told(world).proving == world.status.history[-1].proving


def test_a_stage_is_chosen_by_name_and_none_is_invented():
    world = promoted()
    assert told(world, "parallelIngest").outcome == "Promoted"
    assert told(world, "cache").outcome == "None"
    assert "Nothing was decided about cache yet" in told(world, "cache").headline
    assert told(World(stack(features=POOL))).headline == "Nothing was decided yet."


def test_evidence_beyond_a_million_is_not_spelled_out():
    world = settled_world()
    world.bad["store", "canary"] = 1.0
    world.edit(features=FLAG)
    assert world.run(60, until=flagged)
    world.traffic(30)
    assert world.run(60, until=ended)
    assert "over 1,000,000 to 1" in text(world)
