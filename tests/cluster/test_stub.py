"""The stub pod: what tests of timing and of faults stand on."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from support.stub import Behaviour, Burst, Rule
from support.stub.behaviour import VARIABLE
from support.stub.shared import SharedDependency, take

from memorystack_operator.core.history import Scope, cut
from memorystack_runtime.contract import (
    BUDGETS_FILE,
    FLAGS_FILE,
    LEASE_FILE,
    Budgets,
    EvidenceReport,
    Features,
    FlagLease,
    FlagsFile,
    HttpPool,
    revision_of,
)

TESTS = Path(__file__).parents[1]
STABLE = Features()
NEW = Features(http_pool=HttpPool(enabled=True, connections=4))


class Pod:
    """A stub as a process, with a config folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host = "127.0.0.1"
        self.port, self.internal_port = _free(), _free()
        self.process: subprocess.Popen[bytes] | None = None
        self.web = httpx.Client(trust_env=False, timeout=5)
        self.write(FLAGS_FILE, FlagsFile(revision=revision_of(STABLE), features=STABLE).model_dump_json(by_alias=True))
        self.write(BUDGETS_FILE, Budgets(revision="b1", p95_ms={"recall": 250}).model_dump_json(by_alias=True))

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def lend(self, renewal: int = 1) -> None:
        lease = FlagLease(epoch=1, revision=revision_of(NEW), features=NEW, renewal=renewal)
        self.write(LEASE_FILE, lease.model_dump_json(by_alias=True))

    def start(self, behaviour: Behaviour) -> None:
        own = {
            "MEMORYSTACK_CONFIG_DIR": str(self.folder),
            "MEMORYSTACK_HOST": self.host,
            "MEMORYSTACK_PORT": str(self.port),
            "MEMORYSTACK_INTERNAL_PORT": str(self.internal_port),
            VARIABLE: behaviour.model_dump_json(by_alias=True),
        }
        self.process = subprocess.Popen([sys.executable, "-m", "support.stub"], cwd=TESTS, env={**os.environ, **own})
        wait(lambda: self.inside("/healthz") is not None, "the stub does not answer")

    def inside(self, path: str) -> int | None:
        try:
            return self.web.get(f"http://{self.host}:{self.internal_port}{path}").status_code
        except httpx.HTTPError:
            return None

    def report(self, *, history: bool = False) -> EvidenceReport:
        url = f"http://{self.host}:{self.internal_port}/internal/evidence"
        answer = self.web.get(url, params={"history": "1"} if history else {})
        return EvidenceReport.model_validate_json(answer.content)

    def control(self, **changes: object) -> int:
        url = f"http://{self.host}:{self.internal_port}/control"
        return self.web.put(url, content=json.dumps(changes)).status_code

    def recall(self) -> tuple[int, float]:
        """The status, and the milliseconds that it took."""
        began = time.perf_counter()
        answer = self.web.post(f"http://{self.host}:{self.port}/v1/recall", json={"namespace": "a", "query": "q"})
        return answer.status_code, 1000 * (time.perf_counter() - began)

    def end(self) -> None:
        self.web.close()
        if self.process:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    one = Pod(tmp_path)
    yield one
    one.end()


def wait(until: Callable[[], object], what: str, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def _free() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_a_stub_when_flags_are_lent_then_answers_as_fast_as_they_say_and_counts_under_their_revision(pod: Pod) -> None:
    fast, slow = Rule(p95_ms=1, sigma=0), Rule(when={"httpPool": {"enabled": True}}, p95_ms=300, sigma=0)
    pod.start(Behaviour(rules=(slow, fast), history_seconds=0))
    status, took = pod.recall()
    assert (status, took < 250) == (200, True)
    pod.lend()
    wait(lambda: pod.report().source == "lease", "the lease is not confirmed")
    assert pod.report().flags == revision_of(NEW)
    status, took = pod.recall()
    assert (status, took >= 300) == (200, True)
    counted = {c.flags: c.operations["recall"] for c in pod.report().counters}
    assert (counted[revision_of(STABLE)].requests, counted[revision_of(STABLE)].bad) == (1, 0)
    assert (counted[revision_of(NEW)].requests, counted[revision_of(NEW)].bad) == (1, 1)


def test_a_stub_when_it_starts_then_a_lease_that_lies_there_does_not_count(pod: Pod) -> None:
    pod.lend()
    pod.start(Behaviour(history_seconds=0))
    assert pod.report().source == "file"
    pod.lend(renewal=2)
    wait(lambda: pod.report().source == "lease", "the renewed lease is not confirmed")


def test_a_stub_when_it_has_a_history_then_the_operator_reads_half_an_hour_and_a_day_of_it(pod: Pod) -> None:
    rule = Rule(p95_ms=150)
    rate = 250  # so that a tenth of the slow answers is five of their deviations: which are drawn depends on the minute
    pod.start(Behaviour(rules=(rule,), history_rate=rate))
    report = pod.report(history=True)
    assert (len(report.ring), len(report.long_ring)) == (60, 144)
    found = cut([report], Scope("recall", revision_of(STABLE), time.time(), 250)).total()
    assert found.requests == pytest.approx(rate * 29.5 * 60, rel=0.03)
    assert found.bad / found.requests == pytest.approx(rule.share_over(250), rel=0.1)
    day = [s.counters[0].operations["recall"].requests for s in report.long_ring]
    assert day == sorted(day)
    assert day[-1] - day[0] == pytest.approx(rate * 143 * 600, rel=0.01)


@pytest.mark.parametrize(
    ("changes", "look", "expected"),
    [
        ({"ready": False}, lambda p: p.inside("/readyz"), 503),
        ({"alive": False}, lambda p: p.inside("/healthz"), 500),
        ({"evidence": "Refuses"}, lambda p: p.inside("/internal/evidence"), 500),
        ({"rules": [{"failedShare": 1.0, "p95Ms": 1}]}, lambda p: p.recall()[0], 500),
        ({"rules": [{"when": {"pool": {}}}]}, lambda p: p.inside("/healthz"), 200),
    ],
    ids=["not ready", "not alive", "no evidence", "failing", "a feature that is none is refused"],
)
def test_a_stub_when_told_to_be_broken_then_is(
    pod: Pod, changes: Mapping[str, object], look: Callable[[Pod], int], expected: int
) -> None:
    pod.start(Behaviour(history_seconds=0))
    assert pod.control(**changes) == (422 if "pool" in str(changes) else 200)
    assert look(pod) == expected


def test_a_stub_when_told_to_crash_then_ends_with_thirteen(pod: Pod) -> None:
    pod.start(Behaviour(history_seconds=0))
    with pytest.raises(httpx.HTTPError):
        pod.control(crash=True)
    assert pod.process is not None
    assert pod.process.wait(10) == 13


def test_a_stub_when_it_hangs_then_its_requests_are_counted_as_running_past_the_budget(pod: Pod) -> None:
    pod.start(Behaviour(hang=True, history_seconds=0))
    with closing(socket.create_connection((pod.host, pod.port), timeout=5)) as client:
        client.sendall(b"POST /v1/recall HTTP/1.1\r\nhost: pod\r\ncontent-length: 2\r\n\r\n{}")
        wait(lambda: pod.report().counters[-1].operations, "the request is not counted")
        assert pod.report().counters[-1].operations["recall"].bad == 1
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1)


