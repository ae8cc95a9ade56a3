"""Moments of a stack, as guards and moves see them: taken from a world, then changed in one thing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from support.world import FLAG, World, remembered, settled_world

from memorystack_operator.core.interruption import switch
from memorystack_operator.core.pairing import prove
from memorystack_operator.core.situation import Move, Outcome, Situation
from memorystack_operator.core.state import PlannedStep
from memorystack_operator.core.trial import Trial

__all__ = [
    "BUDGETS",
    "PLAYED",
    "canary_world",
    "moment_of",
    "proving",
    "switching",
    "with_rollout",
    "with_status",
    "without_rings",
]

BECAUSE = Outcome(Move.HOLD, "EnvironmentOverBudget", "because of this", "store")
PLAYED = {"worse": 9, "better": 2, "tied": 1}
"""Twelve pairs of windows."""
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


def without_rings(situation: Situation) -> Situation:
    """The same moment between two readings of the histories."""
    pods = tuple(
        replace(p, evidence=p.evidence.model_copy(update={"ring": (), "long_ring": ()})) for p in situation.seen.pods
    )
    return replace(situation, seen=replace(situation.seen, pods=pods))


def with_status(situation: Situation, **changes: object) -> Situation:
    """The same moment, with another record."""
    return replace(situation, status=situation.status.model_copy(update=changes))


def with_rollout(situation: Situation, **changes: object) -> Situation:
    """The same moment of a stage that stands elsewhere."""
    return with_status(situation, rollout=situation.rollout.model_copy(update=changes))


def switching(situation: Situation, wealth: tuple[float, float, float], **changes: object) -> Situation:
    """In a switchback in which twelve pairs have been played; `wealth` as logarithms."""
    withdrawn = with_rollout(
        situation, withdrawn_reason="EnvironmentOverBudget", withdrawn_operation="store", withdrawals=1
    )
    rollout = switch(withdrawn, BECAUSE).status.rollout
    assert rollout
    assert rollout.switchback
    test = rollout.switchback.model_copy(update={"wealth": wealth, **PLAYED, **changes})
    return with_status(situation, rollout=rollout.model_copy(update={"switchback": test}))


def proving(situation: Situation, wealth: tuple[float, float, float] | None = None, **changes: object) -> Situation:
    """In a proof by pairs, as its own counts say nearly nothing; with `wealth` a trial stands beside it."""
    evidence = {
        name: e.model_copy(update={"effect": e.effect.model_copy(update={"phi_abs": 400.0})})
        for name, e in situation.rollout.evidence.items()
    }
    slow = with_rollout(situation, evidence=evidence, plan=(PlannedStep(weight=34),), step_seconds=200.0)
    rollout = prove(slow, BECAUSE).status.rollout
    assert rollout
    assert rollout.proving
    trial = Trial(number=1, operation="store", pooled=True, wealth=wealth, **PLAYED) if wealth else None
    told = {"pairs": 12, "discarded": 3, "trial": trial, "trying": trial is not None}
    test = rollout.proving.model_copy(update={**told, **changes})
    return with_status(situation, rollout=rollout.model_copy(update={"proving": test}))
