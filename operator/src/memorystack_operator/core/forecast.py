"""How long evidence takes: to promote a healthy flag, and to find a bad one.

Nothing is estimated beside the engine: promotion times are first passages of the shipped bets, detection times are the
shipped evidence and verdict table, fed with what traffic of this kind gives on average.

Knows: rates, shares, design effects and error rates. Must not know: specs, statuses, steps or words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import erfc, exp, log, sqrt
from typing import Final

from memorystack_operator.core.bets import BETTER, PROMOTE, cumulative_log_e
from memorystack_operator.core.evidence import P0, DesignEffect, Evidence, Read, Tally, Value
from memorystack_operator.core.verdict import Case, Judged, Outcome, Reason, judge

__all__ = [
    "ADDED",
    "HORIZON_SECONDS",
    "Arms",
    "Detection",
    "Passage",
    "detection",
    "passage",
    "time_to_better",
    "time_to_within",
]

ADDED: Final = (0.10, 0.25, 0.50, 1.0)
"""Of the canary's requests that would have been good, the share that turns bad."""
HORIZON_SECONDS: Final = 4 * 3600.0
"""What is not found in this time is reported as not found."""
EAGER_SECONDS: Final = 1.0
EAGER_REQUESTS: Final = 500
LATE_SIGMAS: Final = 1.2816
"""Nine of ten runs are above the mean less this many standard deviations."""


class Passage(Value):
    """When drifting evidence first reaches its threshold: an inverse Gaussian time (Wald 1947), in seconds.

    The median lies below the mean, for the evidence may reach its threshold early by luck and then stays there.
    """

    mean: float
    shape: float

    def within(self, seconds: float) -> float:
        """The chance that the evidence suffices in that time."""
        if seconds <= 0:
            return 0.0
        root = sqrt(self.shape / seconds)
        early = _normal(root * (seconds / self.mean - 1))
        mirrored = _normal(-root * (seconds / self.mean + 1))
        # The factor overflows long before the product matters.
        return min(1.0, early + (exp(2 * self.shape / self.mean + log(mirrored)) if mirrored > 0 else 0.0))

    def quantile(self, chance: float) -> float:
        """Seconds after which that share of healthy steps is decided."""
        low, high = 0.0, self.mean
        while self.within(high) < chance:
            low, high = high, 2 * high
        return _bisect(lambda seconds: self.within(seconds) - chance, low, high)


@dataclass(frozen=True, slots=True)
class Arms:
    """One operation under a step: what each arm serves, as it stands before the flag."""

    canary_rate: float
    """Requests per second of the canary pods together."""
    stable_rate: float
    share: float
    """Bad requests per request, on every pod."""
    effect: DesignEffect
    """As the step will use it (`for_share`)."""
    over_before: bool = False
    strict: bool = False


class Detection(Value):
    """How soon a canary is taken back on which `added` of the good requests turn bad."""

    added: float
    share: float
    """The canary's bad share then."""
    outcome: Outcome
    """Rollback; Withdraw (nobody can tell yet: the switchback asks); Continue: not found within the horizon."""
    reason: Reason
    seconds: float | None = None
    """On average traffic; None: not found."""
    late_seconds: float | None = None
    """Nine of ten are found by then; None: they are not."""
    bad_requests: int = 0
    """Bad answers of the canary up to `seconds`."""


def time_to_within(arms: Arms, beta: float) -> Passage | None:
    """Until "within budget" is proved at error rate `beta` for a flag that changes nothing; None: never."""
    found = passage(PROMOTE, P0, arms.share, arms.effect.phi_abs, beta)
    return _in_seconds(found, arms.canary_rate)


def time_to_better(arms: Arms, beta: float, factor: float) -> Passage | None:
    """Until "better than stable" is proved for a flag that multiplies the bad share by `factor`; None: never."""
    canary, stable = arms.canary_rate * arms.share * factor, arms.stable_rate * arms.share
    if not canary + stable:
        return None
    weighted = arms.effect.mirrored_margin * arms.canary_rate
    expected = weighted / (weighted + arms.stable_rate)
    found = passage(BETTER, expected, canary / (canary + stable), arms.effect.phi_rel, beta)
    return _in_seconds(found, canary + stable)


