"""Children are made so where they differ, never where they do not, and never where they are somebody else's."""

from __future__ import annotations

from typing import Any

import pytest
from support.api_double import ApiDouble

from memorystack_operator.shell.api_server import Refused, Unreachable
from memorystack_operator.shell.children import RENDERED, Children
from memorystack_operator.shell.cluster import Conflict
from memorystack_operator.shell.records import record_of
from memorystack_operator.shell.resources import DEPLOYMENTS, resource_of
from memorystack_operator.shell.schedule import Key
from memorystack_operator.shell.store import Store
from memorystack_operator.shell.telemetry import Telemetry

MEM = Key("ai", "mem")
UID = "stack-uid"
MAPS = resource_of("v1", "ConfigMap")
PATH = "/api/v1/namespaces/ai/configmaps/mem-flags"
MAIN = "/apis/apps/v1/namespaces/ai/deployments/mem"


def meta(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": "ai",
        "labels": {"app.kubernetes.io/instance": "mem", "app.kubernetes.io/managed-by": "memorystack-operator"},
        "ownerReferences": [{"uid": UID, "controller": True}],
    }


def config(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("mem-flags"), "data": data}


def main(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta("mem"), "spec": spec}


class World:
    def __init__(self) -> None:
        self.api, self.store = ApiDouble(), Store()
        self.children = Children(self.api, self.store, Telemetry())  # type: ignore[arg-type]  # the double

    async def make(self, *children: dict[str, Any]):
        return await self.children.make(MEM, UID, children)

    def watched(self, resource: Any, path: str, body: dict[str, Any]) -> None:
        """It is there, and the watch has told so."""
        self.store.put(record_of(resource, self.api.put(path, body)))


@pytest.fixture
def world() -> World:
    return World()


async def test_a_missing_child_is_applied_without_force_and_an_equal_one_not_again(world: World):
    made = await world.make(config(a="1"))
    assert made.written == ("ConfigMap",)
    (call,) = [c for c in world.api.calls if c.method == "PATCH"]
    assert (call.path, call.params["force"], call.params["fieldManager"]) == (PATH, "false", "memorystack-operator")
    assert "uid" not in call.body["metadata"]
    assert call.body["metadata"]["annotations"][RENDERED]
    assert (await world.make(config(a="1"))).written == ()
    assert len(world.api.did("PATCH")) == 1


async def test_drift_by_hand_is_healed_upon_the_object_that_was_seen(world: World):
    await world.make(config(a="1"))
    uid = world.api.objects[PATH]["metadata"]["uid"]
    drifted = {**world.api.objects[PATH], "data": {"a": "by hand"}}
    world.watched(MAPS, PATH, drifted)
    assert (await world.make(config(a="1"))).written == ("ConfigMap",)
    last = world.api.calls[-1]
    assert (last.params["force"], last.body["metadata"]["uid"]) == ("true", uid)
    assert world.api.objects[PATH]["data"] == {"a": "1"}


async def test_a_field_that_leaves_the_rendering_is_applied_though_the_live_object_has_all_the_others(world: World):
    await world.make(config(a="1", b="2"))
    assert (await world.make(config(a="1"))).written == ("ConfigMap",)


async def test_what_others_added_is_not_ours_to_mend(world: World):
    await world.make(config(a="1"))
    world.watched(MAPS, PATH, {**world.api.objects[PATH], "data": {"a": "1", "theirs": "2"}})
    assert (await world.make(config(a="1"))).written == ()


@pytest.mark.parametrize(
    ("owners", "said"),
    [
        ([], "was made by somebody else"),
        ([{"uid": "other", "controller": True}], "has another owner"),
    ],
)
async def test_a_foreign_object_is_named_and_not_touched(world: World, owners: list[Any], said: str):
    world.api.put(PATH, {"metadata": {"name": "mem-flags", "namespace": "ai", "ownerReferences": owners}})
    made = await world.make(config(a="1"))
    assert [t.reason for t in made.troubles] == ["ForeignObject"]
    assert f"ConfigMap mem-flags {said} and is not taken over" in made.troubles[0].message
    assert world.api.did("PATCH") == []


async def test_an_orphan_of_a_stack_that_was_made_again_is_taken_back(world: World):
    orphan = config(a="1")
    orphan["metadata"] = {**meta("mem-flags"), "ownerReferences": []}
    world.watched(MAPS, PATH, orphan)
    made = await world.make(config(a="1"))
    assert (made.troubles, made.written) == ((), ("ConfigMap",))


