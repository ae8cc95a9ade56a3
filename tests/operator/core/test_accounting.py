"""What one reading changes before anything is decided: the arm, the counts, the clocks and what is known of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from support.moments import (
    BUDGETS,
    canary_world,
    moment_of,
    proving,
    switching,
    with_rollout,
    with_status,
    without_rings,
)
from support.pods import FakePod
from support.world import FLAG, World, rollout, settled_world

from memorystack_operator.core.accounting import account, baselines_now, readable
from memorystack_operator.core.evidence import Tally
from memorystack_operator.core.reverse import Reverse
from memorystack_operator.core.room import Room
from memorystack_operator.core.situation import Situation
from memorystack_operator.core.state import Recovery, RolloutState, RolloutStatus


@pytest.fixture
def world() -> World:
    """One of three pods carries the flag and has served; another second has passed, of which nobody has heard."""
    world = canary_world()
    world.live(1.0)
    return world


def carrier(world: World) -> FakePod:
    (name,) = world.status.rollout.pods
    return next(p for p in world.pods if p.name == name)


def others(world: World) -> list[FakePod]:
    return [p for p in world.pods if p.name not in world.status.rollout.pods]


def read(world: World, *, later: float = 0.0, **changes: object) -> RolloutStatus:
    """The stage after this reading."""
    return account(with_rollout(moment_of(world, later=later), **changes))


# -- who carries the flag ----------------------------------------------------------


def test_canary_pods_are_kept_while_they_are_ready(world: World):
    after = read(world)
    assert after.pods == world.status.rollout.pods
    assert (after.applied_at, after.crashes, after.left) == (world.status.rollout.applied_at, 0, {})


def test_a_canary_pod_that_is_lost_is_replaced_at_once_and_the_new_one_must_confirm_its_flags(world: World):
    lost, (first, second) = carrier(world), others(world)
    lost.ready, first.restarts, second.restarts = False, 4, 4
    after = read(world, restarts={lost.name: 2})
    (new,) = after.pods
    assert new in (first.name, second.name)
    assert after.restarts == {new: 4}
    assert after.applied_at is None


def test_restarts_of_the_pods_that_stay_are_kept_when_others_come(world: World):
    world.edit(replicas=6)
    after = read(world, restarts={carrier(world).name: 2})
    assert (len(after.pods), after.restarts) == (2, {carrier(world).name: 2})


def test_crashes_of_a_pod_that_leaves_the_arm_stay_with_the_flag(world: World):
    lost = carrier(world)
    lost.ready, lost.restarts = False, 3
    after = read(world, restarts={lost.name: 2}, crashes=1)
    assert (after.crashes, after.left) == (2, {lost.name: 3})
    off = read(world, restarts={lost.name: 2}, crashes=1, state=RolloutState.WITHDRAWN)
    assert (off.crashes, off.left) == (1, {})


@pytest.mark.parametrize(
    ("restarts", "ready", "crashes", "left"),
    [
        pytest.param(3, False, 0, {"mem-1": 3}, id="still down"),
        pytest.param(4, False, 1, {}, id="started again"),
        pytest.param(4, True, 1, {}, id="started again and ready"),
        pytest.param(3, True, 0, {}, id="it was only not ready"),
    ],
)
def test_a_pod_that_left_while_it_was_down_crashed_if_it_was_started_again(
    world: World, restarts: int, ready: bool, crashes: int, left: dict[str, int]
):
    pod = others(world)[0]
    pod.name, pod.restarts, pod.ready = "mem-1", restarts, ready
    after = read(world, left={"mem-1": 3, "mem-gone": 1})
    assert (after.crashes, after.left) == (crashes, left)


# -- do they hold it, and can they be read? ----------------------------------------


def test_flags_are_applied_from_when_every_canary_pod_reports_them(world: World):
    assert read(world, applied_at=None).applied_at == world.now
    carrier(world).flags = "older"
    assert read(world).applied_at is None
    assert read(world, applied_at=None).applied_at is None


def test_a_canary_pod_that_does_not_answer_is_no_proof_that_it_lost_its_flags(world: World):
    carrier(world).readable = False
    assert read(world).applied_at == world.status.rollout.applied_at


def test_flags_that_are_off_are_not_applied(world: World):
    assert read(world, state=RolloutState.WITHDRAWN).applied_at is None


def unread(*pods: FakePod) -> None:
    for pod in pods:
        pod.readable = False


def test_a_stage_is_readable_while_every_canary_pod_answers_and_one_of_the_others(world: World):
    first, second = others(world)
    assert readable(moment_of(world))
    unread(first)
    assert readable(moment_of(world))
    unread(second)
    assert not readable(moment_of(world))
    first.readable = True
    unread(carrier(world))
    assert not readable(moment_of(world))


def test_blindness_is_dated_by_its_begin_and_ends_with_the_first_answer(world: World):
    assert read(world).blind_since is None
    earlier = world.now - timedelta(seconds=9)
    assert read(world, blind_since=earlier).blind_since is None
    unread(carrier(world))
    assert read(world).blind_since == world.now
    assert read(world, blind_since=earlier).blind_since == earlier


# -- what was served becomes evidence ----------------------------------------------


def test_each_arms_requests_are_added_to_the_evidence_of_its_operation(world: World):
    before, after = world.status.rollout, read(world)
    for name, evidence in after.evidence.items():
        assert evidence.canary_requests - before.evidence[name].canary_requests == 10
        assert evidence.stable_requests - before.evidence[name].stable_requests == 20
        assert evidence.reads == before.evidence[name].reads + 1
    assert after.failures.canary_requests - before.failures.canary_requests == 20


def test_a_reading_counts_once(world: World):
    once = read(world)
    again = account(replace(moment_of(world), status=world.status.model_copy(update={"rollout": once})))
    assert again.evidence == once.evidence
    assert again.failures == once.failures


def test_a_stage_without_a_test_of_failures_counts_none(world: World):
    assert read(world, failures=None).failures is None


def test_the_first_request_under_the_flag_is_dated_once(world: World):
    known = world.status.rollout.first_canary_request_at
    assert read(world).first_canary_request_at == known
    assert read(world, first_canary_request_at=None).first_canary_request_at == world.now


def silent() -> World:
    """As `world`, but no request came in that second."""
    world = canary_world()
    world.live(1.0, traffic=False)
    return world


def test_without_a_request_under_the_flag_nothing_is_dated():
    after = read(silent(), first_canary_request_at=None)
    assert after.first_canary_request_at is None
    assert after.last_traffic_at == canary_world().status.rollout.last_traffic_at


def test_an_operation_is_over_budget_since_it_was_first_seen_so(world: World):
    carrier(world).serve(world.stack.spec.rollout.wire_budgets().revision, "store", 400, 300, 0)
    assert read(world).over_since == {"store": world.now}
    earlier = world.now - timedelta(seconds=30)
    assert read(world, over_since={"store": earlier, "recall": earlier}).over_since == {"store": earlier}


def test_before_the_flip_no_pod_counts_as_a_canary_and_the_look_at_the_rings_is_dated():
    world = settled_world()
    world.edit(features=FLAG)
    world.tick()
    world.live(1.0)
    assert world.status.rollout.state is RolloutState.CALIBRATING
    after = account(moment_of(world, history=True))
    assert (after.evidence, after.last_tick, after.rooms_at) == ({}, world.now, world.now)
    seen = without_rings(moment_of(world))
    earlier = world.now - timedelta(seconds=20)
    assert account(with_rollout(seen, rooms_at=earlier)).rooms_at == earlier


def test_the_counts_at_the_flip_are_where_every_pod_starts_from(world: World):
    known = read(world, baselines=baselines_now(moment_of(world)))
    assert known.evidence["store"].canary == world.status.rollout.evidence["store"].canary


def test_what_is_held_for_a_person_is_not_counted(world: World):
    held = with_rollout(moment_of(world), state=RolloutState.HELD)
    assert account(held) == held.rollout


# -- the clocks --------------------------------------------------------------------


def seconds(world: World, later: float = 0.0, **changes: object) -> tuple[float, float]:
    """By how much the step's and the stage's clocks have moved."""
    before, after = world.status.rollout, read(world, later=later, **changes)
    assert after.last_tick == world.now + timedelta(seconds=later)
    return after.step_seconds - before.step_seconds, after.stage_seconds - before.stage_seconds


def test_clocks_run_while_the_flag_serves_and_a_long_gap_proves_nothing(world: World):
    assert seconds(world) == pytest.approx((1.0, 1.0))
    assert seconds(world, later=9) == pytest.approx((10.0, 10.0))
    assert seconds(world, later=300) == pytest.approx((10.0, 10.0))


def never_ticked(world: World) -> dict:
    return {"last_tick": None}


def not_applied(world: World) -> dict:
    carrier(world).flags = "older"
    return {}


def cannot_be_read(world: World) -> dict:
    unread(carrier(world))
    return {}


def by_hand(world: World) -> dict:
    world.status = world.status.model_copy(update={"paused": True})
    return {}


@pytest.mark.parametrize("hindrance", [never_ticked, not_applied, cannot_be_read, by_hand])
def test_clocks_stand_still_while_the_world_cannot_be_judged(world: World, hindrance: Callable[[World], dict]):
    changes = hindrance(world)
    assert seconds(world, **changes) == (0.0, 0.0)


@pytest.mark.parametrize(("ago", "runs"), [(10, 1.0), (11, 0.0)])
def test_clocks_stand_still_ten_seconds_after_the_last_request(ago: int, runs: float):
    world = silent()
    known = {"last_traffic_at": world.now - timedelta(seconds=ago)}
    assert seconds(world, **known) == pytest.approx((runs, runs))
    assert seconds(world, last_traffic_at=None) == (0.0, 0.0)


def test_a_pause_step_takes_no_time_of_the_stage(world: World):
    pause = world.status.rollout.plan[0].model_copy(update={"weight": 0})
    moved = seconds(world, plan=(world.status.rollout.plan[0], pause), step=1)
    assert moved == pytest.approx((1.0, 0.0))


# -- a withdrawn flag --------------------------------------------------------------


def slices(world: World, *known: tuple[float, int, int], **changes: object) -> list[tuple[float, int, int]]:
    """(Seconds ago, requests, bad ones) of each slice, before and after the reading."""
    before = tuple(Recovery(at=world.now - timedelta(seconds=ago), requests=n, bad=bad) for ago, n, bad in known)
    off = {"state": RolloutState.WITHDRAWN, "withdrawn_operation": "store", **changes}
    for pod in world.pods:
        pod.flags = world.status.stable.revision
    after = read(world, recovery=before, **off).recovery
    return [((world.now - slice_.at).total_seconds(), slice_.requests, slice_.bad) for slice_ in after]


def more(world: World, requests: int, bad: int) -> None:
    """Served by a pod outside the arm since the last reading."""
    others(world)[0].serve(world.stack.spec.rollout.wire_budgets().revision, "store", requests, bad, 0)


def test_whether_the_environment_recovers_is_counted_on_all_pods_for_a_minute(world: World):
    more(world, 5, 2)
    found = slices(world, (61, 9, 9), (60, 7, 1), (30, 8, 0))
    assert [ago for ago, _, _ in found] == [60, 30, 0]
    assert found[:2] == [(60, 7, 1), (30, 8, 0)]
    assert found[2][1] >= 25
    assert found[2][2] == 2


def test_readings_within_five_seconds_are_one_slice(world: World):
    (first, last) = slices(world, (9, 7, 1), (4, 8, 1))
    assert first == (9, 7, 1)
    assert last[0] == 4
    assert last[1] > 8


def test_a_second_without_a_request_of_that_operation_is_no_slice():
    assert slices(silent(), (30, 8, 0)) == [(30, 8, 0)]
    world = canary_world()
    world.live(1.0)
    assert slices(world, (30, 8, 0), withdrawn_operation="search") == [(30, 8, 0)]


def test_what_is_served_while_the_flag_is_withdrawn_is_no_evidence_of_it(world: World):
    after = read(world, state=RolloutState.WITHDRAWN, withdrawn_operation="store")
    assert after.evidence == world.status.rollout.evidence
    assert (after.step_seconds, after.last_tick) == (world.status.rollout.step_seconds, world.now)


# -- windows with the flag and without it ------------------------------------------

OPEN = (0.0, 0.0, 0.0)


def window(make: Callable[..., Situation], *, on: bool, obedient: bool = True) -> tuple[World, Situation]:
    """One second within a window that is counted; the canary pod holds the flags exactly if it should, or not."""
    world = canary_world()
    stable = world.status.stable.revision
    carrier(world).flags = world.status.rollout.revision if on is obedient else stable
    world.live(1.0)
    settled = account(_in_window(world, make, on=on)).baselines
    world.live(1.0)
    known = {"baselines": settled, "last_tick": world.now - timedelta(seconds=1)}
    return world, with_rollout(_in_window(world, make, on=on), **known)


def _in_window(world: World, make: Callable[..., Situation], *, on: bool) -> Situation:
    began, last = world.now - timedelta(seconds=2), world.now - timedelta(seconds=1)
    told = {"since": began, "counting_since": began, "last_read": last}
    first, second = (make(moment_of(world), OPEN, second=second, **told) for second in (False, True))
    test = first.rollout.switchback or first.rollout.proving
    return first if test.on is on else second


def trial(rollout: RolloutStatus):
    return rollout.switchback or rollout.proving.trial


@pytest.mark.parametrize("on", [True, False], ids=["on", "off"])
def test_in_a_switchback_both_arms_requests_count_for_the_window_and_for_no_evidence(on: bool):
    world, situation = window(switching, on=on)
    after = account(situation)
    current = after.switchback.current
    assert (current.canary_requests, current.stable_requests) == (10, 20)
    assert after.evidence == situation.rollout.evidence
    assert (after.step_seconds, after.last_tick) == (situation.rollout.step_seconds, world.now)
    assert after.switchback.last_read == world.now


@pytest.mark.parametrize("on", [True, False], ids=["on", "off"])
def test_in_a_proof_both_arms_requests_count_for_the_pair_and_those_under_the_flag_as_evidence(on: bool):
    _, situation = window(proving, on=on)
    before, after = situation.rollout, account(situation)
    gained = after.evidence["store"].canary_requests - before.evidence["store"].canary_requests
    assert gained == (10 if on else 0)
    assert after.proving.proofs["store"].requests == 30
    assert after.step_seconds - before.step_seconds == pytest.approx(1.0)
    assert after.stage_seconds - before.stage_seconds == pytest.approx(1.0)


@pytest.mark.parametrize("make", [switching, proving])
@pytest.mark.parametrize("on", [True, False], ids=["on", "off"])
def test_a_pod_that_does_not_follow_the_windows_spoils_its_pair(make: Callable[..., Situation], on: bool):
    _, situation = window(make, on=on, obedient=False)
    before, after = situation.rollout, account(situation)
    old, new = before.switchback or before.proving, after.switchback or after.proving
    assert (new.pair, new.discarded, new.waiting) == (old.pair + 1, old.discarded + 1, False)
    assert trial(after).current == trial(before).current


def unsettled(situation: Situation) -> Situation:
    return replace(situation, seen=replace(situation.seen, settled=False))


def paused(situation: Situation) -> Situation:
    return with_status(situation, paused=True)


def deaf(situation: Situation) -> Situation:
    pods = tuple(replace(p, evidence=None) for p in situation.seen.pods)
    return replace(situation, seen=replace(situation.seen, pods=pods))


def lost(situation: Situation) -> Situation:
    carriers = situation.rollout.pods
    pods = tuple(replace(p, ready=p.name not in carriers) for p in situation.seen.pods)
    return replace(situation, seen=replace(situation.seen, pods=pods))


@pytest.mark.parametrize("make", [switching, proving])
@pytest.mark.parametrize("trouble", [unsettled, paused, deaf, lost])
def test_while_the_world_cannot_be_measured_in_windows_they_wait(
    make: Callable[..., Situation], trouble: Callable[[Situation], Situation]
):
    _, situation = window(make, on=True)
    after = account(trouble(situation))
    test = after.switchback or after.proving
    assert (test.waiting, test.on) == (True, False)
    assert trial(after).current == trial(situation.rollout).current


# -- is there room for a proof by pairs? -------------------------------------------

NARROW = Room(limit=0.2, hours=0.1, requests=10)


def looked(promotion: str = "Paired", *, ago: float = 301, history: bool = True, **changes: object) -> RolloutStatus:
    world = canary_world()
    steps = [{"weight": 34, "minDuration": "5m"}]
    world.edit(rollout=rollout(budgets=BUDGETS, steps=steps, analysis={"timeout": "10m", "promotion": promotion}))
    moment = moment_of(world, history=True)
    moment = moment if history else without_rings(moment)
    rooms = dict.fromkeys(("store", "recall"), NARROW)
    known = {"rooms": rooms, "rooms_at": world.now - timedelta(seconds=ago), "step_seconds": 200.0}
    return account(with_rollout(moment, **{**known, **changes}))


def test_a_room_that_was_too_small_is_looked_at_again_in_the_histories():
    after = looked()
    assert after.rooms_at == canary_world().now
    for name, room in after.rooms.items():
        assert room.usable
        assert room.requests > 1000, name
        assert room.limit < 0.05


@pytest.mark.parametrize(
    "why",
    [
        pytest.param({"promotion": "Plain"}, id="nobody asks for pairs"),
        pytest.param({"ago": 299}, id="it was looked at a moment ago"),
        pytest.param({"history": False}, id="no history was read"),
        pytest.param({"step_seconds": 100.0}, id="plain evidence has its time"),
        pytest.param({"calibration": None}, id="nothing was frozen at the flip"),
    ],
)
def test_else_it_stays_as_it_is(why: dict):
    after = looked(**why)
    assert after.rooms == dict.fromkeys(("store", "recall"), NARROW)


def test_a_pod_that_answered_late_counts_where_arms_are_not_compared(world: World):
    """Its requests are of more time than the others', so they are no difference between the arms."""
    pod = others(world)[0]
    unread(pod)
    first = account(moment_of(world))
    pod.readable = True
    world.live(1.0)
    late = account(with_status(moment_of(world), rollout=first))
    gained = Tally(late.evidence["store"].stable_requests - first.evidence["store"].stable_requests, 0)
    assert gained.requests == 30


