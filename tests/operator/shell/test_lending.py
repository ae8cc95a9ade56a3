"""The pods' marks: leases and arms by merge patch, old flags out before new ones in, and touches until a pod has confirmed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.api_double import ApiDouble

from memorystack_operator.shell.api_server import Refused
from memorystack_operator.shell.cluster import Conflict
from memorystack_operator.shell.lending import Expected, Lending, patch_of
from memorystack_operator.shell.records import PodRecord, record_of
from memorystack_operator.shell.resources import PODS
from memorystack_operator.shell.store import Store
from memorystack_operator.shell.telemetry import Telemetry
from memorystack_runtime.contract import EvidenceReport, Features, FlagLease

LEASE = FlagLease(epoch=1, revision="new", features=Features(), renewal=3)
STABLE = Expected("old", "b1")
FLAGS, TOUCHED = "memorystack.dev/flags", "memorystack.dev/touched"
COST = "controller.kubernetes.io/pod-deletion-cost"


def report(flags: str = "old", budgets: str = "b1") -> EvidenceReport:
    return EvidenceReport(
        pod="p", uid="u", started_at=0, flags=flags, source="file", budgets=budgets, counters=(), epoch=1
    )


class World:
    def __init__(self) -> None:
        self.api, self.store, self.at = ApiDouble(), Store(), 100.0
        self.lending = Lending(self.api, self.store, Telemetry(), lambda: self.at, 5.0)  # type: ignore[arg-type]

    def pod(self, name: str, **notes: str) -> PodRecord:
        body = {
            "metadata": {
                "name": name,
                "namespace": "ai",
                "uid": f"uid-{name}",
                "labels": {"memorystack.dev/arm": "canary"} if FLAGS in notes else {},
                "annotations": notes,
            },
            "status": {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]},
        }
        made = record_of(PODS, self.api.put(PODS.path("ai", name), body))
        self.store.put(made)
        assert isinstance(made, PodRecord)
        return made

    def patches(self) -> list[dict[str, Any]]:
        return [c.body["metadata"] for c in self.api.calls if c.method == "PATCH"]


@pytest.fixture
def world() -> World:
    return World()


def test_a_pod_that_is_as_it_should_be_is_not_patched(world: World):
    assert patch_of(world.pod("p"), None, None) is None
    lent = world.pod("q", **{FLAGS: LEASE.model_dump_json(by_alias=True), COST: "100"})
    assert patch_of(lent, LEASE, None) is None


def test_a_lease_brings_the_arm_and_the_protection_and_its_end_takes_them_away(world: World):
    plain = world.pod("p")
    lent = patch_of(plain, LEASE, None)
    assert lent is not None
    assert json.loads(lent["metadata"]["annotations"][FLAGS])["revision"] == "new"
    assert lent["metadata"]["annotations"][COST] == "100"
    assert lent["metadata"]["labels"] == {"memorystack.dev/arm": "canary"}
    assert (lent["metadata"]["uid"], lent["metadata"]["resourceVersion"]) == (plain.uid, plain.version)
    back = patch_of(world.pod("q", **{FLAGS: "{}", COST: "100"}), None, None)
    assert back is not None
    assert back["metadata"]["annotations"] == {FLAGS: None, COST: None}
    assert back["metadata"]["labels"] == {"memorystack.dev/arm": None}


async def test_flags_leave_one_pod_before_another_gets_them(world: World):
    old, new = world.pod("a", **{FLAGS: "{}", COST: "100"}), world.pod("b")
    await world.lending.make([new, old], {"b": LEASE}, STABLE, {})
    assert [p["annotations"].get(FLAGS) is None for p in world.patches()] == [True, False]


async def test_a_pod_that_changed_meanwhile_is_read_and_patched_once_more(world: World):
    pod = world.pod("p")
    world.api.fail(Conflict("409"), "PATCH")
    fresh = world.api.put(PODS.path("ai", "p"), world.api.objects[PODS.path("ai", "p")])
    await world.lending.make([pod], {"p": LEASE}, STABLE, {})
    assert world.patches()[-1]["resourceVersion"] == fresh["metadata"]["resourceVersion"]
    assert FLAGS in world.api.objects[PODS.path("ai", "p")]["metadata"]["annotations"]


async def test_a_pod_of_the_same_name_and_another_uid_gets_nothing(world: World):
    pod = world.pod("p")
    world.api.fail(Conflict("409"), "PATCH")
    other = {**world.api.objects[PODS.path("ai", "p")]}
    other["metadata"] = {**other["metadata"], "uid": "another"}
    world.api.put(PODS.path("ai", "p"), other)
    await world.lending.make([pod], {"p": LEASE}, STABLE, {})
    assert len(world.patches()) == 1


async def test_a_pod_that_has_gone_is_no_failure_and_another_refusal_is(world: World):
    pod = world.pod("p")
    world.api.fail(Refused(404, "NotFound", ""), "PATCH")
    await world.lending.make([pod], {"p": LEASE}, STABLE, {})
    world.api.fail(Refused(500, "", ""), "PATCH")
    with pytest.raises(Refused):
        await world.lending.make([pod], {"p": LEASE}, STABLE, {})


async def test_a_pod_is_touched_until_it_confirms_and_ever_rarer(world: World):
    pod = world.pod("p")
    for seconds, touched in ((0, 1), (4.9, 1), (5, 2), (10, 3), (15, 3), (39, 3), (40, 4)):
        world.at = 100.0 + seconds
        assert await world.lending.make([pod], {}, STABLE, {"p": report("stale")}) is True
        assert len([p for p in world.patches() if TOUCHED in p["annotations"]]) == touched, seconds
    assert await world.lending.make([pod], {}, STABLE, {"p": report()}) is False
    assert len(world.patches()) == 4


async def test_other_flags_are_touched_for_anew(world: World):
    pod = world.pod("p")
    await world.lending.make([pod], {}, STABLE, {"p": report("stale")})
    await world.lending.make([pod], {"p": LEASE}, STABLE, {"p": report("stale")})
    assert len([p for p in world.patches() if TOUCHED in p["annotations"]]) == 2


@pytest.mark.parametrize("what", ["unread", "nothing rendered yet"])
async def test_a_pod_that_cannot_be_compared_is_not_touched(world: World, what: str):
    pod = world.pod("p")
    reports = {"p": None if what == "unread" else report("stale")}
    assert await world.lending.make([pod], {}, STABLE if what == "unread" else None, reports) is False
    assert world.patches() == []
