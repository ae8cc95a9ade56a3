"""How a rollout's error rates are shared out (verdict.md 9)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from memorystack_operator.api.spec import Analysis, Budget, RolloutSpec
from memorystack_operator.core.limits import limits_of, switchback_level

RECALL = Budget(operation="recall", p95=timedelta(milliseconds=250))
STORE = Budget(operation="store", p95=timedelta(seconds=1))


class OfSpec:
    """All that the sharing looks at."""

    def __init__(self, *budgets: Budget, rollback: str = "0.01", promotion: str = "0.05") -> None:
        analysis = Analysis(false_rollback_rate=rollback, false_promotion_rate=promotion)
        self.rollout = RolloutSpec(budgets=budgets, analysis=analysis)


@pytest.mark.parametrize(
    ("spec", "alpha", "beta"),
    [
        (OfSpec(RECALL), 0.01 / 2 / 2, 0.05),
        (OfSpec(RECALL, STORE), 0.01 / 2 / 3, 0.05),
        (OfSpec(RECALL, STORE, rollback="0.05", promotion="0.1"), 0.05 / 2 / 3, 0.1),
    ],
)
def test_half_is_for_rollbacks_by_each_budget_and_by_failed_requests_and_promotion_is_not_divided(
    spec: OfSpec, alpha: float, beta: float
):
    assert limits_of(spec) == pytest.approx((alpha, beta))


def test_the_other_half_is_for_all_switchbacks_whatever_the_number_of_budgets():
    spent = sum(switchback_level(OfSpec(RECALL, STORE), k) for k in range(1, 5000))
    assert spent == pytest.approx(0.005, rel=1e-3)
    assert switchback_level(OfSpec(RECALL), 2) == switchback_level(OfSpec(RECALL, STORE), 2)


def test_a_rollout_spends_no_more_than_its_rate():
    spec = OfSpec(RECALL, STORE)
    rollbacks = 3 * limits_of(spec)[0]
    assert rollbacks + sum(switchback_level(spec, k) for k in range(1, 5000)) <= 0.01