# -- the first key of a proof that may follow --------------------------------------

WIDE = Room(limit=0.02, hours=6.0, requests=100_000)
REVERSE = Reverse(number=1, operation="store", promoted_at=datetime(2026, 1, 1, tzinfo=UTC))


def first_key(promotion: str = "Paired", **changes: object) -> RolloutStatus:
    """A reading of a stage that pairs could prove."""
    world = canary_world()
    steps = [{"weight": 34, "minDuration": "5m"}]
    world.edit(rollout=rollout(budgets=BUDGETS, steps=steps, analysis={"promotion": promotion}))
    for key in world.bad:
        world.bad[key] = 0.2
    world.live(5.0)
    rooms = dict.fromkeys(("store", "recall"), WIDE)
    return account(with_rollout(moment_of(world), **{"rooms": rooms, **changes}))


def test_the_arms_are_compared_for_key_1_from_the_steps_begin():
    once = first_key()
    assert set(once.proofs) == {"store", "recall"}
    assert once.proofs["store"].own != (0.0, 0.0, 0.0)
    again = first_key(proofs=once.proofs)
    assert again.proofs["store"].own[1] == pytest.approx(2 * once.proofs["store"].own[1])
    assert (again.proofs["store"].requests, again.proofs["store"].bad) == (0, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"promotion": "Plain"},
        {"stage": "cache"},
        {"reverse": REVERSE},
        {"state": RolloutState.WITHDRAWN},
        {"rooms": {}},
    ],
    ids=["plain", "cache", "reverse", "withdrawn", "no history"],
)
def test_no_key_is_counted_where_no_pairs_can_follow(changes: dict):
    assert first_key(**changes).proofs == {}
