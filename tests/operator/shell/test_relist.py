"""The operator's own lists: all pages, what the watch lost, and kinds that are not served or not ours to read."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from memorystack_operator.shell.api_server import Refused, Unreachable
from memorystack_operator.shell.credentials import CannotConnect
from memorystack_operator.shell.records import Record, record_of
from memorystack_operator.shell.relist import Relist
from memorystack_operator.shell.resources import DEPLOYMENTS, PODS
from memorystack_operator.shell.schedule import Key
from memorystack_operator.shell.store import Store
from memorystack_operator.shell.telemetry import Telemetry


def body(name: str, version: int) -> dict[str, Any]:
    labels = {"app.kubernetes.io/instance": "mem"}
    return {
        "metadata": {"name": name, "namespace": "ai", "uid": name, "resourceVersion": str(version), "labels": labels}
    }


class Lists:
    """Pages by path; a path that holds an error raises it."""

    def __init__(self) -> None:
        self.pages: dict[str, list[list[dict[str, Any]]] | Exception] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.version = 50

    async def get(self, path: str, **params: str) -> dict[str, Any]:
        self.asked.append((path, params))
        pages = self.pages.get(path, [[]])
        if isinstance(pages, Exception):
            raise pages
        at = int(params.get("continue", 0))
        more = str(at + 1) if at + 1 < len(pages) else ""
        return {"items": pages[at], "metadata": {"continue": more, "resourceVersion": str(self.version)}}


class World:
    def __init__(self, *namespaces: str) -> None:
        self.api, self.store, self.told = Lists(), Store(), list[Record]()
        self.primed_with: list[list[str]] = []
        """What was told when the first list was said to be complete."""
        self.telemetry = Telemetry()
        self.relist = Relist(
            self.api,  # type: ignore[arg-type]  # the double
            self.store,
            self.telemetry,
            resources=(PODS, DEPLOYMENTS),
            namespaces=namespaces,
            changed=self.told.append,
            primed=lambda: self.primed_with.append(self.names()),
        )

    def names(self) -> list[str]:
        return [r.key.name for r in self.told]


async def test_the_first_list_brings_all_pages_of_all_namespaces_and_counts_no_miss():
    world = World("ai", "b")
    world.api.pages["/api/v1/namespaces/ai/pods"] = [[body("p1", 1), body("p2", 2)], [body("p3", 3)]]
    await world.relist.once(0)
    assert world.names() == ["p1", "p2", "p3"]
    assert (world.relist.primed.is_set(), world.relist.misses) == (True, 0)
    await world.relist.once(0)
    assert world.primed_with == [["p1", "p2", "p3"]]
    assert {path for path, _ in world.api.asked} == {
        f"/api{root}/namespaces/{ns}/{plural}"
        for root, plural in (("/v1", "pods"), ("s/apps/v1", "deployments"))
        for ns in ("ai", "b")
    }
    assert all(p["labelSelector"] == "app.kubernetes.io/managed-by=memorystack-operator" for _, p in world.api.asked)


async def test_what_the_watch_lost_is_taken_over_told_and_counted():
    world = World()
    world.store.put(record_of(PODS, body("ghost", 4)))
    world.api.pages["/api/v1/pods"] = [[body("here", 1)]]
    await world.relist.once(0)
    world.api.pages["/api/v1/pods"] = [[body("here", 60)]]
    world.api.version = 70
    await world.relist.once(0)
    assert world.names() == ["here", "ghost", "here"]
    assert world.relist.misses == 1
    assert 'memorystack_watch_missed_total{resource="pods"} 1.0' in world.telemetry.text().decode()
    await world.relist.once(0)
    assert world.relist.misses == 0
    assert [p.key.name for p in world.store.pods(Key("ai", "mem"))] == ["here"]


async def test_a_watch_that_tells_within_its_time_has_missed_nothing():
    world = World()
    await world.relist.once(0)
    world.api.pages["/api/v1/pods"] = [[body("new", 51)]]
    listing = asyncio.create_task(world.relist.once(0.5))
    await asyncio.sleep(0.01)
    world.store.put(record_of(PODS, body("new", 51)))
    await listing
    assert (world.relist.misses, world.told) == (0, [])


@pytest.mark.parametrize("status", [403, 404])
async def test_a_kind_that_is_not_served_or_not_ours_to_read_has_no_objects_and_loses_none(status: int):
    world = World()
    world.store.put(record_of(PODS, body("seen", 4)))
    world.api.pages["/api/v1/pods"] = Refused(status, "", "no")
    await world.relist.once(0)
    assert world.relist.primed.is_set()
    assert [p.key.name for p in world.store.pods(Key("ai", "mem"))] == ["seen"]


@pytest.mark.parametrize("failure", [Unreachable("away"), CannotConnect("the token's file is being replaced")])
async def test_a_server_that_is_away_is_asked_again_soon(failure: Exception):
    world = World()
    world.api.pages["/api/v1/pods"] = failure
    running = asyncio.create_task(world.relist.run(0.01))
    await asyncio.sleep(0.03)
    assert not world.relist.primed.is_set()
    world.api.pages["/api/v1/pods"] = [[body("p", 1)]]
    async with asyncio.timeout(5):
        await world.relist.primed.wait()
    running.cancel()
    assert world.names() == ["p"]
    world.api.pages["/api/v1/pods"] = Refused(500, "", "broken")
    with pytest.raises(Refused):
        await world.relist.once(0)
