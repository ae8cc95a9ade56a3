"""The randomised switchback: does the flag harm everybody, or is the environment sick by itself? (verdict.md 6 and 10)

Flags go on and off in pairs of windows whose order is drawn by lot. If the flag does nothing, each pair is worse with the
flag on as often as not, whatever the environment does: the lot sees to that, so no design effect is needed.

Knows: windows, counts and bets. Must not know: pods, leases, or what follows from the outcome.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from enum import StrEnum
from math import log, pi
from typing import Final, Self

from memorystack_operator.core.bets import log_mean_exp
from memorystack_operator.core.evidence import Finding, Read, Tally, Value
from memorystack_runtime.contract import Operation

__all__ = ["Answer", "PairPlan", "Switchback", "Window", "level_of", "pair_plan"]

BETS: Final = (0.3, 0.6, 0.9)
"""Shares of the wealth that are put on "worse with the flag"; one bet alone is ruined by an unlucky pair or is slow."""
CLEARED: Final = log(0.05)
REQUESTS: Final = 400
"""Pooled requests that a window should see."""
LONGEST: Final = 60.0
LADDER: Final = ((12, 4.0, 1.0), (24, 8.0, 2.0))
"""(up to this pair, counted seconds, settling seconds): short windows see less of the environment's own memory."""
LAST: Final = (15.0, 5.0)
LATE: Final = timedelta(seconds=3)
"""A reading that comes later than this makes a window longer than its twin: the pair does not count."""


class Answer(StrEnum):
    """What the pairs say so far."""

    OPEN = "Open"
    HARMS = "Harms"
    CLEARED = "Cleared"


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


class Switchback(Value):
    """State of one switchback; small enough for a status, and it goes on after a restart with the next pair."""

    number: int
    """k: the k-th of this rollout."""
    seed: str
    operation: Operation
    pooled: bool
    """Both arms were over: their bad shares are taken together. Else the canary's is compared with the others'."""
    rate: float
    """Pooled requests of the operation per second, as known at the start; it sets the windows' length."""
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
    first: Window = Window()
    current: Window = Window()
    wealth: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Logarithms."""
    worse: int = 0
    better: int = 0
    tied: int = 0
    discarded: int = 0

    @property
    def plan(self) -> PairPlan:
        """Of the pair under way."""
        return pair_plan(self.seed, self.number, self.pair, self.rate)

    @property
    def on(self) -> bool:
        """The canary pods are to hold the flags now."""
        return not self.waiting and self.plan.first_on is not self.second

    @property
    def log_e(self) -> float:
        """Evidence that the flag harms."""
        return log_mean_exp(self.wealth)

    def due(self, now: datetime) -> timedelta:
        """Until the next moment that matters: the end of settling, or of the window."""
        plan = self.plan
        start = self.counting_since or self.since
        seconds = plan.settle_seconds if self.counting_since is None else plan.counted_seconds
        return max(timedelta(), start + timedelta(seconds=seconds) - now)

    def finding(self, level: float) -> Finding:
        """Against the threshold of `level_of`."""
        return Finding(self.log_e, log(1 / level))

    def answer(self, level: float) -> Answer:
        """At the error rate `level`."""
        if self.finding(level).holds:
            return Answer.HARMS
        return Answer.CLEARED if self.log_e <= CLEARED else Answer.OPEN

    def after(self, read: Read, now: datetime, *, fit: bool, in_place: bool, epoch: int) -> Self:
        """After one reading, whose counts are those since the reading before.

        `fit`: the world can be measured at all (pods there and read, nobody pauses). `in_place`: every canary pod says
        that it holds the flags exactly when it should. A pair that was not whole is dropped before its counts are read.
        """
        if self.waiting and fit:
            return self._begin(now, epoch, {"waiting": False})
        late = self.last_read + max(LATE, self.due(self.last_read) + LATE) < now
        settled = self.counting_since is not None
        if not fit or late or epoch != self.epoch or (settled and not in_place):
            discarded = self.discarded + (0 if self.waiting else 1)
            return self._begin(now, epoch, {"waiting": not fit, "pair": self.pair + 1, "discarded": discarded})
        moved = self.model_copy(update={"last_read": now})
        return moved._counted(read, now) if settled else moved._settle(now, in_place=in_place)

    def _settle(self, now: datetime, *, in_place: bool) -> Self:
        """Counting starts with the next reading once the settling time is over and the flags are where they should be."""
        if self.due(now) > timedelta():
            return self
        if in_place:
            return self.model_copy(update={"counting_since": now})
        overdue = now - self.since > timedelta(seconds=self.plan.settle_seconds) + LATE
        if not overdue:
            return self
        return self._begin(now, self.epoch, {"pair": self.pair + 1, "discarded": self.discarded + 1})

    def _counted(self, read: Read, now: datetime) -> Self:
        grown = self.model_copy(update={"current": self.current.add(read)})
        if grown.due(now) > timedelta():
            return grown
        if not grown.second:
            fresh = {"first": grown.current, "current": Window(), "second": True, "since": now, "counting_since": None}
            return grown.model_copy(update=fresh)
        on, off = (grown.first, grown.current) if grown.plan.first_on else (grown.current, grown.first)
        difference = _harm(on, pooled=grown.pooled) - _harm(off, pooled=grown.pooled)
        return grown._begin(now, grown.epoch, {**grown._bet(difference), "pair": grown.pair + 1})

    def _bet(self, difference: float) -> dict[str, object]:
        """A tie loses, unlike in verdict.md 6: that keeps the error bound, and a world without a bad request is cleared."""
        sign = 1 if difference > 0 else -1
        return {
            "wealth": tuple(old + log(1 + bet * sign) for old, bet in zip(self.wealth, BETS, strict=True)),
            "worse": self.worse + (difference > 0),
            "better": self.better + (difference < 0),
            "tied": self.tied + (difference == 0),
        }

    def _begin(self, now: datetime, epoch: int, changes: dict[str, object]) -> Self:
        """A new pair."""
        fresh = {
            "epoch": epoch,
            "since": now,
            "last_read": now,
            "counting_since": None,
            "second": False,
            "first": Window(),
            "current": Window(),
        }
        return self.model_copy(update={**fresh, **changes})


def pair_plan(seed: str, number: int, pair: int, rate: float) -> PairPlan:
    """Order and lengths of a pair, drawn by a hash, so that `decide` stays pure and nobody can choose them.

    `rate` in pooled requests per second. A length that never varied could resonate with a periodic environment.
    """
    digest = hashlib.sha256(f"{seed}|{number}|{pair}".encode()).digest()
    counted, settle = next(((c, s) for until, c, s in LADDER if pair < until), LAST)
    wanted = max(counted, REQUESTS / rate) if rate > 0 else LONGEST
    draw = 2 / 3 + 2 / 3 * int.from_bytes(digest[:8]) / 2**64
    return PairPlan(
        first_on=bool(digest[-1] & 1), settle_seconds=settle, counted_seconds=round(min(LONGEST, wanted) * draw, 3)
    )


def level_of(half: float, number: int) -> float:
    """The error rate of the k-th switchback: all of them together spend `half` (sum of 6 / (pi k)^2 is 1)."""
    return half * 6 / (pi * number) ** 2


def _harm(window: Window, *, pooled: bool) -> float:
    if pooled:
        return (window.canary + window.stable).share
    return window.canary.share - window.stable.share
