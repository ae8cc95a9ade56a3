"""Moves that take the flags back without a verdict, or for a window only, and bring them on again.

Knows: the status. Must not know: why a move was chosen (guards).
"""

from __future__ import annotations

from collections.abc import Collection

from memorystack_operator.api.status import EventReason
from memorystack_operator.core.accounting import RECOVERY
from memorystack_operator.core.change import Change, with_rollout
from memorystack_operator.core.decision import Event
from memorystack_operator.core.proving import Proving
from memorystack_operator.core.qualifying import pooled_rate, proofs_of
from memorystack_operator.core.situation import Outcome, Situation
from memorystack_operator.core.state import RolloutState
from memorystack_operator.core.switchback import Switchback
from memorystack_runtime.contract import Operation

__all__ = ["prove", "resume", "switch", "withdraw"]


def withdraw(situation: Situation, outcome: Outcome) -> Change:
    """The flags leave at once; nothing is held against them."""
    rollout = situation.rollout
    blind = outcome.reason == "MetricsUnavailable"
    status = with_rollout(
        situation.status,
        rollout,
        state=RolloutState.WITHDRAWN,
        state_since=situation.now,
        applied_at=None,
        withdrawals=rollout.withdrawals + (0 if blind else 1),
        withdrawn_reason=outcome.reason,
        withdrawn_operation=outcome.operation,
        recovery=(),
        over_since={},
        reason=outcome.reason,
        message=outcome.message,
    )
    return Change(status, (Event(EventReason.WITHDRAWN, f"{outcome.reason}: {outcome.message}", "Warning"),))


def switch(situation: Situation, outcome: Outcome) -> Change:
    """The world is well again: find out by lot whether the flags had made it sick."""
    rollout = situation.rollout
    requests = sum(r.requests for r in rollout.recovery)
    operation = next(name for name in rollout.evidence if name == rollout.withdrawn_operation)
    test = Switchback(
        number=(rollout.switchback.number if rollout.switchback else 0) + 1,
        seed=_seed(situation),
        operation=operation,
        pooled=rollout.withdrawn_reason == "EnvironmentOverBudget",
        rate=round(requests / RECOVERY.total_seconds(), 3),
        settle_floor=_longest_budget(situation, (operation,)),
        epoch=situation.seen.epoch,
        started_at=situation.now,
        since=situation.now,
        last_read=situation.now,
    )
    status = with_rollout(
        situation.status,
        rollout,
        state=RolloutState.SWITCHBACK,
        state_since=situation.now,
        switchback=test,
        restarts={p.name: p.restarts for p in situation.canary},
        reason=outcome.reason,
        message=outcome.message,
    )
    return Change(status, (Event(EventReason.SWITCHBACK_STARTED, outcome.message),))


def prove(situation: Situation, outcome: Outcome) -> Change:
    """Plain has not decided in its time: the flags go on and off in pairs. A step that was proved before goes on so."""
    rollout = situation.rollout
    begun = rollout.proving if rollout.proving and rollout.proving.number == rollout.step else None
    proofs = proofs_of(situation)
    test = (
        begun.again(situation.now, situation.seen.epoch)
        if begun
        else Proving(
            number=rollout.step,
            seed=f"{_seed(situation)}|prove",
            rate=pooled_rate(situation),
            settle_floor=_longest_budget(situation, tuple(proofs)),
            epoch=situation.seen.epoch,
            started_at=situation.now,
            since=situation.now,
            last_read=situation.now,
            proofs=proofs,
        )
    )
    status = with_rollout(
        situation.status,
        rollout,
        state=RolloutState.PROVING,
        state_since=situation.now,
        proving=test,
        reason=outcome.reason,
        message=outcome.message,
    )
    return Change(status, (Event(EventReason.PROVING_STARTED, outcome.message),))


def _seed(situation: Situation) -> str:
    """Of the lots: another for every rollout, so that a retry gets another order."""
    rollout = situation.rollout
    return f"{situation.stack.metadata.uid}|{rollout.revision}|{rollout.started_at.isoformat()}|{rollout.stage}"


def _longest_budget(situation: Situation, operations: Collection[Operation]) -> float:
    """In seconds: a request that a window admits may turn out bad so much later."""
    budgets = situation.spec.rollout.budgets
    return max((b.p95.total_seconds() for b in budgets if b.operation in operations), default=0.0)


def resume(situation: Situation, outcome: Outcome) -> Change:
    """The same step goes on."""
    rollout = situation.rollout
    status = with_rollout(
        situation.status,
        rollout,
        state=RolloutState.PROGRESSING,
        state_since=situation.now,
        last_tick=situation.now,
        restarts={p.name: p.restarts for p in situation.canary},
        evidence={name: e.environment_cleared() for name, e in rollout.evidence.items()},
        reason=outcome.reason,
        message=outcome.message,
    )
    return Change(status, (Event(EventReason.RESUMED, outcome.message),))
