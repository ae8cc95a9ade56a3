"""Arithmetic of the bars, and both engines on the same traffic."""

from __future__ import annotations

import pytest
from simulation.bars import interval
from simulation.cells import Cell, play, quantile
from simulation.traffic import NO_EFFECT, Effect


@pytest.mark.parametrize(
    ("hits", "runs", "low", "high"), [(0, 100, 0.0, 0.0362), (5, 100, 0.0164, 0.1128), (100, 100, 0.9638, 1.0)]
)
def test_intervals_equal_the_tables_of_clopper_and_pearson(hits: int, runs: int, low: float, high: float):
    assert interval(hits, runs) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_a_quantile_counts_runs_that_never_came_to_it():
    assert quantile([1.0, 2.0, 3.0], 0.5, 4) == 2.0
    assert quantile([1.0], 0.5, 4) is None


@pytest.mark.parametrize("effect", [NO_EFFECT, Effect(own=0.166), Effect(shared=0.15)])
@pytest.mark.parametrize("noise", ["iid", "common12"])
def test_the_lean_loop_when_decide_meets_the_same_traffic_then_both_say_the_same(effect: Effect, noise: str):
    lean, whole = play(Cell("test", "agree", noise, 0.0064, 1, effect, judge="agree"), 0)
    same = ("outcome", "reason", "seconds", "canary_bad", "canary_requests", "withdrawals")
    assert [getattr(lean, f) for f in same] == [getattr(whole, f) for f in same]
