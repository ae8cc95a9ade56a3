"""How much worse a flag may make a stack before it is over budget: the room that its own past leaves (verdict.md 10).

Knows: counts of the past and their design effect. Must not know: pods, rollouts, or how the room is used.
"""

from __future__ import annotations

from math import log, sqrt
from typing import Final, Self

from memorystack_operator.core.evidence import P0, Tally, Value

__all__ = ["LEAST", "Room", "student95"]

LEAST: Final = 1.1
"""A smaller ratio of odds cannot be told from none in half an hour."""
MOST: Final = 8.0
Z95: Final = 1.6448536269514722


def student95(df: int) -> float:
    """The 95 % quantile of Student's t, by the Cornish-Fisher expansion: right to three digits from ten degrees on."""
    z = Z95
    return z + (z**3 + z) / (4 * df) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df * df)


class Room(Value):
    """Of one operation."""

    limit: float = 1.0
    """U: upper 95 % limit of the stack's long-run bad share, all pods together."""
    hours: float = 0.0
    """Of history that it comes from."""
    requests: int = 0

    @classmethod
    def of(cls, past: Tally, phi: float, hours: float, quantile: float = Z95) -> Self:
        """Wilson's limit at the effective number of requests, n / `phi`; `phi` at the rate of the whole stack.

        `quantile` is the normal one where `phi` is a limit itself, and Student's where it is an estimate.
        """
        n = past.requests / phi
        if n <= 0:
            return cls()
        half = quantile * sqrt(past.share * (1 - past.share) / n + (quantile / (2 * n)) ** 2)
        limit = (past.share + quantile**2 / (2 * n) + half) / (1 + quantile**2 / n)
        return cls(limit=round(min(1.0, limit), 6), hours=round(hours, 3), requests=past.requests)

    @property
    def ratio(self) -> float:
        """g: what the odds of a bad request may be multiplied by; at most 8."""
        if self.limit >= 1:
            return 0.0
        return min(MOST, P0 / (1 - P0) * (1 - self.limit) / self.limit) if self.limit > 0 else MOST

    @property
    def usable(self) -> bool:
        """Worth proving anything with."""
        return self.ratio >= LEAST

    @property
    def log_ratio(self) -> float:
        """log g, where it is usable."""
        return log(self.ratio)
