"""The sequential test of one operation: canary against stable, read by read. Frozen, and small enough for a status.

Knows: counts and design effects. Must not know: pods, steps, or what a verdict leads to. The mathematics is verdict.md 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer
from pydantic.alias_generators import to_camel

from memorystack_operator.core.bets import (
    BETTER,
    PROMOTE,
    RELATIVE,
    ROLL,
    cumulative_log_e,
    log_mean_exp,
    log_ratio,
    restart_log_e,
    restart_step,
)
from memorystack_operator.core.noncentral import odds_gain

__all__ = [
    "MIN_READS",
    "MIN_REQUESTS",
    "P0",
    "DesignEffect",
    "Evidence",
    "Finding",
    "Findings",
    "Read",
    "Tally",
    "contrast",
]

P0: Final = 0.05
"""p95 over its budget is exactly P(bad) > 5 %."""
MIN_REQUESTS: Final = 30
MIN_READS: Final = 2

# JSON has no infinity, and a stake that is not placed yet is log 0.
Log = Annotated[
    float,
    BeforeValidator(lambda v: -inf if v is None else v),
    PlainSerializer(lambda v: None if v == -inf else round(v, 9), return_type=float | None),
]


class Value(BaseModel):
    """Frozen, camelCase in JSON."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


@dataclass(frozen=True, slots=True)
class Tally:
    """Requests and how many of them were bad."""

    requests: int = 0
    bad: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.requests + other.requests, self.bad + other.bad)

    @property
    def share(self) -> float:
        """Bad requests per request; 0 without any."""
        return self.bad / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class Read:
    """What one reading of all pods added to each arm: requests of the same stretch of time, so they can be compared."""

    canary: Tally = Tally()
    stable: Tally = Tally()
    late_canary: Tally = Tally()
    late_stable: Tally = Tally()
    """Of pods that were not read the last time: their requests span more time than the others', and what a burst did
    then must not look like a difference between the arms. They count wherever arms are not compared."""

    @property
    def late(self) -> bool:
        """Some pod told of more than one interval."""
        return bool(self.late_canary.requests or self.late_stable.requests)


class DesignEffect(Value):
    """How much less the requests say than as many independent ones would (verdict.md 1.5, 1.6)."""

    phi_abs: float = 1.0
    """Divides the evidence of "within budget"; grows with the rate of the arm, see `for_share`."""
    phi_rel: float = 1.0
    """Divides the evidence of "worse" and "better"."""
    margin: float = 1.0
    """Odds ratio of canary to stable that is tolerated (>= 1), from the pods' own odds before the flip."""
    mirrored_margin: float = 1.0
    """The same for "better" (<= 1)."""
    mostly_bad: bool = False
    """More than half of all requests were bad before the flip, when this is fixed: see `contrast`."""
    rate: float = 0.0
    """Requests per second of all pods together, at which `phi_abs` was measured."""
    source: Literal["Measured", "Short", "Carried", "Assumed"] = "Assumed"
    message: str = ""

    def for_share(self, share: float) -> Self:
        """For an arm that serves this share of the requests: fewer requests meet less of what moves them together.

        Source: verdict.md 1.6, where phi - 1 is proportional to the rate. An assumed one stays as it is.
        """
        if self.source == "Assumed":
            return self
        return self.model_copy(update={"phi_abs": round(1 + max(0.0, self.phi_abs - 1) * share, 4)})


@dataclass(frozen=True, slots=True)
class Finding:
    """One question's answer so far, as log e and the log threshold that it must reach."""

    log_e: float
    needed: float

    @property
    def holds(self) -> bool:
        """The evidence has reached its threshold."""
        return self.log_e >= self.needed

    @property
    def fraction(self) -> float:
        """Progress toward the threshold on the log scale, 0 to 1."""
        return min(1.0, max(0.0, self.log_e / self.needed))


@dataclass(frozen=True, slots=True)
class Findings:
    """All questions about one operation."""

    over: Finding
    stable_over: Finding
    worse: Finding
    within: Finding
    better: Finding
    enough: bool
    """30 canary requests and two reads: no verdict before."""


