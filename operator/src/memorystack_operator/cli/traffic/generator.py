"""An open loop: requests leave at their rate whether or not earlier ones have come back, as users do.

Knows: rates, bounds and counting. Must not know: what stands behind the URL. Raw aiohttp: the generator shares the machine
with what it measures, and httpx would cost it three times the CPU.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import orjson

from memorystack_operator.cli.traffic.corpus import Corpus

__all__ = ["OperationSummary", "Plan", "Summary", "Traffic"]

RECENT: Final = 50
"""Questions that may be asked again."""
KEPT_LATENCIES: Final = 200_000
TIMEOUT_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Always bounded: by time, and by requests in flight."""

    url: str
    recalls_per_second: float = 35.0
    stores_per_second: float = 8.0
    repeat: float = 0.3
    seconds: float = 60.0
    namespaces: int = 4
    fewest_chunks: int = 2
    most_chunks: int = 8
    keep_alive: bool = False
    api_key: str = ""
    budget_ms: float = 250.0
    max_in_flight: int = 256
    seed: int = 1


@dataclass(frozen=True, slots=True)
class OperationSummary:
    """Latencies in milliseconds, as the client saw them."""

    sent: int
    failed: int
    over_budget_share: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Summary:
    """What was sent and what came back."""

    seconds: float
    recall: OperationSummary
    store: OperationSummary
    dropped: int
    """Not sent, since the bound of requests in flight was reached."""
    statuses: dict[str, int]


@dataclass
class _Tally:
    sent: int = 0
    failed: int = 0
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_LATENCIES))

    def summary(self, budget_ms: float) -> OperationSummary:
        ordered = sorted(self.latencies)

        def at(q: float) -> float:
            return round(ordered[min(len(ordered) - 1, int(q * len(ordered)))], 1) if ordered else 0.0

        over = sum(ms > budget_ms for ms in ordered)
        share = round(over / len(ordered), 4) if ordered else 0.0
        return OperationSummary(self.sent, self.failed, share, at(0.5), at(0.95), at(0.99))


class Traffic:
    """One run of a plan."""

    def __init__(self, plan: Plan, corpus: Corpus) -> None:
        self._plan = plan
        self._corpus = corpus
        self._chance = random.Random(plan.seed)  # noqa: S311 -- repeatable traffic, not a secret
        self._asked: deque[tuple[str, str]] = deque(maxlen=RECENT)
        self._tallies = {"recall": _Tally(), "store": _Tally()}
        self._statuses: dict[str, int] = {}
        self._dropped = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._began = time.monotonic()

    async def run(self, stop: asyncio.Event, tell: Callable[[Summary], None], every: float = 5.0) -> Summary:
        """Until the plan's time is over or `stop` is set; `tell` gets an interim summary every few seconds."""
        connector = aiohttp.TCPConnector(limit=0, force_close=not self._plan.keep_alive)
        headers = {"content-type": "application/json"}
        if self._plan.api_key:
            headers["x-api-key"] = self._plan.api_key
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(connector=connector, headers=headers, timeout=timeout) as session:
            self._began = time.monotonic()
            senders = [
                asyncio.create_task(self._send(session, "recall", self._plan.recalls_per_second, self._recall)),
                asyncio.create_task(self._send(session, "store", self._plan.stores_per_second, self._store)),
                asyncio.create_task(self._report(tell, every)),
            ]
            try:
                async with asyncio.timeout(self._plan.seconds):
                    await stop.wait()
            except TimeoutError:
                pass
            finally:
                for task in senders:
                    task.cancel()
                await asyncio.gather(*senders, return_exceptions=True)
                await asyncio.gather(*self._tasks, return_exceptions=True)
        return self.summary()

    def summary(self) -> Summary:
        """As of now."""
        budget = self._plan.budget_ms
        return Summary(
            seconds=round(time.monotonic() - self._began, 1),
            recall=self._tallies["recall"].summary(budget),
            store=self._tallies["store"].summary(budget),
            dropped=self._dropped,
            statuses=dict(sorted(self._statuses.items())),
        )

    async def _report(self, tell: Callable[[Summary], None], every: float) -> None:
        while True:
            await asyncio.sleep(every)
            tell(self.summary())

    async def _send(
        self, session: aiohttp.ClientSession, name: str, rate: float, make: Callable[[], tuple[str, dict[str, Any]]]
    ) -> None:
        """Evenly spaced with jitter: the pace of a Poisson stream without its longest gaps and bursts."""
        if rate <= 0:
            return
        due = time.monotonic()
        while True:
            due += self._chance.uniform(0.5, 1.5) / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if len(self._tasks) >= self._plan.max_in_flight:
                self._dropped += 1
                continue
            path, body = make()
            task = asyncio.create_task(self._one(session, name, path, body))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _one(self, session: aiohttp.ClientSession, name: str, path: str, body: dict[str, Any]) -> None:
        tally = self._tallies[name]
        tally.sent += 1
        began = time.perf_counter()
        try:
            async with session.post(self._plan.url + path, data=orjson.dumps(body)) as response:
                await response.read()
                status = str(response.status)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            status = type(error).__name__
        tally.latencies.append(1000 * (time.perf_counter() - began))
        self._statuses[status] = self._statuses.get(status, 0) + 1
        if not status.startswith("2"):
            tally.failed += 1

    def _recall(self) -> tuple[str, dict[str, Any]]:
        if self._asked and self._chance.random() < self._plan.repeat:
            namespace, question = self._chance.choice(self._asked)
        else:
            namespace, question = self._namespace(), self._corpus.question(self._chance)
            self._asked.append((namespace, question))
        return "/v1/recall", {"namespace": namespace, "query": question, "limit": 5}

    def _store(self) -> tuple[str, dict[str, Any]]:
        text = self._corpus.document(self._chance, self._plan.fewest_chunks, self._plan.most_chunks)
        # A number in front makes each document a new one: storing the same again would cost nothing.
        text = f"Note {self._chance.getrandbits(32)}. {text}"
        return "/v1/memories", {"namespace": self._namespace(), "text": text}

    def _namespace(self) -> str:
        return f"load-{self._chance.randrange(self._plan.namespaces)}"
