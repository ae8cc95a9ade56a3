"""The small parts of the runtime, each by itself with a clock of the test's own."""

from __future__ import annotations

import asyncio
import json
import time
from itertools import pairwise

import pytest
import uvloop
from pydantic import ValidationError
from support.clock import Clock

from memorystack_runtime.admission import Admission
from memorystack_runtime.chunking import chunk
from memorystack_runtime.contract import LADDER_MS, Budgets
from memorystack_runtime.deadlines import Deadlines
from memorystack_runtime.errors import Misconfigured, Overloaded
from memorystack_runtime.evidence import Ledger
from memorystack_runtime.logs import configure
from memorystack_runtime.models import NewMemory, RecallQuery, StoreRequest
from memorystack_runtime.pulse import LoopLag, on_half_minutes
from memorystack_runtime.settings import Settings, features_from_environment, settings_from_environment

# -- evidence -----------------------------------------------------------------

BUDGETS = Budgets(revision="b1", p95_ms={"recall": 100})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(clock: Clock) -> Ledger:
    ledger = Ledger(clock, clock)
    ledger.revise("f1", BUDGETS)
    return ledger


def recall(ledger: Ledger, flags: str = "f1"):
    return next(c for c in ledger.counters() if c.flags == flags).operations["recall"]


@pytest.mark.parametrize(
    ("seconds", "failed", "bad"), [(0.05, False, 0), (0.099, False, 0), (0.101, False, 1), (0.01, True, 1)]
)
def test_a_request_is_bad_when_slower_than_its_budget_or_failed(
    ledger: Ledger, clock: Clock, seconds: float, failed: bool, bad: int
):
    ticket = ledger.admit("recall")
    clock.now += seconds
    ticket.done(failed=failed)
    found = recall(ledger)
    assert (found.requests, found.bad, found.failed) == (1, bad, int(failed))


def test_the_ladder_counts_what_took_longer_and_failed_ones_at_every_edge(ledger: Ledger, clock: Clock):
    for seconds, failed in ((0.004, False), (0.03, False), (2.0, False), (0.001, True)):
        ticket = ledger.admit("recall")
        clock.now += seconds
        ticket.done(failed=failed)
    over = dict(zip(LADDER_MS, recall(ledger).over, strict=True))
    assert (over[5], over[25], over[32], over[1000]) == (3, 3, 2, 2)


def test_a_request_past_its_budget_is_counted_once_while_it_runs_and_not_again_at_its_end(ledger: Ledger, clock: Clock):
    """R8"""
    ticket = ledger.admit("recall")
    clock.now += 0.09
    assert ledger.counters()[-1].operations == {}
    clock.now += 0.2
    assert (recall(ledger).requests, recall(ledger).bad) == (1, 1)
    assert ledger.overdue() == 1
    clock.now += 5
    over = dict(zip(LADDER_MS, recall(ledger).over, strict=True))
    assert over[1000] == 1
    ticket.done(failed=True)
    found = recall(ledger)
    assert (found.requests, found.bad, found.failed) == (1, 1, 1)
    assert ledger.in_flight == 0
    assert ledger.latency_sum("f1", "b1", "recall") == pytest.approx(5.29)


def test_a_client_s_own_mistake_is_not_counted_unless_it_ran_past_the_budget(ledger: Ledger, clock: Clock):
    ledger.admit("recall").drop()
    assert ledger.counters()[-1].operations == {}
    late = ledger.admit("recall")
    clock.now += 1
    ledger.counters()
    late.drop()
    assert recall(ledger).bad == 1


def test_an_operation_without_a_budget_is_bad_only_when_it_fails(ledger: Ledger, clock: Clock):
    ticket = ledger.admit("get")
    clock.now += 60
    assert ledger.counters()[-1].operations == {}
    ticket.done()
    found = ledger.counters()[-1].operations["get"]
    assert (found.requests, found.bad) == (1, 0)


QUARTER = Budgets(revision="b2", p95_ms={"recall": 250, "store": 500})
"""In parts of a second that a float holds exactly."""


def test_what_takes_just_as_long_as_its_budget_is_not_over_it(ledger: Ledger, clock: Clock):
    ledger.revise("f2", QUARTER)
    ticket = ledger.admit("recall")
    clock.now += 0.25
    assert ledger.overdue() == 0
    assert ledger.counters()[-1].operations == {}
    ticket.done()
    found = recall(ledger, "f2")
    assert (found.requests, found.bad) == (1, 0)
    over = dict(zip(LADDER_MS, found.over, strict=True))
    assert (over[250], over[200]) == (0, 1)


