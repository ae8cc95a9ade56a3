"""The watch after 100 %: is the stack over its budget since a flag was promoted, and which flag may be asked?

Knows: promotions, and counts over time. Must not know: rollouts, leases, or what is done about an alarm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf, log
from typing import Final, Self

from memorystack_operator.api.spec import Spec
from memorystack_operator.api.status import Model
from memorystack_operator.core.bets import ROLL, log_mean_exp, log_ratio, log_sum_exp
from memorystack_operator.core.calibration import ASSUMED_PHI
from memorystack_operator.core.evidence import MIN_REQUESTS, P0, DesignEffect, Finding, Tally
from memorystack_operator.core.slices import Slice
from memorystack_operator.core.stages import canonical
from memorystack_runtime.contract import RING_SECONDS, Features, Operation, RevisionCounters

__all__ = ["OverBudget", "Promotion", "Sight", "Watch", "look", "phi_at", "slow", "threshold"]

LASTING: Final = timedelta(minutes=5)
"""A short outage ends by itself; flags are asked only after this."""
SOON: Final = timedelta(hours=1)
"""After a `Paired` promotion the flag is asked at once for so long (verdict.md 10)."""
FIRST_REST: Final = timedelta(hours=1)
LONGEST_REST: Final = timedelta(hours=24)
RECENT: Final = timedelta(minutes=2)
WELL: Final = timedelta(minutes=10)
SHORTEST_RUN: Final = timedelta(hours=24)


class Promotion(Model):
    """One flag that was changed on every pod, and what it was before."""

    stage: str
    """The flag."""
    value: str
    """Canonical JSON of its value now."""
    before: Features
    """The flags of the stack before it."""
    at: datetime
    """When it was promoted."""
    paired: bool = False
    """Promoted by pairs of windows, which harm that outlasts a window escapes."""
    by_hand: bool = False
    """A person decided without a verdict, so none is asked for later."""
    still_over: tuple[Operation, ...] = ()
    """Operations that it improved and left over budget: what was so before is not held against it."""
    asked: int = 0
    """Reverse canaries so far: each has a smaller error rate, so that all of them together keep the limit."""


class OverBudget(Model):
    """A watched stack is over its budget."""

    operation: Operation
    """The first in the order of the budgets."""
    since: datetime
    """When it was noticed."""
    message: str
    """Counts and evidence."""


class Watch(Model):
    """All that must be on record of the watch; the counts themselves stay with the pods."""

    promotions: tuple[Promotion, ...] = ()
    """Newest last, one for each flag at most."""
    over: OverBudget | None = None
    """Empty: within budget as far as known."""
    tried: tuple[str, ...] = ()
    """Flags that were asked and kept since the last rest."""
    rest_until: datetime | None = None
    """No flag is asked before."""

    def promoted(self, *new: Promotion) -> Self:
        """After a promotion the world is a new one: the watch begins again."""
        names = {p.stage for p in new}
        return self.model_copy(update={"promotions": (*self.without(names), *new)}).anew()

    def withdrawn(self, stage: str) -> Self:
        """The flag was taken back."""
        return self.model_copy(update={"promotions": self.without({stage})}).anew()

    def anew(self) -> Self:
        """Forgets what was seen, not what was promoted."""
        return self.model_copy(update={"over": None, "tried": (), "rest_until": None})

    def without(self, stages: Iterable[str]) -> tuple[Promotion, ...]:
        """The promotions of other flags."""
        return tuple(p for p in self.promotions if p.stage not in stages)

    def asking(self, stage: str) -> Self:
        """A reverse canary of this flag begins."""
        counted = (p.model_copy(update={"asked": p.asked + (p.stage == stage)}) for p in self.promotions)
        return self.model_copy(update={"promotions": tuple(counted)})

    def kept(self, stage: str, now: datetime, left: Sequence[Promotion]) -> Self:
        """The flag was not convicted; with nobody `left` to ask the watch rests, each time for twice as long."""
        if any(p.stage != stage for p in left):
            return self.model_copy(update={"tried": (*self.tried, stage)})
        asked = max((p.asked for p in self.promotions), default=1)
        rest = min(LONGEST_REST, FIRST_REST * 2 ** max(0, min(asked, 8) - 1))
        return self.model_copy(update={"tried": (), "rest_until": now + rest})

    def watched(self, spec: Spec, stable: Features, now: datetime) -> tuple[Promotion, ...]:
        """Promotions that still serve, within `stabilization`."""
        limit = spec.rollout.stabilization
        return tuple(p for p in self.promotions if canonical(stable, p.stage) == p.value and now - p.at < limit)

    def open_to_question(self, watched: Sequence[Promotion], operation: Operation) -> tuple[Promotion, ...]:
        """Those that a reverse canary may ask about this operation, newest first."""
        found = [p for p in watched if not p.by_hand and operation not in p.still_over and p.stage not in self.tried]
        return tuple(reversed(found))

    def due(self, promotion: Promotion, now: datetime) -> bool:
        """It has lasted long enough, and the last answer is old enough."""
        if self.over is None or (self.rest_until is not None and now < self.rest_until):
            return False
        soon = promotion.paired and now - promotion.at < SOON
        return soon or bool(self.tried) or now - self.over.since >= LASTING


@dataclass(frozen=True, slots=True)
class Sight:
    """What the pods' rings show of the whole stack: of one operation, or of failed requests, which are then the bad ones."""

    finding: Finding
    recent: Tally
    """The last two minutes."""
    lately: Tally
    """The last ten."""
    limit: float = P0
    """Share that may be bad."""

    @property
    def over(self) -> bool:
        """Over the limit since some start, and still so now."""
        return self.finding.holds and self.recent.requests >= MIN_REQUESTS and self.recent.share > self.limit

    @property
    def well(self) -> bool:
        """Ten minutes within the limit."""
        return self.lately.requests >= MIN_REQUESTS and self.lately.share <= self.limit


