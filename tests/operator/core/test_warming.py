"""A surge pod from the first look to the moment at which it may be compared with, and what guards see of it meanwhile."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from support.pods import FakePod
from support.world import World, remembered, stack

from memorystack_operator.core.observe import Observations, Warming
from memorystack_operator.core.surge import Surge, received


@remembered
def alone() -> World:
    world = World(stack(replicas=1))
    world.run(5)
    return world


@pytest.fixture
def world() -> World:
    return alone()


def surge_of(world: World, name: str = "mem-canary-2", *, requests: int = 0, ready: bool = True) -> FakePod:
    stable = world.status.stable.revision
    pod = FakePod(name, f"uid-{name}", world.now.timestamp(), stable, ready=ready, surge=True)
    pod.serve(world.stack.spec.rollout.wire_budgets().revision, "store", requests, 0, 0)
    return pod


def looked(world: World, surge: Surge | None, *pods: FakePod) -> tuple[Surge | None, Observations]:
    world.surging = list(pods)
    return received(surge, world.observe(), world.now)


def known(world: World, pod: FakePod, *, ready_for: float, **fields: object) -> Surge:
    since = world.now - timedelta(seconds=60)
    ready_since = world.now - timedelta(seconds=ready_for)
    return Surge(since=since, uid=pod.uid, ready_since=ready_since).model_copy(update=fields)


def ready_names(seen: Observations) -> list[str]:
    return [p.name for p in seen.pods if p.ready]


def test_where_none_is_asked_for_such_pods_are_left_over_and_nobody_sees_them(world: World):
    surge, seen = looked(world, None, surge_of(world))
    assert surge is None
    assert ([p.name for p in seen.pods], seen.leftover) == (["mem-1"], ("uid-mem-canary-2",))
    gone = Surge(since=world.now, failed_at=world.now)
    again, seen = looked(world, gone, surge_of(world))
    assert again == gone
    assert ([p.name for p in seen.pods], seen.leftover) == (["mem-1"], ("uid-mem-canary-2",))


def test_until_it_is_there_it_is_waited_for(world: World):
    asked = Surge(since=world.now - timedelta(seconds=9))
    assert looked(world, asked)[0] == asked


def test_a_pod_that_an_earlier_one_left_is_not_it(world: World):
    asked = Surge(since=world.now, before=("uid-mem-canary-2",))
    surge, seen = looked(world, asked, surge_of(world))
    assert surge == asked
    assert [p.name for p in seen.pods] == ["mem-1"]


def test_it_is_known_by_its_uid_and_ready_since_it_was_first_seen_so(world: World):
    asked = Surge(since=world.now - timedelta(seconds=9))
    starting, seen = looked(world, asked, surge_of(world, ready=False))
    assert starting == asked.model_copy(update={"uid": "uid-mem-canary-2"})
    assert ready_names(seen) == ["mem-1"]
    there, seen = looked(world, starting, surge_of(world))
    assert there == starting.model_copy(update={"ready_since": world.now})
    assert ready_names(seen) == ["mem-1"]
    world.now += timedelta(seconds=3)
    later, _ = looked(world, there, surge_of(world))
    assert later == there


@pytest.mark.parametrize(
    ("seconds", "requests", "warm"), [(9, 99, False), (10, 29, False), (10, 30, True), (29, 0, False), (30, 0, True)]
)
def test_it_is_warm_after_ten_seconds_and_thirty_requests_or_thirty_seconds(
    world: World, seconds: int, requests: int, warm: bool
):
    pod = surge_of(world, requests=requests)
    surge, seen = looked(world, known(world, pod, ready_for=seconds), pod)
    assert surge.warm is warm
    assert ready_names(seen) == (["mem-1", "mem-canary-2"] if warm else ["mem-1"])


def test_one_that_cannot_be_read_is_not_warm_however_long_it_serves(world: World):
    pod = surge_of(world, requests=99)
    pod.readable = False
    surge, _ = looked(world, known(world, pod, ready_for=600), pod)
    assert not surge.warm


def test_a_warm_one_stays_so_while_it_is_ready(world: World):
    pod = surge_of(world)
    before = known(world, pod, ready_for=1, warm=True)
    surge, seen = looked(world, before, pod)
    assert surge == before
    assert ready_names(seen) == ["mem-1", "mem-canary-2"]


def lost(moment: datetime, uid: str, ready_since: datetime | None) -> Surge:
    return Surge(since=moment, uid=uid, ready_since=ready_since)


def test_when_a_warm_one_is_lost_the_wait_begins_anew(world: World):
    pod = surge_of(world)
    before = known(world, pod, ready_for=40, warm=True)
    assert looked(world, before)[0] == lost(world.now, "", None)
    ill, _ = looked(world, before, surge_of(world, ready=False))
    assert ill == lost(world.now, pod.uid, None)
    other = surge_of(world, "mem-canary-3")
    new, _ = looked(world, before, other)
    assert new == lost(world.now, other.uid, world.now)


def test_of_several_the_known_one_is_kept_and_else_a_ready_one_is_taken(world: World):
    first, second = surge_of(world, "mem-canary-2"), surge_of(world, "mem-canary-3")
    surge, seen = looked(world, known(world, second, ready_for=1), first, second)
    assert surge.uid == second.uid
    assert [p.name for p in seen.pods] == ["mem-1", "mem-canary-3"]
    first.ready = False
    asked = Surge(since=world.now)
    assert looked(world, asked, first, second)[0].uid == second.uid
    first.ready = True
    assert looked(world, asked, second, first)[0].uid == first.uid


def test_other_times_keep_the_proportions_of_the_rule():
    assert Warming.of(10, 300) == Warming()
    quick = Warming.of(0.5, 6)
    assert (quick.serving, quick.longest) == (timedelta(seconds=0.5), timedelta(seconds=1.5))
    assert (quick.timeout, quick.rest, quick.requests) == (timedelta(seconds=6), timedelta(seconds=12), 30)
