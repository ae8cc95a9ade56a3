"""Worlds in the phases that random steps would seldom reach, made once and copied."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Final

from support.proving import proving_world
from support.watched import over, promoted_world, reversing, slow, spoil, watch_on
from support.world import FLAG, World, rollout, stack

__all__ = ["STARTS", "start"]

LONG: Final = [{"weight": 25, "minDuration": "10s"}, {"weight": 50, "minDuration": "20s"}]


def _fresh() -> World:
    world = World(stack(replicas=4), rate=40)
    world.run(150)
    return world


def _canary() -> World:
    world = _fresh()
    world.run(60)
    world.edit(features=FLAG, rollout=rollout(steps=LONG))
    assert world.run(100, until=lambda w: bool(w.flagged))
    return world


def _withdrawn() -> World:
    world = _canary()
    slow(world, 0.4)
    assert world.run(60, until=lambda w: w.phase == "Withdrawn")
    return world


def _switchback() -> World:
    world = _canary()
    world.shared = 0.3
    assert world.run(300, until=lambda w: w.phase == "Switchback")
    return world


def _over() -> World:
    world = promoted_world()
    slow(world, 0.2)
    assert watch_on(world, 10, until=over)
    return world


def _reverse() -> World:
    world = promoted_world()
    spoil(world, 0.08)
    assert watch_on(world, 40, until=reversing)
    return world


def _everywhere() -> World:
    world = promoted_world()
    slow(world, 0.25)
    assert watch_on(world, 90, until=lambda w: w.phase == "Switchback")
    return world


def _alone() -> World:
    """The surge pod of a single replica is there, and not warm yet."""
    world = World(stack(replicas=1), rate=40)
    world.run(150)
    world.edit(features=FLAG, rollout=rollout(steps=LONG))
    assert world.run(5, until=lambda w: bool(w.surging))
    return world


def _halves() -> World:
    """The single replica has the flag, and is compared with its surge pod."""
    world = _alone()
    assert world.run(300, until=lambda w: bool(w.flagged))
    return world


STARTS: Final[dict[str, Callable[[], World]]] = {
    "fresh": _fresh,
    "canary": _canary,
    "surge pod": _alone,
    "canary beside a surge pod": _halves,
    "withdrawn": _withdrawn,
    "switchback": _switchback,
    "proving": proving_world,
    "promoted": promoted_world,
    "over budget": _over,
    "reverse canary": _reverse,
    "switchback on all pods": _everywhere,
}


@cache
def _made(name: str) -> World:
    return STARTS[name]()


def start(name: str) -> World:
    """A copy of its own."""
    return deepcopy(_made(name))
