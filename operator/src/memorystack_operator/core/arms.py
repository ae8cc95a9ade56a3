"""From the pods' raw counters to what each reading added to each arm. Nothing is counted twice, nothing is lost.

Knows: cumulative counters, process starts and revisions. Must not know: tests, verdicts, or how pods were chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, NamedTuple

from pydantic import AliasChoices, Field

from memorystack_operator.core.evidence import Read, Tally, Value
from memorystack_runtime.contract import OPERATIONS, Operation, RevisionCounters

__all__ = ["Baseline", "Counts", "Increment", "PodCounts", "Window", "advance"]

Arm = Literal["canary", "stable"]


class Counts(NamedTuple):
    """Cumulative counts of one operation; three numbers in JSON, as a large stack has hundreds of them in its status."""

    requests: int = 0
    bad: int = 0
    failed: int = 0


NOTHING: Final = Counts()


class Baseline(Value):
    """What one process had counted under its arm's revision when it was last read."""

    uid: str
    started_at: float = Field(alias="at", validation_alias=AliasChoices("at", "startedAt"))
    flags: str
    operations: dict[Operation, Counts] = Field(default={}, alias="n", validation_alias=AliasChoices("n", "operations"))
    missed: bool = Field(default=False, exclude_if=lambda missed: not missed)
    """It was not read the last time, so its next counts span more time than those of the others."""


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

    present: Collection[str] | None = None
    """Uids of all pods there are: what others had counted is forgotten. None: nothing is."""

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
    """The increments since `baselines`, and the new baselines (those of unread pods are kept, and marked as missed).

    A pod met for the first time gives a baseline and no increment, unless its process is younger than the stage. A
    process that started again, or a counter that fell, counts from zero.
    """
    known = {(b.uid, b.flags): b for b in baselines if window.present is None or b.uid in window.present}
    totals: dict[tuple[Arm, bool], dict[Operation, list[int]]] = {}
    read = set()
    for pod in pods:
        revision = window.revision(pod.arm)
        operations = _counted(pod, revision, window.budgets)
        # Counts that a report was made of are valid: to check them again took a fifth of a large stack's decision.
        now = Baseline.model_construct(
            uid=pod.uid, started_at=pod.started_at, flags=revision, operations=operations, missed=False
        )
        before = known.get((pod.uid, revision))
        known[pod.uid, revision] = now
        read.add(pod.uid)
        if before is None and pod.started_at < window.since:
            continue
        late = before is not None and before.missed
        same = before is not None and before.started_at == now.started_at
        _add(totals.setdefault((pod.arm, late), {}), now.operations, before.operations if before and same else {})
    return _increment(totals), tuple(_kept(known[key], read) for key in sorted(known))


def _kept(baseline: Baseline, read: Collection[str]) -> Baseline:
    if not read or baseline.uid in read or baseline.missed:
        return baseline  # where nobody was read, all will tell of the same stretch of time
    return baseline.model_copy(update={"missed": True})


def _counted(pod: PodCounts, flags: str, budgets: str) -> dict[Operation, Counts]:
    for counters in pod.counters:
        if counters.flags == flags and counters.budgets == budgets:
            return {name: Counts(c.requests, c.bad, c.failed) for name, c in counters.operations.items()}
    return {}


def _add(
    totals: dict[Operation, list[int]], current: Mapping[Operation, Counts], before: Mapping[Operation, Counts]
) -> None:
    """This runs for each pod and operation at each reading: nearly all of the time that a large stack's decision takes."""
    for name, (requests, bad, failed) in current.items():
        had, had_bad, had_failed = before.get(name, NOTHING)
        total = totals.setdefault(name, [0, 0, 0])
        if requests < had:  # the counter fell: it counts from zero
            had = had_bad = had_failed = 0
        total[0] += requests - had
        total[1] += bad - had_bad if bad > had_bad else 0
        total[2] += failed - had_failed if failed > had_failed else 0


def _increment(totals: Mapping[tuple[Arm, bool], Mapping[Operation, Sequence[int]]]) -> Increment:
    def bad(name: Operation, arm: Arm, late: bool) -> Tally:
        requests, bad, _ = totals.get((arm, late), {}).get(name, NOTHING)
        return Tally(requests, bad)

    def failed(arm: Arm, late: bool) -> Tally:
        parts = totals.get((arm, late), {}).values()
        requests = sum(served for served, _, _ in parts)
        # A request that ran past its budget was counted then, and may fail later, in a reading without new requests.
        return Tally(requests, min(requests, sum(failed for _, _, failed in parts)))

    def read(of: Callable[[Arm, bool], Tally]) -> Read:
        return Read(of("canary", False), of("stable", False), of("canary", True), of("stable", True))

    return Increment({name: read(partial(bad, name)) for name in OPERATIONS}, read(failed))
