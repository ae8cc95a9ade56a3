"""Pairs of equal windows, one with the flags on and one with them off, in an order drawn by lot (verdict.md 6 and 10).

If the flag does nothing, each window of a pair is as likely to be the worse one as the other, whatever the environment
does: the lot sees to that, so what is bet on pairs needs no design effect.

Knows: the clock of the windows. Must not know: what is counted in them, or what follows from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import ClassVar, Final, Self

from memorystack_operator.core.evidence import Read, Tally, Value

__all__ = ["GROWING", "SHORT", "Lengths", "Mark", "PairPlan", "Pairs", "Window", "pair_plan"]

REQUESTS: Final = 400
"""Pooled requests that a window should see: with 200, a harmful flag passed in up to a tenth of simulated rollouts."""
LONGEST: Final = 60.0
LATE: Final = timedelta(seconds=3)
"""A reading that comes later than this makes a window longer than its twin: the pair does not count."""

Lengths = tuple[tuple[float, float, float], ...]
"""(up to this pair, counted seconds, settling seconds)."""
SHORT: Final[Lengths] = ((float("inf"), 4.0, 1.0),)
GROWING: Final[Lengths] = ((24, 4.0, 1.0), (float("inf"), 8.0, 2.0))
"""Short windows see less of the environment's own memory; longer ones see a harm that comes or goes slowly.