def look(
    slices: Sequence[Slice], phi: Callable[[float], float], needed: float, now: datetime, limit: float = P0
) -> Sight:
    """The Shiryaev-Roberts e-detector over the slices, oldest first (verdict.md 1.3): R <- (R + 1) LR, mean over a grid.

    It is made for a watch without an end: a restart mixture's stakes on late starts would shrink for a month. R is
    computed anew from the pods' own rings at each look, so nothing has to be on record and a restart forgets nothing.
    Each slice is tempered by the design effect `phi` at the rate (requests per second) which the slice itself had.
    """
    logs = (-inf,) * len(ROLL)
    for piece in slices:
        effect = phi(piece.rate)
        gains = (log_ratio(piece.tally.bad, piece.tally.requests, ratio, limit) / effect for ratio in ROLL)
        logs = tuple(log_sum_exp((0.0, old)) + gain for old, gain in zip(logs, gains, strict=True))
    found = Finding(log_mean_exp(logs) if slices else 0.0, needed)
    return Sight(found, recent=_last(slices, RECENT, now), lately=_last(slices, WELL, now), limit=limit)


def slow(operation: Operation, book: RevisionCounters) -> tuple[int, int]:
    """Cumulative (requests, bad ones) of one operation."""
    counts = book.operations.get(operation)
    return (counts.requests, counts.bad) if counts else (0, 0)


def phi_at(effect: DesignEffect | None, rate: float) -> float:
    """The design effect at `rate` requests per second (verdict.md 1.6: phi - 1 grows with the rate)."""
    if effect is None or effect.source == "Assumed" or not effect.rate:
        return max(ASSUMED_PHI, effect.phi_abs) if effect else ASSUMED_PHI
    return 1 + max(0.0, effect.phi_abs - 1) * rate / effect.rate


def threshold(spec: Spec) -> float:
    """log A: a stack that stands at its budget all the time meets one false alarm in `stabilization` on average.

    The mean time to a false alarm is at least A slices (Shin, Ramdas, Rinaldo, 2023), and each budget has its own A.
    """
    run = max(spec.rollout.stabilization, SHORTEST_RUN) / timedelta(seconds=RING_SECONDS)
    return log(run * len(spec.rollout.budgets))


def _last(slices: Sequence[Slice], span: timedelta, now: datetime) -> Tally:
    begin = (now - span).timestamp()
    return sum((s.tally for s in slices if s.begin >= begin - RING_SECONDS), Tally())
