"""Moments of a stack, as guards and moves see them: taken from a world, then changed in one thing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from support.world import FLAG, World, remembered, settled_world

from memorystack_operator.core.situation import Situation

__all__ = ["BUDGETS", "canary_world", "moment_of", "with_rollout", "with_status"]

BUDGETS = [{"operation": "store", "p95": "250ms"}, {"operation": "recall", "p95": "400ms"}]


@remembered
def canary_world() -> World:
    """Two thirds of a minute after the flip: the canary has served."""
    world = settled_world()
    world.edit(features=FLAG, rollout={"budgets": BUDGETS, "steps": [{"weight": 34, "minDuration": "5m"}]})
    assert world.run(100, until=lambda w: w.status.rollout and w.status.rollout.step_seconds > 20)
    return world


def moment_of(world: World, *, later: float = 0.0, history: bool = False) -> Situation:
    """What there is to see so many seconds after the last decision; with `history` the pods' rings are read."""
    stable = world.status.stable
    now = world.now + timedelta(seconds=later)
    return Situation(world.stack, world.status, world.observe(history=history), now, stable.template if stable else "t")


def with_status(situation: Situation, **changes: object) -> Situation:
    """The same moment, with another record."""
    return replace(situation, status=situation.status.model_copy(update=changes))


def with_rollout(situation: Situation, **changes: object) -> Situation:
    """The same moment of a stage that stands elsewhere."""
    return with_status(situation, rollout=situation.rollout.model_copy(update=changes))
