"""What a decision says besides the move: when to look again, what must be on record, which leases, which image."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from support.moments import BUDGETS, canary_world
from support.world import FLAG, POOL, World, rollout, settled_world, stack

from memorystack_operator.api.status import Phase, Progress, Rejection, Stable
from memorystack_operator.core import Decision, decide
from memorystack_operator.core.room import Room
from memorystack_operator.core.stabilization import OverBudget, Promotion, Watch
from memorystack_operator.core.stages import canonical
from memorystack_operator.core.state import RolloutState
from memorystack_operator.core.status import Settling
from memorystack_operator.core.surge import Surge

SHORTLY = timedelta(seconds=0.2)


def state(world: World) -> RolloutState | None:
    return world.status.rollout.state if world.status.rollout else None


def progressing(world: World) -> bool:
    return state(world) is RolloutState.PROGRESSING


def served(world: World) -> int:
    return max((e.canary_requests for e in world.status.rollout.evidence.values()), default=0)


@pytest.fixture
def canary() -> World:
    """One pod of three carries the flag, and has served."""
    world = settled_world()
    world.edit(features=FLAG)
    assert world.run(60, until=lambda w: progressing(w) and served(w) > 0)
    return world


def test_the_status_says_how_many_pods_there_are_and_how_they_are_selected():
    world = World(stack(replicas=4))
    world.edit(replicas=5)
    world.tick()
    assert world.status.replicas == 5
    labels = "app.kubernetes.io/name=memorystack,app.kubernetes.io/instance=mem"
    assert world.status.selector == f"{labels},memorystack.dev/deployment=main"
    assert world.status.observed_generation == 2


def test_a_stack_that_starts_is_looked_at_each_second_and_one_at_rest_each_minute():
    world = World(stack())
    for pod in world.pods:
        pod.ready = False
    world.run(3)
    assert world.decision.requeue_after == timedelta(seconds=1)
    assert not world.decision.quiet
    for pod in world.pods:
        pod.ready = True
    world.run(3)
    assert world.phase == "Idle"
    assert world.decision.requeue_after == timedelta(seconds=60)
    assert world.decision.quiet


def test_a_stack_that_waits_for_the_world_or_a_person_is_looked_at_every_five_seconds():
    world = World(stack(rollout=rollout(paused=True)))
    world.run(3)
    world.edit(features=FLAG)
    world.run(3)
    assert world.phase == "Paused"
    assert world.decision.requeue_after == timedelta(seconds=5)


def test_from_a_changed_spec_to_the_flip_a_decision_follows_the_other_at_once():
    world = settled_world()
    world.edit(features=FLAG)
    seen = {}
    while state(world) is not RolloutState.PROGRESSING:
        world.tick()
        seen[state(world)] = world.decision.requeue_after
    assert seen[RolloutState.CALIBRATING] == timedelta(seconds=2)
    assert seen[RolloutState.PROGRESSING] == SHORTLY
    assert world.status.rollout.first_canary_request_at is None


def test_after_a_promotion_the_pods_settle_shortly():
    world = settled_world()
    world.edit(features=FLAG)
    assert world.run(200, until=lambda w: w.status.settling)
    assert world.decision.requeue_after == SHORTLY


@pytest.mark.parametrize(("interval", "later"), [("3s", 3), ("20s", 5)])
def test_a_canary_is_read_each_second_until_it_has_served_enough_and_then_as_the_spec_says(interval: str, later: int):
    world = settled_world(rate=300)
    analysis = {"interval": interval, "timeout": "10m"}
    world.edit(features=FLAG, rollout={"steps": [{"weight": 34, "minDuration": "2m"}], "analysis": analysis})
    assert world.run(60, until=lambda w: progressing(w) and served(w) > 0)
    for _ in range(12):
        world.tick()
        assert world.decision.requeue_after == timedelta(seconds=1 if served(world) < 500 else later)
    assert served(world) >= 500


def test_while_the_flags_are_taken_back_pods_are_read_as_the_spec_says(canary: World):
    canary.edit(rollout=rollout(analysis={"interval": "2s", "timeout": "10m"}))
    canary.bad = dict.fromkeys(canary.bad, 0.6)
    assert canary.run(60, until=lambda w: state(w) is RolloutState.WITHDRAWN)
    assert canary.decision.requeue_after == timedelta(seconds=2)


def test_windows_are_ended_on_time_to_the_tenth_of_a_second(canary: World):
    canary.shared = 0.6
    assert canary.run(300, until=lambda w: state(w) is RolloutState.SWITCHBACK)
    assert timedelta(seconds=0.05) <= canary.decision.requeue_after <= timedelta(seconds=1)
    late = canary.now + timedelta(hours=1)
    assert decide(canary.stack, canary.status, canary.observe(), late).requeue_after <= timedelta(seconds=1)


def test_counts_alone_are_not_written_and_after_a_quarter_of_a_minute_they_are():
    world = settled_world()
    world.edit(features=FLAG, rollout={"steps": [{"weight": 34, "minDuration": "5m"}]})
    assert world.run(60, until=lambda w: progressing(w) and served(w) > 0)
    written = []
    for _ in range(40):
        world.tick()
        if world.decision.persist:
            written.append(world.now)
            assert world.status.persisted_at == world.now
        else:
            assert world.status.persisted_at < world.now
    gaps = [later - earlier for earlier, later in pairwise(written)]
    assert gaps
    assert set(gaps) == {timedelta(seconds=15)}


def test_after_a_clock_that_went_back_the_status_is_written(canary: World):
    canary.run(2)
    before = canary.status.persisted_at
    decision = decide(canary.stack, canary.status, canary.observe(), before - timedelta(seconds=5))
    assert decision.persist


def test_a_stack_at_rest_is_written_once_and_then_no_more():
    world = World(stack())
    world.run(30)
    before = world.status
    for _ in range(40):
        assert not world.tick().persist
    assert world.status == before


@pytest.mark.parametrize("change", ["pods", "spec", "phase"])
def test_what_must_outlast_a_crash_is_written_at_once(canary: World, change: str):
    assert canary.run(20, until=lambda w: w.decision.persist)
    assert not canary.tick().persist
    if change == "pods":
        del canary.pods[-1]
    elif change == "spec":
        canary.edit(features={**FLAG, **POOL})
    else:
        canary.act("pause@1")
    assert canary.tick().persist


def test_that_the_flags_are_applied_is_written_at_once():
    world = settled_world()
    world.edit(features=FLAG)
    for pod in world.pods:
        pod.obedient = False
    assert world.run(60, until=progressing)
    world.run(3)
    assert world.status.rollout.applied_at is None
    for pod in world.pods:
        pod.obedient = True
    world.tick()
    decision = world.tick()
    assert world.status.rollout.applied_at is not None
    assert decision.persist


def test_each_window_of_a_switchback_is_written_as_it_begins(canary: World):
    canary.shared = 0.6
    assert canary.run(300, until=lambda w: state(w) is RolloutState.SWITCHBACK)
    marks = canary.status.rollout.switchback.mark
    seen = 0
    for _ in range(60):
        decision = canary.tick()
        if state(canary) is not RolloutState.SWITCHBACK:
            break
        if canary.status.rollout.switchback.mark != marks:
            seen, marks = seen + 1, canary.status.rollout.switchback.mark
            assert decision.persist
    assert seen >= 2


def test_people_read_the_p95_of_both_arms_in_the_record(canary: World):
    assert canary.run(30, until=lambda w: w.decision.persist and served(w) > 0)
    arms = canary.status.rollout.p95_ms
    assert set(arms) == {"store", "recall"}
    for arm in arms.values():
        assert 100 < arm.canary <= 250
        assert 100 < arm.stable <= 250


def test_the_p95_of_a_canary_that_is_slower_stands_above_that_of_the_others():
    world = settled_world()
    world.bad["store", "canary"] = 0.08
    world.edit(features=FLAG)
    assert world.run(60, until=lambda w: progressing(w) and served(w) > 60 and w.decision.persist)
    arm = world.status.rollout.p95_ms["store"]
    assert arm.canary > 250 >= arm.stable


def test_the_canary_pods_alone_hold_a_lease_that_follows_the_clock(canary: World):
    canary.epoch = 7
    decision = canary.tick()
    assert list(decision.pod_flags) == list(canary.status.rollout.pods)
    lease = next(iter(decision.pod_flags.values()))
    assert (lease.epoch, lease.ttl_seconds) == (7, 30)
    assert lease.revision == canary.status.rollout.revision
    assert lease.features.parallel_ingest.concurrency == 4
    assert lease.renewal == int(canary.now.timestamp()) // 10
    later = decide(canary.stack, canary.status, canary.observe(), canary.now + timedelta(seconds=10))
    assert next(iter(later.pod_flags.values())).renewal == lease.renewal + 1


def test_without_a_canary_no_pod_holds_a_lease_and_no_ring_is_read(canary: World):
    idle = settled_world()
    assert idle.decision.pod_flags == {}
    assert not idle.decision.history
    canary.bad = dict.fromkeys(canary.bad, 0.6)
    assert canary.run(60, until=lambda w: state(w) is RolloutState.WITHDRAWN)
    assert canary.decision.pod_flags == {}


def test_while_it_calibrates_rings_are_read_around_each_half_minute_alone():
    world = World(stack())
    world.run(35)
    world.edit(features=FLAG)
    asked = {True: set(), False: set()}
    for _ in range(90):
        world.tick()
        if state(world) is RolloutState.CALIBRATING:
            asked[world.decision.history].add(int(world.now.timestamp()) % 30)
    assert asked[True]
    assert asked[True] - asked[False] <= {28, 29, 0, 1, 2, 3, 4, 5, 6}
    assert {10, 15, 20, 25} <= asked[False]


def test_a_change_is_dated_by_when_it_was_first_seen():
    world = settled_world()
    assert world.status.changed_at < world.now - timedelta(seconds=100)
    world.edit(features=FLAG)
    world.tick()
    seen = world.status.changed_at
    assert seen == world.now
    world.run(20)
    assert world.status.changed_at == seen


def test_a_newer_operator_moves_no_pod_until_the_template_changes():
    world = settled_world()
    before = world.status.stable.template
    world.image = "memorystack-runtime:9.9.9"
    world.run(5)
    assert world.status.stable.template == before
    assert "memorystack-runtime:9.9.9" not in str(world.decision.children)
    world.edit(embedder={"url": "http://other/v1", "model": "m", "dimensions": 384})
    world.run(5)
    assert world.status.stable.template != before
    assert "memorystack-runtime:9.9.9" in str(world.decision.children)


# -- from a record, without living through it --------------------------------------


def at_rest(world: World | None = None, **changes: object) -> Decision:
    """A decision about three pods that serve their spec, with these parts of the record replaced."""
    world = world or settled_world(5)
    return decide(world.stack, world.status.model_copy(update=changes), world.observe(), world.now)


def promoted(world: World, minutes: float) -> Watch:
    """A flag was promoted so long ago."""
    features, at = world.status.stable.features, world.now - timedelta(minutes=minutes)
    return Watch(promotions=(Promotion(stage="cache", value=canonical(features, "cache"), before=features, at=at),))


@pytest.mark.parametrize(("minutes", "quiet"), [(59, False), (61, True)])
def test_a_stack_whose_rings_are_read_each_minute_is_no_quiet_one(minutes: float, quiet: bool):
    assert at_rest(watch=promoted(settled_world(5), minutes)).quiet is quiet


def test_while_pods_settle_a_stack_is_no_quiet_one():
    world = settled_world(5)
    assert at_rest(world).quiet
    world.pods[0].flags = "older"
    assert not at_rest(world, settling=Settling(record="r", since=world.now)).quiet


@pytest.mark.parametrize(
    ("about", "seconds"),
    [("over budget", 60), ("rejected", 60), ("settling", 0.2), ("waiting for a surge pod", 1)],
)
def test_how_soon_a_stack_is_looked_at_hangs_on_what_is_waited_for(about: str, seconds: float):
    world = settled_world(5)
    over = OverBudget(operation="store", since=world.now, message="over")
    if about == "over budget":
        changes = {"watch": promoted(world, 5).model_copy(update={"over": over})}
    elif about == "rejected":
        world.edit(features=FLAG)
        value = canonical(world.stack.spec.features.flags(), "parallelIngest")
        template = world.status.stable.template
        told = {"reason": "Worse", "message": "m", "at": world.now}
        changes = {"rejected": (Rejection(stage="parallelIngest", value=value, template=template, **told),)}
    elif about == "settling":
        world.pods[0].flags = "older"
        changes = {"settling": Settling(record="r", since=world.now)}
    else:
        world = World(stack(replicas=1))
        world.run(5)
        world.edit(features=FLAG)
        changes = {"surge": Surge(since=world.now)}
    assert at_rest(world, **changes).requeue_after == timedelta(seconds=seconds)


def test_after_a_move_the_next_decision_follows_at_once():
    world = settled_world(5)
    assert at_rest(world, stable=None).requeue_after == SHORTLY


def test_a_rejection_stands_while_its_value_is_in_the_spec():
    world = settled_world(5)
    told = {"template": "t", "reason": "Worse", "message": "m", "at": world.now}
    gone = Rejection(stage="parallelIngest", value='{"concurrency":9}', **told)
    serving = canonical(world.status.stable.features, "cache")
    there = Rejection(stage="cache", value=serving, **told)
    after = at_rest(world, rejected=(gone, there)).status
    assert after.rejected == (there,)
    assert after.changed_at == world.status.changed_at


def known(world: World, **changes: object) -> Stable:
    return world.status.stable.model_copy(update=changes)


def test_a_stack_that_began_with_another_image_keeps_it_while_nothing_else_of_its_template_changes():
    world = World(stack())
    world.image = "memorystack-runtime:0.0.9"
    world.run(5)
    began = world.status.stable
    world.image = "memorystack-runtime:9.9.9"
    assert at_rest(world).status.stable == began
    assert at_rest(world, stable=known(world, template="older")).status.stable.image == "memorystack-runtime:9.9.9"


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        pytest.param({}, True, id="pairs could begin, and there was too little room"),
        pytest.param({"ago": 299}, False, id="looked at a moment ago"),
        pytest.param({"limit": 0.01}, False, id="there is room"),
        pytest.param({"promotion": "Plain"}, False, id="nobody asks for pairs"),
    ],
)
def test_the_long_histories_are_asked_for_again_while_they_leave_too_little_room(changes: dict, asked: bool):
    told = {"ago": 300, "limit": 0.2, "promotion": "Paired", **changes}
    world = canary_world()
    steps = [{"weight": 34, "minDuration": "5m"}]
    analysis = {"timeout": "10m", "promotion": told["promotion"]}
    world.edit(rollout=rollout(budgets=BUDGETS, steps=steps, analysis=analysis))
    rooms = dict.fromkeys(("store", "recall"), Room(limit=told["limit"], hours=1.0, requests=9))
    looked = world.now - timedelta(seconds=told["ago"])
    stage = world.status.rollout.model_copy(update={"rooms": rooms, "rooms_at": looked, "step_seconds": 200.0})
    assert at_rest(world, rollout=stage).history is asked


@pytest.mark.parametrize(("read_at", "now", "asked"), [(None, 10, True), (5, 12, False), (5, 29, True), (29, 31, True)])
def test_a_calibration_reads_the_rings_around_each_half_minute(read_at: int | None, now: int, asked: bool):
    """Seconds of the minute; a decision that comes two seconds before the mark asks for the reading after it."""
    world = settled_world()
    world.edit(features=FLAG)
    world.tick()
    assert state(world) is RolloutState.CALIBRATING
    minute = world.now.replace(second=0, microsecond=0)
    at = None if read_at is None else minute + timedelta(seconds=read_at)
    stage = world.status.rollout.model_copy(update={"rooms_at": at})
    seen = replace(world.observe(), pods=tuple(replace(p, evidence=None) for p in world.observe().pods))
    status = world.status.model_copy(update={"rollout": stage})
    assert decide(world.stack, status, seen, minute + timedelta(seconds=now)).history is asked


@pytest.mark.parametrize(
    ("change", "written"),
    [
        ({}, False),
        ({"replicas": 7}, True),
        ({"observed_generation": 0}, True),
        ({"phase": Phase.WAITING}, True),
        ({"conditions": ()}, True),
        ({"message": "older words"}, False),
        ({"progress": Progress()}, False),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_while_a_stage_runs_a_record_that_is_wrong_is_written_at_once_but_not_for_words_alone(
    change: dict, written: bool
):
    world = canary_world()
    known = world.status.model_copy(update={"persisted_at": world.now, **change})
    assert decide(world.stack, known, world.observe(), world.now).persist is written
