"""What all pods of a stack served together, in slices of time, from their two rings.

Knows: cumulative counters and ages. Must not know: what is made of the counts. Unlike the blocks of `history.py` a slice
needs no pod to have been there all the time: pods come and go in a month.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from memorystack_operator.core.evidence import Tally
from memorystack_runtime.contract import LONG_RING_SECONDS, RING_SECONDS, EvidenceReport, Operation, Snapshot

__all__ = ["Slice", "pooled"]

LONG: Final = LONG_RING_SECONDS // RING_SECONDS


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
    reports: Iterable[EvidenceReport], operation: Operation, flags: str, budgets: str, *, since: float, now: float
) -> tuple[Slice, ...]:
    """Slices that began after `since`, oldest first: half minutes as far as they reach, ten minutes before them.

    Only requests under this flags and this budgets revision; `since` and `now` in Unix seconds, `now` when the reports
    were read. The runtime takes its snapshots at whole half minutes of the wall clock, so pods are in phase.
    """
    reports = tuple(reports)
    short = [_line(r.ring, operation, flags, budgets, now) for r in reports]
    long = [_line(r.long_ring, operation, flags, budgets, now) for r in reports]
    first = min((slot for line in short for slot in line), default=0)
    sums: dict[tuple[int, int], Tally] = {}
    for line, length in (*((s, 1) for s in short), *((s, LONG) for s in long)):
        for slot, tally in _steps(line, length):
            if length == 1 or slot <= first:
                sums[slot, length] = sums.get((slot, length), Tally()) + tally
    return tuple(
        Slice((slot - length) * RING_SECONDS, length * RING_SECONDS, tally)
        for (slot, length), tally in sorted(sums.items())
        if (slot - length) * RING_SECONDS >= since and tally.requests
    )


def _line(
    ring: Iterable[Snapshot], operation: Operation, flags: str, budgets: str, now: float
) -> dict[int, tuple[int, int]]:
    """Cumulative (requests, bad) by slot; a revision that is not there yet has served nothing."""
    found = {}
    for snapshot in ring:
        book = next((c for c in snapshot.counters if c.flags == flags and c.budgets == budgets), None)
        counts = book.operations.get(operation) if book else None
        slot = round((now - snapshot.age_seconds) / RING_SECONDS)
        found[slot] = (counts.requests, counts.bad) if counts else (0, 0)
    return found


def _steps(line: dict[int, tuple[int, int]], length: int) -> Iterator[tuple[int, Tally]]:
    """Between neighbours of the grid; a counter that fell was forgotten in between, and proves nothing."""
    for before, slot in pairwise(sorted(line)):
        requests, bad = line[slot][0] - line[before][0], line[slot][1] - line[before][1]
        if slot - before == length and requests > 0 and bad >= 0:
            yield slot, Tally(requests, bad)
