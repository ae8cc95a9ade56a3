"""One sum of the noncentral hypergeometric distribution, in logarithms. Knows numbers only."""

from __future__ import annotations

from math import exp, lgamma, log, sqrt

__all__ = ["log_partition", "odds_gain"]

NEGLIGIBLE = 1e-15


def log_partition(canary: int, stable: int, bad: int, log_odds: float) -> float:
    """log Z = log of the sum over s of C(canary, s) C(stable, bad - s) exp(s log_odds).

    P(x of `bad` fell on the canary) = C(canary, x) C(stable, bad - x) exp(x log_odds) / Z if its odds are exp(log_odds)
    times the others' (Fisher's noncentral hypergeometric). The sum runs outward from near the largest term and ends
    where terms no longer matter, so it takes some ten standard deviations and not all of `bad`.
    """
    odds = exp(log_odds)
    start = _mode(canary, stable, bad, odds)
    above = _tail(canary, stable, bad, odds, start=start)
    below = _tail(stable, canary, bad, 1 / odds, start=bad - start)
    largest = _log_choose(canary, start) + _log_choose(stable, bad - start) + start * log_odds
    return largest + log(1.0 + above + below)


def odds_gain(hits: int, canary: int, stable: int, bad: int, *, log_odds: float, log_null: float) -> float:
    """Log likelihood ratio of two odds, where `hits` of `bad` requests in both arms fell on the canary.

    Its mean is exactly 1 at the null odds, and smaller at any on their other side, as the ratio is monotone in `hits`.
    """
    null, bet = (log_partition(canary, stable, bad, odds) for odds in (log_null, log_odds))
    return hits * (log_odds - log_null) + null - bet


def _mode(canary: int, stable: int, bad: int, odds: float) -> int:
    """Near the largest term: there the ratio of neighbours is 1, a root of a quadratic."""
    low, high = max(0, bad - stable), min(bad, canary)
    a, c = odds - 1, odds * canary * bad
    b = odds * (canary + bad) + stable - bad
    root = 2 * c / (b + sqrt(max(0.0, b * b - 4 * a * c))) if b > 0 else float(low)
    return min(high, max(low, round(root)))


def _tail(one: int, other: int, bad: int, odds: float, *, start: int) -> float:
    """Sum of the terms above `start`, relative to the one at `start`."""
    term, total = 1.0, 0.0
    for s in range(start, min(bad, one)):
        ratio = (one - s) * (bad - s) * odds / ((s + 1) * (other - bad + s + 1))
        term *= ratio
        total += term
        if ratio < 1 and term < NEGLIGIBLE * (1 + total):
            break
    return total


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
