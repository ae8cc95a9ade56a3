"""Guards that turn evidence into moves, by the table of `core.verdict`."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from memorystack_operator.core.accounting import readable
from memorystack_operator.core.evidence import P0, Evidence, Finding
from memorystack_operator.core.limits import budget_text, limits_of
from memorystack_operator.core.lookback import doubled
from memorystack_operator.core.qualifying import ASSUMPTION, PLAIN_SECONDS, in_pairs, note, plain_alone, undecided
from memorystack_operator.core.situation import Move, Outcome, Situation
from memorystack_operator.core.state import RECOVERY, RolloutState, RolloutStatus
from memorystack_operator.core.verdict import Case, Judged, Reason, Verdict, judge
from memorystack_operator.core.verdict import Outcome as Result
from memorystack_runtime.contract import Operation

__all__ = ["carried_out", "case_of", "the_verdict", "withdrawn_and_waiting"]


def withdrawn_and_waiting(situation: Situation) -> Outcome | None:
    """The flags are off without a verdict: back when the world is well again, or inconclusive when time is out."""
    rollout = situation.rollout
    if rollout.state is not RolloutState.WITHDRAWN:
        return None
    waited = situation.since(rollout.state_since)
    # What was well a minute ago says nothing of a flag that nobody could see, or compare with anything, when it is back.
    well, missing = readable(situation), "the pods' evidence can be read again"
    if rollout.withdrawn_reason != "MetricsUnavailable":
        well = well and _recovered(situation)
        missing = f"{rollout.withdrawn_operation} is within budget for a minute"
    if well and rollout.withdrawn_reason == "MetricsUnavailable":
        return Outcome(Move.RESUME, "Resumed", f"{missing}; the same step goes on")
    if well and in_pairs(situation):
        text = (
            f"{missing}; flags go on and off in pairs, which also tell whether they made everybody slow; {ASSUMPTION}"
        )
        return Outcome(Move.PROVE, "ProvingStarted", text, rollout.withdrawn_operation)
    if well:
        text = f"{missing}; flags go on and off by lot, to find out whether they made everybody slow"
        return Outcome(Move.SWITCH, "SwitchbackStarted", text, rollout.withdrawn_operation)
    if waited > situation.spec.rollout.analysis.timeout and rollout.withdrawn_reason != "MetricsUnavailable":
        text = f"withdrawn as {rollout.withdrawn_reason}, and the environment did not recover in time"
        return Outcome(Move.REVERT, "Inconclusive", text)
    return Outcome(Move.HOLD, rollout.withdrawn_reason, f"flags withdrawn; waiting until {missing}")


def the_verdict(situation: Situation) -> Outcome | None:
    """Always an answer."""
    verdict = judge(case_of(situation))
    late = verdict.reason is Reason.GATHERING_EVIDENCE and not plain_alone(situation.rollout)
    if late and in_pairs(situation):
        names, minutes = ", ".join(undecided(situation)), PLAIN_SECONDS / 60
        waited = "as in the step before" if situation.rollout.proving else f"not decided in {minutes:.0f} minutes"
        text = f"{names} {waited}: flags go on and off in pairs; {ASSUMPTION}"
        return Outcome(Move.PROVE, "ProvingStarted", text)
    return carried_out(situation, verdict)


def carried_out(situation: Situation, verdict: Verdict) -> Outcome:
    if verdict.outcome is Result.PROMOTE:
        return _passed(situation, verdict)
    if verdict.outcome is Result.WITHDRAW:
        return Outcome(Move.WITHDRAW, verdict.reason.value, verdict.message, verdict.operation)
    move, reason = {
        Result.ROLLBACK: (Move.REVERT, verdict.reason.value),
        Result.INCONCLUSIVE: (Move.REVERT, "Inconclusive"),
    }.get(verdict.outcome, (Move.HOLD, verdict.reason.value))
    if move is Move.HOLD and situation.planned.pause:
        return Outcome(Move.HOLD, "WaitingForPerson", "pause step: memorystack resume goes on, promote goes to the end")
    waits = verdict.reason in (Reason.GATHERING_EVIDENCE, Reason.TIMED_OUT)
    remarks = doubled(situation.rollout) + note(situation) if waits else ""
    return Outcome(move, reason, verdict.message + remarks, verdict.operation)


def case_of(situation: Situation) -> Case:
    """What the table looks at now. At a pause step nothing is promoted and no time runs out, but a bad canary goes."""
    rollout, spec = situation.rollout, situation.spec
    alpha, beta = limits_of(spec)
    priors = rollout.priors
    operations = []
    for budget in spec.rollout.budgets:
        name = budget.operation
        evidence = rollout.evidence[name]
        text = budget_text(round(budget.p95.total_seconds() * 1000))
        before = name in priors and priors[name].over_budget_before
        over_for = situation.since(rollout.over_since.get(name))
        judged = _judged(name, text, evidence, alpha, beta, before=before, over_for=over_for)
        operations.append(replace(judged, proof=_proof(rollout, name, judged.findings.within, beta)))
    errors = rollout.failures
    limit = f"{spec.rollout.max_error_percent} %"
    pause = situation.planned.pause
    return Case(
        operations=tuple(operations),
        errors=_judged("failed requests", limit, errors, alpha, beta) if errors else None,
        require_better=spec.rollout.analysis.require == "Better",
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


def _proof(rollout: RolloutStatus, operation: Operation, within: Finding, beta: float) -> Finding | None:
    proofs = rollout.proving.proofs if rollout.proving and rollout.state is RolloutState.PROVING else {}
    return proofs[operation].finding(within.log_e, beta) if operation in proofs else None


def _passed(situation: Situation, verdict: Verdict) -> Outcome:
    last = situation.rollout.step + 1 >= len(situation.rollout.plan)
    return Outcome(
        Move.PROMOTE if last else Move.ADVANCE,
        verdict.reason.value,
        verdict.message,
        verdict.operation,
        worse_than_stable=verdict.worse_than_stable,
        paired=verdict.paired,
    )


def _recovered(situation: Situation) -> bool:
    rollout = situation.rollout
    if situation.since(rollout.state_since) < RECOVERY:
        return False
    requests = sum(r.requests for r in rollout.recovery)
    return requests > 0 and sum(r.bad for r in rollout.recovery) <= P0 * requests
