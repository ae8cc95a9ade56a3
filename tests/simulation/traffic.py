"""One stack's requests in time, with the flag on as many pods as the engine wants: counts by pod, never probabilities.

Knows: noise, the flag's effect, the moments at which it went on and off. Must not know: arms, or who reads the counts.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Final
from zlib import crc32

import numpy as np
from simulation.noise import PODS, SIGMA, Floats, Ints, Mood, Noise, depth, phi, shares

from memorystack_runtime.contract import (
    LADDER_MS,
    LONG_RING_SECONDS,
    RING_LENGTH,
    RING_SECONDS,
    Counters,
    RevisionCounters,
    Snapshot,
)

__all__ = ["BUDGET_MS", "NO_EFFECT", "TICK", "Effect", "Past", "Traffic"]

TICK: Final = 0.25
"""Seconds; every reading falls on this grid, in the lean loop and in `decide` alike."""
BUDGET_MS: Final = 250
SEGMENT: Final = 1200
BUDGET_EDGE: Final = LADDER_MS.index(BUDGET_MS)


@dataclass(frozen=True, slots=True)
class Effect:
    """What the flag does, as long-run bad shares; None: nothing."""

    own: float | None = None
    """Of the pods that carry it."""
    shared: float | None = None
    """Of all pods while any of them carries it."""
    fade: float = 0.0
    """Seconds over which the slowdown fades (exponentially) after the flag left."""
    lag: float = 0.0
    """Seconds by which it comes and goes late."""
    late: float = 0.0
    """Seconds after the flip before there is any."""
    crowded: bool = False
    """Only in the top fifth of the common load."""
    blameless: bool = False
    """Not the flag's doing: it is there whoever carries the flag."""


NO_EFFECT: Final = Effect()


@dataclass(frozen=True, slots=True)
class Past:
    """What each pod remembers of the time before the flip: totals and both rings, oldest entries first."""

    totals: tuple[Counters, ...]
    ring: tuple[tuple[Counters, ...], ...]
    """Per pod; the last entry is the moment of the flip."""
    long_ring: tuple[tuple[Counters, ...], ...]

    def snapshots(self, pod: int, flags: str, budgets: str, *, long: bool = False) -> tuple[Snapshot, ...]:
        """The ring as the pod would report it at the flip."""
        entries, every = (self.long_ring, LONG_RING_SECONDS) if long else (self.ring, RING_SECONDS)
        mine = entries[pod]
        return tuple(
            Snapshot.model_construct(
                age_seconds=float(every * (len(mine) - 1 - i)), counters=(revision(flags, budgets, counters),)
            )
            for i, counters in enumerate(mine)
        )


def revision(flags: str, budgets: str, counters: Counters) -> RevisionCounters:
    """Counters of recalls under one revision; `model_construct` since the values are ours, and there are many."""
    return RevisionCounters.model_construct(flags=flags, budgets=budgets, operations={"recall": counters})


