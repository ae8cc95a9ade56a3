"""Guards that turn evidence into moves, by the table of `core.verdict`."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from memorystack_operator.core.accounting import RECOVERY, readable
from memorystack_operator.core.evidence import P0, Evidence
from memorystack_operator.core.limits import budget_text, limits_of
from memorystack_operator.core.situation import Move, Outcome, Situation
from memorystack_operator.core.state import RolloutState
from memorystack_operator.core.verdict import Case, Judged, Verdict, judge
from memorystack_operator.core.verdict import Outcome as Result

__all__ = ["case_of", "the_verdict", "withdrawn_and_waiting"]

TRIES: Final = 1
"""How often flags come back after a withdrawal; the switchback will replace this count."""


def withdrawn_and_waiting(situation: Situation) -> Outcome | None:
    """The flags are off without a verdict: back when the world is well again, or inconclusive when time is out."""
    rollout = situation.rollout
    if rollout.state is not RolloutState.WITHDRAWN:
        return None
    waited = situation.since(rollout.state_since)
    if rollout.withdrawn_reason == "MetricsUnavailable":
        well, missing = readable(situation), "the pods' evidence can be read again"
    else:
        well, missing = _recovered(situation), f"{rollout.withdrawn_operation} is within budget for a minute"
    if well:
        return Outcome(Move.RESUME, "Resumed", f"{missing}; the same step goes on")
    if waited > situation.spec.rollout.analysis.timeout and rollout.withdrawn_reason != "MetricsUnavailable":
        text = f"withdrawn as {rollout.withdrawn_reason}, and the environment did not recover in time"
        return Outcome(Move.REVERT, "Inconclusive", text)
    return Outcome(Move.HOLD, rollout.withdrawn_reason, f"flags withdrawn; waiting until {missing}")


def the_verdict(situation: Situation) -> Outcome | None:
    """Always an answer."""
    verdict = judge(case_of(situation))
    if verdict.outcome is Result.PROMOTE:
        return _passed(situation, verdict)
    if verdict.outcome is Result.WITHDRAW:
        return _withdraw(situation, verdict)
    move, reason = {
        Result.ROLLBACK: (Move.REVERT, verdict.reason.value),
        Result.INCONCLUSIVE: (Move.REVERT, "Inconclusive"),
    }.get(verdict.outcome, (Move.HOLD, verdict.reason.value))
    if move is Move.HOLD and situation.planned.pause:
        return Outcome(Move.HOLD, "WaitingForPerson", "pause step: memorystack resume goes on, promote goes to the end")
    return Outcome(move, reason, verdict.message, verdict.operation)


def case_of(situation: Situation) -> Case:
    """What the table looks at now. At a pause step nothing is promoted and no time runs out, but a bad canary goes."""
    rollout, spec = situation.rollout, situation.spec
    alpha, beta = limits_of(spec)
    priors = rollout.calibration.operations if rollout.calibration else {}
    operations = []
    for budget in spec.rollout.budgets:
        name = budget.operation
        evidence = rollout.evidence[name]
        text = budget_text(round(budget.p95.total_seconds() * 1000))
        before = name in priors and priors[name].over_budget_before
        over_for = situation.since(rollout.over_since.get(name))
        operations.append(_judged(name, text, evidence, alpha, beta, before=before, over_for=over_for))
    errors = rollout.failures
    limit = f"{spec.rollout.max_error_percent} %"
    pause = situation.planned.pause
    return Case(
        operations=tuple(operations),
        errors=_judged("failed requests", limit, errors, alpha, beta) if errors else None,
        early=pause or rollout.step_seconds < situation.planned.min_seconds,
        timed_out=not pause and rollout.stage_seconds >= spec.rollout.analysis.timeout.total_seconds(),
    )


def _judged(
    name: str,
    limit: str,
    evidence: Evidence,
    alpha: float,
    beta: float,
    *,
    before: bool = False,
    over_for: timedelta = timedelta(),
) -> Judged:
    findings = evidence.findings(alpha, beta)
    return Judged(name, limit, findings, evidence.canary, evidence.stable, before, over_for)


def _passed(situation: Situation, verdict: Verdict) -> Outcome:
    last = situation.rollout.step + 1 >= len(situation.rollout.plan)
    return Outcome(
        Move.PROMOTE if last else Move.ADVANCE,
        verdict.reason.value,
        verdict.message,
        verdict.operation,
        worse_than_stable=verdict.worse_than_stable,
    )


def _withdraw(situation: Situation, verdict: Verdict) -> Outcome:
    if situation.rollout.withdrawals >= TRIES:
        text = f"withdrawn a second time: {verdict.message}; nothing is proved against the flag"
        return Outcome(Move.REVERT, "Inconclusive", text, verdict.operation)
    return Outcome(Move.WITHDRAW, verdict.reason.value, verdict.message, verdict.operation)


def _recovered(situation: Situation) -> bool:
    rollout = situation.rollout
    if situation.since(rollout.state_since) < RECOVERY:
        return False
    requests = sum(r.requests for r in rollout.recovery)
    return requests > 0 and sum(r.bad for r in rollout.recovery) <= P0 * requests
