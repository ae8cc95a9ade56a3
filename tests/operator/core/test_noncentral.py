"""The partition sum against all its terms."""

from __future__ import annotations

from decimal import Decimal
from math import comb, exp, log

import pytest

from memorystack_operator.core.noncentral import log_partition, odds_gain


def every_term(canary: int, stable: int, bad: int, log_odds: float) -> float:
    terms = range(max(0, bad - stable), min(bad, canary) + 1)
    return float(sum(comb(canary, s) * comb(stable, bad - s) * Decimal(s * log_odds).exp() for s in terms).ln())


@pytest.mark.parametrize("log_odds", [-0.9, -0.1, 0.0, 0.3, 0.45, 2.08])
@pytest.mark.parametrize(
    ("canary", "stable", "bad"),
    [
        (25, 75, 3),
        (25, 75, 0),
        (25, 75, 100),
        (25, 75, 98),
        (1, 99, 40),
        (60, 40, 50),
        (500, 1500, 300),
        (0, 50, 7),
        (300, 40, 330),
    ],
)
def test_the_sum_from_its_middle_outward_equals_the_whole_sum(canary: int, stable: int, bad: int, log_odds: float):
    assert log_partition(canary, stable, bad, log_odds) == pytest.approx(every_term(canary, stable, bad, log_odds))


def test_without_odds_it_counts_all_ways():
    assert log_partition(2000, 6000, 4000, 0.0) == pytest.approx(log(comb(8000, 4000)))


@pytest.mark.parametrize(("log_odds", "log_null"), [(0.4, 0.0), (0.0, -0.4), (2.7, 0.4)])
@pytest.mark.parametrize(("canary", "stable", "bad"), [(5, 9, 11), (25, 75, 60), (4, 4, 7)])
def test_the_ratio_of_two_odds_has_a_mean_of_1_at_its_null(canary, stable, bad, log_odds, log_null):
    """Exact, by enumeration, also where most are bad."""
    mean = 0.0
    for hits in range(max(0, bad - stable), min(bad, canary) + 1):
        ways = log(comb(canary, hits) * comb(stable, bad - hits)) + hits * log_null
        gain = odds_gain(hits, canary, stable, bad, log_odds=log_odds, log_null=log_null)
        mean += exp(ways - log_partition(canary, stable, bad, log_null) + gain)
    assert mean == pytest.approx(1.0)


def test_of_nothing_there_is_one_way():
    assert log_partition(0, 0, 0, 0.5) == 0.0
