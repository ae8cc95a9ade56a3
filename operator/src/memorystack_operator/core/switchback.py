"""The randomised switchback: a trial of a withdrawn flag in windows of its own, which grow (verdict.md 6 and 10).

Knows: the clock of the windows and the bets on them. Must not know: pods, or what follows from the outcome.
"""

from __future__ import annotations

from datetime import datetime
from typing import Self

from memorystack_operator.core.evidence import Read
from memorystack_operator.core.pairs import Pairs
from memorystack_operator.core.trial import Answer, Trial

__all__ = ["Answer", "Switchback"]


class Switchback(Trial, Pairs):
    """State of one switchback; `number` is k, and draws the lots too."""

    number: int

    def after(self, read: Read, now: datetime, *, fit: bool, in_place: bool, epoch: int) -> Self:
        """After one reading, whose counts are those since the reading before; the rest as in `Pairs.moved`."""
        first_on = self.plan.first_on
        moved, mark = self.moved(now, fit=fit, in_place=in_place, epoch=epoch)
        return moved.heard(read, mark, first_on=first_on)
