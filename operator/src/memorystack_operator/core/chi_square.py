"""One quantile of the chi-square distribution, exactly enough. Knows numbers only."""

from __future__ import annotations

from math import erfc, exp, gamma, sqrt
from typing import Final

__all__ = ["cdf", "lower_decile"]

_EXACT: Final = 300
"""From here on the Wilson-Hilferty approximation is better than 1e-4 and the sums would overflow."""


def cdf(x: float, df: int) -> float:
    """P(X <= x) by the finite sums for whole degrees of freedom."""
    if x <= 0:
        return 0.0
    half = x / 2
    if df % 2 == 0:
        term, total = 1.0, 1.0
        for i in range(1, df // 2):
            term *= half / i
            total += term
        return 1.0 - exp(-half) * total
    tail = erfc(sqrt(half))
    if df > 1:
        term = total = sqrt(half) / gamma(1.5)
        for i in range(1, (df - 1) // 2):
            term *= half / (i + 0.5)
            total += term
        tail += exp(-half) * total
    return 1.0 - tail


def lower_decile(df: int) -> float:
    """The x with P(X <= x) = 0.1; df >= 1."""
    if df > _EXACT:
        return float(df * (1 - 2 / (9 * df) - 1.2815515655446004 * sqrt(2 / (9 * df))) ** 3)
    low, high = 0.0, float(df)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if cdf(middle, df) < 0.1 else (low, middle)
    return (low + high) / 2
