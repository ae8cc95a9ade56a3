"""Is the flag to blame? Bets on pairs of windows that everybody was slow because of it (verdict.md 6 and 10).

If the flag does nothing, the lot alone says in which window of a pair it was on, so each pair is the toss of a fair
coin, whatever the environment does: no design effect is needed. A switchback is such a trial with a clock of its own; a
proof by pairs may hold one beside its keys, on the same windows.

Knows: counts of windows and bets on their differences. Must not know: clocks, pods, or what follows from the answer.
"""

from __future__ import annotations

from enum import StrEnum
from math import log, pi
from typing import Final, Self

from memorystack_operator.core.bets import log_mean_exp
from memorystack_operator.core.evidence import Finding, Read, Value
from memorystack_operator.core.pairs import Mark, Window
from memorystack_runtime.contract import Operation

__all__ = ["BETS", "CLEARED", "Answer", "Trial", "level_of", "staked"]

BETS: Final = (0.3, 0.6, 0.9)
"""Shares of the wealth that are put on "worse with the flag"; one bet alone is ruined by an unlucky pair or is slow."""
CLEARED: Final = log(0.05)


class Answer(StrEnum):
    """What the pairs say so far."""

    OPEN = "Open"
    HARMS = "Harms"
    CLEARED = "Cleared"


class Trial(Value):
    """State of the bets against one flag."""

    number: int
    """k: the k-th of this rollout."""
    operation: Operation
    """The one that was over its budget."""
    pooled: bool
    """Both arms were over: their bad shares are taken together. Else the canary's is compared with the others'."""
    first: Window = Window()
    current: Window = Window()
    wealth: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Logarithms."""
    worse: int = 0
    better: int = 0
    tied: int = 0

    @property
    def log_e(self) -> float:
        """Evidence that the flag harms."""
        return log_mean_exp(self.wealth)

    def finding(self, level: float) -> Finding:
        """Against the threshold of `level_of`."""
        return Finding(self.log_e, log(1 / level))

    def answer(self, level: float) -> Answer:
        """At the error rate `level`."""
        if self.finding(level).holds:
            return Answer.HARMS
        return Answer.CLEARED if self.log_e <= CLEARED else Answer.OPEN

    def heard(self, read: Read, mark: Mark, *, first_on: bool) -> Self:
        """With one more reading, and what it was to the pair under way, whose first window had the flags on or not."""
        grown = self.current.add(read)
        match mark:
            case Mark.DROPPED:
                return self.model_copy(update={"first": Window(), "current": Window()})
            case Mark.COUNTED:
                return self.model_copy(update={"current": grown})
            case Mark.TURNED:
                return self.model_copy(update={"first": grown, "current": Window()})
            case Mark.PAIRED:
                on, off = (self.first, grown) if first_on else (grown, self.first)
                difference = _harm(on, pooled=self.pooled) - _harm(off, pooled=self.pooled)
                return self.model_copy(update={"first": Window(), "current": Window(), **self._bet(difference)})
        return self

    def _bet(self, difference: float) -> dict[str, object]:
        """A tie loses, unlike in verdict.md 6: that keeps the error bound, and a world without a bad request is cleared."""
        return {
            "wealth": staked(self.wealth, won=difference > 0),
            "worse": self.worse + (difference > 0),
            "better": self.better + (difference < 0),
            "tied": self.tied + (difference == 0),
        }


def staked(wealth: tuple[float, float, float], *, won: bool) -> tuple[float, float, float]:
    """Log wealths after one more toss of a fair coin, at the three bets."""
    low, middle, high = (old + log(1 + (bet if won else -bet)) for old, bet in zip(wealth, BETS, strict=True))
    return low, middle, high


def level_of(half: float, number: int) -> float:
    """The error rate of the k-th trial: all of them together spend `half` (sum of 6 / (pi k)^2 is 1)."""
    return half * 6 / (pi * number) ** 2


def _harm(window: Window, *, pooled: bool) -> float:
    return window.pooled.share if pooled else window.canary.share - window.stable.share
