"""The last decision about a stack, told so that somebody who never read a line of statistics understands it.

Knows: the status on record and the spec it was made for. Must not know: where they were read, or how it is printed.
"""

from __future__ import annotations

from datetime import datetime

from memorystack_operator.api.spec import Spec
from memorystack_operator.api.status import ArmCounts, ProvingResult, RolloutRecord, SwitchbackResult
from memorystack_operator.core.afterwards import afterwards, headline_now, waiting_now
from memorystack_operator.core.evidence import Value
from memorystack_operator.core.late_reasons import LATE_HEADLINES, why_late
from memorystack_operator.core.limits import budget_text
from memorystack_operator.core.reasons import DONE, HEADLINES, Sentences, Told, odds, why
from memorystack_operator.core.records import counts_of, proving_of, trial_of
from memorystack_operator.core.state import RolloutState, RolloutStatus
from memorystack_operator.core.status import Status

__all__ = ["Explanation", "Judged", "explain"]


class Judged(Value):
    """One operation, as far as it was judged."""

    operation: str
    budget: str
    canary_requests: int
    canary_bad: int
    stable_requests: int
    stable_bad: int
    evidence: dict[str, float] = {}
    """Question -> odds that speak for it now (`worse` 43: 43 to 1)."""
    needed: dict[str, float] = {}
    phi_rel: float = 1.0
    phi_abs: float = 1.0


class Explanation(Value):
    """A headline, the reason in a few sentences, and the numbers behind them."""

    stack: str
    stage: str = ""
    value: str = ""
    outcome: str
    """How the stage ended, or `UnderWay`, or `None`."""
    reason: str
    at: datetime | None = None
    headline: str
    """What became of the stage, without its name."""
    sentences: tuple[str, ...] = ()
    judged: tuple[Judged, ...] = ()
    reverse: bool = False
    """A promoted flag was asked about: the canary pods had its older value back."""
    switchback: SwitchbackResult | None = None
    proving: ProvingResult | None = None
    message: str = ""
    """The operator's own words."""


def explain(name: str, spec: Spec, status: Status, stage: str = "") -> Explanation:
    """The stage under way, else the one that ended last; with `stage` the last one of that flag."""
    rollout = status.rollout
    if rollout and stage in ("", rollout.stage):
        told, late = _under_way(spec, rollout), rollout.reverse is not None
        return _explained(name, told, rollout.state_since, late=late, after=waiting_now(status))
    record = next((r for r in reversed(status.history) if stage in ("", r.stage)), None)
    if record:
        after = afterwards(status)
        made = _explained(name, _ended(spec, record), record.ended_at, late=record.reverse, after=after)
        return made.model_copy(update={"headline": headline_now(status, record) or made.headline})
    what = f"about {stage} " if stage else ""
    tense = "were" if status.stable else "are"
    text = f"The flags of the first start {tense} taken as they {tense}; a later change of one is tried first."
    return Explanation(
        stack=name,
        stage=stage,
        outcome="None",
        reason="None",
        headline=f"Nothing was decided {what}yet.",
        sentences=(text, *afterwards(status)),
    )


def _under_way(spec: Spec, rollout: RolloutStatus) -> Told:
    acquitted = rollout.state is RolloutState.PROVING and rollout.proving is not None and not rollout.proving.trying
    return Told(
        spec=spec,
        stage=rollout.stage,
        value=rollout.value,
        outcome="UnderWay",
        reason=str(rollout.state),
        message=rollout.message,
        judged=counts_of(rollout, spec),
        switchback=None if acquitted else trial_of(rollout, spec),
        proving=proving_of(rollout, spec),
        withdrawals=rollout.withdrawals,
        flipped_at=rollout.flipped_at,
        ended_at=None,
    )


def _ended(spec: Spec, record: RolloutRecord) -> Told:
    return Told(
        spec=spec,
        stage=record.stage,
        value=record.value,
        outcome=record.outcome,
        reason=record.reason,
        message=record.message,
        judged=record.judged,
        switchback=record.switchback,
        proving=record.proving,
        withdrawals=record.withdrawals,
        flipped_at=record.flipped_at,
        ended_at=record.ended_at,
    )


def _explained(name: str, told: Told, at: datetime, *, late: bool, after: Sentences) -> Explanation:
    """`late`: the canary pods of this stage had the older value back (a reverse canary). `after`: what is to be added."""
    reasons = why_late(told) if late else why(told)
    headlines = LATE_HEADLINES if late else HEADLINES
    budgets = told.spec.rollout.wire_budgets().p95_ms
    return Explanation(
        stack=name,
        stage=told.stage,
        value=told.value,
        outcome=told.outcome,
        reason=told.reason,
        at=at,
        headline=headlines.get(told.reason if told.outcome == "UnderWay" else told.outcome, "is being tried."),
        sentences=(*(s for s in reasons if not (after and s == DONE)), *after),
        reverse=late,
        judged=tuple(
            _judged(operation, counts, next((ms for o, ms in budgets.items() if o == operation), None))
            for operation, counts in told.judged.items()
        ),
        switchback=told.switchback,
        proving=told.proving,
        message=told.message,
    )


def _judged(operation: str, counts: ArmCounts, budget: int | None) -> Judged:
    return Judged(
        operation=operation,
        budget=budget_text(budget) if budget else "",
        canary_requests=counts.canary_requests,
        canary_bad=counts.canary_bad,
        stable_requests=counts.stable_requests,
        stable_bad=counts.stable_bad,
        evidence={q: odds(v) for q, v in counts.log_e.items()},
        needed={q: odds(v) for q, v in counts.needed.items()},
        phi_rel=counts.phi_rel,
        phi_abs=counts.phi_abs,
    )
