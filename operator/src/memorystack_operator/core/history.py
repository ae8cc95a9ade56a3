"""The pods' rings cut into blocks on one common grid. Knows counters and ages; nothing of what is made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from operator import add, sub
from typing import Final

from memorystack_runtime.contract import (
    LADDER_MS,
    LONG_RING_SECONDS,
    RING_LENGTH,
    RING_SECONDS,
    Counters,
    EvidenceReport,
    Operation,
    RevisionCounters,
    Snapshot,
)

__all__ = ["Block", "Cell", "Edge", "History", "Scope", "Span", "cut", "cut_long", "seconds_covered"]


Edge = int | None
"""The bucket b* of verdict.md 1.6: an index into the ladder, or None for the budget itself."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One pod's counts: requests, bad by the budget, and requests over each edge of the ladder."""

    requests: int
    bad: int
    over: tuple[int, ...]

    def __add__(self, other: Cell) -> Cell:
        return Cell(self.requests + other.requests, self.bad + other.bad, tuple(map(add, self.over, other.over)))

    def __sub__(self, other: Cell) -> Cell:
        return Cell(self.requests - other.requests, self.bad - other.bad, tuple(map(sub, self.over, other.over)))

    def at(self, edge: Edge) -> tuple[int, int]:
        """Requests, and how many of them were over that bucket."""
        return self.requests, self.bad if edge is None else self.over[edge]


@dataclass(frozen=True, slots=True)
class Span:
    """What one pod counted between two snapshots. A history has tens of thousands, and of each one bucket is asked."""

    start: Cell
    end: Cell

    @property
    def requests(self) -> int:
        """Negative where the process had started again in between."""
        return self.end.requests - self.start.requests

    def at(self, edge: Edge) -> tuple[int, int]:
        """As of a cell."""
        start, end = self.start, self.end
        if edge is None:
            return end.requests - start.requests, end.bad - start.bad
        return end.requests - start.requests, end.over[edge] - start.over[edge]


EDGES: Final = {ms: i for i, ms in enumerate(LADDER_MS)}
EMPTY: Final = Cell(0, 0, (0,) * len(LADDER_MS))
Block = Mapping[str, Span]
"""Pod uid -> its counts in the same stretch of time."""


@dataclass(frozen=True, slots=True)
class History:
    """One operation's past under the stable revision: blocks, oldest first, and each pod's total."""

    blocks: tuple[Block, ...]
    totals: Mapping[str, Cell]
    seconds: int
    """Length of a block."""

    def total(self) -> Cell:
        """All pods together."""
        return sum(self.totals.values(), EMPTY)

    @property
    def rate(self) -> float:
        """Requests per second of all pods together, over the blocks; 0 without any."""
        requests = sum(span.requests for block in self.blocks for span in block.values())
        return requests / (self.seconds * len(self.blocks)) if self.blocks else 0.0


@dataclass(frozen=True, slots=True)
class Scope:
    """Which requests of the past count."""

    operation: Operation
    flags: str
    """Revision of the flags."""
    now: float
    """Unix seconds at which the reports were read."""
    budget: int
    """ms; where it is an edge of the ladder, an edit of the budget does not spoil the past."""
    since: float = -inf
    """Unix seconds of the last promotion: what a pod served before, perhaps as a canary, was another world."""

    def cell(self, counters: Iterable[RevisionCounters]) -> Cell:
        """Totals of one process."""
        cells = [self._cell(book.operations[self.operation]) for book in counters if self._concerns(book)]
        return cells[0] if len(cells) == 1 else sum(cells, EMPTY)

    def _concerns(self, book: RevisionCounters) -> bool:
        return book.flags == self.flags and self.operation in book.operations

    def _cell(self, counters: Counters) -> Cell:
        edge = EDGES.get(self.budget)
        return Cell(counters.requests, counters.bad if edge is None else counters.over[edge], counters.over)

    def covers(self, snapshot: Snapshot) -> bool:
        """Taken since then, with anything under these flags."""
        recent = self.now - snapshot.age_seconds >= self.since
        return recent and any(c.flags == self.flags for c in snapshot.counters)


def cut(reports: Iterable[EvidenceReport], scope: Scope) -> History:
    """Blocks of 30 s, and totals since the oldest of them.

    The runtime takes its snapshots at whole half minutes of the wall clock, so the blocks of different pods are in
    phase; a block counts only where every pod has both of its ends, so a young pod is waited for.
    """
    reports = tuple(reports)
    blocks = _blocks({r.uid: r.ring for r in reports}, scope, RING_SECONDS)
    return History(blocks, {r.uid: _recent(r, scope) for r in reports}, RING_SECONDS)


def cut_long(reports: Iterable[EvidenceReport], scope: Scope) -> History:
    """Blocks of ten minutes over up to a day, and totals since the oldest of them; by the short ring where none is kept."""
    reports = tuple(reports)
    blocks = _blocks({r.uid: r.long_ring for r in reports}, scope, LONG_RING_SECONDS)
    return History(blocks, {r.uid: _long(r, scope) for r in reports}, LONG_RING_SECONDS)


def seconds_covered(reports: Iterable[EvidenceReport], scope: Scope) -> float:
    """Age of the oldest snapshot that any pod still has of this past."""
    oldest = (next((s for s in ring if scope.covers(s)), None) for r in reports for ring in (r.long_ring, r.ring))
    return max((s.age_seconds for s in oldest if s is not None), default=0.0)


def _blocks(rings: Mapping[str, tuple[Snapshot, ...]], scope: Scope, seconds: int) -> tuple[Block, ...]:
    lines = {uid: _line(ring, scope, seconds) for uid, ring in rings.items()}
    slots = sorted({slot for line in lines.values() for slot in line})
    blocks = []
    for slot in slots:
        ends = {uid: (line.get(slot - 1), line.get(slot)) for uid, line in lines.items()}
        spans = {uid: Span(start, end) for uid, (start, end) in ends.items() if start is not None and end is not None}
        if len(spans) == len(lines) and all(span.requests >= 0 for span in spans.values()):
            blocks.append(spans)
    return tuple(blocks)


def _recent(report: EvidenceReport, scope: Scope) -> Cell:
    """Since the oldest entry of a full ring, or of one that begins with a promotion."""
    whole = len(report.ring) < RING_LENGTH and scope.since == -inf
    return _since(report, () if whole else report.ring, scope)


def _long(report: EvidenceReport, scope: Scope) -> Cell:
    return _since(report, (*report.long_ring, *report.ring), scope)


def _since(report: EvidenceReport, ring: Iterable[Snapshot], scope: Scope) -> Cell:
    """What was added since the oldest snapshot that counts. Without any: all, or after a promotion nothing yet."""
    now = scope.cell(report.counters)
    oldest = next((s for s in ring if scope.covers(s)), None)
    if oldest is None:
        return now if scope.since == -inf else EMPTY
    added = now - scope.cell(oldest.counters)
    return added if added.requests >= 0 else now


def _line(ring: Iterable[Snapshot], scope: Scope, seconds: int) -> dict[int, Cell]:
    """Cumulative counts by slot of the common grid."""
    return {round((scope.now - s.age_seconds) / seconds): scope.cell(s.counters) for s in ring if scope.covers(s)}
