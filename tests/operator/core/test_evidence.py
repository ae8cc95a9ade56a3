"""The statistics: exact error rates from the shipped likelihoods, validity by enumeration, and what a restart must not change."""

from __future__ import annotations

import itertools
import random
from math import comb, exp, inf, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.grid import DELAYS, FALSE_ALARMS, delays, false_alarms

from memorystack_operator.core.bets import (
    BETTER,
    PROMOTE,
    RELATIVE,
    cumulative_log_e,
    log_mean_exp,
    log_ratio,
    log_sum_exp,
    restart_log_e,
    restart_step,
)
from memorystack_operator.core.evidence import P0, DesignEffect, Evidence, Finding, Read, Tally, contrast

ALPHA = 0.01


@pytest.mark.parametrize(("scrape", "p", "expected"), FALSE_ALARMS)
def test_false_alarms_within_10k_requests_equal_the_exact_table(scrape: int, p: float, expected: float):
    """verdict.md 3a, rows grid8"""
    assert false_alarms(scrape, p) == pytest.approx(expected, abs=0.00006)


@pytest.mark.parametrize(("scrape", "p", "median", "p90"), DELAYS)
def test_delays_to_conviction_equal_the_exact_table(scrape: int, p: float, median: int, p90: int):
    """verdict.md 3a, rows grid8"""
    assert delays(scrape, p) == (median, p90)


@pytest.mark.parametrize("n", range(1, 13))
def test_the_restart_mixture_is_an_e_value_at_p0_by_exact_enumeration(n: int):
    """E[E_n] <= 1 over all sequences of n requests read one by one."""
    total = 0.0
    for outcomes in itertools.product((0, 1), repeat=n):
        evidence = Evidence()
        for bad in outcomes:
            evidence = evidence.add(Read(canary=Tally(1, bad)))
        bads = sum(outcomes)
        total += P0**bads * (1 - P0) ** (n - bads) * exp(restart_log_e(evidence.roll, evidence.roll_reads))
    assert total <= 1 + 1e-9


reads = st.builds(
    Read,
    canary=st.integers(0, 40).flatmap(lambda n: st.builds(Tally, st.just(n), st.integers(0, n))),
    stable=st.integers(0, 80).flatmap(lambda n: st.builds(Tally, st.just(n), st.integers(0, n))),
)


@pytest.mark.parametrize(("grid", "sign"), [(RELATIVE, 1), (BETTER, -1)])
@pytest.mark.parametrize(("canary", "stable", "bad"), [(5, 10, 4), (8, 3, 6), (1, 9, 2)])
def test_the_relative_bets_are_e_values_when_both_arms_are_alike(grid, sign, canary: int, stable: int, bad: int):
    """Given K bad in both arms, how many fall on the canary is hypergeometric; the binomial bet stays valid."""
    del sign
    share = canary / (canary + stable)
    for ratio in grid:
        total = sum(
            comb(canary, s) * comb(stable, bad - s) / comb(canary + stable, bad) * exp(log_ratio(s, bad, ratio, share))
            for s in range(max(0, bad - stable), min(bad, canary) + 1)
        )
        assert total <= 1 + 1e-9


def chances(canary: int, stable: int, bad: int, odds: float) -> dict[int, float]:
    """How many of `bad` requests in both arms fall on the canary whose odds are `odds` times the others'."""
    weights = {
        s: comb(canary, s) * comb(stable, bad - s) * odds**s for s in range(max(0, bad - stable), min(bad, canary) + 1)
    }
    return {s: w / sum(weights.values()) for s, w in weights.items()}


@pytest.mark.parametrize("mostly_bad", [False, True])
@pytest.mark.parametrize("margin", [1.0, 1.6, 3.0])
@pytest.mark.parametrize(("canary", "stable", "bad"), [(5, 10, 4), (8, 3, 6), (2, 6, 7), (4, 12, 15)])
def test_a_contrast_is_an_e_value_at_its_margin_and_beyond(mostly_bad, margin, canary, stable, bad):
    """By enumeration; odds on the far side of the margin are no better a bet.

    "Worse" forgives a margin of at least 1, "better" one of at most 1: there a ratio of odds is never less than what
    the binomial takes it for, a ratio of shares. Where most requests are bad the mean is 1 to the last digit.
    """
    effect = DesignEffect(mostly_bad=mostly_bad)
    for ratio, forgiven, far in [(r, margin, 0.8) for r in RELATIVE] + [(r, 1 / margin, 1.25) for r in BETTER]:
        means = []
        for odds in (forgiven, forgiven * far):
            means.append(
                sum(
                    p * exp(contrast(Read(Tally(canary, s), Tally(stable, bad - s)), effect, ratio, forgiven))
                    for s, p in chances(canary, stable, bad, odds).items()
                )
            )
        assert means[0] <= 1 + 1e-9
        assert not mostly_bad or means[0] == pytest.approx(1.0)
        assert means[1] < means[0] + 1e-9


