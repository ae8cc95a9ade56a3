"""What moves latencies besides the flag: a log-normal service whose load, pods and environment wander.

Knows: probabilities. Must not know: arms, reads or verdicts. Log-latency has a standard deviation of .6, as in rivals.md,
of which a share is common to all pods and a share is each pod's own, both first-order autoregressive in time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from math import erf, exp, log, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

__all__ = ["BURSTS", "NOISES", "PODS", "SIGMA", "Floats", "Ints", "Mood", "Noise", "depth", "phi", "shares"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
PODS = 4
SIGMA = 0.6
_GRID = np.linspace(-9.0, 9.0, 36_001)
_CDF = np.array([0.5 * (1 + erf(x / sqrt(2))) for x in _GRID])


def phi(x: Floats) -> Floats:
    """The normal distribution function, by a table (error below 1e-8): numpy has none."""
    return np.interp(x, _GRID, _CDF)


@dataclass(frozen=True, slots=True)
class Noise:
    """One kind of environment."""

    key: str
    label: str
    common: float = 0.0
    """Share of the variance of log-latency that all pods have in common."""
    pod: float = 0.0
    """Share that is each pod's own."""
    seconds: float = 12.0
    """Time constant of both."""
    burst_every: float = 0.0
    """Seconds from burst to burst; each slows all pods down by `burst_factor` for `burst_seconds`."""
    burst_seconds: float = 0.0
    burst_factor: float = 1.0
    outages_per_hour: float = 0.0
    outage_seconds: float = 120.0
    outage_factor: float = 3.0

    @property
    def own(self) -> float:
        """Share of the variance that is each request's own."""
        return 1.0 - self.common - self.pod

    @property
    def slow_part(self) -> float:
        """Part of the time that is a burst or an outage."""
        if self.burst_every:
            return self.burst_seconds / self.burst_every
        outages = self.outages_per_hour * self.outage_seconds
        return outages / (3600 + outages)

    @property
    def slow_by(self) -> float:
        """How far that moves log-latency, in its standard deviations."""
        return log(self.burst_factor if self.burst_every else self.outage_factor) / SIGMA


NOISES = (
    Noise("iid", "none (independent requests)"),
    Noise("common4", "common r=.2, 4 s", common=0.2, seconds=4.0),
    Noise("common12", "common r=.4, 12 s", common=0.4),
    Noise("common60", "common r=.4, 60 s", common=0.4, seconds=60.0),
    Noise("pod02", "common r=.3 + pod r=.02, 12 s", common=0.3, pod=0.02),
    Noise("pod10", "common r=.3 + pod r=.10, 12 s", common=0.3, pod=0.10),
    Noise("bursts", "bursts, 2 s in 20, x2 in all pods", burst_every=20.0, burst_seconds=2.0, burst_factor=2.0),
    Noise("outages", "outages, 6/h of 2 min, x3 in all pods", outages_per_hour=6.0),
)
BURSTS = next(n for n in NOISES if n.key == "bursts")


class Mood:
    """The slowness of each pod over time, in standard deviations of log-latency; goes on from call to call."""

    def __init__(self, noise: Noise, chance: np.random.Generator) -> None:
        self._noise, self._chance = noise, chance
        self._state = chance.standard_normal(1 + PODS)
        # A burst's place in its period is unknown to everybody; an outage comes by chance.
        self._phase = float(chance.random()) * noise.burst_every
        self._clock = 0.0
        self._outage_from = self._next_outage(0.0)

    def next(self, count: int, step: float) -> tuple[Floats, Floats]:
        """The next `count` moments, `step` seconds apart: slowness (count, pods), and the common load alone (count,)."""
        noise = self._noise
        keep = exp(-step / noise.seconds)
        common = self._wander(0, count, keep) if noise.common else np.zeros(count)
        slow = sqrt(noise.common) * np.repeat(common[:, None], PODS, axis=1)
        if noise.pod:
            own = np.stack([self._wander(1 + pod, count, keep) for pod in range(PODS)], axis=1)
            slow += sqrt(noise.pod) * own
        moments = self._clock + step * np.arange(count)
        self._clock += step * count
        if noise.burst_every:
            bursting = (moments + self._phase) % noise.burst_every < noise.burst_seconds
            slow += (log(noise.burst_factor) / SIGMA * bursting)[:, None]
        if noise.outages_per_hour:
            slow += (log(noise.outage_factor) / SIGMA * self._outages(moments))[:, None]
        return slow, common

    def _wander(self, which: int, count: int, keep: float) -> Floats:
        steps = (sqrt(1 - keep * keep) * self._chance.standard_normal(count)).tolist()
        path = list(accumulate(steps, lambda x, e: keep * x + e, initial=float(self._state[which])))
        self._state[which] = path[-1]
        return np.array(path[1:])

    def _next_outage(self, after: float) -> float:
        rate = self._noise.outages_per_hour
        return after + float(self._chance.exponential(3600 / rate)) if rate else float("inf")

    def _outages(self, moments: Floats) -> Floats:
        out = np.zeros(len(moments))
        while self._outage_from <= moments[-1]:
            end = self._outage_from + self._noise.outage_seconds
            out[(moments >= self._outage_from) & (moments < end)] = 1.0
            if end > moments[-1]:
                break
            self._outage_from = self._next_outage(end)
        return out


def shares(noise: Noise, slow: Floats, level: float | Floats) -> Floats:
    """P(latency over an edge) where the edge lies `level` standard deviations above the median latency."""
    return phi((slow - level) / sqrt(noise.own))


@cache
def depth(noise: Noise, p: float) -> float:
    """How far above the median an edge lies that a share `p` of all requests exceeds in the long run.

    Bursts and outages are part of the long run: between them the stack is the better for it.
    """
    part, up = noise.slow_part, noise.slow_by
    if not part:
        return NormalDist().inv_cdf(1 - p)
    low, high = -8.0, 8.0
    for _ in range(80):
        middle = (low + high) / 2
        long_run = (1 - part) * NormalDist().cdf(-middle) + part * NormalDist().cdf(up - middle)
        low, high = (middle, high) if long_run > p else (low, middle)
    return (low + high) / 2
