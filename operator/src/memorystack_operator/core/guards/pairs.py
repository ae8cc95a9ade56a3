"""Guards of the two phases in which the flags go on and off by lot: the switchback, and the proof by pairs."""

from __future__ import annotations

from memorystack_operator.api.status import ProofResult
from memorystack_operator.core.evidence import Finding
from memorystack_operator.core.guards.verdicts import carried_out, case_of
from memorystack_operator.core.limits import switchback_level
from memorystack_operator.core.phrases import multiple
from memorystack_operator.core.proving import Proving
from memorystack_operator.core.records import proving_of
from memorystack_operator.core.situation import Move, Outcome, Situation
from memorystack_operator.core.state import RolloutState
from memorystack_operator.core.trial import Answer, Trial
from memorystack_operator.core.verdict import Outcome as Result
from memorystack_operator.core.verdict import Verdict, judge

__all__ = ["proving_in_pairs", "proving_line", "switching_back"]


def switching_back(situation: Situation) -> Outcome | None:
    """Convicted, cleared, or the next window."""
    rollout = situation.rollout
    test = rollout.switchback
    if rollout.state is not RolloutState.SWITCHBACK or test is None:
        return None
    level, counted = switchback_level(situation.spec, test.number), _counted(test)
    answer = test.answer(level)
    if answer is Answer.HARMS:
        return _convicted(test, level)
    if answer is Answer.CLEARED:
        return Outcome(Move.RESUME, "EnvironmentCleared", f"{counted}: it was the environment; the same step goes on")
    if situation.since(test.started_at) > situation.spec.rollout.analysis.timeout:
        text = f"withdrawn as {rollout.withdrawn_reason}, and the switchback did not decide in time: {counted}"
        return Outcome(Move.REVERT, "Inconclusive", text, test.operation)
    text = f"{counted}; evidence of harm {multiple(test.finding(level))}, flags {'on' if test.on else 'off'} now"
    return Outcome(Move.HOLD, "SwitchingBack", text, test.operation)


def proving_in_pairs(situation: Situation) -> Outcome | None:
    """The same table, with the keys of the pairs beside Plain's evidence, and a trial in place of a withdrawal."""
    test = situation.rollout.proving
    if situation.rollout.state is not RolloutState.PROVING or test is None:
        return None
    tried = _tried(situation, test)
    if tried and tried.move is Move.REVERT:
        return tried  # a conviction outranks a promotion that the same pair would bring
    case = case_of(situation)
    verdict = judge(case)
    if verdict.outcome in (Result.PROMOTE, Result.ROLLBACK, Result.INCONCLUSIVE):
        return carried_out(situation, verdict)
    if tried:
        return tried
    if verdict.outcome is Result.WITHDRAW:
        return _over_in_pairs(situation, test, verdict, timed_out=case.timed_out)
    return Outcome(Move.HOLD, "Proving", proving_line(situation), verdict.operation)


def proving_line(situation: Situation) -> str:
    """How many pairs, each operation's keys as a share of what is needed, U and g, and where the flags are."""
    result, test = proving_of(situation.rollout, situation.spec), situation.rollout.proving
    if result is None or test is None:
        return ""
    keys = "; ".join(f"{name}: {_keys(proof)}" for name, proof in result.operations.items())
    where = "the world cannot be measured, flags off" if test.waiting else f"flags {'on' if test.on else 'off'} now"
    suspected = ""
    if test.trial and test.trying:
        harm = test.trial.finding(switchback_level(situation.spec, test.trial.number))
        suspected = f"{_counted(test.trial)}, evidence of harm {multiple(harm)}; "
    return f"{result.pairs} pairs ({result.discarded} dropped); {keys}; {suspected}{where}"


def _tried(situation: Situation, test: Proving) -> Outcome | None:
    """What the trial beside the proof has found; None: nothing yet, or there is none."""
    trial = test.trial
    if trial is None or not test.trying:
        return None
    level = switchback_level(situation.spec, trial.number)
    match trial.answer(level):
        case Answer.HARMS:
            return _convicted(trial, level)
        case Answer.CLEARED:
            text = f"{_counted(trial)}: it was the environment; the proof goes on"
            return Outcome(Move.CLEAR, "EnvironmentCleared", text, trial.operation)
    return None


def _over_in_pairs(situation: Situation, test: Proving, verdict: Verdict, *, timed_out: bool) -> Outcome:
    """Where Plain would take the flags back to ask a switchback, the pairs under way are asked."""
    if timed_out:
        text = f"the evidence did not suffice in time, and {verdict.message}"
        return Outcome(Move.REVERT, "Inconclusive", text, verdict.operation)
    if test.trying:
        return Outcome(Move.HOLD, "Proving", proving_line(situation), verdict.operation)
    text = f"{verdict.message}; the pairs now also tell whether the flag made everybody slow"
    return Outcome(Move.SUSPECT, verdict.reason.value, text, verdict.operation)


def _convicted(trial: Trial, level: float) -> Outcome:
    text = f"{_counted(trial)} on than off, drawn by lot; evidence {multiple(trial.finding(level))}"
    return Outcome(Move.REVERT, "HarmsSharedDependency", text, trial.operation)


def _counted(trial: Trial) -> str:
    played = trial.worse + trial.better + trial.tied
    return f"in {trial.worse} of {played} pairs {trial.operation} was worse with the flag"


def _keys(proof: ProofResult) -> str:
    own, shared, both = (
        f"{100 * Finding(e, proof.needed).fraction:.0f} %" for e in (proof.own_log_e, proof.shared_log_e, proof.log_e)
    )
    return (
        f"no harm of its own {own}, none to shared parts {shared}, together {both} of the evidence needed "
        f"(at most {100 * proof.limit:.1f} % bad without it by {proof.hours:.1f} h, so odds may grow by {proof.room:.2f})"
    )
