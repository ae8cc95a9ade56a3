"""The pods' marks: the lease of the flags, the arm, the protection from scale-down, and touches that wake the kubelet.

Knows: annotations, and what each pod reported last. Must not know: why a pod was chosen. A kubelet reads a changed
ConfigMap at once only when the pod's own object changes (measured: 0.15-0.4 s instead of 68 s), hence the touches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from memorystack_operator.shell.api_server import ApiServer, Json, Refused
from memorystack_operator.shell.cluster import Conflict
from memorystack_operator.shell.records import ARM, COST, MANAGER, TOUCHED, PodRecord, record_of
from memorystack_operator.shell.resources import PODS
from memorystack_operator.shell.store import Store
from memorystack_operator.shell.telemetry import Telemetry
from memorystack_runtime.contract import ANNOTATION_FLAGS, EvidenceReport, FlagLease

__all__ = ["Expected", "Lending", "patch_of"]

PROTECTED: Final = "100"
"""Measured: without a cost a scale-down took the canary 3 of 3 times."""
TOUCHES: Final = 3
"""Then the flags count as not applied (core.guards.world), and touches become rare."""
RARELY: Final = 6
"""Times the usual pause."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Expected:
    """What a pod is to report: revisions of flags and of budgets."""

    flags: str
    budgets: str


@dataclass(slots=True)
class _Touch:
    expected: Expected
    count: int
    at: float


def patch_of(pod: PodRecord, lease: FlagLease | None, touch: str | None) -> Json | None:
    """The merge patch that makes the pod's marks so; None where they are so."""
    text = lease.model_dump_json(by_alias=True) if lease else ""
    notes: dict[str, str | None] = {}
    if pod.lease != text:
        notes[ANNOTATION_FLAGS] = text or None
    cost = PROTECTED if lease else ""
    if pod.cost != cost:
        notes[COST] = cost or None
    if touch:
        notes[TOUCHED] = touch
    arm = "canary" if lease else ""
    labels = {ARM: arm or None} if pod.arm != arm else {}
    if not notes and not labels:
        return None
    meta: dict[str, Any] = {"uid": pod.uid, "resourceVersion": pod.version}
    if notes:
        meta["annotations"] = notes
    if labels:
        meta["labels"] = labels
    return {"metadata": meta}


class Lending:
    """Of one stack."""

    def __init__(
        self, api: ApiServer, store: Store, telemetry: Telemetry, clock: Callable[[], float], touch_seconds: float
    ) -> None:
        self._api = api
        self._store = store
        self._telemetry = telemetry
        self._clock = clock
        self._pause = touch_seconds
        self._touches: dict[str, _Touch] = {}

    async def make(
        self,
        pods: Sequence[PodRecord],
        leases: Mapping[str, FlagLease],
        stable: Expected | None,
        reports: Mapping[str, EvidenceReport | None],
    ) -> bool:
        """Marks every pod; whether some pod has yet to confirm. Flags leave before others are lent."""
        self._touches = {p.uid: self._touches[p.uid] for p in pods if p.uid in self._touches}
        for lent in (False, True):
            mine = [p for p in pods if (p.key.name in leases) is lent]
            await asyncio.gather(*(self._one(p, leases.get(p.key.name), stable, reports.get(p.key.name)) for p in mine))
        return bool(self._touches)

    async def _one(
        self, pod: PodRecord, lease: FlagLease | None, stable: Expected | None, report: EvidenceReport | None
    ) -> None:
        patch = patch_of(pod, lease, self._touch(pod, lease, stable, report))
        if patch is None:
            return
        try:
            await self._patch(pod, patch)
        except Conflict:
            # Its status changed meanwhile, as a pod's does all the time: once more, upon what it is now.
            fresh = record_of(PODS, await self._api.get(PODS.path(*pod.key)))
            if isinstance(fresh, PodRecord) and fresh.uid == pod.uid:
                self._store.put(fresh)
                patch["metadata"]["resourceVersion"] = fresh.version
                await self._patch(fresh, patch)

    async def _patch(self, pod: PodRecord, patch: Json) -> None:
        content = "application/merge-patch+json"
        try:
            answer = await self._api.write("PATCH", PODS.path(*pod.key), patch, content=content, fieldManager=MANAGER)
        except Refused as error:
            if error.status != 404:
                raise
            return  # it has gone; the watch will tell
        self._store.put(record_of(PODS, answer))
        self._telemetry.wrote("Pod")

    def _touch(
        self, pod: PodRecord, lease: FlagLease | None, stable: Expected | None, report: EvidenceReport | None
    ) -> str | None:
        """A new value for the annotation, where the pod has not confirmed and it is time."""
        if stable is None or not pod.ready or report is None:
            return None
        expected = Expected(lease.revision, stable.budgets) if lease else stable
        if (report.flags, report.budgets) == (expected.flags, expected.budgets):
            self._touches.pop(pod.uid, None)
            return None
        now = self._clock()
        known = self._touches.get(pod.uid)
        if known is None or known.expected != expected:
            self._touches[pod.uid] = _Touch(expected, 1, now)
            return f"{now:.3f}"
        if now - known.at < self._pause * (1 if known.count < TOUCHES else RARELY):
            return None
        known.count, known.at = known.count + 1, now
        if known.count == TOUCHES:
            _log.warning("flags_not_confirmed", pod=str(pod.key), flags=expected.flags, reported=report.flags)
        return f"{now:.3f}"