def test_a_shared_dependency_when_flooded_then_each_of_its_callers_waits_and_no_longer_than_it_must(pod: Pod) -> None:
    with SharedDependency(ms_per_unit=10) as dependency:
        pod.start(Behaviour(shared=dependency.address, rules=(Rule(p95_ms=1, sigma=0, units=1),), history_seconds=0))
        assert pod.recall()[1] < 200
        asyncio.run(take(dependency.address, 0))
        flood = threading.Thread(target=asyncio.run, args=(take(dependency.address, 40),))
        flood.start()
        wait(lambda: dependency.backlog_seconds > 0.3, "nobody is in the line")
        assert 250 < pod.recall()[1] < 500
        flood.join()
        dependency.ms_per_unit = 1000
        assert pod.recall()[1] >= 1000


def test_a_shared_dependency_when_the_line_is_long_then_who_comes_leaves_after_half_a_second() -> None:
    async def late() -> float:
        first = asyncio.create_task(take(dependency.address, 80))
        await asyncio.sleep(0.05)
        begin = time.monotonic()
        await take(dependency.address, 80)
        took = time.monotonic() - begin
        await first
        return took

    with SharedDependency(ms_per_unit=10) as dependency:
        assert asyncio.run(late()) == pytest.approx(0.5, abs=0.2)


def test_a_rule_when_p95_is_the_budget_then_five_percent_are_over_it() -> None:
    assert Rule(p95_ms=250, sigma=0.6).share_over(250) == pytest.approx(0.05)
    # The two arms of rivals.md: p95 of 150 ms and 375 ms against a budget of 250 ms.
    assert Rule(p95_ms=150, sigma=0.6).share_over(250) == pytest.approx(0.0064, abs=0.0002)
    assert Rule(p95_ms=375, sigma=0.6).share_over(250) == pytest.approx(0.166, abs=0.001)


def test_a_burst_when_its_seconds_have_come_then_doubles_latencies_in_all_pods_at_once() -> None:
    burst = Burst(every_seconds=20, seconds=2, factor=2)
    assert [burst.now(at) for at in (0.0, 1.9, 2.0, 19.9, 40.5)] == [2, 2, 1, 1, 2]


@pytest.mark.parametrize(
    ("start", "end", "seconds"), [(0, 20, 2), (0, 30, 4), (10, 30, 2), (1, 21, 2), (1, 2, 1), (5, 15, 0), (19, 41, 3)]
)
def test_a_stretch_of_time_when_asked_then_knows_how_much_of_it_is_bursts(
    start: float, end: float, seconds: float
) -> None:
    assert Burst(every_seconds=20, seconds=2, factor=2).within(start, end) == pytest.approx(seconds)


def test_a_history_when_there_are_bursts_then_has_had_them_too(pod: Pod) -> None:
    rule, burst = Rule(p95_ms=150), Burst(every_seconds=20, seconds=2, factor=2)
    slow = Rule(p95_ms=300)
    pod.start(Behaviour(rules=(rule,), burst=burst, history_seconds=1800, history_rate=400))
    report = pod.report(history=True)
    found = cut([report], Scope("recall", revision_of(STABLE), time.time(), 250)).total()
    expected = 0.9 * rule.share_over(250) + 0.1 * slow.share_over(250)
    assert found.requests == pytest.approx(400 * 1800, rel=0.05)
    assert found.bad / found.requests == pytest.approx(expected, rel=0.05)
