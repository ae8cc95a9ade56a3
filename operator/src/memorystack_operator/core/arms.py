"""From the pods' raw counters to what each reading added to each arm. Nothing is counted twice, nothing is lost.

Knows: cumulative counters, process starts and revisions. Must not know: tests, verdicts, or how pods were chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from memorystack_operator.core.evidence import Read, Tally, Value
from memorystack_runtime.contract import OPERATIONS, Operation, RevisionCounters

__all__ = ["Baseline", "Counts", "Increment", "PodCounts", "Window", "advance"]

Arm = Literal["canary", "stable"]


class Counts(Value):
    """Cumulative counts of one operation."""

    requests: int = 0
    bad: int = 0
    failed: int = 0


class Baseline(Value):
    """What one process had counted under its arm's revision when it was last read."""

    uid: str
    started_at: float
    flags: str
    operations: dict[Operation, Counts] = {}


@dataclass(frozen=True, slots=True)
class PodCounts:
    """One pod as it answered: its identity, its arm and its raw counters."""

    uid: str
    started_at: float
    arm: Arm
    counters: tuple[RevisionCounters, ...]


@dataclass(frozen=True, slots=True)
class Window:
    """Which requests count: the revisions of both arms, one revision of the budgets, and since when."""

    canary: str
    stable: str
    budgets: str
    since: float
    """Unix seconds at which the stage began: a process born later is counted from its first request."""

    def revision(self, arm: Arm) -> str:
        """The flags revision whose requests count in that arm."""
        return self.canary if arm == "canary" else self.stable


@dataclass(frozen=True, slots=True)
class Increment:
    """What one reading added, per operation (bad = over budget or failed) and for failures of all operations."""

    operations: Mapping[Operation, Read]
    failures: Read


def advance(
    baselines: Sequence[Baseline], pods: Iterable[PodCounts], window: Window
) -> tuple[Increment, tuple[Baseline, ...]]:
    """The increments since `baselines`, and the new baselines (those of unread pods are kept).

    A pod met for the first time gives a baseline and no increment, unless its process is younger than the stage. A
    process that started again, or a counter that fell, counts from zero.
    """
    known = {(b.uid, b.flags): b for b in baselines}
    totals: dict[tuple[Operation, Arm], Counts] = {}
    for pod in pods:
        revision = window.revision(pod.arm)
        now = Baseline(
            uid=pod.uid, started_at=pod.started_at, flags=revision, operations=_counted(pod, revision, window.budgets)
        )
        before = known.get((pod.uid, revision))
        known[pod.uid, revision] = now
        if before is None and pod.started_at < window.since:
            continue
        for operation, added in _added(before, now).items():
            key = (operation, pod.arm)
            totals[key] = _plus(totals.get(key, Counts()), added)
    return _increment(totals), tuple(known[key] for key in sorted(known))


def _counted(pod: PodCounts, flags: str, budgets: str) -> dict[Operation, Counts]:
    found = (c for c in pod.counters if c.flags == flags and c.budgets == budgets)
    return {
        name: Counts(requests=c.requests, bad=c.bad, failed=c.failed)
        for revision in found
        for name, c in revision.operations.items()
    }


def _added(before: Baseline | None, now: Baseline) -> dict[Operation, Counts]:
    if before is None or before.started_at != now.started_at:
        return now.operations
    return {name: _minus(current, before.operations.get(name)) for name, current in now.operations.items()}


def _minus(current: Counts, before: Counts | None) -> Counts:
    if before is None or current.requests < before.requests:
        return current
    return Counts(
        requests=current.requests - before.requests,
        bad=max(0, current.bad - before.bad),
        failed=max(0, current.failed - before.failed),
    )


def _plus(one: Counts, other: Counts) -> Counts:
    return Counts(requests=one.requests + other.requests, bad=one.bad + other.bad, failed=one.failed + other.failed)


def _increment(totals: Mapping[tuple[Operation, Arm], Counts]) -> Increment:
    def bad(name: Operation, arm: Arm) -> Tally:
        counts = totals.get((name, arm), Counts())
        return Tally(counts.requests, counts.bad)

    def failed(arm: Arm) -> Tally:
        parts = [counts for (_, side), counts in totals.items() if side == arm]
        return Tally(sum(c.requests for c in parts), sum(c.failed for c in parts))

    operations = {name: Read(bad(name, "canary"), bad(name, "stable")) for name in OPERATIONS}
    return Increment(operations, Read(failed("canary"), failed("stable")))
