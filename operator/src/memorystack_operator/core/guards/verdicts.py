"""Guards that turn evidence into moves, by the table of `core.verdict`."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from memorystack_operator.api.status import ProofResult
from memorystack_operator.core.accounting import RECOVERY, readable
from memorystack_operator.core.evidence import P0, Evidence, Finding
from memorystack_operator.core.limits import budget_text, limits_of, switchback_level
from memorystack_operator.core.qualifying import ASSUMPTION, PLAIN_SECONDS, note, refusal, undecided
from memorystack_operator.core.records import proving_of
from memorystack_operator.core.situation import Move, Outcome, Situation
from memorystack_operator.core.state import RolloutState, RolloutStatus
from memorystack_operator.core.switchback import Answer
from memorystack_operator.core.verdict import Case, Judged, Reason, Verdict, judge, multiple
from memorystack_operator.core.verdict import Outcome as Result
from memorystack_runtime.contract import Operation

__all__ = ["case_of", "proving_in_pairs", "proving_line", "switching_back", "the_verdict", "withdrawn_and_waiting"]


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
    if well and rollout.withdrawn_reason == "MetricsUnavailable":
        return Outcome(Move.RESUME, "Resumed", f"{missing}; the same step goes on")
    if well:
        text = f"{missing}; flags go on and off by lot, to find out whether they made everybody slow"
        return Outcome(Move.SWITCH, "SwitchbackStarted", text, rollout.withdrawn_operation)
    if waited > situation.spec.rollout.analysis.timeout and rollout.withdrawn_reason != "MetricsUnavailable":
        text = f"withdrawn as {rollout.withdrawn_reason}, and the environment did not recover in time"
        return Outcome(Move.REVERT, "Inconclusive", text)
    return Outcome(Move.HOLD, rollout.withdrawn_reason, f"flags withdrawn; waiting until {missing}")


def switching_back(situation: Situation) -> Outcome | None:
    """Convicted, cleared, or the next window."""
    rollout = situation.rollout
    test = rollout.switchback
    if rollout.state is not RolloutState.SWITCHBACK or test is None:
        return None
    level = switchback_level(situation.spec, test.number)
    counted = (
        f"in {test.worse} of {test.worse + test.better + test.tied} pairs {test.operation} was worse with the flag"
    )
    answer = test.answer(level)
    if answer is Answer.HARMS:
        text = f"{counted} on than off, drawn by lot; evidence {multiple(test.finding(level))}"
        return Outcome(Move.REVERT, "HarmsSharedDependency", text, test.operation)
    if answer is Answer.CLEARED:
        return Outcome(Move.RESUME, "EnvironmentCleared", f"{counted}: it was the environment; the same step goes on")
    if situation.since(test.started_at) > situation.spec.rollout.analysis.timeout:
        text = f"withdrawn as {rollout.withdrawn_reason}, and the switchback did not decide in time: {counted}"
        return Outcome(Move.REVERT, "Inconclusive", text, test.operation)
    text = f"{counted}; evidence of harm {multiple(test.finding(level))}, flags {'on' if test.on else 'off'} now"
    return Outcome(Move.HOLD, "SwitchingBack", text, test.operation)


def the_verdict(situation: Situation) -> Outcome | None:
    """Always an answer."""
    verdict = judge(case_of(situation))
    if verdict.reason is Reason.GATHERING_EVIDENCE and _may_prove(situation):
        names = ", ".join(undecided(situation))
        text = f"{names} not decided in {PLAIN_SECONDS / 60:.0f} minutes: flags go on and off in pairs; {ASSUMPTION}"
        return Outcome(Move.PROVE, "ProvingStarted", text)
    return _carried_out(situation, verdict)


def proving_in_pairs(situation: Situation) -> Outcome | None:
    """The same table, with the keys of the pairs beside Plain's evidence."""
    test = situation.rollout.proving
    if situation.rollout.state is not RolloutState.PROVING or test is None:
        return None
    verdict = judge(case_of(situation))
    if verdict.outcome is Result.CONTINUE or verdict.outcome is Result.HOLD:
        return Outcome(Move.HOLD, "Proving", proving_line(situation), verdict.operation)
    return _carried_out(situation, verdict)


def proving_line(situation: Situation) -> str:
    """How many pairs, each operation's keys as a share of what is needed, U and g, and where the flags are."""
    result, test = proving_of(situation.rollout, situation.spec), situation.rollout.proving
    if result is None or test is None:
        return ""
    keys = "; ".join(f"{name}: {_keys(proof)}" for name, proof in result.operations.items())
    where = "the world cannot be measured, flags off" if test.waiting else f"flags {'on' if test.on else 'off'} now"
    return f"{result.pairs} pairs ({result.discarded} dropped); {keys}; {where}"


def _keys(proof: ProofResult) -> str:
    own, shared, both = (
        f"{100 * Finding(e, proof.needed).fraction:.0f} %" for e in (proof.own_log_e, proof.shared_log_e, proof.log_e)
    )
    return (
        f"no harm of its own {own}, none to shared parts {shared}, together {both} of the evidence needed "
        f"(at most {100 * proof.limit:.1f} % bad without it by {proof.hours:.1f} h, so odds may grow by {proof.room:.2f})"
    )


def _may_prove(situation: Situation) -> bool:
    rollout = situation.rollout
    wanted = situation.spec.rollout.analysis.promotion == "Paired" and not situation.planned.pause
    return wanted and rollout.step_seconds >= PLAIN_SECONDS and not refusal(situation)


def _carried_out(situation: Situation, verdict: Verdict) -> Outcome:
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
    return Outcome(move, reason, verdict.message + (note(situation) if waits else ""), verdict.operation)


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
