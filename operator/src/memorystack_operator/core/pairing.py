"""Moves of a proof by pairs (`promotion: Paired`): it begins, the flag is suspected within it, and cleared of that.

Knows: the status. Must not know: why a move was chosen (guards).
"""

from __future__ import annotations

from collections.abc import Collection

from memorystack_operator.api.status import EventReason
from memorystack_operator.core.canary import restarts_of
from memorystack_operator.core.change import Change, with_rollout
from memorystack_operator.core.decision import Event
from memorystack_operator.core.proving import Proving
from memorystack_operator.core.qualifying import pooled_rate, proofs_of
from memorystack_operator.core.situation import Outcome, Situation
from memorystack_operator.core.state import RolloutState, RolloutStatus
from memorystack_operator.core.trial import Trial
from memorystack_runtime.contract import Operation

__all__ = ["clear", "longest_budget", "lots_of", "next_trial", "prove", "suspect"]


def prove(situation: Situation, outcome: Outcome) -> Change:
    """The flags go on and off in pairs. After a withdrawal they begin on trial, too."""
    rollout = situation.rollout
    suspected = rollout.state is RolloutState.WITHDRAWN
    trial = rollout.proving.trial if rollout.proving else None
    if suspected:
        pooled = rollout.withdrawn_reason == "EnvironmentOverBudget"
        trial = _trial(situation, rollout.withdrawn_operation, pooled=pooled)
    test = Proving(
        number=rollout.step,
        seed=f"{lots_of(situation)}|prove",
        rate=pooled_rate(situation),
        settle_floor=longest_budget(situation, [name for name, e in rollout.evidence.items() if e.canary_requests]),
        epoch=situation.seen.epoch,
        started_at=situation.now,
        since=situation.now,
        last_read=situation.now,
        proofs=proofs_of(situation),
        trial=trial,
        trying=suspected,
    )
    status = with_rollout(
        situation.status,
        rollout,
        state=RolloutState.PROVING,
        state_since=situation.now,
        proving=test,
        proofs={},
        restarts=restarts_of(situation.canary) if suspected else rollout.restarts,
        reason=outcome.reason,
        message=outcome.message,
    )
    return Change(status, (Event(EventReason.PROVING_STARTED, outcome.message),))


def suspect(situation: Situation, outcome: Outcome) -> Change:
    """Over budget in the middle of a proof: the pairs go on, and ask from the next one on who is to blame."""
    test = _proving(situation)
    pooled = outcome.reason == "EnvironmentOverBudget"
    proving = test.suspecting(_trial(situation, outcome.operation, pooled=pooled))
    status = with_rollout(
        situation.status, situation.rollout, proving=proving, reason="Proving", message=outcome.message
    )
    return Change(status, (Event(EventReason.SWITCHBACK_STARTED, f"{outcome.reason}: {outcome.message}"),))


def clear(situation: Situation, outcome: Outcome) -> Change:
    """It was the environment: the proof goes on, and what had looked over budget is forgotten."""
    rollout = situation.rollout
    status = with_rollout(
        situation.status,
        rollout,
        proving=_proving(situation).unsuspecting(),
        evidence={name: e.environment_cleared() for name, e in rollout.evidence.items()},
        over_since={},
        reason="Proving",
        message=outcome.message,
    )
    return Change(status, (Event(EventReason.RESUMED, outcome.message),))


def lots_of(situation: Situation) -> str:
    """Seed of the lots: another for every rollout, so that a retry gets another order."""
    rollout = situation.rollout
    return f"{situation.stack.metadata.uid}|{rollout.revision}|{rollout.started_at.isoformat()}|{rollout.stage}"


def longest_budget(situation: Situation, operations: Collection[Operation]) -> float:
    """In seconds: a request that a window admits may turn out bad so much later."""
    budgets = situation.spec.rollout.budgets
    return max((b.p95.total_seconds() for b in budgets if b.operation in operations), default=0.0)


def next_trial(rollout: RolloutStatus) -> int:
    """k of the next suspicion of this rollout, by a switchback or beside a proof: its level shrinks with k."""
    return rollout.last_trial[0].number + 1 if rollout.last_trial else 1


def _proving(situation: Situation) -> Proving:
    test = situation.rollout.proving
    if test is None:
        msg = "no proof is under way"
        raise LookupError(msg)
    return test


def _trial(situation: Situation, operation: str, *, pooled: bool) -> Trial:
    """The next of this rollout."""
    rollout = situation.rollout
    name = next(o for o in rollout.evidence if o == operation)
    return Trial(number=next_trial(rollout), operation=name, pooled=pooled)
