"""The pods' rings cut into blocks of 30 s on one common grid. Knows counters and ages; nothing of what is made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from memorystack_runtime.contract import (
    LADDER_MS,
    RING_LENGTH,
    RING_SECONDS,
    EvidenceReport,
    Operation,
    RevisionCounters,
)

__all__ = ["Block", "Cell", "History", "cut"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One pod's counts in one block: requests, bad by the budget, and requests over each edge of the ladder."""

    requests: int
    bad: int
    over: tuple[int, ...]

    def __add__(self, other: Cell) -> Cell:
        over = tuple(a + b for a, b in zip(self.over, other.over, strict=True))
        return Cell(self.requests + other.requests, self.bad + other.bad, over)

    def __sub__(self, other: Cell) -> Cell:
        over = tuple(a - b for a, b in zip(self.over, other.over, strict=True))
        return Cell(self.requests - other.requests, self.bad - other.bad, over)


EMPTY = Cell(0, 0, (0,) * len(LADDER_MS))
Block = Mapping[str, Cell]
"""Pod uid -> its counts in the same half minute."""


@dataclass(frozen=True, slots=True)
class History:
    """One operation's past under the stable revision: blocks, oldest first, and each pod's total."""

    blocks: tuple[Block, ...]
    totals: Mapping[str, Cell]

    def total(self) -> Cell:
        """All pods together."""
        return sum(self.totals.values(), EMPTY)

    @property
    def rate(self) -> float:
        """Requests per second of all pods together, over the blocks; 0 without any."""
        requests = sum(cell.requests for block in self.blocks for cell in block.values())
        return requests / (RING_SECONDS * len(self.blocks)) if self.blocks else 0.0


def cut(reports: Iterable[EvidenceReport], operation: Operation, flags: str, now: float) -> History:
    """Blocks of `operation` under the flags revision `flags`; `now` in Unix seconds is when the reports were read.

    The runtime takes its snapshots at whole half minutes of the wall clock, so the blocks of different pods are in
    phase; a block counts only where every pod that has a ring has both of its ends.
    """
    reports = tuple(reports)
    lines = {r.uid: _line(r, operation, flags, now) for r in reports}
    slots = sorted({slot for line in lines.values() for slot in line})
    blocks = []
    for slot in slots:
        ends = {uid: (line.get(slot - 1), line.get(slot)) for uid, line in lines.items()}
        cells = {uid: end - start for uid, (start, end) in ends.items() if start is not None and end is not None}
        if len(cells) == len(lines) and all(c.requests >= 0 for c in cells.values()):
            blocks.append(cells)
    return History(tuple(blocks), {r.uid: _recent(r, operation, flags) for r in reports})


def _recent(report: EvidenceReport, operation: Operation, flags: str) -> Cell:
    """Since the oldest entry of a full ring: what a pod did last week says nothing of how the stack stands now."""
    now = _cell(report.counters, operation, flags)
    if len(report.ring) < RING_LENGTH:
        return now
    since = now - _cell(report.ring[0].counters, operation, flags)
    return since if since.requests >= 0 else now


def _line(report: EvidenceReport, operation: Operation, flags: str, now: float) -> dict[int, Cell]:
    """Cumulative counts by slot of the common grid."""
    return {
        round((now - snapshot.age_seconds) / RING_SECONDS): _cell(snapshot.counters, operation, flags)
        for snapshot in report.ring
        if any(c.flags == flags for c in snapshot.counters)
    }


def _cell(counters: Iterable[RevisionCounters], operation: Operation, flags: str) -> Cell:
    """Counts under any revision of the budgets: the ladder does not depend on it, and an edited budget is a new rollout."""
    found = (c.operations.get(operation) for c in counters if c.flags == flags)
    return sum((Cell(c.requests, c.bad, c.over) for c in found if c is not None), EMPTY)
