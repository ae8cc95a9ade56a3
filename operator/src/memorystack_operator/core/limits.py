"""How a rollout's two error rates are shared out. Knows the spec only."""

from __future__ import annotations

from datetime import timedelta

from memorystack_operator.api.durations import format_duration
from memorystack_operator.api.spec import Spec
from memorystack_operator.core.trial import level_of

__all__ = ["budget_text", "limits_of", "switchback_level"]


def limits_of(spec: Spec) -> tuple[float, float]:
    """(alpha, beta) of one operation's test.

    Half of `falseRollbackRate` is for rollbacks (the other half is the switchbacks'), shared by the budgets and
    the guard for failed requests. `falsePromotionRate` is not divided: a promotion needs every operation.
    """
    analysis = spec.rollout.analysis
    tests = len(spec.rollout.budgets) + 1
    return float(analysis.false_rollback_rate) / 2 / tests, float(analysis.false_promotion_rate)


def switchback_level(spec: Spec, number: int) -> float:
    """Error rate of the k-th switchback of a rollout. One operation is bet on, so the budgets do not share it."""
    return level_of(float(spec.rollout.analysis.false_rollback_rate) / 2, number)


def budget_text(milliseconds: int) -> str:
    """A budget for people, as `250ms`."""
    return format_duration(timedelta(milliseconds=milliseconds))
