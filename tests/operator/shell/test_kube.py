"""The cluster port's side on Kubernetes: what it takes from records and pods, and how it writes the status."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.api_double import ApiDouble
from support.world import settled_world

from memorystack_operator.api.errors import InvalidResource
from memorystack_operator.core import Event
from memorystack_operator.shell.cluster import Conflict
from memorystack_operator.shell.kube import KubeCluster, Surroundings
from memorystack_operator.shell.records import record_of
from memorystack_operator.shell.resources import DEPLOYMENTS, PODS, STACKS
from memorystack_operator.shell.schedule import Key
from memorystack_operator.shell.store import Store
from memorystack_operator.shell.telemetry import Telemetry
from memorystack_runtime.contract import EvidenceReport

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MEM = Key("ai", "mem")
PATH = STACKS.path("ai", "mem")
STACK = settled_world().stack
LABELS = {"app.kubernetes.io/instance": "mem", "memorystack.dev/deployment": "main"}


class Pods:
    """Stands in for the scraper."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.wrong: dict[str, str] = {}

    async def read(self, pods: dict[str, str], *, history: bool) -> dict[str, EvidenceReport | None]:
        self.asked.append(dict(pods))
        return dict.fromkeys(pods)

    async def problems(self, pods: dict[str, str]) -> dict[str, dict[str, str]]:
        self.asked.append(dict(pods))
        return dict.fromkeys(pods, self.wrong)


class World:
    def __init__(self) -> None:
        self.api, self.store, self.pods, self.telemetry = ApiDouble(), Store(), Pods(), Telemetry()
        around = Surroundings(
            self.api,  # type: ignore[arg-type]  # the double
            self.store,
            self.pods,  # type: ignore[arg-type]  # the double
            self.telemetry,
            epoch=lambda: 7,
            instance="operator-1",
            image="ours:2",
            now=lambda: NOW,
        )
        self.cluster = KubeCluster(MEM, around)

    def stack(self, **status: Any) -> None:
        body = STACK.model_dump(mode="json", by_alias=True, exclude_none=True)
        body["metadata"] = {"name": "mem", "namespace": "ai", "uid": "u", "generation": 4}
        self.store.put(record_of(STACKS, self.api.put(PATH, {**body, "status": status})))

    def pod(self, name: str, age: float = 0, *, node: str = "n", deployment: str = "main", **status: Any) -> None:
        meta = {
            "name": name,
            "namespace": "ai",
            "labels": {**LABELS, "memorystack.dev/deployment": deployment},
            "annotations": {"memorystack.dev/flags": "by hand"},
            "creationTimestamp": (NOW - timedelta(seconds=age)).isoformat(),
        }
        body = {"metadata": meta, "spec": {"nodeName": node}, "status": status}
        self.store.put(record_of(PODS, self.api.put(PODS.path("ai", name), body)))


READY = [{"type": "Ready", "status": "True"}]


@pytest.fixture
def world() -> World:
    return World()


async def test_a_stack_is_read_as_the_watch_knows_it_and_one_on_its_way_out_is_none(world: World):
    assert await world.cluster.stack() is None
    world.stack(phase="Idle")
    found = await world.cluster.stack()
    assert found is not None
    assert (found[0].metadata.generation, found[1].phase, found[2]) == (4, "Idle", "101")
    assert await world.cluster.stack() == found
    gone = world.api.objects[PATH]
    gone["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    world.store.put(record_of(STACKS, world.api.put(PATH, gone)))
    assert await world.cluster.stack() is None


async def test_pods_are_read_by_their_addresses_and_a_surge_pod_is_told_from_the_others(world: World):
    world.pod("a", podIP="10.0.0.1", conditions=READY)
    world.pod("b", podIP="fd00::1", conditions=READY)
    world.pod("c", podIP="10.0.0.3")
    world.pod("surge", deployment="canary", podIP="10.0.0.4", conditions=READY)
    world.pod("stranger", deployment="", podIP="10.0.0.5", conditions=READY)
    seen = await world.cluster.observe(STACK, history=False)
    addresses = {"a": "http://10.0.0.1:9090", "b": "http://[fd00::1]:9090", "surge": "http://10.0.0.4:9090"}
    assert world.pods.asked[0] == addresses
    ready = {"a": True, "b": True, "c": False, "surge": True}
    assert {p.name: (p.ready, p.lease) for p in seen.pods} == {name: (is_so, None) for name, is_so in ready.items()}
    assert [p.name for p in seen.pods if p.surge] == ["surge"]
    assert (seen.epoch, seen.image, seen.settled, seen.replicas) == (7, "ours:2", False, None)
    assert "memorystack_evidence_unread_total 3.0" in world.telemetry.text().decode()


async def test_a_deployment_tells_how_many_pods_there_are_to_be(world: World):
    meta = {"name": "mem", "namespace": "ai", "resourceVersion": "3"}
    status = {"replicas": 5, "updatedReplicas": 5}
    world.store.put(record_of(DEPLOYMENTS, {"metadata": meta, "spec": {"replicas": 5}, "status": status}))
    seen = await world.cluster.observe(STACK, history=False)
    assert (seen.settled, seen.replicas) == (True, 5)


@pytest.mark.parametrize(
    ("age", "node", "status", "reason"),
    [
        (29, "n", {}, None),
        (30, "n", {}, "PodNotStarting"),
        (30, "", {}, None),
        (30, "n", {"podIP": "10.0.0.1"}, "DependencyDown"),
        (29, "n", {"podIP": "10.0.0.1"}, None),
        (30, "n", {"podIP": "10.0.0.1", "conditions": READY}, None),
        (
            30,
            "n",
            {"containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull"}}}]},
            "ImageNotPullable",
        ),
    ],
    ids=["young", "without an address", "without a node", "asked", "not asked yet", "ready", "named by the kubelet"],
)
async def test_a_pod_that_does_not_serve_after_its_time_is_one_trouble(
    world: World, age: float, node: str, status: dict[str, Any], reason: str | None
):
    world.pods.wrong = {"qdrant": "does not answer"}
    world.pod("a", age, node=node, **status)
    seen = await world.cluster.observe(STACK, history=False)
    assert [t.reason for t in seen.troubles] == ([reason] if reason else [])


