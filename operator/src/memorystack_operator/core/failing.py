"""The watch over failed requests after 100 %: do more of them fail than `maxErrorPercent`?

A stack that answers quickly with an error keeps every p95, so the watch over slow answers never sees it.
Knows: the pods' rings. Must not know: promotions, or what is done about an alarm. What is made of the counts is the
detector of `stabilization`, and the slices are those of `slices`; but all operations count together, since a client that
fails does not care in which, and the share that is allowed is another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from math import inf
from typing import Final

from memorystack_operator.core.bets import ROLL, log_mean_exp, log_ratio, log_sum_exp
from memorystack_operator.core.calibration import ASSUMED_PHI, Calibration
from memorystack_operator.core.evidence import MIN_REQUESTS, Finding, Tally
from memorystack_operator.core.slices import Slice
from memorystack_runtime.contract import (
    LONG_RING_SECONDS,
    OPERATIONS,
    RING_SECONDS,
    EvidenceReport,
    Operation,
    RevisionCounters,
    Snapshot,
)

__all__ = ["Book", "Failing", "effect_of", "failures", "look_at", "most_failing"]

RECENT: Final = timedelta(minutes=2)
WELL: Final = timedelta(minutes=10)
LONG: Final = LONG_RING_SECONDS // RING_SECONDS


@dataclass(frozen=True, slots=True)
class Book:
    """Whose requests count: those under one revision of the flags and one of the budgets."""

    flags: str
    budgets: str

    def of(self, counters: Iterable[RevisionCounters]) -> RevisionCounters | None:
        """None: nothing was served under them."""
        return next((c for c in counters if c.flags == self.flags and c.budgets == self.budgets), None)


@dataclass(frozen=True, slots=True)
class Failing:
    """Requests of the whole stack, the failed ones for bad ones."""

    finding: Finding
    recent: Tally
    """The last two minutes."""
    lately: Tally
    """The last ten."""
    limit: float
    """Share that may fail."""

    @property
    def over(self) -> bool:
        """More fail than may, since some start, and still do now."""
        return self.finding.holds and self.recent.requests >= MIN_REQUESTS and self.recent.share > self.limit

    @property
    def well(self) -> bool:
        """Ten minutes within the limit."""
        return self.lately.requests >= MIN_REQUESTS and self.lately.share <= self.limit


def look_at(slices: Sequence[Slice], phi: float, needed: float, limit: float, now: datetime) -> Failing:
    """The Shiryaev-Roberts e-detector, as `stabilization.look` has it: R <- (R + 1) LR, mean over a grid."""
    logs = (-inf,) * len(ROLL)
    for piece in slices:
        gains = (log_ratio(piece.tally.bad, piece.tally.requests, ratio, limit) / phi for ratio in ROLL)
        logs = tuple(log_sum_exp((0.0, old)) + gain for old, gain in zip(logs, gains, strict=True))
    found = Finding(log_mean_exp(logs) if slices else 0.0, needed)
    return Failing(found, _last(slices, RECENT, now), _last(slices, WELL, now), limit)


def effect_of(calibration: Calibration | None) -> float:
    """Failures come in bursts as slow answers do, and are too rare for a design effect of their own: the largest one."""
    known = calibration.operations.values() if calibration else ()
    return max([ASSUMED_PHI, *(prior.effect.phi_abs for prior in known)])


def failures(reports: Sequence[EvidenceReport], book: Book, *, since: float, now: float) -> tuple[Slice, ...]:
    """Slices that began after `since`, oldest first: half minutes as far as they reach, ten minutes before them."""
    short = [_line(r.ring, book, now) for r in reports]
    long = [_line(r.long_ring, book, now) for r in reports]
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


def most_failing(reports: Sequence[EvidenceReport], book: Book) -> Operation:
    """The operation in which most requests have failed."""
    books = [found for r in reports if (found := book.of(r.counters))]
    return max(OPERATIONS, key=lambda name: sum(b.operations[name].failed for b in books if name in b.operations))


def _line(ring: Iterable[Snapshot], book: Book, now: float) -> dict[int, tuple[int, int]]:
    """Cumulative (requests, failed) of all operations by slot; a revision that is not there yet has served nothing."""
    found = {}
    for snapshot in ring:
        counted = book.of(snapshot.counters)
        every = counted.operations.values() if counted else ()
        slot = round((now - snapshot.age_seconds) / RING_SECONDS)
        found[slot] = (sum(c.requests for c in every), sum(c.failed for c in every))
    return found


def _steps(line: dict[int, tuple[int, int]], length: int) -> Iterator[tuple[int, Tally]]:
    """Between neighbours of the grid; a counter that fell was forgotten in between, and proves nothing."""
    for before, slot in pairwise(sorted(line)):
        requests, failed = line[slot][0] - line[before][0], line[slot][1] - line[before][1]
        if slot - before == length and requests > 0 and failed >= 0:
            yield slot, Tally(requests, failed)


def _last(slices: Sequence[Slice], span: timedelta, now: datetime) -> Tally:
    begin = (now - span).timestamp()
    return sum((s.tally for s in slices if s.begin >= begin - RING_SECONDS), Tally())