def test_bad_and_failed_requests_add_up(ledger: Ledger, clock: Clock):
    for seconds, failed in ((0.5, True), (0.5, False), (0.01, True), (0.01, False), (0.5, False)):
        ticket = ledger.admit("recall")
        clock.now += seconds
        ticket.done(failed=failed)
    found = recall(ledger)
    assert (found.requests, found.bad, found.failed) == (5, 4, 2)


def test_a_request_past_a_budget_below_the_first_edge_is_counted_once(ledger: Ledger, clock: Clock):
    ledger.revise("f2", Budgets(revision="b3", p95_ms={"recall": 2}))
    ticket = ledger.admit("recall")
    clock.now += 1 / 256
    assert (recall(ledger, "f2").requests, recall(ledger, "f2").bad) == (1, 1)
    ticket.done()
    found = recall(ledger, "f2")
    assert (found.requests, found.bad, set(found.over)) == (1, 1, {0})


def test_before_any_flags_are_known_requests_are_admitted_and_count_for_nobody(clock: Clock):
    ledger = Ledger(clock, clock)
    ticket = ledger.admit("recall")
    clock.now += 60
    assert (ledger.in_flight, ledger.overdue()) == (1, 0)
    ticket.done()
    assert ledger.counters() == ()


def test_requests_in_flight_are_those_that_were_admitted_and_have_not_ended(ledger: Ledger):
    first, second = ledger.admit("recall"), ledger.admit("store")
    assert ledger.in_flight == 2
    first.done()
    assert ledger.in_flight == 1
    second.drop()
    assert ledger.in_flight == 0


def test_requests_are_overdue_by_their_own_budget_whenever_they_were_admitted(ledger: Ledger, clock: Clock):
    ledger.revise("f2", QUARTER)
    for operation in ("recall", "recall", "store", "get"):
        ledger.admit(operation)
    clock.now += 0.375
    assert ledger.overdue() == 2
    clock.now += 0.25
    assert ledger.overdue() == 3


def test_the_time_of_requests_that_ended_is_added_up_for_their_pair_alone(ledger: Ledger, clock: Clock):
    for seconds, failed in ((0.5, False), (0.25, True)):
        ticket = ledger.admit("recall")
        clock.now += seconds
        ticket.done(failed=failed)
    ledger.admit("recall").drop()
    assert ledger.latency_sum("f1", "b1", "recall") == 0.75
    ledger.revise("f2", BUDGETS)
    assert ledger.latency_sum("f2", "b1", "recall") == 0.0


def test_a_request_under_way_grows_older_on_the_ladder_and_is_counted_once(ledger: Ledger, clock: Clock):
    ticket = ledger.admit("recall")
    for seconds, edge in ((0.125, 100), (0.5, 500), (0.75, 1000)):
        clock.now += seconds
        found = recall(ledger)
        over = dict(zip(LADDER_MS, found.over, strict=True))
        assert (found.requests, found.bad, found.failed, over[edge]) == (1, 1, 0, 1)
    ticket.done()
    assert recall(ledger) == found


def test_a_request_that_fails_after_it_was_counted_as_late_fails_at_every_edge(ledger: Ledger, clock: Clock):
    ticket = ledger.admit("recall")
    clock.now += 0.125
    ledger.counters()
    ticket.done(failed=True)
    found = recall(ledger)
    assert (found.requests, found.bad, found.failed) == (1, 1, 1)
    assert set(found.over) == {1}


def test_a_request_belongs_to_the_revision_at_its_admission(ledger: Ledger, clock: Clock):
    ticket = ledger.admit("recall")
    ledger.revise("f2", BUDGETS)
    clock.now += 0.5
    ticket.done()
    assert recall(ledger, "f1").bad == 1
    assert "recall" not in next(c for c in ledger.counters() if c.flags == "f2").operations


def test_three_pairs_are_kept_and_an_old_request_of_a_dropped_one_still_ends(ledger: Ledger):
    old = ledger.admit("recall")
    for flags in ("f2", "f3", "f4"):
        ledger.revise(flags, BUDGETS)
    old.done()
    assert [c.flags for c in ledger.counters()] == ["f2", "f3", "f4"]


def test_a_pair_that_comes_back_goes_on_counting(ledger: Ledger):
    ledger.admit("recall").done()
    ledger.revise("f2", BUDGETS)
    ledger.revise("f1", BUDGETS)
    ledger.admit("recall").done()
    assert recall(ledger).requests == 2


