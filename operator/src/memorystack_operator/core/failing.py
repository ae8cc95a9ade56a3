"""What the watch over failed requests counts after 100 %, and how far it trusts it.

A stack that answers quickly with an error keeps every p95, so the watch over slow answers never sees it. The slices are
those of `slices` and the detector is that of `stabilization`; but all operations count together, since a client that
fails does not care in which, and the share that is allowed is another one.
"""

from __future__ import annotations

from collections.abc import Sequence

from memorystack_operator.core.calibration import ASSUMED_PHI, Calibration
from memorystack_operator.core.slices import Book
from memorystack_runtime.contract import OPERATIONS, EvidenceReport, Operation, RevisionCounters

__all__ = ["effect_of", "failed", "most_failing"]


def failed(book: RevisionCounters) -> tuple[int, int]:
    """Cumulative (requests, failed ones) of all operations."""
    every = book.operations.values()
    return sum(c.requests for c in every), sum(c.failed for c in every)


def effect_of(calibration: Calibration | None) -> float:
    """Failures come in bursts as slow answers do, and are too rare for a design effect of their own: the largest one."""
    known = calibration.operations.values() if calibration else ()
    return max([ASSUMED_PHI, *(prior.effect.phi_abs for prior in known)])


def most_failing(reports: Sequence[EvidenceReport], book: Book) -> Operation:
    """The operation in which most requests have failed."""
    books = [found for r in reports if (found := book.of(r.counters))]
    return max(OPERATIONS, key=lambda name: sum(b.operations[name].failed for b in books if name in b.operations))
