"""Leader election on a clock of the test: two candidates, one Lease, and every way in which a turn may end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from memorystack_operator.shell.cluster import Conflict
from memorystack_operator.shell.leader import Leader, LeaseRecord, Times

START = datetime(2025, 12, 1, tzinfo=UTC)
"""Before the time that a new Lease is counted from, so that epochs here begin with 1."""


class Lease:
    """A Lease that compares versions, as the API server does."""

    def __init__(self) -> None:
        self.record: LeaseRecord | None = None
        self.fail: Exception | None = None
        self.reads = 0

    async def read(self) -> LeaseRecord | None:
        self.reads += 1
        if self.fail:
            raise self.fail
        return self.record

    async def write(self, record: LeaseRecord) -> LeaseRecord:
        if self.fail:
            raise self.fail
        if record.version != (self.record.version if self.record else ""):
            raise Conflict
        self.record = replace(record, version=str(int(record.version or "0") + 1))
        return self.record


class Clock:
    """Monotonic seconds. `skew` is what a machine's wall clock is wrong by."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lease() -> Lease:
    return Lease()


def candidate(lease: Lease, clock: Clock, name: str, skew: timedelta = timedelta()) -> Leader:
    return Leader(lease, name, Times(), clock=clock, now=lambda: START + skew + timedelta(seconds=clock.seconds))


async def pass_time(clock: Clock, seconds: float, *candidates: Leader) -> None:
    """In steps of two seconds, each candidate trying at each."""
    for _ in range(round(seconds / 2)):
        clock.seconds += 2
        for one in candidates:
            await one.step()


async def test_the_first_candidate_leads_and_renews_without_reading(lease: Lease, clock: Clock):
    one = candidate(lease, clock, "one")
    assert not one.leads
    assert await one.step()
    await pass_time(clock, 60, one)
    assert (one.leads, one.epoch, lease.reads) == (True, 1, 1)


async def test_a_second_candidate_waits_whatever_the_wall_clocks_say(lease: Lease, clock: Clock):
    """Its clock runs an hour ahead: a leader must not be robbed because of that."""
    one, two = candidate(lease, clock, "one"), candidate(lease, clock, "two", skew=timedelta(hours=1))
    await one.step()
    await pass_time(clock, 60, one, two)
    assert (one.leads, two.leads, lease.record.holder) == (True, False, "one")


async def test_a_stopped_leader_is_fenced_before_another_leads(lease: Lease, clock: Clock):
    """SIGSTOP for three leases, then SIGCONT: not one write after that (R15's fence)."""
    one, two = candidate(lease, clock, "one"), candidate(lease, clock, "two")
    await one.step()
    await two.step()
    for _ in range(30):
        clock.seconds += 2
        await two.step()
        assert not (one.leads and two.leads)
    assert not one.leads  # asked first thing after SIGCONT, before any request
    assert (two.leads, two.epoch) == (True, 2)
    assert not await one.step()
    assert lease.record.holder == "two"


async def test_a_turn_ends_by_itself_when_renewals_fail_and_goes_on_under_the_same_epoch(lease: Lease, clock: Clock):
    one = candidate(lease, clock, "one")
    await one.step()
    lease.fail = ConnectionError("away")
    for _ in range(4):
        clock.seconds += 2
        with pytest.raises(ConnectionError):
            await one.step()
    assert one.leads
    clock.seconds += 2
    assert not one.leads
    lease.fail = None
    assert await one.step()
    assert one.epoch == 1  # nobody else led meanwhile


async def test_a_slow_renewal_counts_from_when_it_was_sent(lease: Lease, clock: Clock):
    one = candidate(lease, clock, "one")
    write = lease.write

    async def slow(record: LeaseRecord) -> LeaseRecord:
        answer = await write(record)
        clock.seconds += 11
        return answer

    lease.write = slow
    assert not await one.step()


async def test_a_released_lease_is_taken_at_once(lease: Lease, clock: Clock):
    one, two = candidate(lease, clock, "one"), candidate(lease, clock, "two")
    await one.step()
    await two.step()
    await one.release()
    assert not one.leads
    assert await two.step()
    assert two.epoch == 2
    await one.release()  # a second time is nothing
    assert lease.record.holder == "two"


async def test_a_release_that_fails_is_let_go(lease: Lease, clock: Clock):
    one = candidate(lease, clock, "one")
    await one.step()
    lease.fail = ConnectionError("away")
    await one.release()
    assert not one.leads


async def test_a_lost_race_makes_no_leader(lease: Lease, clock: Clock):
    one = candidate(lease, clock, "one")
    await one.step()
    lease.record = replace(lease.record, holder="thief", version="99")
    clock.seconds += 2
    assert not await one.step()
    assert not await one.step()


async def test_changes_of_the_turn_are_told_once_and_network_errors_end_nothing(lease: Lease, clock: Clock):
    one = Leader(lease, "one", Times(duration=15, deadline=10, retry=0.001), clock=clock)
    told: list[bool] = []
    task = asyncio.create_task(one.run(told.append))

    async def until(count: int) -> None:
        async with asyncio.timeout(5):
            while len(told) < count:
                await asyncio.sleep(0.001)

    await until(1)
    lease.fail = ConnectionError("away")
    clock.seconds += 20
    await until(2)
    lease.fail = None
    await until(3)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert told == [True, False, True]


async def test_a_new_lease_begins_above_what_the_last_one_reached(clock: Clock):
    """Installed again in another namespace after ten changes of leaders: pods that still run must not ignore it."""
    reached = 0
    for days in (400, 401):
        lease = Lease()
        for name in "abcdefghijk":
            one = candidate(lease, clock, name, skew=timedelta(days=days))
            await one.step()
            assert one.epoch > reached
            reached = one.epoch
            await one.release()