def test_the_long_ring_holds_a_day_of_totals_each_ten_minutes_and_stays_small(ledger: Ledger, clock: Clock):
    clock.now = 0.0
    for _ in range(26 * 120):
        clock.now += 30
        ticket = ledger.admit("recall")
        ticket.done()
        ledger.snapshot()
    ring = ledger.long_ring()
    assert len(ring) == 144
    assert ring[0].age_seconds == 143 * 600
    assert {a.age_seconds - b.age_seconds for a, b in pairwise(ring)} == {600}
    assert ring[-1].counters[0].operations["recall"].requests == 26 * 120
    assert sum(len(s.model_dump_json(by_alias=True)) for s in ring) < 64_000


def test_the_ring_holds_the_last_60_snapshots_with_their_age(ledger: Ledger, clock: Clock):
    for _ in range(70):
        ledger.snapshot()
        clock.now += 30
    ring = ledger.ring()
    assert len(ring) == 60
    assert ring[-1].age_seconds == 30
    assert ring[0].age_seconds == 1800


# -- the rest -----------------------------------------------------------------


def test_admission_refuses_at_once_what_is_too_much():
    admission = Admission(1)
    with admission.enter(), pytest.raises(Overloaded, match="1 requests"), admission.enter():
        pass
    assert (admission.active, admission.refused) == (0, 1)


@pytest.mark.parametrize("text", ["short", "a" * 5000, "One. " * 900, "\n\n".join(["para " * 50] * 30), " x" * 2000])
def test_chunks_join_to_the_same_text_and_keep_their_size(text: str):
    pieces = chunk(text, 800)
    assert "".join(pieces) == text
    assert all(len(p.strip()) <= 800 for p in pieces)


@pytest.mark.parametrize(
    ("model", "value", "field"),
    [
        (StoreRequest, {"namespace": "a"}, "exactly one"),
        (StoreRequest, {"namespace": "a", "text": "x", "memories": [{"text": "y"}]}, "exactly one"),
        (StoreRequest, {"namespace": "a", "text": "  "}, "white space"),
        (StoreRequest, {"namespace": "a", "memories": [{"id": "i", "text": "x"}, {"id": "i", "text": "y"}]}, "twice"),
        (StoreRequest, {"namespace": "*", "text": "x"}, "namespace"),
        (NewMemory, {"text": "\n"}, "white space"),
        (RecallQuery, {"namespace": "a", "query": "q" * 1001}, "query"),
        (RecallQuery, {"namespace": "a", "query": "q", "limit": 101}, "limit"),
        (RecallQuery, {"query": "q"}, "namespace"),
    ],
)
def test_bad_input_is_refused_by_field(model, value: dict, field: str):
    with pytest.raises(ValidationError, match=field):
        model.model_validate(value)


def test_one_memory_and_many_are_the_same_documents():
    one = StoreRequest.model_validate({"namespace": "a", "id": "i", "text": "x", "metadata": {"k": 1}})
    many = StoreRequest.model_validate({"namespace": "a", "memories": [{"id": "i", "text": "x", "metadata": {"k": 1}}]})
    assert one.documents() == many.documents()


def test_wrong_variables_are_all_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MEMORYSTACK_PORT", "high")
    monkeypatch.setenv("MEMORYSTACK_EMBEDDER_DIMENSIONS", "0")
    with pytest.raises(Misconfigured) as caught:
        settings_from_environment()
    assert "MEMORYSTACK_PORT" in str(caught.value)
    assert "MEMORYSTACK_EMBEDDER_DIMENSIONS" in str(caught.value)
    monkeypatch.undo()
    assert isinstance(settings_from_environment(), Settings)


def test_the_original_s_flag_variables_are_read():
    assert features_from_environment({}) is None
    found = features_from_environment(
        {
            "MEMORY_HTTP_POOL_ENABLED": "true",
            "MEMORY_HTTP_POOL_CONNECTIONS": "4",
            "MEMORY_HTTP_POOL_KEEP_ALIVE_TIMEOUT": "4000",
            "MEMORY_PARALLEL_INGEST_CONCURRENCY": "8",
            "MEMORY_CACHE_MAX_SIZE": "500",
        }
    )
    assert json.loads(found.model_dump_json(by_alias=True)) == {
        "httpPool": {"enabled": True, "connections": 4, "keepAliveMs": 4000},
        "parallelIngest": {"concurrency": 8},
        "cache": {"maxSize": 500, "ttlMs": 60000},
    }
    with pytest.raises(Misconfigured, match="MEMORY_CACHE_MAX_SIZE='-1'"):
        features_from_environment({"MEMORY_CACHE_MAX_SIZE": "-1"})