async def test_what_keeps_a_surge_pod_is_told_from_what_keeps_the_stack(world: World):
    pulling = {"containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull"}}}]}
    world.pod("a", 30, **pulling)
    world.pod("surge", 30, deployment="canary", **pulling)
    meta = {"name": "mem-canary", "namespace": "ai", "resourceVersion": "3"}
    failure = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: compute"}
    status = {"replicas": 0, "conditions": [failure]}
    world.store.put(record_of(DEPLOYMENTS, {"metadata": meta, "spec": {"replicas": 1}, "status": status}))
    seen = await world.cluster.observe(STACK, history=False)
    assert [(t.reason, t.surge) for t in seen.troubles] == [
        ("ImageNotPullable", False),
        ("ImageNotPullable", True),
        ("PodsRefused", True),
    ]


async def test_the_status_is_written_upon_the_version_that_was_read(world: World):
    world.stack(phase="Idle")
    found = await world.cluster.stack()
    assert found is not None
    stack, status, version = found
    new = await world.cluster.write_status(stack, status.model_copy(update={"message": "hello"}), version)
    (call,) = [c for c in world.api.calls if c.method == "PATCH"]
    assert call.path == f"{PATH}/status"
    assert call.body[0] == {"op": "replace", "path": "/metadata/resourceVersion", "value": version}
    assert call.params["fieldManager"] == "memorystack-operator"
    assert new != version
    # Its own write is known at once, so the watch's word of it is no news.
    again = await world.cluster.stack()
    assert again is not None
    assert (again[1].message, again[2]) == ("hello", new)


async def test_a_lost_race_reads_the_newest_so_that_it_is_not_lost_again(world: World):
    world.stack(phase="Idle")
    found = await world.cluster.stack()
    assert found is not None
    fresh = world.api.put(PATH, {**world.api.objects[PATH], "status": {"phase": "Paused"}})
    world.api.fail(Conflict("modified"), "PATCH")
    with pytest.raises(Conflict):
        await world.cluster.write_status(*found)
    again = await world.cluster.stack()
    assert again is not None
    assert (again[1].phase, again[2]) == ("Paused", fresh["metadata"]["resourceVersion"])


async def test_a_race_lost_to_a_deletion_is_a_conflict_too(world: World):
    world.stack(phase="Idle")
    found = await world.cluster.stack()
    assert found is not None
    del world.api.objects[PATH]
    world.api.fail(Conflict("modified"), "PATCH")
    with pytest.raises(Conflict):
        await world.cluster.write_status(*found)


@pytest.mark.parametrize(
    ("break_it", "field", "remedy"),
    [
        ({"spec": {"replicas": "many"}}, "spec.replicas", ""),
        ({"status": {"phase": "Quantum"}}, "status.phase", "run the operator's release that wrote it"),
    ],
)
async def test_what_cannot_be_understood_is_refused_once_in_words_and_nothing_else_changes(
    world: World, break_it: dict[str, Any], field: str, remedy: str
):
    world.stack(phase="Idle", wanted="v1-x")
    body = world.api.objects[PATH]
    for part, change in break_it.items():
        body[part] = {**body[part], **change}
    world.store.put(record_of(STACKS, world.api.put(PATH, body)))
    for _ in range(2):
        with pytest.raises(InvalidResource) as caught:
            await world.cluster.stack()
        await world.cluster.refuse(caught.value)
    assert len(world.api.did("PATCH")) == 1
    kept = world.api.objects[PATH]["status"]
    stalled = next(c for c in kept["conditions"] if c["type"] == "Stalled")
    assert (stalled["reason"], field in stalled["message"], remedy in stalled["message"]) == ("InvalidSpec", True, True)
    assert (kept["wanted"], kept["observedGeneration"]) == ("v1-x", 4)


async def test_a_refusal_of_what_has_gone_is_nothing(world: World):
    await world.cluster.refuse(InvalidResource([]))
    assert world.api.calls == []


async def test_fields_of_a_newer_definition_are_let_pass(world: World):
    world.stack(phase="Idle", newField=1)
    body = world.api.objects[PATH]
    body["spec"]["antiGravity"] = True
    world.store.put(record_of(STACKS, world.api.put(PATH, body)))
    found = await world.cluster.stack()
    assert found is not None
    assert found[1].phase == "Idle"


async def test_ends_of_stages_are_counted_by_their_reason(world: World):
    ended = {
        "id": "a",
        "stage": "httpPool",
        "outcome": "RolledBack",
        "reason": "P95OverBudget",
        "message": "m",
        "value": "1",
        "changedAt": NOW.isoformat(),
        "startedAt": NOW.isoformat(),
        "endedAt": NOW.isoformat(),
    }
    world.stack(phase="Idle", history=[json.loads(json.dumps(ended))])
    found = await world.cluster.stack()
    assert found is not None
    events = [Event("RolledBack", "back"), Event("StagePromoted", "on"), Event("Waiting", "w")]
    for event in events:
        await world.cluster.tell(found[0], event, NOW)
    text = world.telemetry.text().decode()
    assert 'memorystack_rollbacks_total{reason="P95OverBudget"} 1.0' in text
    assert "memorystack_promotions_total 1.0" in text
    assert len(world.api.did("POST")) == 3
