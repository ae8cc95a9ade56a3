"""Quantiles from the ladder of edges, for people to read; no verdict depends on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from memorystack_runtime.contract import LADDER_MS, Counters, EvidenceReport, Operation

__all__ = ["quantile_ms", "served_under", "sum_of", "total_of"]


Served = Sequence[Mapping[Operation, Counters]]
"""What each process has counted of each operation."""


def total_of(reports: Iterable[EvidenceReport | None], operation: Operation, revision: str) -> Counters:
    """What all these processes have counted of one operation under one flags revision; unread ones count nothing."""
    return sum_of(served_under(reports, revision), operation)


def served_under(reports: Iterable[EvidenceReport | None], revision: str) -> Served:
    """Looked up once for all operations: a large stack has hundreds of pods."""
    return [c.operations for r in reports if r for c in r.counters if c.flags == revision]


def sum_of(served: Served, operation: Operation) -> Counters:
    """Of one operation, over all processes."""
    found = [each[operation] for each in served if operation in each]
    over = tuple(map(sum, zip(*(c.over for c in found), strict=True))) or (0,) * len(LADDER_MS)
    return Counters(requests=sum(c.requests for c in found), bad=sum(c.bad for c in found), over=over)


def quantile_ms(counters: Counters, q: float = 0.95) -> float | None:
    """The `q` quantile in milliseconds by linear interpolation between edges; None without requests.

    Above the last edge nothing is known, so the last edge itself is given.
    """
    if not counters.requests:
        return None
    allowed = (1 - q) * counters.requests
    low, above = 0.0, float(counters.requests)
    for edge, over in zip(LADDER_MS, counters.over, strict=True):
        if over <= allowed:
            inside = above - over
            return edge if not inside else low + (edge - low) * (above - allowed) / inside
        low, above = float(edge), float(over)
    return float(LADDER_MS[-1])