async def test_what_is_rendered_no_more_is_deleted_upon_the_version_that_was_seen(world: World):
    await world.make(config(a="1"), main(replicas=2))
    live = world.api.objects[PATH]["metadata"]
    await world.make(main(replicas=2))
    (call,) = [c for c in world.api.calls if c.method == "DELETE"]
    assert call.path == PATH
    assert call.body == {"preconditions": {"uid": live["uid"], "resourceVersion": live["resourceVersion"]}}
    assert world.store.child(MAPS, Key("ai", "mem-flags")) is None


async def test_a_deletion_of_what_has_gone_already_is_none(world: World):
    await world.make(config(a="1"), main(replicas=2))
    world.api.fail(Refused(404, "NotFound", ""), "DELETE")
    await world.make(main(replicas=2))
    assert world.store.child(MAPS, Key("ai", "mem-flags")) is None


async def test_a_deletion_that_is_refused_is_tried_again_later(world: World):
    await world.make(config(a="1"), main(replicas=2))
    world.api.fail(Refused(500, "", ""), "DELETE")
    with pytest.raises(Refused):
        await world.make(main(replicas=2))
    await world.make(main(replicas=2))
    assert PATH not in world.api.objects


async def test_nothing_rendered_deletes_nothing(world: World):
    await world.make(config(a="1"))
    await world.make()
    assert PATH in world.api.objects


@pytest.mark.parametrize("status", [400, 403, 404, 422])
async def test_a_child_that_is_refused_for_good_is_a_trouble_and_the_others_are_made(world: World, status: int):
    world.api.fail(Refused(status, "", "no such field"), "PATCH", "configmaps")
    made = await world.make(config(a="1"), main(replicas=2))
    assert [(t.reason, str(status) in t.message) for t in made.troubles] == [("ChildRefused", True)]
    assert made.written == ("Deployment",)


@pytest.mark.parametrize("error", [Refused(500, "", ""), Refused(429, "", ""), Unreachable("cut"), Conflict("409")])
async def test_a_failure_that_may_pass_is_raised_so_that_the_round_is_done_again(world: World, error: Exception):
    world.api.fail(error, "PATCH")
    with pytest.raises(type(error)):
        await world.make(config(a="1"))


async def test_a_reading_that_fails_is_no_missing_child(world: World):
    world.api.fail(Refused(500, "", ""), "GET")
    with pytest.raises(Refused):
        await world.make(config(a="1"))
    assert world.api.did("PATCH") == []


async def test_an_autoscaler_s_turn_begins_with_the_count_in_other_hands(world: World):
    owned = [{"manager": "memorystack-operator", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]
    body = main(replicas=4)
    body["metadata"] = {**body["metadata"], "managedFields": owned}
    world.watched(DEPLOYMENTS, MAIN, body)
    await world.make(main(paused=False))
    first, second = [c for c in world.api.calls if c.method == "PATCH"]
    assert (first.path, first.body["spec"]) == (f"{MAIN}/scale", {"replicas": 4})
    assert first.params["fieldManager"] == "memorystack-scale"
    assert (second.path, "replicas" in second.body["spec"]) == (MAIN, False)


async def test_a_count_that_others_hold_already_is_left_to_them(world: World):
    world.watched(DEPLOYMENTS, MAIN, main(replicas=4))
    await world.make(main(paused=False))
    assert [c.path for c in world.api.calls if c.method == "PATCH"] == [MAIN]


async def test_a_second_deployment_that_cannot_be_made_is_marked_as_the_surge_pods_trouble(world: World):
    labels = {"memorystack.dev/deployment": "canary"}
    second = {**main(replicas=1, selector={"matchLabels": labels}), "metadata": meta("mem-canary")}
    first = main(replicas=1, selector={"matchLabels": {"memorystack.dev/deployment": "main"}})
    for body in (first, second):
        foreign = {**body, "metadata": {**body["metadata"], "ownerReferences": [], "labels": {}}}
        world.api.put(f"/apis/apps/v1/namespaces/ai/deployments/{body['metadata']['name']}", foreign)
    made = await world.make(first, second)
    assert [(t.reason, t.surge) for t in made.troubles] == [("ForeignObject", False), ("ForeignObject", True)]
