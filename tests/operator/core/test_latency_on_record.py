"""What the arms take is on record for people, and costs no write of its own."""

from __future__ import annotations

from support.world import FLAG, settled_world

from memorystack_operator.core import Status


def test_a_canary_s_record_holds_the_p95_of_both_arms_and_survives_json():
    world = settled_world()
    world.edit(features=FLAG)
    world.bad["recall", "canary"] = 0.02
    assert world.run(60, until=lambda w: w.decision.persist and "recall" in w.status.rollout.p95_ms and w.flagged)
    world.run(16)
    found = world.status.rollout.p95_ms
    assert set(found) == {"recall", "store"}
    assert 100 < found["recall"].canary < 1000
    assert 100 < found["store"].stable < 250
    again = Status.model_validate_json(world.status.model_dump_json(by_alias=True))
    assert again.rollout.p95_ms == found


def test_between_two_records_the_p95_stays_what_it_was():
    world = settled_world()
    world.edit(features=FLAG)
    world.run(20, until=lambda w: bool(w.flagged))
    changes = set()
    for _ in range(14):
        before = world.status.rollout
        decision = world.tick()
        if world.status.rollout is None or before is None:
            break
        if world.status.rollout.p95_ms != before.p95_ms:
            changes.add(decision.persist)
    assert changes <= {True}
    assert changes
