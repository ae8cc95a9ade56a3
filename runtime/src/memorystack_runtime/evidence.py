"""Counts what the operator judges by: requests, bad and failed ones, by the revision under which each was admitted.

Knows: latencies, budgets and revisions. Must not know: HTTP. The rules of counting are contract.Counters'.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from memorystack_runtime.contract import (
    LADDER_MS,
    LONG_RING_LENGTH,
    LONG_RING_SECONDS,
    OPERATIONS,
    RING_LENGTH,
    RING_SECONDS,
    Budgets,
    Counters,
    Operation,
    RevisionCounters,
    Snapshot,
)

__all__ = ["Ledger", "Ticket"]

KEPT: Final = 3
"""The current and the two previous pairs of revisions."""
Taken = tuple[float, tuple[RevisionCounters, ...]]
"""Unix seconds, and the totals then."""
_EDGES: Final = tuple(ms / 1000 for ms in LADDER_MS)
_TOP: Final = len(_EDGES)


@dataclass(slots=True)
class _Count:
    requests: int = 0
    bad: int = 0
    failed: int = 0
    latency_sum: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (_TOP + 1))
    """buckets[i]: requests that took longer than exactly i edges."""

    def frozen(self) -> Counters:
        longer = list(accumulate(reversed(self.buckets)))
        over = tuple(longer[_TOP - 1 - i] for i in range(_TOP))
        return Counters(requests=self.requests, bad=self.bad, failed=self.failed, over=over)


@dataclass(slots=True)
class _Book:
    """The counts of one pair of revisions."""

    flags: str
    budgets: str
    limits: dict[Operation, float]
    counts: dict[Operation, _Count] = field(default_factory=lambda: {name: _Count() for name in OPERATIONS})

    def frozen(self) -> RevisionCounters:
        operations = {name: count.frozen() for name, count in self.counts.items() if count.requests}
        return RevisionCounters(flags=self.flags, budgets=self.budgets, operations=operations)


class Ticket:
    """One request from its admission to its end; end it exactly once, by `done` or `drop`."""

    __slots__ = ("_book", "_bucket", "_ledger", "operation", "started")

    def __init__(self, ledger: Ledger, book: _Book, operation: Operation, started: float) -> None:
        self._ledger = ledger
        self._book = book
        self._bucket = -1
        """-1 until it is counted, then the bucket it stands in."""
        self.operation = operation
        self.started = started

    def overdue(self, now: float) -> None:
        """Counts it as bad once it has run past its budget, and moves it up the ladder as it grows older."""
        age = now - self.started
        if self._bucket < 0 and age <= self._book.limits.get(self.operation, float("inf")):
            return
        self._enter(bisect_left(_EDGES, age), bad=True)

    def done(self, *, failed: bool = False) -> None:
        """It ended; `failed` = 5xx, refused at admission, or cut off by the deadline."""
        age = self._ledger.close(self)
        limit = self._book.limits.get(self.operation, float("inf"))
        self._enter(_TOP if failed else bisect_left(_EDGES, age), bad=failed or age > limit)
        count = self._book.counts[self.operation]
        count.failed += failed
        count.latency_sum += age

    def drop(self) -> None:
        """The client's own mistake, or it left: not counted, unless it had already run past the budget."""
        self._ledger.close(self)

    def _enter(self, bucket: int, *, bad: bool) -> None:
        count = self._book.counts[self.operation]
        if self._bucket < 0:
            count.requests += 1
            count.bad += bad
        else:
            count.buckets[self._bucket] -= 1
            bucket = max(bucket, self._bucket)
        count.buckets[bucket] += 1
        self._bucket = bucket


class Ledger:
    """All counts of one process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._wall = wall
        self._books: dict[tuple[str, str], _Book] = {}
        self._open: set[Ticket] = set()
        self._ring: deque[Taken] = deque(maxlen=RING_LENGTH)
        self._long_ring: deque[Taken] = deque(maxlen=LONG_RING_LENGTH)
        self._current = _Book("", "", {})

    @property
    def in_flight(self) -> int:
        """Requests that were admitted and have not ended."""
        return len(self._open)

    def revise(self, flags: str, budgets: Budgets) -> None:
        """Requests admitted from now on belong to this pair; the pair before the two previous ones is forgotten."""
        self._current = self._book(flags, budgets)

    def admit(self, operation: Operation) -> Ticket:
        """A request begins."""
        ticket = Ticket(self, self._current, operation, self._clock())
        self._open.add(ticket)
        return ticket

    def close(self, ticket: Ticket) -> float:
        """The ticket's age in seconds; it is no longer in flight."""
        self._open.discard(ticket)
        return self._clock() - ticket.started

    def counters(self) -> tuple[RevisionCounters, ...]:
        """Counts as of now, oldest pair first."""
        now = self._clock()
        for ticket in self._open:
            ticket.overdue(now)
        return tuple(book.frozen() for book in self._books.values())

    def overdue(self) -> int:
        """Requests in flight past their budget."""
        now = self._clock()
        limits = self._current.limits
        return sum(now - t.started > limits.get(t.operation, float("inf")) for t in self._open)

    def latency_sum(self, flags: str, budgets: str, operation: Operation) -> float:
        """Seconds of all ended requests of one pair, for the histogram's `_sum`."""
        return self._books[flags, budgets].counts[operation].latency_sum

    def snapshot(self) -> None:
        """Adds an entry to the ring, and every ten minutes of the wall clock to the long one."""
        taken = (self._wall(), self.counters())
        self._ring.append(taken)
        if round(taken[0] / RING_SECONDS) % (LONG_RING_SECONDS // RING_SECONDS) == 0:
            self._long_ring.append(taken)

    def ring(self) -> tuple[Snapshot, ...]:
        """The last half hour, oldest first."""
        return self._aged(self._ring)

    def long_ring(self) -> tuple[Snapshot, ...]:
        """The last day, oldest first."""
        return self._aged(self._long_ring)

    def _aged(self, ring: Iterable[Taken]) -> tuple[Snapshot, ...]:
        now = self._wall()
        return tuple(Snapshot(age_seconds=max(0.0, now - at), counters=counters) for at, counters in ring)

    def _book(self, flags: str, budgets: Budgets) -> _Book:
        key = (flags, budgets.revision)
        limits = {name: ms / 1000 for name, ms in budgets.p95_ms.items()}
        book = self._books.pop(key, None) or _Book(flags, budgets.revision, limits)
        self._books[key] = book
        while len(self._books) > KEPT:
            del self._books[next(iter(self._books))]
        return book
