"""Moves that take the flags back without a verdict, ask by lot whether they are to blame, and bring them on again.

Knows: the status. Must not know: why a move was chosen (guards).
"""

from __future__ import annotations

from memorystack_operator.api.status import EventReason
from memorystack_operator.core.canary import restarts_of
from memorystack_operator.core.change import Change, with_rollout
from memorystack_operator.core.decision import Event
from memorystack_operator.core.pairing import longest_budget, lots_of, next_trial
from memorystack_operator.core.situation import Outcome, Situation
from memorystack_operator.core.state import RECOVERY, RolloutState
from memorystack_operator.core.switchback import Switchback

__all__ = ["resume", "switch", "withdraw"]


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
        number=next_trial(rollout),
        seed=lots_of(situation),
        operation=operation,
        pooled=rollout.withdrawn_reason == "EnvironmentOverBudget",
        rate=round(requests / RECOVERY.total_seconds(), 3),
        settle_floor=longest_budget(situation, (operation,)),
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
        restarts=restarts_of(situation.canary),
        reason=outcome.reason,
        message=outcome.message,
    )
    return Change(status, (Event(EventReason.SWITCHBACK_STARTED, outcome.message),))


def resume(situation: Situation, outcome: Outcome) -> Change:
    """The same step goes on."""
    rollout = situation.rollout
    status = with_rollout(
        situation.status,
        rollout,
        state=RolloutState.PROGRESSING,
        state_since=situation.now,
        last_tick=situation.now,
        restarts=restarts_of(situation.canary),
        evidence={name: e.environment_cleared() for name, e in rollout.evidence.items()},
        reason=outcome.reason,
        message=outcome.message,
    )
    return Change(status, (Event(EventReason.RESUMED, outcome.message),))
