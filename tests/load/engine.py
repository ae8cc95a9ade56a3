"""The operator's own arithmetic: how long a decision takes, and whether the shipped bets give the published table."""

from __future__ import annotations

import statistics
import time
from datetime import timedelta

from load.bars import Bar
from support.grid import DELAYS, FALSE_ALARMS, delays, false_alarms
from support.world import FLAG, World, rollout, stack

from memorystack_operator.core import decide

__all__ = ["decisions", "grid"]

PODS = 50


async def decisions() -> list[Bar]:
    """In the middle of a canary on ten of fifty pods, with a second of new counts for each decision."""
    world = World(stack(replicas=PODS, rollout=rollout(steps=[{"weight": 20, "minDuration": "600s"}])), rate=500)
    world.run(200)
    world.edit(features=FLAG)
    world.run(60, until=lambda w: bool(w.flagged))
    world.run(5)
    took = []
    for _ in range(200):
        world.now += timedelta(seconds=1)
        seen = world.observe()
        began = time.perf_counter()
        decide(world.stack, world.status, seen, world.now)
        took.append(1000 * (time.perf_counter() - began))
    about = {"p95Ms": round(statistics.quantiles(took, n=20)[-1], 3), "pods": PODS, "flagged": len(world.flagged)}
    return [Bar("decide, 50 pods", round(statistics.median(took), 3), "<", 2, "ms", about)]


async def grid() -> list[Bar]:
    """verdict.md 3a, rows grid8, by exact dynamic programming: rows that differ beyond rounding."""
    wrong = [row for row in FALSE_ALARMS if abs(false_alarms(*row[:2]) - row[2]) > 0.00006]
    wrong += [row for row in DELAYS if delays(*row[:2]) != row[2:]]
    rows = len(FALSE_ALARMS) + len(DELAYS)
    return [Bar("rows of grid8 that differ", len(wrong), "=", 0, "", {"rows": rows})]
