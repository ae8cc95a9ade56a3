"""One stack for each thing that may be told of a stack: every phase, and the ways of waiting. Told by `decide`, nothing made up.

    resource("a flag was taken back")          # the object, with its status, as the API server would give it
    STORIES["a flag was taken back"].shown     # Degraded: what it is in Argo CD's words

Knows: how each comes about. Must not know: who reads the status.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal

from support.proving import proving_world
from support.watched import outcome, over, promoted_world, reversing, spoil, watch_on
from support.world import FLAG, World, rollout, settled_world, stack

from memorystack_operator.core.conditions import refused

__all__ = ["STORIES", "Story", "resource"]

SLOW_STEP: Final = [{"weight": 34, "minDuration": "100s"}]


def _flagged(world: World) -> bool:
    return bool(world.flagged)


def _phase(name: str) -> Callable[[World], bool]:
    return lambda world: world.phase == name


def _trying(**fields: Any) -> World:
    world = settled_world()
    world.edit(features=FLAG, rollout=rollout(**{"steps": SLOW_STEP, **fields}))
    assert world.run(60, until=_flagged)
    return world


def _spread(world: World, p: float) -> World:
    for key in world.bad:
        world.bad[key] = p
    return world


def _starting() -> World:
    world = World(stack())
    for pod in world.pods:
        pod.ready = False
    world.tick()
    return world


def _calibrating() -> World:
    world = World(stack())
    world.run(20)
    world.edit(features=FLAG)
    assert world.run(20, until=_phase("Calibrating"))
    return world


def _paused() -> World:
    world = _trying()
    world.act("pause@1")
    world.run(2)
    return world


def _at_a_pause() -> World:
    world = settled_world()
    world.edit(features=FLAG, rollout=rollout(steps=[{"weight": 34, "minDuration": "10s"}, {"pause": {}}]))
    assert world.run(200, until=_phase("Paused"))
    return world


def _without_traffic() -> World:
    world = _trying()
    world.run(60, traffic=False)
    return world


def _moving() -> World:
    """The Deployment is rolled out while a flag waits for its turn."""
    world = _trying()
    world.settled = False
    world.run(5)
    return world


def _one_pod() -> World:
    world = World(stack(replicas=1))
    world.surge_starts = False
    world.run(100)
    world.edit(features=FLAG)
    world.run(400)
    return world


def _warming() -> World:
    world = World(stack(replicas=1))
    world.run(100)
    world.edit(features=FLAG)
    assert world.run(5, until=lambda w: bool(w.surging))
    world.run(5)
    return world


def _withdrawn() -> World:
    world = _spread(_trying(), 0.4)
    assert world.run(60, until=_phase("Withdrawn"))
    return world


def _switchback() -> World:
    world = _trying()
    world.shared = 0.3
    assert world.run(300, until=_phase("Switchback"))
    return world


def _settling() -> World:
    world = _trying(steps=[{"weight": 34, "minDuration": "10s"}])
    assert world.run(200, until=_phase("Settling"))
    return world


def _taken_back() -> World:
    world = _trying()
    world.bad["store", "canary"] = 0.5
    assert world.run(200, until=_phase("Rejected"))
    return world


def _undecided(**analysis: str) -> World:
    world = settled_world()
    world.bad["store", "canary"] = world.bad["store", "stable"] = 0.045
    world.edit(features=FLAG, rollout=rollout(analysis={"interval": "1s", "timeout": "1m", **analysis}))
    assert world.run(300, until=lambda w: w.phase in {"Held", "Inconclusive"})
    world.run(3)
    return world


def _late(until: Callable[[World], bool]) -> World:
    world = promoted_world()
    spoil(world)
    assert watch_on(world, 40, until=until)
    return world


def _stubborn() -> World:
    world = settled_world()
    world.edit(features=FLAG)
    for pod in world.pods:
        pod.obedient = False
    world.run(90)
    return world


def _not_judged() -> World:
    world = settled_world()
    world.edit(template={"env": [{"name": "A", "value": "1"}]})
    world.run(5)
    return world


def _unread() -> World:
    """Edited a moment ago; the operator has not looked yet."""
    world = settled_world()
    world.edit(features=FLAG)
    return world


@dataclass(frozen=True)
class Story:
    """How it comes about, and what Argo CD is to show."""

    make: Callable[[], World]
    shown: Literal["Progressing", "Healthy", "Suspended", "Degraded"]


INVALID: Final = "the spec makes no sense"
"""Told by the shell, since no decision can be made."""
STORIES: Final[dict[str, Story]] = {
    "nobody has looked yet": Story(lambda: World(stack()), "Progressing"),
    "pods start": Story(_starting, "Progressing"),
    "all is well": Story(settled_world, "Healthy"),
    "a flag was promoted": Story(promoted_world, "Healthy"),
    "an edit was not seen yet": Story(_unread, "Progressing"),
    "it is calibrated": Story(_calibrating, "Progressing"),
    "a flag is tried": Story(_trying, "Progressing"),
    "a person paused": Story(_paused, "Suspended"),
    "a step waits for a person": Story(_at_a_pause, "Suspended"),
    "nobody sends traffic": Story(_without_traffic, "Suspended"),
    "pods are replaced": Story(_moving, "Progressing"),
    "one pod has nothing to compare with": Story(_one_pod, "Suspended"),
    "a surge pod is warmed": Story(_warming, "Progressing"),
    "everybody is slow": Story(_withdrawn, "Progressing"),
    "a flag is asked by lot": Story(_switchback, "Progressing"),
    "a flag is proved in pairs": Story(proving_world, "Progressing"),
    "a flag goes to every pod": Story(_settling, "Progressing"),
    "a flag was taken back": Story(_taken_back, "Degraded"),
    "the evidence did not suffice": Story(_undecided, "Degraded"),
    "an undecided flag waits for a person": Story(lambda: _undecided(onInconclusive="Hold"), "Degraded"),
    "a promoted stack is over its budget": Story(lambda: _late(over), "Healthy"),
    "a promoted flag is asked again": Story(lambda: _late(reversing), "Progressing"),
    "a promoted flag was taken back": Story(lambda: _late(outcome("RolledBack")), "Degraded"),
    "pods do not take the flag": Story(_stubborn, "Degraded"),
    "a template change is not judged": Story(_not_judged, "Healthy"),
    INVALID: Story(settled_world, "Degraded"),
}


@cache
def resource(name: str) -> dict[str, Any]:
    """Its JSON."""
    world = STORIES[name].make()
    body: dict[str, Any] = world.stack.model_dump(mode="json", by_alias=True, exclude_none=True)
    status = world.status.model_dump(mode="json", by_alias=True, exclude_none=True)
    if world.decision is None:
        status = {"observedGeneration": -1}  # the definition's default
    if name == INVALID:
        body["metadata"]["generation"] += 1
        generation = body["metadata"]["generation"]
        made = refused(status["conditions"], generation, "spec.replicas: must be positive", world.now)
        status["conditions"] = [c.model_dump(mode="json", by_alias=True) for c in made]
        status["observedGeneration"] = generation
    return {**body, "status": status}
