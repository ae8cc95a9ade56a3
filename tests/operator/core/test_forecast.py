"""Expected times against those that verdict.md 8 and 9 measured by simulation."""

from __future__ import annotations

from datetime import timedelta

import pytest

from memorystack_operator.core.evidence import DesignEffect
from memorystack_operator.core.forecast import Arms, Passage, detection, time_to_better, time_to_within
from memorystack_operator.core.verdict import Outcome, Reason

FIVE = timedelta(seconds=5)


def arms(
    share: float, *, phi_abs: float = 1.0, phi_rel: float = 1.0, canary: float = 25.0, stable: float = 75.0, **more
):
    effect = DesignEffect(phi_abs=phi_abs, phi_rel=phi_rel, margin=more.pop("margin", 1.0), source="Measured")
    return Arms(canary, stable, share, effect, **more)


@pytest.mark.parametrize(
    ("share", "phi", "median", "late"),
    [
        (0.0064, 1.4, 6, 11),
        (0.0064, 13, 58, 93),
        (0.0064, 58, 243, 448),
        (0.02, 1.4, 15, None),
        (0.02, 13, 153, None),
        (0.02, 58, 608, None),
        (0.03, 1.4, 41, None),
        (0.03, 13, 411, None),
        (0.03, 58, 1700, None),
    ],
)
def test_promotion_at_25_requests_a_second_is_that_of_verdict_9_within_a_tenth(share, phi, median, late):
    found = time_to_within(arms(share, phi_abs=phi), 0.05)
    assert found is not None
    assert found.quantile(0.5) == pytest.approx(median, rel=0.10)
    if late:
        assert found.quantile(0.9) == pytest.approx(late, rel=0.10)


def test_heavy_bursts_time_out_in_30_to_55_percent_of_healthy_steps_at_half_an_hour():
    found = time_to_within(arms(0.03, phi_abs=58), 0.05)
    assert found is not None
    assert 0.30 <= 1 - found.within(1800) <= 0.55


@pytest.mark.parametrize(("before", "after", "requests"), [(0.15, 0.08, 320), (0.15, 0.04, 100), (0.08, 0.04, 440)])
def test_improvement_takes_the_canary_requests_of_verdict_8_within_a_fifth(before, after, requests):
    """There at a share of 20 %, iid, with the phi_rel of about 1.35 that a short history gives such traffic."""
    found = time_to_better(arms(before, phi_rel=1.35, canary=20, stable=80), 0.05, after / before)
    assert found is not None
    assert 20 * found.quantile(0.5) == pytest.approx(requests, rel=0.20)


@pytest.mark.parametrize(("phi_rel", "median", "late"), [(1.3, 3, 6), (5, 8, None), (10, 15, None)])
def test_detection_of_166_against_64_per_mille_is_that_of_verdict_9_within_a_second(phi_rel, median, late):
    added = (0.166 - 0.0064) / (1 - 0.0064)
    found = detection(arms(0.0064, phi_rel=phi_rel), added, alpha=0.01, beta=0.05, interval=FIVE)
    assert (found.outcome, found.reason) == (Outcome.ROLLBACK, Reason.P95_OVER_BUDGET)
    assert found.share == pytest.approx(0.166)
    assert found.seconds == pytest.approx(median, abs=1)
    if late:
        assert found.late_seconds == pytest.approx(late, abs=1)


def test_a_dead_canary_is_found_after_thirty_requests_and_two_reads():
    found = detection(arms(0.0), 1.0, alpha=0.01, beta=0.05, interval=FIVE)
    assert found.seconds == 2
    assert found.bad_requests == 50


@pytest.mark.parametrize(
    ("slower", "name"), [({"phi_rel": 20}, "pods differ"), ({"margin": 3.0}, "a tolerated margin")]
)
def test_what_weakens_the_comparison_delays_detection(slower, name):
    plain = detection(arms(0.01), 0.25, alpha=0.01, beta=0.05, interval=FIVE)
    weak = detection(arms(0.01, **slower), 0.25, alpha=0.01, beta=0.05, interval=FIVE)
    assert plain.seconds is not None
    assert weak.seconds is not None
    assert weak.seconds > plain.seconds, name


def test_where_pods_differ_much_grace_withdraws_before_anybody_is_convicted():
    found = detection(arms(0.0064, phi_rel=60), 0.10, alpha=0.01 / 6, beta=0.05, interval=FIVE)
    assert (found.outcome, found.reason) == (Outcome.WITHDRAW, Reason.SUSPECTED_OVER_BUDGET)
    assert found.seconds is not None
    assert 60 <= found.seconds <= 120


def test_harm_within_the_budget_is_not_found():
    found = detection(arms(0.0064), 0.01, alpha=0.01, beta=0.05, interval=FIVE)
    assert found.outcome is Outcome.CONTINUE
    assert found.seconds is None
    assert found.late_seconds is None


def test_strict_sensitivity_finds_later_where_traffic_comes_in_bursts():
    quick, slow = (
        detection(arms(0.01, phi_abs=20, strict=strict), 0.15, alpha=0.01, beta=0.05, interval=FIVE)
        for strict in (False, True)
    )
    assert quick.seconds is not None
    assert slow.seconds is not None
    assert slow.seconds > 2 * quick.seconds


@pytest.mark.parametrize("share", [0.05, 0.051, 0.2])
def test_a_stack_over_budget_is_never_proved_within_it(share):
    assert time_to_within(arms(share), 0.05) is None


def test_without_requests_nothing_is_ever_proved_or_found():
    silent = arms(0.0, canary=0.0, stable=0.0)
    assert time_to_within(silent, 0.05) is None
    assert time_to_better(silent, 0.05, 0.5) is None
    assert detection(silent, 1.0, alpha=0.01, beta=0.05, interval=FIVE).seconds is None


def test_without_a_bad_request_the_time_is_sure_and_75_requests_suffice():
    found = time_to_within(arms(0.0), 0.05)
    assert found is not None
    assert 25 * found.quantile(0.5) == pytest.approx(75.1, abs=0.1)
    assert found.quantile(0.9) == pytest.approx(found.quantile(0.5), rel=1e-3)


def test_a_passage_has_a_distribution():
    found = Passage(mean=100.0, shape=200.0)
    assert found.within(0) == 0.0
    assert found.within(1e6) == pytest.approx(1.0)
    assert [found.within(found.quantile(q)) for q in (0.1, 0.5, 0.99)] == pytest.approx([0.1, 0.5, 0.99])
    assert found.quantile(0.5) < 100.0


def test_more_traffic_on_the_canary_shortens_every_wait():
    few, many = (time_to_within(arms(0.02, canary=rate), 0.05) for rate in (5.0, 50.0))
    assert few is not None
    assert many is not None
    assert few.quantile(0.5) == pytest.approx(10 * many.quantile(0.5))


@pytest.mark.parametrize("share", [0.6, 0.9, 0.974, 0.9999, 1.0])
@pytest.mark.parametrize("rate", [0.3, 1.7, 8.0, 33.3])
def test_a_stack_on_which_nearly_all_is_bad_already_has_a_forecast_all_the_same(share: float, rate: float):
    """Whole requests and whole bad ones come at different moments; no read may have more of the second."""
    effect = DesignEffect(phi_rel=3.0, margin=1.5, mostly_bad=True, source="Measured")
    standing = Arms(rate, 2 * rate, share, effect)
    for added in (0.1, 0.5, 1.0):
        found = detection(standing, added, alpha=0.01, beta=0.05, interval=FIVE)
        assert found.share == pytest.approx(share + added * (1 - share))
