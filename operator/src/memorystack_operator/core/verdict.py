"""The verdict table (verdict.md 8): what the evidence of all operations says together, first match wins.

Knows: findings and the table's rows. Must not know: pods, leases, or how a verdict is carried out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from memorystack_operator.core.case import Case, Judged
from memorystack_operator.core.phrases import besides, counts, multiple, not_judged, passed, progress, proof_of_worse

__all__ = ["GRACE", "Case", "Judged", "Outcome", "Reason", "Verdict", "judge"]

GRACE: Final = timedelta(seconds=60)
"""How long a canary may be over budget, and not yet worse, while the others are not over."""


class Outcome(StrEnum):
    """What is to be done."""

    HOLD = "Hold"
    CONTINUE = "Continue"
    ROLLBACK = "Rollback"
    WITHDRAW = "Withdraw"
    PROMOTE = "Promote"
    INCONCLUSIVE = "Inconclusive"


class Reason(StrEnum):
    """Why: the closed list of verdict.md 8."""

    METRICS_UNAVAILABLE = "MetricsUnavailable"
    NO_TRAFFIC = "NoTraffic"
    TOO_FEW_REQUESTS = "TooFewRequests"
    P95_OVER_BUDGET = "P95OverBudget"
    ERRORS_OVER_BUDGET = "ErrorsOverBudget"
    WORSE = "Worse"
    ENVIRONMENT_OVER_BUDGET = "EnvironmentOverBudget"
    SUSPECTED_OVER_BUDGET = "SuspectedOverBudget"
    BAKING = "Baking"
    IMPROVES = "Improves"
    WITHIN_BUDGET = "WithinBudget"
    GATHERING_EVIDENCE = "GatheringEvidence"
    TIMED_OUT = "TimedOut"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The table's answer, with the sentence that people read."""

    outcome: Outcome
    reason: Reason
    message: str
    operation: str = ""
    worse_than_stable: bool = False
    paired: bool = False
    """Promoted on pairs of windows: some operation is not within its budget by its own counts alone."""


def judge(case: Case) -> Verdict:
    """The first row that matches."""
    return next(verdict for row in ROWS if (verdict := row(case)))


def _no_data(case: Case) -> Verdict | None:
    if not case.no_data:
        return None
    return Verdict(Outcome.HOLD, Reason.METRICS_UNAVAILABLE, "the pods' evidence cannot be read; nothing is judged")


def _no_traffic(case: Case) -> Verdict | None:
    if any(op.canary.requests for op in case.operations) or (case.errors and case.errors.canary.requests):
        return None
    text = "the canary has served no request yet: send traffic (on one machine: memorystack load), or promote by hand"
    return Verdict(Outcome.HOLD, Reason.NO_TRAFFIC, text)


def _over_and_worse(case: Case) -> Verdict | None:
    for op in _ready(case):
        if op.findings.over.holds and op.findings.worse.holds:
            text = f"{op.name} over its budget of {op.limit} and worse than stable: {counts(op)}; {proof_of_worse(op)}"
            return Verdict(Outcome.ROLLBACK, Reason.P95_OVER_BUDGET, text + besides(case, op), op.name)
    return None


def _errors(case: Case) -> Verdict | None:
    op = case.errors
    if op is None or not (op.findings.enough and op.findings.over.holds and op.findings.worse.holds):
        return None
    text = (
        f"more than {op.limit} of requests fail, and more than on stable: {counts(op, 'failed')}; {proof_of_worse(op)}"
    )
    return Verdict(Outcome.ROLLBACK, Reason.ERRORS_OVER_BUDGET, text, op.name)


def _worse_when_over_before(case: Case) -> Verdict | None:
    for op in _ready(case):
        if op.over_budget_before and op.findings.worse.holds:
            text = (
                f"{op.name} was over {op.limit} before and is worse with the flag: {counts(op)}; {proof_of_worse(op)}"
            )
            return Verdict(Outcome.ROLLBACK, Reason.WORSE, text + besides(case, op), op.name)
    return None


def _environment(case: Case) -> Verdict | None:
    for op in _ready(case):
        if op.over_budget_before or not op.findings.over.holds:
            continue
        if op.findings.stable_over.holds:
            text = f"{op.name} is over {op.limit} on both arms, so the environment is slow: {counts(op)}"
            return Verdict(Outcome.WITHDRAW, Reason.ENVIRONMENT_OVER_BUDGET, text, op.name)
        if op.over_for >= GRACE:
            seconds = int(op.over_for.total_seconds())
            text = f"{op.name} over {op.limit} for {seconds} s, not proved worse than stable: {counts(op)}"
            return Verdict(Outcome.WITHDRAW, Reason.SUSPECTED_OVER_BUDGET, text, op.name)
    return None


def _too_few(case: Case) -> Verdict | None:
    # An operation with a handful of requests must not pass as judged; one without any is said to be not judged.
    waiting = [op.name for op in case.operations if op.canary.requests and not op.findings.enough]
    if not waiting or case.timed_out:
        return None
    text = f"too few requests to judge {', '.join(waiting)} (30 and two reads are needed)"
    return Verdict(Outcome.CONTINUE, Reason.TOO_FEW_REQUESTS, text)


def _baking(case: Case) -> Verdict | None:
    if not case.early:
        return None
    return Verdict(Outcome.CONTINUE, Reason.BAKING, "within the step's minDuration, which holds back promotions only")


def _promote(case: Case) -> Verdict | None:
    judged = [op for op in case.operations if op.canary.requests]
    if not judged or not all(op.findings.enough and op.passes for op in judged):
        return None
    improved = [op for op in judged if op.improves]
    worse = next((op for op in judged if op.findings.worse.holds), None)
    if worse and case.require_better:
        text = f"{worse.name} is within {worse.limit} but worse than stable, and Better is required: {counts(worse)}"
        return Verdict(Outcome.ROLLBACK, Reason.WORSE, f"{text}; {proof_of_worse(worse)}", worse.name)
    parts = [passed(op) for op in judged]
    reason = Reason.IMPROVES if improved else Reason.WITHIN_BUDGET
    text = "; ".join(parts) + (", but worse than stable" if worse else "") + not_judged(case)
    paired = any(not op.improves and not op.within for op in judged)
    operation = (improved or judged)[0].name
    return Verdict(Outcome.PROMOTE, reason, text, operation, worse_than_stable=worse is not None, paired=paired)


def _timeout(case: Case) -> Verdict | None:
    if not case.timed_out:
        return None
    parts = "; ".join(
        f"{op.name}: {counts(op)}, within budget {multiple(op.findings.within)}" for op in case.operations
    )
    return Verdict(Outcome.INCONCLUSIVE, Reason.TIMED_OUT, f"the evidence did not suffice in time: {parts}")


def _gathering(case: Case) -> Verdict:
    parts = "; ".join(progress(op) for op in case.operations if op.canary.requests)
    return Verdict(Outcome.CONTINUE, Reason.GATHERING_EVIDENCE, parts + not_judged(case))


ROWS: Final[tuple[Callable[[Case], Verdict | None], ...]] = (
    _no_data,  # no metrics is never a verdict
    _no_traffic,
    _over_and_worse,  # these convict without waiting for the bake time
    _errors,  # convicts only: a promotion needs no proof of it
    _worse_when_over_before,
    _environment,
    _too_few,
    _baking,
    _promote,  # every operation with traffic, an intersection: beta is not divided
    _timeout,
    _gathering,
)


def _ready(case: Case) -> Sequence[Judged]:
    return [op for op in case.operations if op.findings.enough]
