"""The randomised switchback: does the flag harm everybody, or is the environment sick by itself? (verdict.md 6 and 10)

Knows: counts of pairs and bets on them. Must not know: pods, leases, or what follows from the outcome.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from math import log, pi
from typing import Final, Self

from memorystack_operator.core.bets import log_mean_exp
from memorystack_operator.core.evidence import Finding, Read
from memorystack_operator.core.pairs import Mark, PairPlan, Pairs, Window, pair_plan
from memorystack_runtime.contract import Operation

__all__ = ["BETS", "Answer", "PairPlan", "Switchback", "Window", "level_of", "pair_plan", "staked"]

BETS: Final = (0.3, 0.6, 0.9)
"""Shares of the wealth that are put on "worse with the flag"; one bet alone is ruined by an unlucky pair or is slow."""
CLEARED: Final = log(0.05)


class Answer(StrEnum):
    """What the pairs say so far."""

    OPEN = "Open"
    HARMS = "Harms"
    CLEARED = "Cleared"


class Switchback(Pairs):
    """State of one switchback; `number` is k: the k-th of this rollout."""

    operation: Operation
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

    def after(self, read: Read, now: datetime, *, fit: bool, in_place: bool, epoch: int) -> Self:
        """After one reading, whose counts are those since the reading before; the rest as in `Pairs.moved`."""
        plan = self.plan
        moved, mark = self.moved(now, fit=fit, in_place=in_place, epoch=epoch)
        grown = self.current.add(read)
        match mark:
            case Mark.DROPPED:
                return moved.model_copy(update={"first": Window(), "current": Window()})
            case Mark.COUNTED:
                return moved.model_copy(update={"current": grown})
            case Mark.TURNED:
                return moved.model_copy(update={"first": grown, "current": Window()})
            case Mark.PAIRED:
                on, off = (self.first, grown) if plan.first_on else (grown, self.first)
                difference = _harm(on, pooled=self.pooled) - _harm(off, pooled=self.pooled)
                return moved.model_copy(update={"first": Window(), "current": Window(), **self._bet(difference)})
        return moved

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
    """The error rate of the k-th switchback: all of them together spend `half` (sum of 6 / (pi k)^2 is 1)."""
    return half * 6 / (pi * number) ** 2


def _harm(window: Window, *, pooled: bool) -> float:
    return window.pooled.share if pooled else window.canary.share - window.stable.share
