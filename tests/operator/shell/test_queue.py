"""The work queue's rules, on a clock of the test; and that it outlives whatever one round meets."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest

from memorystack_operator.shell.api_server import Refused
from memorystack_operator.shell.cluster import Conflict
from memorystack_operator.shell.queue import Backoff, KeyedQueue
from memorystack_operator.shell.schedule import Key, Schedule
from memorystack_operator.shell.telemetry import Telemetry

A, B, C = Key("ns", "a"), Key("ns", "b"), Key("other", "a")


def keys(schedule: Schedule, now: float, most: int = 9) -> list[Key]:
    return [due.key for due in schedule.take(now, most)]


def test_a_key_that_is_added_often_is_due_once_at_its_earliest_time():
    schedule = Schedule()
    for at in (5.0, 3.0, 9.0):
        schedule.add(A, at)
    assert keys(schedule, 2.9) == []
    assert schedule.next_at() == 3.0
    assert keys(schedule, 10.0) == [A]
    assert keys(schedule, 10.0) == []


def test_a_key_under_way_is_done_again_afterwards_and_never_twice_at_once():
    schedule = Schedule()
    schedule.add(A, 0.0)
    assert keys(schedule, 0.0) == [A]
    schedule.add(A, 0.0)
    assert keys(schedule, 1.0) == []
    assert schedule.next_at() is None
    schedule.done(A)
    assert keys(schedule, 1.0) == [A]


def test_no_more_than_asked_for_are_taken_oldest_first():
    schedule = Schedule()
    for key, at in ((C, 2.0), (A, 0.0), (B, 1.0)):
        schedule.add(key, at)
    assert keys(schedule, 5.0, most=2) == [A, B]
    assert schedule.running == 2
    assert schedule.depth(5.0) == 1
    assert schedule.oldest(5.0) == 3.0
    assert schedule.longest(7.0) == 2.0


def test_a_forgotten_key_is_not_due():
    schedule = Schedule()
    schedule.add(A, 0.0)
    schedule.forget(A)
    assert keys(schedule, 1.0) == []
    assert (schedule.depth(1.0), schedule.oldest(1.0), schedule.longest(1.0)) == (0, 0.0, 0.0)


@pytest.mark.parametrize(("failures", "seconds"), [(1, 0.5), (2, 1.0), (4, 4.0), (7, 30.0), (1000, 30.0)])
def test_backoff_doubles_up_to_its_longest(failures: int, seconds: float):
    assert Backoff(spread=0.0).after(failures) == seconds
    assert 0.8 * seconds <= Backoff(spread=0.2).after(failures) <= 1.2 * seconds


class Rounds:
    """Work that writes down its keys, and fails or waits where it is told to."""

    def __init__(self) -> None:
        self.done: list[Key] = []
        self.fail: list[Exception] = []
        self.again: timedelta | None = None
        self.gate: asyncio.Event | None = None
        self.at_once = 0
        self.most = 0

    async def __call__(self, key: Key) -> timedelta | None:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            if self.gate:
                await self.gate.wait()
            self.done.append(key)
            if self.fail:
                raise self.fail.pop(0)
            return self.again
        finally:
            self.at_once -= 1

    async def reach(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.done) < count:
                await asyncio.sleep(0)


@pytest.fixture
def rounds() -> Rounds:
    return Rounds()


@pytest.fixture
async def queue(rounds: Rounds):
    made = KeyedQueue(rounds, Telemetry(), workers=2, backoff=Backoff(first=0.001, spread=0.0))
    made.let(True)
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await made.drain(0.0)


async def test_a_failing_round_is_tried_again_and_a_lost_race_is_no_failure(queue: KeyedQueue, rounds: Rounds):
    rounds.fail = [RuntimeError("away"), Conflict(), ValueError()]
    queue.add(A)
    await rounds.reach(4)
    text = queue._telemetry.text().decode()
    assert 'controller_runtime_reconcile_total{controller="memorystack",result="error"} 2.0' in text
    assert 'controller_runtime_reconcile_total{controller="memorystack",result="requeue"} 1.0' in text


async def test_a_server_that_wants_to_be_left_alone_is_whatever_happens_meanwhile(queue: KeyedQueue, rounds: Rounds):
    rounds.fail = [Refused(429, "", "too many requests", wait=0.2)]
    began = time.monotonic()
    queue.add(A)
    await rounds.reach(1)
    while queue._schedule.running:
        await asyncio.sleep(0)
    queue.add(A)  # as for a pod that changed
    await rounds.reach(2)
    assert time.monotonic() - began >= 0.2
    queue.add(A)
    await rounds.reach(3)
    assert time.monotonic() - began < 2


async def test_a_key_comes_back_after_the_pause_that_it_asked_for_and_not_without_one(
    queue: KeyedQueue, rounds: Rounds
):
    queue.add(A)
    await rounds.reach(1)
    rounds.again = timedelta()
    queue.add(B)
    await rounds.reach(4)
    assert rounds.done.count(A) == 1


async def test_workers_are_bounded_and_a_closed_queue_begins_nothing(queue: KeyedQueue, rounds: Rounds):
    queue.let(False)
    for key in (A, B, C):
        queue.add(key)
    for _ in range(20):
        await asyncio.sleep(0)
    assert rounds.done == []
    assert queue.stuck_seconds == 0.0  # nobody waits for what may not begin
    rounds.gate = asyncio.Event()
    queue.let(True)
    while rounds.at_once < 2:
        await asyncio.sleep(0)
    assert queue.stuck_seconds > 0
    rounds.gate.set()
    await rounds.reach(3)
    assert rounds.most == 2


async def test_draining_lets_running_work_end_and_cancels_what_does_not(queue: KeyedQueue, rounds: Rounds):
    rounds.gate = asyncio.Event()
    queue.add(A)
    while not rounds.at_once:
        await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(rounds.gate.set)
    await queue.drain(5.0)
    assert rounds.done == [A]
    rounds.gate = asyncio.Event()
    queue.let(True)
    queue.add(B)
    while not rounds.at_once:
        await asyncio.sleep(0)
    await queue.drain(0.01)
    assert rounds.done == [A]
    assert rounds.at_once == 0
