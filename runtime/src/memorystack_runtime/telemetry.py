"""Prometheus metrics, read from the counts at each scrape; nothing is counted twice for them.

Knows: names and labels. Must not know: how things are counted. Labels are closed: operations, and the kept revisions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.process_collector import ProcessCollector

from memorystack_runtime.admission import Admission
from memorystack_runtime.contract import LADDER_MS, Counters
from memorystack_runtime.evidence import Ledger
from memorystack_runtime.flags import FlagBoard
from memorystack_runtime.memory import MemoryService, MemoryStats

__all__ = ["Telemetry"]

_BY: Final = ["operation", "revision"]
_GAUGES: Final = (
    ("lru_size", "memorystack_cache_entries", "Entries in the in-process LRU"),
    ("redis_up", "memorystack_redis_up", "Redis is in use and within reach"),
    ("embeds_in_flight", "memorystack_embeds_in_flight", "Embed requests under way"),
    ("embeds_queued", "memorystack_ingest_queue_depth", "Embed requests that wait for their turn"),
)
_COUNTERS: Final = (
    ("lru_evictions", "memorystack_cache_evictions", "Entries pushed out of the LRU"),
    ("embed_requests", "memorystack_embed_requests", "Requests to the embedder"),
    ("pool_waits", "memorystack_pool_waits", "Calls that waited for a pooled connection"),
    ("pool_wait_seconds", "memorystack_pool_wait_seconds", "Seconds that calls waited for a pooled connection"),
    ("degraded_recalls", "memorystack_recalls_degraded", "Recalls answered without the embedder"),
)


class Telemetry:
    """A registry of one process."""

    def __init__(self, ledger: Ledger, board: FlagBoard, memory: MemoryService, admission: Admission) -> None:
        self._ledger = ledger
        self._board = board
        self._memory = memory
        self._admission = admission
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """The exposition."""
        return generate_latest(self._registry)

    def describe(self) -> Iterator[Any]:
        """Nothing beforehand: names depend on no state, and collecting twice would cost twice."""
        return iter(())

    def collect(self) -> Iterator[Any]:
        """prometheus_client's own protocol."""
        yield from self._requests()
        yield GaugeMetricFamily("memorystack_requests_overdue", "In flight past the budget", self._ledger.overdue())
        yield CounterMetricFamily("memorystack_requests_refused", "Refused at admission", self._admission.refused)
        yield self._flags()
        yield from _of_memory(self._memory.stats())

    def _requests(self) -> Iterator[Any]:
        total = CounterMetricFamily("memorystack_requests", "Decided requests", labels=_BY)
        bad = CounterMetricFamily("memorystack_requests_bad", "Over budget or failed", labels=_BY)
        failed = CounterMetricFamily("memorystack_requests_failed", "5xx, refused or cut off", labels=_BY)
        seconds = HistogramMetricFamily("memorystack_request_duration_seconds", "Latency", labels=_BY)
        for book in self._ledger.counters():
            for name, counters in book.operations.items():
                labels = [name, f"{book.flags}/{book.budgets}"]
                total.add_metric(labels, counters.requests)
                bad.add_metric(labels, counters.bad)
                failed.add_metric(labels, counters.failed)
                seconds.add_metric(labels, _buckets(counters), self._ledger.latency_sum(book.flags, book.budgets, name))
        yield from (total, bad, failed, seconds)

    def _flags(self) -> GaugeMetricFamily:
        info = GaugeMetricFamily("memorystack_flags_info", "The flags in force", labels=["revision", "source"])
        if self._board.current:
            info.add_metric([self._board.current.revision, self._board.current.source], 1)
        return info


def _buckets(counters: Counters) -> list[tuple[str, float]]:
    pairs = [
        (str(ms / 1000), float(counters.requests - over)) for ms, over in zip(LADDER_MS, counters.over, strict=True)
    ]
    return [*pairs, ("+Inf", float(counters.requests))]


def _of_memory(stats: MemoryStats) -> Iterator[Any]:
    hits = CounterMetricFamily("memorystack_cache_hits", "Recalls answered from a cache", labels=["tier"])
    hits.add_metric(["lru"], stats.lru_hits)
    hits.add_metric(["redis"], stats.redis_hits)
    yield hits
    yield CounterMetricFamily("memorystack_cache_misses", "Recalls that had to be computed", stats.cache_misses)
    for field, name, text in _GAUGES:
        yield GaugeMetricFamily(name, text, float(getattr(stats, field)))
    for field, name, text in _COUNTERS:
        yield CounterMetricFamily(name, text, float(getattr(stats, field)))
