"""What a running stack looks like now, as one value for the live view, `status` and the demo.

Knows: status, pods and their counters. Must not know: how it is shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from memorystack_operator.api.spec import Spec
from memorystack_operator.core import Status
from memorystack_operator.core.latency import quantile_ms, total_of
from memorystack_operator.core.limits import limits_of
from memorystack_operator.core.standing import Reversal, Standing, reversal_of, standing_of
from memorystack_operator.core.state import RolloutState
from memorystack_operator.local.machine import Headroom
from memorystack_operator.local.source import Source
from memorystack_operator.local.supervisor import LocalPod
from memorystack_runtime.contract import EvidenceReport

__all__ = [
    "ArmView",
    "EventLine",
    "PodView",
    "Question",
    "Report",
    "make_report",
    "questions_of",
    "read_events",
    "read_report",
    "share_of",
]

TRYING: Final = frozenset({RolloutState.PROGRESSING, RolloutState.SWITCHBACK, RolloutState.PROVING})
"""States in which the chosen pods are an arm of their own, also while their flags are off for a window."""


class View(BaseModel):
    """camelCase in JSON."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)


class PodView(View):
    name: str
    address: str
    internal_url: str
    ready: bool
    arm: str
    flags: str
    restarts: int
    lag_ms: float


class ArmView(View):
    """One operation on one arm, over the requests admitted under that arm's flags."""

    operation: str
    arm: str
    requests: int
    bad: int
    p95_ms: float | None
    budget_ms: int | None


class Question(View):
    """Evidence so far: log e over the log threshold, 0 to 1."""

    operation: str
    name: str
    fraction: float
    holds: bool


class EventLine(View):
    at: str
    type: str
    reason: str
    message: str


class Report(View):
    """Everything a person may want to see at a glance."""

    name: str
    file: str
    gateway: str
    at: datetime
    status: Status
    refusal: str = ""
    """Why the last save was refused."""
    problem: str = ""
    """Why pods cannot be started."""
    pods: tuple[PodView, ...] = ()
    arms: tuple[ArmView, ...] = ()
    share: float = 0.0
    """Of the requests since the flip, those that the canary served."""
    questions: tuple[Question, ...] = ()
    pairs: Standing | None = None
    """The windows under way, in a switchback or while a step is proved."""
    reversal: Reversal | None = None
    """The reverse canary under way, after a promotion."""
    headroom: Headroom = Headroom()
    engines: dict[str, str] = {}


def make_report(
    source: Source,
    status: Status,
    pods: Sequence[LocalPod],
    reports: Mapping[str, EvidenceReport | None],
    **rest: Any,
) -> Report:
    """`rest` are further fields of Report."""
    canaries = status.rollout.pods if status.rollout and status.rollout.state in TRYING else ()
    return Report(
        name=source.stack.metadata.name,
        at=datetime.now(UTC),
        status=status,
        refusal=source.refusal,
        pods=tuple(_pod(p, reports.get(p.name), p.name in canaries) for p in pods),
        arms=_arms(source, status, reports),
        share=share_of(status),
        questions=questions_of(source.stack.spec, status),
        pairs=standing_of(source.stack.spec, status.rollout),
        reversal=reversal_of(source.stack.spec, status.rollout),
        **rest,
    )


def read_report(path: Path) -> Report | None:
    """The last one that `up` wrote."""
    try:
        return Report.model_validate_json(path.read_text())
    except (OSError, ValidationError):
        return None


def read_events(path: Path, last: int) -> list[EventLine]:
    """The newest `last` events, oldest first."""
    try:
        lines = path.read_text().splitlines()[-last:]
        return [EventLine.model_validate(json.loads(line)) for line in lines if line]
    except (OSError, ValueError):
        return []


def _pod(pod: LocalPod, report: EvidenceReport | None, canary: bool) -> PodView:
    return PodView(
        name=pod.name,
        address=f"{pod.host}:{pod.port}",
        internal_url=pod.internal_url,
        ready=pod.ready,
        arm="canary" if canary else "stable",
        flags=report.flags if report else "",
        restarts=pod.daemon.restarts,
        lag_ms=report.event_loop_lag_ms if report else 0.0,
    )


def _arms(source: Source, status: Status, reports: Mapping[str, EvidenceReport | None]) -> tuple[ArmView, ...]:
    if status.stable is None:
        return ()
    budgets = source.stack.spec.rollout.wire_budgets()
    revisions = {"stable": status.stable.revision}
    if status.rollout and status.rollout.flags_on:
        revisions["canary"] = status.rollout.revision
    made = []
    for operation, budget in budgets.p95_ms.items():
        for arm, revision in revisions.items():
            total = total_of(reports.values(), operation, revision)
            made.append(
                ArmView(
                    operation=operation,
                    arm=arm,
                    requests=total.requests,
                    bad=total.bad,
                    p95_ms=quantile_ms(total),
                    budget_ms=budget,
                )
            )
    return tuple(made)


def share_of(status: Status) -> float:
    """Of the requests since the flip, those that the canary served."""
    failures = status.rollout.failures if status.rollout else None
    if failures is None:
        return 0.0
    total = failures.canary_requests + failures.stable_requests
    return round(failures.canary_requests / total, 3) if total else 0.0


def questions_of(spec: Spec, status: Status) -> tuple[Question, ...]:
    """Of the stage under way."""
    if status.rollout is None:
        return ()
    limits = limits_of(spec)
    made = []
    for operation, evidence in status.rollout.evidence.items():
        findings = evidence.findings(*limits)
        for name in ("over", "worse", "within", "better"):
            finding = getattr(findings, name)
            made.append(
                Question(operation=operation, name=name, fraction=round(finding.fraction, 3), holds=finding.holds)
            )
    return tuple(made)
