"""verdict.md 3a, rows grid8: the published table, and the same figures from the shipped bets by exact dynamic programming."""

from __future__ import annotations

from functools import cache
from math import log

import numpy as np

from memorystack_operator.core.bets import ROLL, cumulative_log_e
from memorystack_operator.core.evidence import P0

ALPHA = 0.01
FALSE_ALARMS = (
    (1, 0.03, 0.0002), (1, 0.04, 0.0008), (1, 0.05, 0.0060),
    (20, 0.03, 0.0000), (20, 0.04, 0.0002), (20, 0.05, 0.0035),
    (100, 0.03, 0.0000), (100, 0.04, 0.0000), (100, 0.05, 0.0021),
)  # fmt: skip
"""Requests between two reads, their odds of being bad, probability of a conviction within 10,000 requests."""
DELAYS = (
    (1, 0.06, 5616, 12733), (1, 0.075, 947, 1928), (1, 0.10, 256, 544), (1, 0.15, 75, 164),
    (1, 0.25, 25, 53), (1, 0.5, 7, 14), (1, 1.0, 3, 3),
    (20, 0.06, 5760, 12900), (20, 0.075, 1000, 1980), (20, 0.10, 280, 580), (20, 0.15, 100, 180),
    (20, 0.25, 40, 60), (20, 0.5, 20, 20), (20, 1.0, 20, 20),
    (100, 0.06, 6000, 13200), (100, 0.075, 1100, 2100), (100, 0.10, 400, 600), (100, 0.15, 100, 200),
    (100, 0.25, 100, 100), (100, 0.5, 100, 100), (100, 1.0, 100, 100),
)  # fmt: skip
"""Requests between two reads, their odds of being bad, requests until the conviction: median and 90th percentile."""


def false_alarms(scrape: int, p: float) -> float:
    """Probability of a conviction within 10,000 requests."""
    return float(stopping(p, 10_000, scrape).sum())


def delays(scrape: int, p: float) -> tuple[int, int]:
    """Requests until the conviction: median and 90th percentile."""
    sums = np.cumsum(stopping(p, 20_000 if p < 0.07 else 6_000, scrape))
    return int(np.searchsorted(sums, 0.5)), int(np.searchsorted(sums, 0.9))


def stopping(p: float, cap: int, scrape: int) -> np.ndarray:
    """P(conviction at exactly n), n = 0..cap, by dynamic programming over the number of bad requests."""
    limits = barrier(20_000)
    alive, stopped = np.zeros(limits[cap] + 2), np.zeros(cap + 1)
    alive[0] = 1.0
    for n in range(1, cap + 1):
        alive[1:] = alive[1:] * (1 - p) + alive[:-1] * p
        alive[0] *= 1 - p
        if n % scrape == 0:
            stopped[n] = alive[limits[n] :].sum()
            alive[limits[n] :] = 0.0
    return stopped


@cache
def barrier(cap: int) -> np.ndarray:
    """Smallest number of bad requests among n at which the cumulative grid of eight convicts, by the shipped function."""
    limits, bad = np.full(cap + 1, cap + 1), 0
    for n in range(1, cap + 1):
        while bad <= n and cumulative_log_e(bad, n, ROLL, P0) < log(1 / ALPHA):
            bad += 1
        limits[n] = bad
    return limits