class Traffic:
    """Requests of `PODS` pods; Poisson arrivals of `rate` a second in all, each bad with its own moment's probability."""

    def __init__(
        self,
        name: str,
        run: int,
        noise: Noise,
        p: float,
        effect: Effect = NO_EFFECT,
        *,
        rate: float = 100.0,
        ladder: bool = False,
    ) -> None:
        """`ladder`: every edge is counted for each request, as the pods' rings do."""
        self.name = f"{name}/{run}"
        root = np.random.SeedSequence([crc32(name.encode()), run])
        moods, past, arrivals, self._chance = (np.random.default_rng(s) for s in root.spawn(4))
        self._noise, self._effect = noise, effect
        self._level, self._per_tick = depth(noise, p), rate * TICK / PODS
        self._own = 0.0 if effect.own is None else self._level - depth(noise, effect.own)
        self._shared = 0.0 if effect.shared is None else _shared(noise, p, effect.shared, crowded=effect.crowded)
        self._mood, self._past_chance, self._arrivals = Mood(noise, moods), past, arrivals
        self._slow, self._load = np.empty((0, PODS)), np.empty(0)
        self._count = np.empty((0, PODS), dtype=np.int64)
        self._ladder = np.array([self._level + np.log(ms / BUDGET_MS) / SIGMA for ms in LADDER_MS])
        self.ladder = ladder
        self._sums = np.zeros((1, 2 + ladder * len(LADDER_MS), PODS), dtype=np.int64)
        self._switched: list[tuple[int, bool]] = []

    def remember(self, long_hours: float = 0.0) -> Past:
        """The rings at the flip; to be called before anything is served."""
        blocks = round(long_hours * 3600 / LONG_RING_SECONDS)
        # One probability for two seconds of a long history, one for each second of the last half hour, averaged in blocks.
        old = self._blocks(max(0, blocks - 3), LONG_RING_SECONDS, 2.0)
        recent = self._blocks(RING_LENGTH, RING_SECONDS, 1.0)
        every = LONG_RING_SECONDS // RING_SECONDS
        tens = recent.reshape(-1, every, *recent.shape[1:]).sum(axis=1)
        long = (
            np.concatenate([old, tens]).cumsum(axis=0) if blocks else np.zeros((0, *recent.shape[1:]), dtype=np.int64)
        )
        base = old.sum(axis=0)
        # A full ring holds sixty entries, so fifty-nine blocks lie between them.
        short = (base + recent.cumsum(axis=0))[-RING_LENGTH:]
        per_pod = [tuple(_counters(row[pod]) for row in short) for pod in range(PODS)]
        longer = [tuple(_counters(row[pod]) for row in long) for pod in range(PODS)]
        return Past(tuple(ring[-1] for ring in per_pod), tuple(per_pod), tuple(longer))

    def _blocks(self, count: int, seconds: int, step: float) -> Ints:
        """(block, pod, edges + requests): over-counts at every edge of the ladder, the last column all requests."""
        made = np.zeros((count, PODS, len(LADDER_MS) + 1), dtype=np.int64)
        points = round(seconds / step)
        for i in range(count):
            slow, _ = self._mood.next(points, step)
            over = shares(self._noise, slow[:, :, None], self._ladder).mean(axis=0)
            requests = self._past_chance.poisson(self._per_tick / TICK * seconds, PODS)
            made[i, :, :-1] = _over(self._past_chance, requests, over)
            made[i, :, -1] = requests
        return made

    def switch(self, tick: int, *, on: bool) -> None:
        """From `tick` on the flag is on (or off); the first call is the flip."""
        if not self._switched or self._switched[-1][1] is not on:
            self._switched.append((tick, on))

    def serve(self, start: int, end: int, carrying: Collection[int]) -> Ints:
        """(2, pods): requests, and bad ones, from tick `start` up to `end` with the flag on the pods of these numbers.

        With `ladder` a row for each edge follows.
        """
        while len(self._count) < end:
            self._grow()
        level = self._felt(start, end)
        if level is None:
            return self._sums[end] - self._sums[start]
        requests = self._count[start:end]
        shift = np.full(PODS, self._shared)
        shift[list(carrying)] += self._own
        slow = self._slow[start:end] + shift * level[:, None]
        if self.ladder:
            over = _over(self._chance, requests, shares(self._noise, slow[:, :, None], self._ladder)).sum(axis=0).T
            return np.concatenate([requests.sum(axis=0)[None], over[BUDGET_EDGE][None], over])
        bad = self._chance.binomial(requests, shares(self._noise, slow, self._level))
        return np.stack([requests.sum(axis=0), bad.sum(axis=0)])

    def _felt(self, start: int, end: int) -> Floats | None:
        """How much of the effect is there at each tick, 0 to 1; None: nothing at all."""
        if not self._switched or (self._own == 0.0 and self._shared == 0.0):
            return None
        effect, ticks = self._effect, np.arange(start, end) - self._effect.lag / TICK
        at = np.array([tick for tick, _ in self._switched])
        on = np.array([False, *(state for _, state in self._switched)])
        index = np.searchsorted(at, ticks, side="right")
        level = np.ones(len(ticks)) if effect.blameless else on[index].astype(float)
        if effect.fade:
            gone = ticks - np.where(index > 0, at[np.maximum(index, 1) - 1], 0)
            faded = np.exp(-gone * TICK / effect.fade)
            level = np.where((index > 1) & ~on[index], faded, level)
        if effect.late:
            level[ticks < self._switched[0][0] + effect.late / TICK] = 0.0
        if effect.crowded:
            level = level * (self._load[start:end] > CROWDED)
        return level if level.any() else None

    def _grow(self) -> None:
        slow, load = self._mood.next(SEGMENT, TICK)
        count = self._arrivals.poisson(self._per_tick, (SEGMENT, PODS))
        if self.ladder:
            over = _over(self._arrivals, count, shares(self._noise, slow[:, :, None], self._ladder))
            rows = np.moveaxis(np.concatenate([count[..., None], over[..., BUDGET_EDGE, None], over], axis=2), 2, 1)
        else:
            bad = self._arrivals.binomial(count, shares(self._noise, slow, self._level))
            rows = np.stack([count, bad], axis=1)
        self._slow, self._load = np.concatenate([self._slow, slow]), np.concatenate([self._load, load])
        self._count = np.concatenate([self._count, count])
        self._sums = np.concatenate([self._sums, self._sums[-1] + rows.cumsum(axis=0)])


CROWDED: Final = NormalDist().inv_cdf(0.8)


def _shared(noise: Noise, p: float, harmed: float, *, crowded: bool) -> float:
    """The shift that brings the long-run share from `p` to `harmed`."""
    if not crowded:
        return depth(noise, p) - depth(noise, harmed)
    load = np.array([NormalDist().inv_cdf((i + 0.5) / 2000) for i in range(2000)])
    low, high = 0.0, 8.0
    for _ in range(60):
        middle = (low + high) / 2
        z = sqrt(noise.common) * load + middle * (load > CROWDED) - depth(noise, p)
        low, high = (middle, high) if float(phi(z / sqrt(1 - noise.common)).mean()) < harmed else (low, middle)
    return (low + high) / 2


def _over(chance: np.random.Generator, requests: Ints, over: Floats) -> Ints:
    """How many of `requests` exceed each edge, given the probabilities `over` (last axis, falling): one draw for all edges."""
    ends = np.ones((*over.shape[:-1], 1))
    bands = np.diff(np.concatenate([0 * ends, over[..., ::-1], ends], axis=-1), axis=-1)
    drawn = chance.multinomial(requests, np.clip(bands, 0.0, 1.0))
    return drawn.cumsum(axis=-1)[..., -2::-1]


def _counters(row: Ints) -> Counters:
    over = tuple(row[:-1].tolist())
    bad = over[BUDGET_EDGE]
    return Counters.model_construct(requests=int(row[-1]), bad=bad, failed=0, over=over)
