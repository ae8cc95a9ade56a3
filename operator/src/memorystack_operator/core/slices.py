"""What all pods of a stack served together, in slices of time, from their two rings.

Knows: cumulative counters and ages. Must not know: which requests are bad, or what is made of the counts. Unlike the
blocks of `history.py` a slice needs no pod to have been there all the time: pods come and go in a month.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from memorystack_operator.core.evidence import Tally
from memorystack_runtime.contract import (
    LONG_RING_SECONDS,
    RING_SECONDS,
    EvidenceReport,
    RevisionCounters,
    Snapshot,
)

__all__ = ["Book", "Count", "Slice", "pooled"]

LONG: Final = LONG_RING_SECONDS // RING_SECONDS
Count = Callable[[RevisionCounters], tuple[int, int]]
"""Cumulative (requests, bad ones) of a book."""


@dataclass(frozen=True, slots=True)
class Book:
    """Whose requests count: those under one revision of the flags and one of the budgets."""

    flags: str
    budgets: str

    def of(self, counters: Iterable[RevisionCounters]) -> RevisionCounters | None:
        """None: nothing was served under them."""
        return next((c for c in counters if c.flags == self.flags and c.budgets == self.budgets), None)


@dataclass(frozen=True, slots=True)
class Slice:
    """Half a minute, or ten minutes of the day before."""

    begin: float
    """Unix seconds."""
    seconds: float
    tally: Tally

    @property
    def rate(self) -> float:
        """Requests per second of all pods together."""
        return self.tally.requests / self.seconds


def pooled(
    reports: Iterable[EvidenceReport], book: Book, count: Count, *, since: float, now: float
) -> tuple[Slice, ...]:
    """Slices that began after `since`, oldest first: half minutes as far as they reach, ten minutes before them.

    `since` and `now` in Unix seconds, `now` when the reports were read. The runtime takes its snapshots at whole half
    minutes of the wall clock, so pods are in phase.
    """
    reports = tuple(reports)
    short = [_line(r.ring, book, count, now) for r in reports]
    long = [_line(r.long_ring, book, count, now) for r in reports]
    first = min((slot for line in short for slot in line), default=0)
    sums: dict[tuple[int, int], Tally] = {}
    for line, length in (*((s, 1) for s in short), *((s, LONG) for s in long)):
        for slot, tally in _steps(line, length):
            if length == 1 or slot <= first:
                sums[slot, length] = sums.get((slot, length), Tally()) + tally
    return tuple(
        Slice((slot - length) * RING_SECONDS, length * RING_SECONDS, tally)
        for (slot, length), tally in sorted(sums.items())
        if (slot - length) * RING_SECONDS >= since
    )


def _line(ring: Iterable[Snapshot], book: Book, count: Count, now: float) -> dict[int, tuple[int, int]]:
    """Cumulative (requests, bad) by slot; a revision that is not there yet has served nothing."""
    found = {}
    for snapshot in ring:
        counted = book.of(snapshot.counters)
        slot = round((now - snapshot.age_seconds) / RING_SECONDS)
        found[slot] = count(counted) if counted else (0, 0)
    return found


def _steps(line: dict[int, tuple[int, int]], length: int) -> Iterator[tuple[int, Tally]]:
    """Between neighbours of the grid; a counter that fell was forgotten in between, and proves nothing."""
    for before, slot in pairwise(sorted(line)):
        requests, bad = line[slot][0] - line[before][0], line[slot][1] - line[before][1]
        if slot - before == length and requests > 0 and bad >= 0:
            yield slot, Tally(requests, bad)
