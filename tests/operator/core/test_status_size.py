"""The status of a large stack, in the phase that has the most to remember, reached step by step in the pure world."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import pytest
from support.proving import burst_over_time
from support.watched import slow
from support.world import World, stack

from memorystack_operator.api.spec import Budget
from memorystack_operator.core import Status, decide
from memorystack_runtime.contract import OPERATIONS

LIMIT = 64_000
"""Bytes of JSON. etcd takes 1.5 MB an object, but every watcher receives each of them whole."""
PODS = 200
PROMOTED = {"httpPool": {"enabled": True}, "parallelIngest": {"concurrency": 2}, "cache": {"maxSize": 400}}
REFUSED = {
    "httpPool": {"enabled": True, "connections": 99},
    "parallelIngest": {"concurrency": 4},
    "cache": {"maxSize": 500},
}
TRIED = {**REFUSED, "parallelIngest": {"concurrency": 8}}


def lifelike(world: World) -> None:
    """Names and uids as long as the API server's, clocks with fractions, and pods that have served for a day."""
    budgets = world.stack.spec.rollout.wire_budgets().revision
    for i, pod in enumerate(world.pods):
        digest = hashlib.sha256(pod.uid.encode()).hexdigest()
        pod.name = f"agent-memory-{digest[:10]}-{digest[10:15]}"
        pod.uid = f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"
        pod.started_at -= int(digest[:4], 16) + int(digest[4:8], 16) / 65536
        served = 1_000_000 + int(digest[8:13], 16)
        for name in OPERATIONS:
            pod.counts.setdefault((world.status.stable.revision, budgets), {})[name] = [served, served // 50 + i, i]


def judged_by_all(world: World, weight: int, **analysis: str) -> None:
    """Four operations and failed requests: more than a resource may name, as much as the engine can judge."""
    fields = {
        "steps": [{"weight": weight, "minDuration": "5s"}],
        "onReject": "Continue",
        "analysis": {"interval": "1s", "timeout": "30m", **analysis},
    }
    world.edit(rollout=fields)
    budgets = tuple(
        Budget.model_construct(operation=name, p95=world.stack.spec.rollout.budgets[0].p95) for name in OPERATIONS
    )
    change(world, rollout=world.stack.spec.rollout.model_copy(update={"budgets": budgets}))


def change(world: World, **fields: object) -> None:
    spec = world.stack.spec.model_copy(update=fields)
    metadata = world.stack.metadata.model_copy(update={"generation": world.stack.metadata.generation + 1})
    world.stack = world.stack.model_copy(update={"spec": spec, "metadata": metadata})


def asks_for(world: World, features: dict) -> None:
    change(world, features=stack(features=features).spec.features)


def size(status: Status) -> int:
    return len(json.dumps(status.model_dump(mode="json", by_alias=True, exclude_none=True), separators=(",", ":")))


def until(world: World, holds: Callable[[World], bool], seconds: float = 5.0) -> bool:
    """Looks of a few seconds each, for two minutes of them: a large stack's seconds are dear."""
    return any(holds(world) for _ in range(60) if world.tick(seconds))


def at_rest(world: World) -> bool:
    return world.status.rollout is None and world.status.settling is None


def taken_back(world: World) -> None:
    """All three flags were promoted by hand once; newer values of them were tried three times, and taken back each time."""
    asks_for(world, PROMOTED)
    world.act("promote@1")
    world.run(3)
    lifelike(world)
    world.tick(420)
    asks_for(world, REFUSED)
    world.bad["store", "canary"] = 0.6
    for attempt in range(4):
        world.act(f"retry@{attempt}")
        assert until(world, lambda w: len(w.status.rejected) == 3 and at_rest(w))
    world.bad["store", "canary"] = 0.0


def suspected_in_a_proof(world: World) -> None:
    """Another value of one flag is proved in pairs on nearly all pods, and just then everybody becomes slow."""
    slow(world, 0.02)
    judged_by_all(world, weight=99, promotion="Paired")
    world.tick(300)
    asks_for(world, TRIED)
    assert until(world, lambda w: bool(w.flagged), seconds=1.0)
    burst_over_time(world, phi=1e5)
    assert until(world, lambda w: w.phase == "Proving", seconds=9.0)
    world.run(15)
    slow(world, 0.4)
    assert until(world, lambda w: bool(w.status.rollout.proving.trial), seconds=1.0)
    world.run(15)


@pytest.fixture(scope="module")
def full() -> World:
    world = World(stack(replicas=PODS), rate=PODS)
    for operation in ("get", "delete"):
        world.bad[operation, "stable"] = world.bad[operation, "canary"] = 0.0
    judged_by_all(world, weight=50)
    world.round()
    taken_back(world)
    suspected_in_a_proof(world)
    return world


def test_the_fullest_status_of_200_pods_is_smaller_than_64_kb(full: World):
    status = full.status
    assert size(status) < LIMIT
    # It is as full as it was meant to be.
    assert (status.phase, len(status.history), len(status.rejected)) == ("Proving", 10, 2)
    assert len(status.watch.promotions) == 3
    assert len(status.rollout.pods) == PODS - 2
    assert len(status.rollout.baselines) >= 2 * (PODS - 2)
    assert set(status.rollout.evidence) == set(OPERATIONS)
    assert status.rollout.proving.pairs > 0
    assert status.rollout.proving.trying


def test_it_decides_the_same_after_it_was_read_again(full: World):
    read = Status.model_validate_json(full.status.model_dump_json(by_alias=True))
    seen = full.observe()
    one, two = (decide(full.stack, status, seen, full.now) for status in (full.status, read))
    assert (one.pod_flags, one.events, one.status.message) == (two.pod_flags, two.events, two.status.message)
    assert one.status.rollout.baselines == two.status.rollout.baselines
