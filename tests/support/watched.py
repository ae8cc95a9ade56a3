"""Worlds in which a flag was promoted and is watched: how they come about, and what may befall them."""

from __future__ import annotations

from datetime import timedelta

from support.world import FLAG, World, remembered, rollout, stack


@remembered
def promoted_world(features: dict = FLAG, timeout: str = "10m") -> World:
    """A stack whose flag was promoted by the evidence a moment ago."""
    analysis = {"interval": "1s", "timeout": timeout}
    world = World(stack(replicas=4, rollout=rollout(analysis=analysis)), rate=40)
    world.run(200)
    world.edit(features=features)
    flags = len(features)
    assert world.run(600, until=lambda w: len(w.status.history) == flags and w.status.settling is None)
    assert all(r.outcome == "Promoted" for r in world.status.history)
    return world


def watch_on(world: World, minutes: float, *, until=None, every: int = 15, traffic: bool = True) -> bool:
    """Ticks of 15 s while nothing runs, of 1 s while a stage runs."""
    end = world.now + timedelta(minutes=minutes)
    while world.now < end:
        world.tick(every if world.status.rollout is None and world.status.settling is None else 1, traffic=traffic)
        if until and until(world):
            return True
    return False


def over(world: World) -> bool:
    return world.status.watch.over is not None


def reversing(world: World) -> bool:
    return world.phase == "ReverseCanary" and bool(world.flagged)


def outcome(*names: str):
    return lambda world: world.status.history[-1].outcome in names and world.status.settling is None


def spoil(world: World, p: float = 0.3) -> None:
    """The promoted value begins to harm the pods that serve it."""
    world.harmful = {world.status.stable.revision: p}


def slow(world: World, p: float) -> None:
    """The environment, for everybody."""
    for key in world.bad:
        world.bad[key] = p
