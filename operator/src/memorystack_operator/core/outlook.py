"""What a changed spec will bring before it is applied: stages, steps, pods, and how long the evidence will take.

Knows: a spec, the status on record and the traffic seen. Must not know: where they were read, or how it is printed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from memorystack_operator.api.spec import FEATURE_NAMES, MemoryStack, Spec
from memorystack_operator.core.canary import compared_pods, plan_of, pods_for
from memorystack_operator.core.evidence import Value
from memorystack_operator.core.forecast import (
    ADDED,
    Arms,
    Detection,
    Passage,
    detection,
    time_to_better,
    time_to_within,
)
from memorystack_operator.core.limits import limits_of
from memorystack_operator.core.qualifying import PLAIN_SECONDS
from memorystack_operator.core.stages import canonical, differing, in_spec
from memorystack_operator.core.state import PlannedStep
from memorystack_operator.core.status import Status
from memorystack_operator.core.traffic import Traffic
from memorystack_runtime.contract import Features, Operation

__all__ = ["HALVED", "Detections", "OperationOutlook", "Outlook", "StageOutlook", "StepOutlook", "outlook"]

HALVED: Final = 0.5
"""A stack over budget: how much better the flag makes it is the very thing to be found out, so this is assumed."""


class OperationOutlook(Value):
    """How long one operation keeps a step from passing, if the flag changes nothing (or halves what is bad)."""

    operation: Operation
    question: str
    """`within` budget, or `better` than the others where the stack is over budget now."""
    median_seconds: float | None
    """None: never."""
    late_seconds: float | None
    """Nine of ten steps have passed by then."""
    in_time: float
    """The chance that this alone is decided within `analysis.timeout`."""
    undecided: float
    """The chance that Plain has not decided after three minutes: then `Paired` goes on as `Proving`."""


class StepOutlook(Value):
    """One step as it will be walked."""

    weight: int
    """0: a pause for a person."""
    pods: int
    share: float
    """Of the requests, really: `pods` of the replicas."""
    min_seconds: float
    operations: tuple[OperationOutlook, ...] = ()
    median_seconds: float | None = None
    """With every operation, and not before `min_seconds`; None: unknown or never."""
    late_seconds: float | None = None


class Detections(Value):
    """How soon a flag that harms one operation is taken back, in the first step."""

    operation: Operation
    found: tuple[Detection, ...]


class StageOutlook(Value):
    """One flag."""

    name: str
    before: str
    value: str
    rejected: str = ""
    """Why it will not be tried; empty: it will."""
    steps: tuple[StepOutlook, ...] = ()
    median_seconds: float | None = None
    late_seconds: float | None = None
    in_time: float | None = None
    """The least chance of any step; None: no traffic is known."""
    detections: tuple[Detections, ...] = ()


class Outlook(Value):
    """The whole change."""

    name: str
    replicas: int
    """Among which flags are tried; the surge pod makes two of one."""
    stages: tuple[StageOutlook, ...]
    traffic: tuple[Traffic, ...]
    unjudged: tuple[Operation, ...]
    """Budgets of operations without traffic: they hold nothing back, and prove nothing."""
    note: str
    """Which steps were merged."""
    timeout_seconds: float
    false_rollback_rate: float
    """The bound for each flag."""
    false_promotion_rate: float

    @property
    def tried(self) -> tuple[StageOutlook, ...]:
        """The flags that will be staged."""
        return tuple(s for s in self.stages if not s.rejected)


def outlook(stack: MemoryStack, status: Status, traffic: Sequence[Traffic]) -> Outlook:
    """`stack` as it would be applied. Without anything on record the flags are compared with their defaults."""
    spec = stack.spec
    stable = status.stable.features if status.stable else Features()
    seen = {t.operation: t for t in traffic}
    budgeted = tuple(seen[b.operation] for b in spec.rollout.budgets if b.operation in seen)
    plan, note = plan_of(spec.rollout.steps, compared_pods(spec.least_replicas))
    reasons = _rejections(spec, status)
    stages = [
        StageOutlook(
            name=stage.name,
            before=canonical(stable, stage.name),
            value=stage.value,
            rejected=reasons.get(stage.name, ""),
        )
        for stage in differing(spec, stable)
    ]
    return Outlook(
        name=stack.metadata.name,
        replicas=compared_pods(spec.least_replicas),
        stages=tuple(s if s.rejected else _walked(s, spec, plan, budgeted) for s in stages),
        traffic=budgeted,
        unjudged=tuple(b.operation for b in spec.rollout.budgets if b.operation not in seen),
        note=note,
        timeout_seconds=spec.rollout.analysis.timeout.total_seconds(),
        false_rollback_rate=float(spec.rollout.analysis.false_rollback_rate),
        false_promotion_rate=float(spec.rollout.analysis.false_promotion_rate),
    )


def _rejections(spec: Spec, status: Status) -> dict[str, str]:
    """Stage -> why it waits. With `onReject: Stop` one rejected flag holds back all others."""
    kept = {r.stage: r.reason for r in in_spec(spec, status.rejected)}
    if not kept or spec.rollout.on_reject == "Continue":
        return kept
    first = next(iter(kept))
    return {name: kept.get(name, f"held back, as {first} was rejected") for name in FEATURE_NAMES}


def _walked(stage: StageOutlook, spec: Spec, plan: Sequence[PlannedStep], traffic: Sequence[Traffic]) -> StageOutlook:
    """With its steps and times: the same for each flag, since nobody knows what a flag will do to the traffic."""
    steps = tuple(_step(spec, planned, traffic) for planned in plan)
    walked = [s for s in steps if s.weight]
    chances = [o.in_time for s in walked for o in s.operations]
    return stage.model_copy(
        update={
            "steps": steps,
            "median_seconds": _sum([s.median_seconds for s in walked]),
            "late_seconds": _sum([s.late_seconds for s in walked]),
            "in_time": min(chances) if chances else None,
            "detections": tuple(_detections(spec, walked[0].pods, t) for t in traffic) if walked else (),
        }
    )


def _step(spec: Spec, planned: PlannedStep, traffic: Sequence[Traffic]) -> StepOutlook:
    pods = pods_for(planned.weight, compared_pods(spec.least_replicas))
    operations = tuple(_operation(spec, pods, t) for t in traffic) if pods else ()
    known = bool(operations)
    return StepOutlook(
        weight=planned.weight,
        pods=pods,
        share=round(pods / compared_pods(spec.least_replicas), 4),
        min_seconds=planned.min_seconds,
        operations=operations,
        median_seconds=_longest(planned.min_seconds, [o.median_seconds for o in operations]) if known else None,
        late_seconds=_longest(planned.min_seconds, [o.late_seconds for o in operations]) if known else None,
    )


def _operation(spec: Spec, pods: int, traffic: Traffic) -> OperationOutlook:
    _, beta = limits_of(spec)
    arms = _arms(spec, pods, traffic)
    found = time_to_better(arms, beta, HALVED) if traffic.over_budget else time_to_within(arms, beta)
    timeout = spec.rollout.analysis.timeout.total_seconds()
    return OperationOutlook(
        operation=traffic.operation,
        question="better" if traffic.over_budget else "within",
        median_seconds=_quantile(found, 0.5),
        late_seconds=_quantile(found, 0.9),
        in_time=round(found.within(timeout), 4) if found else 0.0,
        undecided=round(1 - found.within(PLAIN_SECONDS), 4) if found else 1.0,
    )


def _detections(spec: Spec, pods: int, traffic: Traffic) -> Detections:
    alpha, beta = limits_of(spec)
    arms = _arms(spec, pods, traffic)
    interval = spec.rollout.analysis.interval
    found = tuple(detection(arms, added, alpha=alpha, beta=beta, interval=interval) for added in ADDED)
    return Detections(operation=traffic.operation, found=found)


def _arms(spec: Spec, pods: int, traffic: Traffic) -> Arms:
    share = pods / compared_pods(spec.least_replicas)
    return Arms(
        canary_rate=traffic.rate * share,
        stable_rate=traffic.rate * (1 - share),
        share=traffic.share,
        effect=traffic.effect.for_share(share),
        over_before=traffic.over_budget,
        strict=spec.rollout.analysis.sensitivity == "Strict",
    )


def _quantile(found: Passage | None, chance: float) -> float | None:
    return round(found.quantile(chance), 1) if found else None


def _longest(least: float, seconds: Sequence[float | None]) -> float | None:
    return None if None in seconds else max(least, *(s for s in seconds if s is not None))


def _sum(seconds: Sequence[float | None]) -> float | None:
    return None if None in seconds else round(sum(s for s in seconds if s is not None), 1)
