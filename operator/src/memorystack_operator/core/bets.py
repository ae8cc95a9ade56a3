"""Likelihood-ratio bets on bad requests, in logarithms. Knows one Bernoulli stream; nothing of arms, reads or verdicts.

Source: Robbins (1970) and Howard, Ramdas, McAuliffe, Sekhon (2021) for the mixture; Ville's inequality for its error bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import exp, inf, log
from typing import Final

__all__ = [
    "BETTER",
    "PROMOTE",
    "RELATIVE",
    "ROLL",
    "cumulative_log_e",
    "log_mean_exp",
    "log_ratio",
    "log_sum_exp",
    "restart_log_e",
    "restart_step",
]

ROLL: Final = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 200.0)
"""Odds ratios against p0 that bet on "over budget"."""
PROMOTE: Final = (0.02, 0.08, 0.2, 0.35, 0.53, 0.73)
"""Odds ratios against p0 that bet on "within budget"."""
RELATIVE: Final = (1.5, 2.2, 4.0, 15.0)
"""Odds ratios of canary to stable that bet on "worse"."""
BETTER: Final = tuple(1 / ratio for ratio in RELATIVE)
"""The same, mirrored: bets on "better"."""


def log_sum_exp(values: Iterable[float]) -> float:
    """log(sum(exp(v))) without overflow; -inf for nothing."""
    listed = tuple(values)
    top = max(listed, default=-inf)
    return top if top == -inf else top + log(sum(exp(v - top) for v in listed))


def log_mean_exp(values: Sequence[float]) -> float:
    """log of the mean of exp(v): the equal mixture of e-values given as logarithms."""
    return log_sum_exp(values) - log(len(values))


def log_ratio(bad: float, requests: float, odds_ratio: float, p0: float) -> float:
    """Log likelihood ratio, for `bad` of `requests`, of the rate whose odds are `odds_ratio` times those of `p0`."""
    q = odds_ratio * p0 / (1 - p0 + odds_ratio * p0)
    return bad * log(q / p0) + (requests - bad) * log((1 - q) / (1 - p0))


def cumulative_log_e(bad: float, requests: float, grid: Sequence[float], p0: float, phi: float = 1.0) -> float:
    """log e of the equal mixture over `grid` after `bad` of `requests`, tempered by the design effect `phi`.

    It depends on the totals only, so neither the order of requests nor the moments of looking matter.
    """
    return log_mean_exp([log_ratio(bad, requests, r, p0) / phi for r in grid])


def restart_step(logs: Sequence[float], gains: Sequence[float], reads: int) -> tuple[float, ...]:
    """One read of the restart mixture (verdict.md 1.3): `logs` after read number `reads`, given its log gains.

    Half of the stake bets from the first read on, the rest is spread over all later starts, so that a regression that
    begins late is found without climbing back what the healthy start lost.
    """
    weight = log(0.5 / (reads * (reads + 1)) + (0.5 if reads == 1 else 0.0))
    return tuple(log_sum_exp((weight, old)) + gain for old, gain in zip(logs, gains, strict=True))


def restart_log_e(logs: Sequence[float], reads: int) -> float:
    """log e of the restart mixture after `reads` reads; 0 before the first (nothing is bet, nothing is won)."""
    if reads == 0:
        return 0.0
    return log_sum_exp((log_mean_exp(logs), log(0.5 / (reads + 1))))