def test_an_unknown_log_level_is_named():
    with pytest.raises(Misconfigured, match="MEMORYSTACK_LOG_LEVEL"):
        configure("b", "p", "loud")


async def test_a_snapshot_when_the_timer_fires_early_then_comes_once_and_not_before_its_half_minute():
    seen: list[float] = []
    times = iter([59.95, 59.95, 59.9996, 59.9996, 59.9998, 59.9998, 60.0005])
    now = 0.0

    def wall() -> float:
        nonlocal now
        now = next(times, 60.001)
        return now

    task = asyncio.create_task(on_half_minutes(lambda: seen.append(now), wall))
    await asyncio.sleep(0.4)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert seen == [60.0005]


def test_snapshots_on_the_servers_own_loop_come_once_for_each_stretch_of_time(monkeypatch: pytest.MonkeyPatch):
    """libuv counts whole milliseconds, so its timers fire up to one too early, and again and again until the moment has come."""
    monkeypatch.setattr("memorystack_runtime.pulse.RING_SECONDS", 0.03)
    seen: list[int] = []

    async def main() -> None:
        task = asyncio.create_task(on_half_minutes(lambda: seen.append(int(time.time() // 0.03))))
        await asyncio.sleep(1.5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    uvloop.run(main())
    assert len(seen) > 5
    assert len(seen) == len(set(seen))


async def test_a_blocked_loop_shows_as_lag():
    lag = LoopLag()
    assert lag.milliseconds == 0.0
    task = asyncio.create_task(lag.run())
    await asyncio.sleep(0.26)

    time.sleep(0.35)
    await asyncio.sleep(0.1)
    assert lag.milliseconds > 50
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


# -- deadlines ----------------------------------------------------------------


async def within(deadlines: Deadlines, work) -> str:
    try:
        with deadlines.turn():
            await work
    except TimeoutError:
        return "cut off"
    return "done"


async def test_a_deadline_ends_what_is_late_and_nothing_else():
    deadlines, never = Deadlines(0.5), asyncio.Event()
    assert await within(deadlines, asyncio.sleep(0)) == "done"
    began = asyncio.get_running_loop().time()
    first = asyncio.create_task(within(deadlines, never.wait()))
    await asyncio.sleep(0.3)
    second = asyncio.create_task(within(deadlines, never.wait()))
    third = asyncio.create_task(within(deadlines, asyncio.sleep(0.2)))
    assert await first == "cut off"
    assert not second.done()
    assert (await second, await third) == ("cut off", "done")
    assert 0.79 <= asyncio.get_running_loop().time() - began < 5
    assert await within(deadlines, never.wait()) == "cut off"


async def test_a_deadline_that_was_kept_leaves_the_next_one_its_own_time():
    deadlines, loop = Deadlines(0.5), asyncio.get_running_loop()
    assert await within(deadlines, asyncio.sleep(0.3)) == "done"
    began = loop.time()
    assert await within(deadlines, asyncio.Event().wait()) == "cut off"
    assert loop.time() - began >= 0.49
    await asyncio.sleep(0.6)
    assert await within(deadlines, asyncio.Event().wait()) == "cut off"


async def test_of_two_deadlines_in_one_task_the_shorter_ends_its_own_part_alone():
    outer, inner = Deadlines(30), Deadlines(0.01)

    async def part() -> str:
        return await within(inner, asyncio.Event().wait())

    with outer.turn():
        assert await part() == "cut off"
        await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_cancellation_by_somebody_else_stays_one():
    deadlines = Deadlines(30)
    task = asyncio.create_task(within(deadlines, asyncio.Event().wait()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_work_that_ends_with_its_own_error_at_the_deadline_keeps_it():
    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError("its own") from None

    with pytest.raises(ValueError, match="its own"):
        await within(Deadlines(0.01), stubborn())


async def test_a_deadline_without_a_task_is_refused():
    said = asyncio.get_running_loop().create_future()

    def outside() -> None:
        try:
            Deadlines(1).turn()
        except RuntimeError as error:
            said.set_result(str(error))

    asyncio.get_running_loop().call_soon(outside)
    assert "needs a task" in await said
