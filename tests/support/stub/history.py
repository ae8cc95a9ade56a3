"""A past that a stub pod claims: the counters of a day, in the rings in which the runtime keeps its own.

Knows: the ledger's books, and Poisson counts of a latency rule. Must not know: HTTP.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

from support.stub.behaviour import Behaviour, Rule

from memorystack_runtime.contract import (
    LADDER_MS,
    LONG_RING_LENGTH,
    LONG_RING_SECONDS,
    RING_LENGTH,
    RING_SECONDS,
    Budgets,
)
from memorystack_runtime.evidence import Ledger

__all__ = ["prefill"]


def prefill(ledger: Ledger, rule: Rule, budgets: Budgets, behaviour: Behaviour, now: float, seed: str) -> None:
    """Fills both rings of `ledger`, whose current book counts under the flags in force, as if it had served until `now` (Unix s)."""
    chance = random.Random(seed)
    before = now - behaviour.history_seconds
    for at in _moments(now, behaviour.history_seconds):
        for part, seconds in _parts(rule, behaviour, before, at):
            _serve(ledger, part, budgets, behaviour.history_rate * seconds, chance)
        before = at
        if round(at) % LONG_RING_SECONDS == 0:
            ledger._long_ring.append((at, ledger.counters()))
        if now - at <= RING_LENGTH * RING_SECONDS:
            ledger._ring.append((at, ledger.counters()))


def _moments(now: float, seconds: float) -> Iterator[float]:
    """Whole ten minutes of the wall clock up to the last half hour, and whole half minutes in it."""
    first = max(now - seconds, now - LONG_RING_LENGTH * LONG_RING_SECONDS)
    at = math.floor(first / RING_SECONDS + 1) * RING_SECONDS
    while at <= now:
        if at % LONG_RING_SECONDS == 0 or now - at <= RING_LENGTH * RING_SECONDS:
            yield float(at)
        at += RING_SECONDS


def _parts(rule: Rule, behaviour: Behaviour, start: float, end: float) -> Iterator[tuple[Rule, float]]:
    """How it answered in that stretch, and for how many seconds: bursts were in its past as they are in its present."""
    burst = behaviour.burst
    slow = burst.within(start, end) if burst else 0.0
    yield rule, end - start - slow
    if burst and slow:
        yield rule.model_copy(update={"p95_ms": rule.p95_ms * burst.factor}), slow


def _serve(ledger: Ledger, rule: Rule, budgets: Budgets, requests: float, chance: random.Random) -> None:
    """So many recalls on average, each class of latency a Poisson number of its own: traffic at random moments looks so."""
    if "recall" not in budgets.p95_ms:
        return
    count = ledger._current.counts["recall"]
    limit = budgets.p95_ms["recall"]
    edges = sorted({*LADDER_MS, limit})
    shares = [1.0, *(rule.share_over(edge) for edge in edges), 0.0]
    for i in range(len(edges) + 1):
        found = _poisson(requests * (shares[i] - shares[i + 1]), chance)
        lower = 0 if i == 0 else edges[i - 1]
        count.requests += found
        count.bad += found if lower >= limit else 0
        count.buckets[sum(edge <= lower for edge in LADDER_MS)] += found


def _poisson(mean: float, chance: random.Random) -> int:
    """Exact below 30, a rounded normal above."""
    if mean > 30:
        return max(0, round(chance.gauss(mean, math.sqrt(mean))))
    found, product, floor = 0, chance.random(), math.exp(-mean)
    while product > floor:
        found += 1
        product *= chance.random()
    return found