def passage(grid: Sequence[float], p0: float, p: float, phi: float, beta: float) -> Passage | None:
    """In trials: the cumulative mixture over `grid` against `p0` reaches 1/beta where successes come at rate `p` < p0.

    `phi` tempers the evidence and swells the variance of the successes. None where the evidence does not grow.
    """
    needed = log(1 / beta)

    def evidence(trials: float, successes: float) -> float:
        return cumulative_log_e(successes, trials, grid, p0, phi) - needed

    high = 1.0
    while evidence(high, p * high) < 0:
        high *= 2
        if high > 1e9 or p >= p0:
            return None
    trials = _bisect(lambda n: evidence(n, p * n), 0.0, high)
    step = trials * 1e-4
    drift = (evidence(trials + step, p * (trials + step)) - evidence(trials, p * trials)) / step
    gain = (evidence(trials, p * trials + step) - evidence(trials, p * trials)) / step
    variance = gain * gain * phi * p * (1 - p)
    # Without a bad request there is no variance: the time is sure.
    return Passage(mean=trials, shape=(drift * trials) ** 2 / variance if variance else 1e12)


def detection(arms: Arms, added: float, *, alpha: float, beta: float, interval: timedelta) -> Detection:
    """When the verdict table first acts on a canary of which `added` of the good requests turn bad."""
    share = arms.share + added * (1 - arms.share)
    middle = _first_act(arms, share, alpha, beta, interval, sigmas=0.0)
    late = _first_act(arms, share, alpha, beta, interval, sigmas=LATE_SIGMAS)
    if middle is None:
        return Detection(added=added, share=share, outcome=Outcome.CONTINUE, reason=Reason.GATHERING_EVIDENCE)
    return Detection(
        added=added,
        share=share,
        outcome=middle.outcome,
        reason=middle.reason,
        seconds=middle.seconds,
        late_seconds=late.seconds if late else None,
        bad_requests=middle.bad,
    )


@dataclass(frozen=True, slots=True)
class _Act:
    outcome: Outcome
    reason: Reason
    seconds: float
    bad: int


def _first_act(
    arms: Arms, share: float, alpha: float, beta: float, interval: timedelta, *, sigmas: float
) -> _Act | None:
    evidence = Evidence(effect=arms.effect, strict=arms.strict)
    over_since: float | None = None
    for seconds, read in _reads(arms, share, interval, sigmas):
        evidence = evidence.add(read)
        findings = evidence.findings(alpha, beta)
        over_since = (seconds if over_since is None else over_since) if findings.over.holds else None
        over_for = timedelta(seconds=0.0 if over_since is None else seconds - over_since)
        judged = Judged("", "", findings, evidence.canary, evidence.stable, arms.over_before, over_for)
        # `early` holds back promotions only, as the step's minDuration does.
        verdict = judge(Case(operations=(judged,), early=True))
        if verdict.outcome in (Outcome.ROLLBACK, Outcome.WITHDRAW):
            return _Act(verdict.outcome, verdict.reason, seconds, evidence.canary_bad)
    return None


def _reads(arms: Arms, share: float, interval: timedelta, sigmas: float) -> Iterator[tuple[float, Read]]:
    """Average traffic in whole requests, `sigmas` standard deviations of the canary's bad count on the good side."""
    seconds, told = 0.0, Read()
    while seconds < HORIZON_SECONDS and arms.canary_rate > 0:
        eager = arms.canary_rate * seconds < EAGER_REQUESTS
        # Later readings are lumped: a hundredth of the time gone by changes no answer.
        seconds += EAGER_SECONDS if eager else max(interval.total_seconds(), seconds / 100)
        now = _by(arms, share, seconds, sigmas)
        read = Read(_since(told.canary, now.canary), _since(told.stable, now.stable))
        yield seconds, read
        told = Read(told.canary + read.canary, told.stable + read.stable)


def _by(arms: Arms, share: float, seconds: float, sigmas: float) -> Read:
    """Counts since the flip. A spread that grows faster than the mean at first leaves no bad request there."""
    canary, stable = arms.canary_rate * seconds, arms.stable_rate * seconds
    spread = sqrt(arms.effect.phi_rel * canary * share * (1 - share))
    bad = max(0.0, canary * share - sigmas * spread)
    return Read(Tally(int(canary), int(bad)), Tally(int(stable), int(stable * arms.share)))


def _since(told: Tally, now: Tally) -> Tally:
    """Each count is cut to whole requests by itself, but no read has more bad requests than requests; the rest follows."""
    requests = now.requests - told.requests
    return Tally(requests, min(requests, now.bad - told.bad))


def _in_seconds(found: Passage | None, rate: float) -> Passage | None:
    if found is None or rate <= 0:
        return None
    return Passage(mean=found.mean / rate, shape=found.shape / rate)


def _bisect(rising: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function crosses zero between `low` and `high`, to twelve digits."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return high


def _normal(z: float) -> float:
    return 0.5 * erfc(-z / sqrt(2))