@pytest.mark.parametrize("mostly_bad", [False, True])
@pytest.mark.parametrize("p", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("question", ["worse", "better"])
def test_worse_and_better_are_e_values_where_both_arms_are_alike_by_exact_enumeration(mostly_bad, p, question):
    """E[E_n] <= 1 over all that two readings of independent requests can show."""
    total = 0.0
    for a, b, c, d in itertools.product(range(3), range(4), range(4), range(2)):
        evidence = Evidence(effect=DesignEffect(mostly_bad=mostly_bad)).add(Read(Tally(2, a), Tally(3, b)))
        evidence = evidence.add(Read(Tally(3, c), Tally(1, d)))
        bad, served = a + b + c + d, 9
        ways = comb(2, a) * comb(3, b) * comb(3, c) * comb(1, d)
        e = exp(getattr(evidence.findings(0.01, 0.05), question).log_e)
        total += ways * p**bad * (1 - p) ** (served - bad) * e
    assert 0.3 < total <= 1 + 1e-9


@given(reads, st.sampled_from(RELATIVE + BETTER), st.floats(0.4, 2.5))
def test_where_most_are_bad_it_is_the_same_to_count_the_good_ones(read: Read, ratio: float, margin: float):
    def turned(tally: Tally) -> Tally:
        return Tally(tally.requests, tally.requests - tally.bad)

    effect, mirrored = DesignEffect(mostly_bad=True, phi_rel=2.0), Read(turned(read.canary), turned(read.stable))
    if read.canary.bad + read.stable.bad in (0, read.canary.requests + read.stable.requests):
        return
    good = contrast(mirrored, effect, 1 / ratio, 1 / margin)
    assert good == pytest.approx(contrast(read, effect, ratio, margin), abs=1e-9)


@pytest.mark.parametrize(
    ("canary", "question", "limit", "blind"), [(25, "worse", 8, True), (20, "worse", 90, True), (4, "better", 5, False)]
)
def test_where_most_requests_are_bad_the_arms_are_told_apart(canary: int, question: str, limit: int, blind: bool):
    """25 + 75 requests a second, stable 60 % bad, the canary 100, 80 or 16 %; margin 1.5, phi_rel 2"""
    seconds = {}
    for mostly_bad in (True, False):
        effect = DesignEffect(mostly_bad=mostly_bad, margin=1.5, mirrored_margin=1 / 1.5, phi_rel=2.0)
        evidence = Evidence(effect=effect)
        for second in range(1, 1801):
            evidence = evidence.add(Read(Tally(25, canary), Tally(75, 45)))
            if getattr(evidence.findings(ALPHA / 4, 0.05), question).holds:
                seconds[mostly_bad] = second
                break
    assert seconds[True] <= limit
    assert (False not in seconds) is blind


def test_the_restart_recursion_equals_the_sum_over_all_starts():
    chance = random.Random(3)
    increments = [chance.gauss(0, 1) for _ in range(40)]
    logs: tuple[float, ...] = (-inf,)
    for k, gain in enumerate(increments, 1):
        logs = restart_step(logs, [gain], k)
    k = len(increments)
    weights = [0.5 / (i * (i + 1)) + (0.5 if i == 1 else 0) for i in range(1, k + 1)]
    direct = sum(w * exp(sum(increments[i:])) for i, w in enumerate(weights)) + 0.5 / (k + 1)
    assert restart_log_e(logs, k) == pytest.approx(log(direct), abs=1e-9)


def test_nothing_read_is_no_evidence():
    findings = Evidence().findings(0.01, 0.05)
    assert (findings.over.log_e, findings.worse.log_e, findings.within.log_e, findings.better.log_e) == (0, 0, 0, 0)
    assert not findings.enough
    assert log_sum_exp([]) == -inf
    assert log_mean_exp([0.0, 0.0]) == 0.0


@settings(max_examples=60)
@given(st.lists(reads, max_size=15), st.integers(0, 15))
def test_a_restart_between_any_two_reads_gives_the_same_findings(sequence: list[Read], at: int):
    """R15"""
    effect = DesignEffect(phi_abs=1.7, phi_rel=2.3, margin=1.2, mirrored_margin=0.9)
    through = restarted = Evidence(effect=effect)
    for i, read in enumerate(sequence):
        through = through.add(read)
        if i == at:
            restarted = Evidence.model_validate_json(restarted.model_dump_json(by_alias=True))
        restarted = restarted.add(read)
    one, other = through.findings(0.01, 0.05), restarted.findings(0.01, 0.05)
    for name in ("over", "stable_over", "worse", "within", "better"):
        assert getattr(one, name).log_e == pytest.approx(getattr(other, name).log_e, abs=1e-6)
    assert one.enough == other.enough


@settings(max_examples=40)
@given(st.lists(reads, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_reads_does_not_matter_to_promotion(sequence: list[Read], chance: random.Random):
    shuffled = list(sequence)
    chance.shuffle(shuffled)
    totals = []
    for order in (sequence, shuffled):
        evidence = Evidence()
        for read in order:
            evidence = evidence.add(read)
        findings = evidence.findings(0.01, 0.05)
        totals.append((findings.within.log_e, findings.better.log_e))
    assert totals[0] == pytest.approx(totals[1])


def test_the_first_promotion_takes_about_76_clean_requests():
    """verdict.md 3b"""
    needed = next(n for n in range(1, 200) if cumulative_log_e(0, n, PROMOTE, P0) >= log(1 / 0.05))
    assert needed == 76


def test_design_effects_divide_the_evidence_and_margins_forgive():
    read = Read(Tally(100, 30), Tally(200, 20))
    plain = Evidence().add(read).findings(0.01, 0.05)
    tempered = Evidence(effect=DesignEffect(phi_rel=5.0, phi_abs=5.0)).add(read).findings(0.01, 0.05)
    forgiven = Evidence(effect=DesignEffect(margin=3.0)).add(read).findings(0.01, 0.05)
    assert tempered.worse.log_e < plain.worse.log_e
    assert forgiven.worse.log_e < plain.worse.log_e
    assert tempered.over.log_e == plain.over.log_e
    good = Read(Tally(100, 0), Tally(200, 30))
    assert (
        Evidence(effect=DesignEffect(mirrored_margin=0.5)).add(good).findings(0.01, 0.05).better.log_e
        < Evidence().add(good).findings(0.01, 0.05).better.log_e
    )


def test_strict_divides_over_by_the_design_effect_over_time_and_standard_does_not():
    """verdict.md 3d: bursts alone do not make a strict canary be over budget"""
    effect, burst = DesignEffect(phi_abs=10, source="Measured"), Read(Tally(100, 30), Tally(300, 90))
    standard, strict = (Evidence(effect=effect, strict=s).add(burst).findings(0.01, 0.05) for s in (False, True))
    assert standard.over.holds
    assert not strict.over.holds
    assert standard.stable_over.log_e == strict.stable_over.log_e
    assert standard.worse.log_e == strict.worse.log_e


def test_a_step_restarts_what_promotes_and_carries_what_convicts():
    evidence = Evidence().add(Read(Tally(100, 10), Tally(200, 2))).next_step(DesignEffect(phi_abs=7))
    findings = evidence.findings(0.01, 0.05)
    assert findings.within.log_e == 0.0
    assert findings.better.log_e == 0.0
    assert findings.worse.log_e > 0
    assert evidence.effect.phi_abs == 7
    assert evidence.canary == Tally(100, 10)
    assert evidence.stable == Tally(200, 2)


def test_a_cleared_environment_forgets_only_the_absolute_tests():
    evidence = Evidence().add(Read(Tally(100, 50), Tally(200, 90))).environment_cleared()
    findings = evidence.findings(0.01, 0.05)
    assert findings.over.log_e == 0.0
    assert findings.stable_over.log_e == 0.0
    assert findings.worse.log_e != 0.0


def test_a_read_of_the_stable_arm_alone_feeds_only_its_own_test():
    evidence = Evidence().add(Read(stable=Tally(100, 50)))
    assert evidence.findings(0.01, 0.05).stable_over.holds
    assert evidence.reads == 0


def test_progress_is_a_fraction_between_nothing_and_all():
    assert Finding(-3.0, 4.6).fraction == 0.0
    assert Finding(2.3, 4.6).fraction == pytest.approx(0.5)
    assert Finding(9.0, 4.6).fraction == 1.0
    assert Finding(4.6, 4.6).holds


def breach(seed: int, p_canary: float, p_stable: float, phi: float, cap: int) -> tuple[int, int] | None:
    """Seconds and bad answers until over and worse, at 25 + 75 requests a second read every second."""
    chance = np.random.default_rng(seed)
    evidence = Evidence(effect=DesignEffect(phi_rel=phi))
    for second in range(1, cap + 1):
        read = Read(Tally(25, int(chance.binomial(25, p_canary))), Tally(75, int(chance.binomial(75, p_stable))))
        evidence = evidence.add(read)
        findings = evidence.findings(ALPHA / 2, 0.05)
        if findings.enough and findings.over.holds and findings.worse.holds:
            return second, evidence.canary_bad
    return None


def test_a_breach_is_convicted_within_seconds_and_few_bad_answers():
    """verdict.md 9: p = .166 against .0064: median 3 s, p90 6 s, 15 bad answers"""
    found = [breach(seed, 0.166, 0.0064, 1.4, 120) for seed in range(200)]
    assert all(found)
    seconds, bad = zip(*found, strict=True)
    assert np.median(seconds) <= 5
    assert np.median(bad) <= 20


def test_alike_arms_are_almost_never_convicted():
    assert sum(breach(seed, 0.03, 0.03, 1.4, 300) is not None for seed in range(200)) <= 2


def test_what_a_pod_served_while_it_was_not_read_is_not_compared_but_counts():
    """A burst that everybody had, told late by the canary alone, is no difference between the arms."""
    late = Evidence().add(Read(Tally(), Tally(300, 6), late_canary=Tally(2000, 600)))
    findings = late.findings(0.01, 0.05)
    assert findings.worse.log_e <= 0.0
    assert findings.over.log_e > 0.0
    assert (late.canary, late.step_bad) == (Tally(2000, 600), 600)
    burst = Evidence().add(Read(Tally(2000, 600), Tally(300, 6)))
    assert burst.findings(0.01, 0.05).worse.holds
    others = Evidence().add(Read(Tally(100, 5), Tally(300, 15), late_stable=Tally(1000, 300)))
    assert others.stable == Tally(1300, 315)
    assert others.relative == Evidence().add(Read(Tally(100, 5), Tally(300, 15))).relative


def test_without_anybody_to_compare_with_over_is_divided_by_the_design_effect():
    """verdict.md 4: `f = phi_abs if strict or not sn`"""
    effect = DesignEffect(phi_abs=10, source="Measured")
    alone, beside = (Evidence(effect=effect).add(Read(Tally(100, 30), arm)) for arm in (Tally(), Tally(300, 90)))
    assert alone.findings(0.01, 0.05).over.log_e < beside.findings(0.01, 0.05).over.log_e


@pytest.mark.parametrize("shares", [(0.25, 0.5), (0.5, 0.1), (0.1, 0.9)])
def test_arms_that_change_size_stay_a_fair_comparison(shares: tuple[float, float]):
    """Exact: the mean of the relative bets over two readings of different shares is at most 1 where both arms are alike."""
    mean = 0.0
    for x, y in itertools.product(range(5), repeat=2):
        evidence, chance = Evidence(), 1.0
        for share, bad in zip(shares, (x, y), strict=True):
            n = round(100 * share)
            chance *= comb(n, bad) * comb(100 - n, 4 - bad) / comb(100, 4)
            evidence = evidence.add(Read(Tally(n, bad), Tally(100 - n, 4 - bad)))
        mean += chance * exp(evidence.findings(0.01, 0.05).worse.log_e)
    assert 0.9 < mean <= 1.0 + 1e-9
