"""How long one decision takes, in each phase of a large stack: `python tests/load/decide_speed.py --pods 200`.

Every call meets new evidence of every pod, and the status that the call before left behind. CPU time is counted, since
`decide` waits for nothing and other processes may share the machine. `measure(phase, pods)` is what `make bench` may call.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.proving import burst_over_time
from support.watched import reversing, spoil, watch_on
from support.world import FLAG, World, rollout, stack

from memorystack_operator.api.spec import Budget
from memorystack_operator.core import decide
from memorystack_runtime.contract import OPERATIONS

__all__ = ["BARS", "PHASES", "measure"]

BARS: Final = {50: 2.0, 200: 5.0}
"""Pods -> milliseconds for the median decision in the worst phase."""
BUDGETS: Final = tuple(Budget.model_construct(operation=name, p95=timedelta(milliseconds=250)) for name in OPERATIONS)
"""With failed requests they are five. A resource may name the first two only; the engine counts and judges all alike."""
LONG: Final = [{"weight": 50, "minDuration": "1h"}]
SHORT: Final = [{"weight": 50, "minDuration": "10s"}]


def _world(pods: int, *, steps: list[dict[str, object]] = LONG, **analysis: str) -> World:
    world = World(stack(replicas=pods), rate=4 * pods)
    for operation in OPERATIONS:
        world.bad[operation, "stable"] = world.bad[operation, "canary"] = 0.0
    fields = rollout(steps=steps, analysis={"interval": "1s", "timeout": "2h", **analysis})
    world.edit(rollout=fields)
    _replace(world, rollout=world.stack.spec.rollout.model_copy(update={"budgets": BUDGETS}))
    return world


def _replace(world: World, **fields: object) -> None:
    """Parts of the spec, as they are: nothing is refused."""
    spec = world.stack.spec.model_copy(update=fields)
    metadata = world.stack.metadata.model_copy(update={"generation": world.stack.metadata.generation + 1})
    world.stack = world.stack.model_copy(update={"spec": spec, "metadata": metadata})


def _with_flag(world: World) -> None:
    _replace(world, features=stack(features=FLAG).spec.features)


def _flagged(world: World) -> bool:
    return bool(world.flagged)


def calibrating(pods: int) -> World:
    world = _world(pods)
    world.run(20)
    _with_flag(world)
    assert world.run(20, until=lambda w: w.phase == "Calibrating")
    return world


def canary(pods: int, **fields: object) -> World:
    world = _world(pods, **fields)
    world.run(1)
    world.tick(200)
    world.run(3)
    _with_flag(world)
    assert world.run(60, until=_flagged)
    world.run(5)
    return world


def switchback(pods: int) -> World:
    world = canary(pods)
    world.shared = 0.3
    assert world.run(300, until=lambda w: w.phase == "Switchback")
    return world


def proving(pods: int) -> World:
    world = _world(pods, steps=SHORT, promotion="Paired")
    for key in world.bad:
        world.bad[key] = 0.02
    world.run(1)
    for _ in range(30):
        world.tick(30)
    _with_flag(world)
    assert world.run(60, until=_flagged)
    burst_over_time(world)
    assert world.run(300, until=lambda w: w.phase == "Proving")
    return world


def watched(pods: int) -> World:
    world = canary(pods, steps=SHORT)
    assert world.run(600, until=lambda w: w.status.rollout is None and w.status.settling is None)
    world.run(3)
    return world


def reverse(pods: int) -> World:
    world = watched(pods)
    spoil(world, 0.07)
    assert watch_on(world, 40, until=reversing, every=30)
    return world


PHASES: Final[dict[str, Callable[[int], World]]] = {
    "calibrating": calibrating,
    "canary": canary,
    "switchback": switchback,
    "proving": proving,
    "watch": watched,
    "reverse canary": reverse,
}


def measure(name: str, pods: int, calls: int = 60) -> dict[str, float]:
    """Milliseconds of CPU: of the median call, the slowest, and the median of those that the pods' histories came with."""
    world = PHASES[name](pods)
    # What the world is made of is not the operator's, so a collection of garbage shall not walk through it.
    gc.collect()
    gc.freeze()
    took, told = [], []
    phase = world.phase
    while world.phase == phase and len(took) < calls:
        world.live(1.0)
        seen = world.observe()
        began = time.process_time()
        decision = decide(world.stack, world.status, seen, world.now)
        took.append(1000 * (time.process_time() - began))
        if any(p.evidence and p.evidence.ring for p in seen.pods):
            told.append(took[-1])
        world.carry_out(decision)
    gc.unfreeze()
    return {
        "medianMs": round(statistics.median(took), 3),
        "worstMs": round(max(took), 3),
        "calls": len(took),
        "historyMs": round(statistics.median(told), 3) if told else 0.0,
    }


def main(pods: int, only: list[str]) -> int:
    found = {}
    for name in only or PHASES:
        found[name] = measure(name, pods)
        print(f"{name:16}{json.dumps(found[name])}", flush=True)
    return 0 if all(f["medianMs"] < BARS[pods] for f in found.values()) else 1


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--pods", type=int, choices=sorted(BARS), default=200)
    options.add_argument("phases", nargs="*")
    chosen = options.parse_args()
    sys.exit(main(chosen.pods, chosen.phases))
