"""The report's arithmetic: what is made of answers and runs."""

from __future__ import annotations

import pytest
from load.bars import Bar
from load.cluster.canary import told
from load.cluster.figures import about, median, nearest_rank, values
from load.cluster.healthy import BURSTS, SLOW_PODS
from load.cluster.rest import quantile
from load.cluster.reverts import FOUR_PODS, TWENTY_PODS
from support.traffic import Answer


@pytest.mark.parametrize(
    ("count", "share", "rank"),
    [(20, 0.95, 19), (5, 0.95, 5), (1, 0.95, 1), (100, 0.95, 95), (40, 0.95, 38), (3, 0.5, 2)],
)
def test_a_percentile_when_asked_then_is_a_run_that_was_measured(count: int, share: float, rank: int) -> None:
    assert nearest_rank([float(n) for n in range(count, 0, -1)], share) == rank


def test_figures_when_nothing_was_measured_then_are_none() -> None:
    assert (median([]), nearest_rank([], 0.95), about([])) == (None, None, {})


def test_values_when_a_run_failed_then_leave_it_out() -> None:
    assert values([{"x": 1.0}, {"problem": "no verdict"}, {"x": None}, {"x": 3.0}], "x") == [1.0, 3.0]


def answer(at: float, flags: str, milliseconds: float, status: int = 200) -> Answer:
    return Answer(at, f"pod-{flags}", flags, milliseconds, status)


def test_answers_when_told_then_only_those_under_the_flag_count_and_failures_are_bad() -> None:
    given = [
        answer(100.5, "old", 900),
        answer(101.0, "new", 100),
        answer(102.0, "new", 251),
        answer(103.0, "new", 250),
        answer(104.5, "new", 40, status=500),
        answer(105.0, "new", 100),
    ]
    found = told(given, "new", applied=100.0, verdict=104.0)
    assert (found["firstCanaryAnswer"], found["verdict"]) == (1.0, 4.0)
    assert (found["lastBadAnswer"], found["lastBadAfterVerdict"]) == (4.5, 0.5)
    assert (found["canaryAnswers"], found["badAnswers"], found["pods"]) == (5, 2, 1)
    assert found["badAboveHealthy"] == pytest.approx(2 - 5 * 0.0064, abs=0.05)


def test_answers_when_none_came_under_the_flag_then_there_is_no_first_one() -> None:
    found = told([answer(101, "old", 100)], "new", applied=100.0, verdict=104.0)
    assert (found["firstCanaryAnswer"], found["badAnswers"], found["lastBadAfterVerdict"]) == (None, 0, 0.0)


def run(verdict: float, **changes: object) -> dict[str, object]:
    base = {
        "outcome": "RolledBack",
        "reason": "P95OverBudget",
        "verdict": verdict,
        "firstCanaryAnswer": 0.6,
        "lastBadAfterVerdict": 0.4,
        "lastBadAnswer": verdict + 0.4,
        "badAboveHealthy": 20.0,
        "writes": {"patch pods": 3, "create events": 2},
    }
    return {**base, **changes}


def bar(bars: list[Bar], name: str) -> Bar:
    return next(b for b in bars if b.name.startswith(name))


def test_four_pods_when_all_is_well_then_every_bar_is_met_and_writes_are_published() -> None:
    runs = [run(5.0 + n / 10) for n in range(20)]
    assert all(b.met for b in FOUR_PODS.bars(runs))
    assert bar(FOUR_PODS.bars(runs), "apply to verdict, median").value == pytest.approx(5.95)
    assert FOUR_PODS.figures(runs)["API writes per rollout, median"] == 5
    assert FOUR_PODS.figures(runs)["API writes per rollout: patch pods, median"] == 3


@pytest.mark.parametrize(
    ("spoilt", "name"),
    [
        ([run(8.1)] * 11, "apply to verdict, median"),
        ([run(15.1)] * 2, "apply to verdict, p95"),
        ([run(5.0, lastBadAfterVerdict=1.1)], "last bad answer after"),
        ([run(5.0, badAboveHealthy=25.5)] * 11, "bad answers above"),
        ([run(5.0, firstCanaryAnswer=2.1)], "apply to first"),
        ([run(5.0, outcome="Promoted", reason="WithinBudget")], "runs in which"),
        ([run(5.0, reason="HarmsSharedDependency")], "runs in which"),
        ([{"problem": "no verdict"}], "runs in which"),
    ],
)
def test_four_pods_when_one_thing_is_missed_then_that_bar_alone_says_so(
    spoilt: list[dict[str, object]], name: str
) -> None:
    bars = FOUR_PODS.bars([*spoilt, *[run(5.0)] * (20 - len(spoilt))])
    assert [b.name for b in bars if not b.met] == [bar(bars, name).name]


def test_experiments_when_nothing_could_be_carried_out_then_no_bar_of_a_measure_is_met() -> None:
    runs = [{"problem": "no cluster"}] * 20
    for experiment in (FOUR_PODS, TWENTY_PODS):
        assert not any(b.met for b in experiment.bars(runs))
    for experiment in (BURSTS, SLOW_PODS):
        assert not bar(experiment.bars(runs), "runs carried out").met


@pytest.mark.parametrize(("blamed", "met"), [(0, True), (1, False)])
def test_innocent_flags_when_one_is_rolled_back_then_the_bar_is_missed(blamed: int, met: bool) -> None:
    calm = {"outcome": "Open", "state": "Withdrawn", "reason": "EnvironmentOverBudget", "withdrawals": 1}
    guilty = {**calm, "outcome": "RolledBack", "reason": "Worse", "canarySeconds": 61}
    runs = [{**calm, "canarySeconds": 61}] * (10 - blamed) + [guilty] * blamed
    assert bar(SLOW_PODS.bars(runs), "innocent").met is met
    assert bar(BURSTS.bars(runs), "false rollbacks").met is met
    assert BURSTS.figures(runs)["runs with a withdrawal"] == 10


def test_buckets_when_asked_for_a_share_then_give_the_upper_edge_that_holds_it() -> None:
    infinite = float("inf")
    assert quantile([(0.1, 98), (0.5, 99), (1.0, 100), (infinite, 100)], 0.99) == 0.5
    assert quantile([(0.1, 10), (0.5, 98), (infinite, 100)], 0.99) is None