class Evidence(Value):
    """State of the test: restart mixtures for "over" and "worse", cumulative products for "within" and "better"."""

    p0: float = P0
    effect: DesignEffect = DesignEffect()
    strict: bool = False
    """`sensitivity: Strict`: "over" is divided by the design effect over time, too."""
    reads: int = 0
    stable_reads: int = 0
    canary_requests: int = 0
    canary_bad: int = 0
    stable_requests: int = 0
    stable_bad: int = 0
    step_requests: int = 0
    step_bad: int = 0
    """The canary's counts since the step began: "within" restarts there."""
    roll: tuple[Log, ...] = (-inf,) * len(ROLL)
    stable_roll: tuple[Log, ...] = (-inf,) * len(ROLL)
    relative: tuple[Log, ...] = (-inf,) * len(RELATIVE)
    better: tuple[Log, ...] = (0.0,) * len(BETTER)
    roll_reads: int = 0
    stable_roll_reads: int = 0

    @property
    def canary(self) -> Tally:
        """All canary requests so far."""
        return Tally(self.canary_requests, self.canary_bad)

    @property
    def stable(self) -> Tally:
        """All concurrent requests of the others."""
        return Tally(self.stable_requests, self.stable_bad)

    def add(self, read: Read) -> Self:
        """The evidence after one more reading; a reading without requests changes nothing."""
        return self._with_stable(read.stable + read.late_stable)._with_canary(read)

    def _with_stable(self, stable: Tally) -> Self:
        if not stable.requests:
            return self
        reads = self.stable_roll_reads + 1
        return self.model_copy(
            update={
                "stable_reads": self.stable_reads + 1,
                "stable_roll_reads": reads,
                "stable_requests": self.stable_requests + stable.requests,
                "stable_bad": self.stable_bad + stable.bad,
                "stable_roll": restart_step(self.stable_roll, _gains(stable, ROLL, self.p0), reads),
            }
        )

    def _with_canary(self, read: Read) -> Self:
        canary = read.canary + read.late_canary
        if not canary.requests:
            return self
        phi = self.effect.phi_abs if self.strict or not read.stable.requests else 1.0
        reads, roll_reads = self.reads + 1, self.roll_reads + 1
        worse, better = _relative_gains(read, self.effect)
        return self.model_copy(
            update={
                "reads": reads,
                "roll_reads": roll_reads,
                "canary_requests": self.canary_requests + canary.requests,
                "canary_bad": self.canary_bad + canary.bad,
                "step_requests": self.step_requests + canary.requests,
                "step_bad": self.step_bad + canary.bad,
                "roll": restart_step(self.roll, _gains(canary, ROLL, self.p0, phi), roll_reads),
                "relative": restart_step(self.relative, worse, reads),
                "better": tuple(old + gain for old, gain in zip(self.better, better, strict=True)),
            }
        )

    def next_step(self, effect: DesignEffect) -> Self:
        """A step begins: what convicts is carried on, what promotes starts again, at the new share's design effect."""
        fresh = {"step_requests": 0, "step_bad": 0, "better": (0.0,) * len(BETTER), "effect": effect}
        return self.model_copy(update=fresh)

    def environment_cleared(self) -> Self:
        """The flags come back after a sick environment: only the two absolute tests forget (verdict.md 6)."""
        blank = (-inf,) * len(ROLL)
        return self.model_copy(update={"roll": blank, "stable_roll": blank, "roll_reads": 0, "stable_roll_reads": 0})

    def findings(self, alpha: float, beta: float) -> Findings:
        """Answers at false-rollback rate `alpha` (already divided) and false-promotion rate `beta`."""
        convict, promote = log(1 / alpha), log(1 / beta)
        within = cumulative_log_e(self.step_bad, self.step_requests, PROMOTE, self.p0, self.effect.phi_abs)
        return Findings(
            over=Finding(restart_log_e(self.roll, self.roll_reads), convict),
            stable_over=Finding(restart_log_e(self.stable_roll, self.stable_roll_reads), convict),
            worse=Finding(restart_log_e(self.relative, self.reads), convict),
            within=Finding(within, promote),
            better=Finding(log_mean_exp(self.better), promote),
            enough=self.canary_requests >= MIN_REQUESTS and self.reads >= MIN_READS,
        )


def _gains(tally: Tally, grid: tuple[float, ...], p0: float, phi: float = 1.0) -> list[float]:
    return [log_ratio(tally.bad, tally.requests, ratio, p0) / phi for ratio in grid]


def _relative_gains(read: Read, effect: DesignEffect) -> tuple[list[float], list[float]]:
    """Log gains of "worse" and "better" at each ratio of their grids."""
    return (
        [contrast(read, effect, ratio, effect.margin) for ratio in RELATIVE],
        [contrast(read, effect, ratio, effect.mirrored_margin) for ratio in BETTER],
    )


def contrast(read: Read, effect: DesignEffect, ratio: float, margin: float) -> float:
    """Log likelihood ratio, tempered, of canary:stable odds of a bad request of `ratio` times `margin` against `margin`.

    Of all bad requests in both arms, how many fell on the canary (verdict.md 1.5). The binomial distribution stands for
    the noncentral hypergeometric one, which is a fair bet too, and quick, while bad requests are the fewer. Where most
    are bad it would be blind: at 60 % bad a canary with 100 % has few more than its share of them. There the exact one
    is used, to which it is the same whether the bad requests are counted or the good ones.
    """
    canary, stable = read.canary, read.stable
    both = canary.bad + stable.bad
    if not (canary.requests and stable.requests and both):
        return 0.0
    if effect.mostly_bad:
        gain = odds_gain(
            canary.bad, canary.requests, stable.requests, both, log_odds=log(ratio * margin), log_null=log(margin)
        )
        return gain / effect.phi_rel
    weighted = margin * canary.requests
    return log_ratio(canary.bad, both, ratio, weighted / (weighted + stable.requests)) / effect.phi_rel