Simulated (`make simulate`, harm to all from 2 to 7 % under common noise of 12 s): 98 % are convicted within 16 minutes;
with 12 short pairs and then 8 and 15 s (verdict.md 10) it was 79 %, and 62 instead of 82 % of a harm that fades over 3 s.
"""


class Mark(Enum):
    """What a reading was to the pair under way."""

    IDLE = auto()
    """Nothing to count: the flags are settling, or the world is not fit."""
    DROPPED = auto()
    """The pair is void, its counts included."""
    COUNTED = auto()
    TURNED = auto()
    """Counted, and the first window is over."""
    PAIRED = auto()
    """Counted, and both windows are over."""


class PairPlan(Value):
    """Fixed before the pair begins."""

    first_on: bool
    settle_seconds: float
    counted_seconds: float


class Window(Value):
    """What both arms served while one window was counted."""

    canary_requests: int = 0
    canary_bad: int = 0
    stable_requests: int = 0
    stable_bad: int = 0

    def add(self, read: Read) -> Self:
        """With one more reading."""
        return self.model_copy(
            update={
                "canary_requests": self.canary_requests + read.canary.requests,
                "canary_bad": self.canary_bad + read.canary.bad,
                "stable_requests": self.stable_requests + read.stable.requests,
                "stable_bad": self.stable_bad + read.stable.bad,
            }
        )

    @property
    def canary(self) -> Tally:
        """The pods that carry the flag while it is on."""
        return Tally(self.canary_requests, self.canary_bad)

    @property
    def stable(self) -> Tally:
        """The others."""
        return Tally(self.stable_requests, self.stable_bad)

    @property
    def pooled(self) -> Tally:
        """Both together."""
        return self.canary + self.stable


class Pairs(Value):
    """Where the windows stand; small enough for a status, and after a restart it goes on with the next pair."""

    lengths: ClassVar[Lengths] = GROWING

    number: int
    seed: str
    rate: float
    """Pooled requests per second, as known at the start; it sets the windows' length."""
    settle_floor: float = 0.0
    """Seconds of the longest budget that is counted: before it is over, bad requests of the window before still come."""
    epoch: int
    """The operator that began the pair under way."""
    started_at: datetime
    since: datetime
    """Begin of the window under way."""
    counting_since: datetime | None = None
    last_read: datetime
    waiting: bool = False
    """The world is not fit for a window (blind, pods missing, paused): flags off until it is."""
    pair: int = 0
    second: bool = False
    discarded: int = 0

    @property
    def plan(self) -> PairPlan:
        """Of the pair under way."""
        drawn = pair_plan(self.seed, self.number, self.pair, self.rate, self.lengths)
        return drawn.model_copy(update={"settle_seconds": max(drawn.settle_seconds, self.settle_floor)})

    @property
    def on(self) -> bool:
        """The canary pods are to hold the flags now."""
        return not self.waiting and self.plan.first_on is not self.second

    @property
    def mark(self) -> tuple[int, int, bool, bool]:
        """Changes with each window: what must be on record before the flags are flipped."""
        return self.number, self.pair, self.second, self.waiting

    def due(self, now: datetime) -> timedelta:
        """Until the next moment that matters: the end of settling, or of the window."""
        plan = self.plan
        start = self.counting_since or self.since
        seconds = plan.settle_seconds if self.counting_since is None else plan.counted_seconds
        return max(timedelta(), start + timedelta(seconds=seconds) - now)

    def moved(self, now: datetime, *, fit: bool, in_place: bool, epoch: int) -> tuple[Self, Mark]:
        """After one reading at `now`, and what that reading was.

        `fit`: the world can be measured at all (pods there and read, nobody pauses). `in_place`: every canary pod says
        that it holds the flags exactly when it should. A pair that was not whole is dropped before its counts are read.
        """
        if self.waiting and fit:
            return self._begin(now, epoch, {"waiting": False}), Mark.IDLE
        late = now < self.last_read or self.last_read + max(LATE, self.due(self.last_read) + LATE) < now
        settled = self.counting_since is not None
        if not fit or late or epoch != self.epoch or (settled and not in_place):
            lost = 0 if self.waiting else 1
            changes = {"waiting": not fit, "pair": self.pair + lost, "discarded": self.discarded + lost}
            return self._begin(now, epoch, changes), Mark.DROPPED
        moved = self.model_copy(update={"last_read": now})
        return moved._counted(now) if settled else moved._settle(now, in_place=in_place)

    def _settle(self, now: datetime, *, in_place: bool) -> tuple[Self, Mark]:
        """Counting starts with the next reading once the settling time is over and the flags are where they should be."""
        if self.due(now) > timedelta():
            return self, Mark.IDLE
        if in_place:
            return self.model_copy(update={"counting_since": now}), Mark.IDLE
        overdue = now - self.since > timedelta(seconds=self.plan.settle_seconds) + LATE
        if not overdue:
            return self, Mark.IDLE
        return self._begin(now, self.epoch, {"pair": self.pair + 1, "discarded": self.discarded + 1}), Mark.DROPPED

    def _counted(self, now: datetime) -> tuple[Self, Mark]:
        if self.due(now) > timedelta():
            return self, Mark.COUNTED
        if self.second:
            return self._begin(now, self.epoch, {"pair": self.pair + 1}), Mark.PAIRED
        return self.model_copy(update={"second": True, "since": now, "counting_since": None}), Mark.TURNED

    def _begin(self, now: datetime, epoch: int, changes: Mapping[str, object]) -> Self:
        """A new pair."""
        fresh = {"epoch": epoch, "since": now, "last_read": now, "counting_since": None, "second": False}
        return self.model_copy(update={**fresh, **changes})


def pair_plan(seed: str, number: int, pair: int, rate: float, lengths: Lengths = GROWING) -> PairPlan:
    """Order and lengths of a pair, drawn by a hash, so that `decide` stays pure and nobody can choose them.

    `rate` in pooled requests per second. A length that never varied could resonate with a periodic environment.
    """
    digest = hashlib.sha256(f"{seed}|{number}|{pair}".encode()).digest()
    counted, settle = next((counted, settle) for until, counted, settle in lengths if pair < until)
    wanted = max(counted, REQUESTS / rate) if rate > 0 else LONGEST
    draw = 2 / 3 + 2 / 3 * int.from_bytes(digest[:8]) / 2**64
    return PairPlan(
        first_on=bool(digest[-1] & 1), settle_seconds=settle, counted_seconds=round(min(LONGEST, wanted) * draw, 3)
    )
