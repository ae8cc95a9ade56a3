"""The partition sum against all its terms."""

from __future__ import annotations

from decimal import Decimal
from math import comb, log

import pytest

from memorystack_operator.core.noncentral import log_partition


def every_term(canary: int, stable: int, bad: int, log_odds: float) -> float:
    terms = range(max(0, bad - stable), min(bad, canary) + 1)
    return float(sum(comb(canary, s) * comb(stable, bad - s) * Decimal(s * log_odds).exp() for s in terms).ln())


@pytest.mark.parametrize("log_odds", [-0.9, -0.1, 0.0, 0.3, 0.45, 2.08])
@pytest.mark.parametrize(
    ("canary", "stable", "bad"),
    [(25, 75, 3), (25, 75, 0), (25, 75, 100), (25, 75, 98), (1, 99, 40), (60, 40, 50), (500, 1500, 300), (0, 50, 7)],
)
def test_the_sum_from_its_middle_outward_equals_the_whole_sum(canary: int, stable: int, bad: int, log_odds: float):
    assert log_partition(canary, stable, bad, log_odds) == pytest.approx(every_term(canary, stable, bad, log_odds))


def test_without_odds_it_counts_all_ways():
    assert log_partition(2000, 6000, 4000, 0.0) == pytest.approx(log(comb(8000, 4000)))


def test_of_nothing_there_is_one_way():
    assert log_partition(0, 0, 0, 0.5) == 0.0
