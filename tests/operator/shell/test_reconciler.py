"""The loop: status first, then the world, then the events; and it outlives whatever one round meets."""

from __future__ import annotations

import asyncio
from contextlib import closing
from datetime import timedelta

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from support.world import FLAG, World, settled_world

from memorystack_operator.core import Event, Status
from memorystack_operator.shell import Conflict, Reconciler, run
from memorystack_operator.shell.scrape import Scraper


class FakeCluster:
    """The port over a pure world; writes down the order of calls, and fails where it is told to."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.version = 0
        self.recorded = world.status
        self.calls: list[str] = []
        self.told: list[str] = []
        self.fail: dict[str, Exception] = {}
        self.gone = False

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.fail:
            raise self.fail.pop(name)

    def now(self):
        return self.world.now

    async def stack(self):
        self._call("stack")
        return None if self.gone else (self.world.stack, self.recorded, str(self.version))

    async def observe(self, stack, *, history):
        self._call("observe+history" if history else "observe")
        return self.world.observe()

    async def write_status(self, stack, status: Status, version: str) -> str:
        self._call("write")
        if version != str(self.version):
            raise Conflict
        self.recorded, self.version = (
            Status.model_validate_json(status.model_dump_json(by_alias=True)),
            self.version + 1,
        )
        self._call("written")
        return str(self.version)

    async def apply(self, stack, children) -> None:
        self._call("apply")

    async def lend(self, stack, flags) -> None:
        self._call("lend")

    async def tell(self, stack, event, at) -> None:
        self._call("tell")
        self.told.append(str(event.reason))


@pytest.fixture
def cluster() -> FakeCluster:
    world = settled_world(10)
    world.edit(features=FLAG)
    return FakeCluster(world)


async def test_the_status_is_on_record_before_anything_follows(cluster: FakeCluster):
    await Reconciler(cluster).step()
    assert cluster.calls == ["stack", "observe", "write", "written", "apply", "lend", "tell"]
    assert cluster.told == ["RolloutStarted"]
    assert cluster.recorded.rollout is not None


async def test_while_calibrating_the_rings_are_asked_for_and_nothing_new_is_not_written(cluster: FakeCluster):
    reconciler = Reconciler(cluster)
    await reconciler.step()
    await reconciler.step()
    cluster.calls.clear()
    await reconciler.step()
    assert "observe+history" in cluster.calls
    assert "write" not in cluster.calls
    assert reconciler.status is not None


async def test_a_decision_when_it_lacks_the_rings_then_is_made_again_at_once_and_only_once(cluster: FakeCluster):
    reconciler = Reconciler(cluster)
    pauses = [await reconciler.step() for _ in range(2)]
    assert cluster.calls.count("observe+history") == 1
    assert pauses[0] == timedelta()
    assert pauses[1] > timedelta(seconds=0.1)


async def test_a_watched_stack_is_asked_for_its_rings_at_the_watch_s_own_pace(cluster: FakeCluster):
    world = cluster.world
    world.run(300, until=lambda w: bool(w.status.history) and w.status.settling is None)
    cluster.recorded = world.status
    reconciler = Reconciler(cluster)
    asked = []
    for _ in range(24):
        cluster.calls.clear()
        world.now += timedelta(seconds=5)
        await reconciler.step()
        asked.append("observe+history" in cluster.calls)
    assert asked[0]
    assert sum(asked) == 3
    assert "write" not in cluster.calls


async def test_a_lost_race_is_raised_and_decided_again_from_the_newer_record(cluster: FakeCluster):
    cluster.fail["write"] = Conflict()
    reconciler = Reconciler(cluster)
    with pytest.raises(Conflict):
        await reconciler.step()
    assert cluster.told == []
    await reconciler.step()
    assert cluster.told == ["RolloutStarted"]


async def test_an_event_is_told_once_even_when_doing_it_had_to_be_tried_twice(cluster: FakeCluster):
    cluster.fail["apply"] = OSError("disk full")
    reconciler = Reconciler(cluster)
    with pytest.raises(OSError, match="disk full"):
        await reconciler.step()
    await reconciler.step()
    assert cluster.told == ["RolloutStarted"]


async def test_events_of_a_write_whose_answer_was_lost_are_told_when_it_turns_out_to_have_taken_effect(
    cluster: FakeCluster,
):
    cluster.fail["written"] = OSError("connection reset")
    reconciler = Reconciler(cluster)
    with pytest.raises(OSError, match="reset"):
        await reconciler.step()
    assert cluster.told == []
    await reconciler.step()
    assert cluster.told == ["RolloutStarted"]
    await reconciler.step()
    assert cluster.told == ["RolloutStarted"]


async def test_events_of_a_write_that_never_arrived_are_those_of_the_next_decision(cluster: FakeCluster):
    cluster.fail["write"] = OSError("no route to host")
    reconciler = Reconciler(cluster)
    with pytest.raises(OSError, match="no route"):
        await reconciler.step()
    cluster.world.now += timedelta(seconds=1)
    await reconciler.step()
    await reconciler.step()
    assert cluster.told == ["RolloutStarted"]


async def test_of_two_events_the_one_that_was_told_is_not_told_again_when_the_other_fails(cluster: FakeCluster):
    reconciler = Reconciler(cluster)
    reconciler._due((Event("StageStarted", "one"), Event("Waiting", "two")))
    tell = cluster.tell

    async def tell_one(stack, event, at) -> None:
        await tell(stack, event, at)
        cluster.fail["tell"] = OSError("away")

    cluster.tell = tell_one  # type: ignore[method-assign]
    with pytest.raises(OSError, match="away"):
        await reconciler.step()
    cluster.tell = tell  # type: ignore[method-assign]
    await reconciler.step()
    assert cluster.told == ["StageStarted", "Waiting", "RolloutStarted"]


async def test_a_deleted_stack_is_left_alone(cluster: FakeCluster):
    cluster.gone = True
    assert (await Reconciler(cluster).step()).total_seconds() == 5
    assert cluster.calls == ["stack"]
    assert Reconciler(cluster).status is None


async def test_the_loop_goes_on_after_errors_and_conflicts_and_wakes_at_once(cluster: FakeCluster):
    cluster.fail = {"stack": RuntimeError("away"), "write": Conflict()}
    wake, seen = asyncio.Event(), []

    async def after(status: Status) -> None:
        seen.append(status)

    task = asyncio.create_task(run(Reconciler(cluster), wake, after))
    async with asyncio.timeout(5):
        while not seen:
            await asyncio.sleep(0.01)
        before = len(seen)
        wake.set()
        while len(seen) == before:
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert cluster.told == ["RolloutStarted"]


async def test_a_pod_that_answers_nonsense_or_nothing_is_unread():
    import socket

    import uvicorn

    async def good(request):
        ring = [{"ageSeconds": 1.0, "counters": []}] if request.query_params.get("history") else []
        return JSONResponse(
            {
                "pod": "p",
                "uid": "u",
                "startedAt": 1.0,
                "flags": "f",
                "source": "file",
                "budgets": "b",
                "counters": [{"flags": "f", "budgets": "b", "operations": {"recall": {"requests": 1}, "dream": {}}}],
                "newer": 1,
                "ring": ring,
            }
        )

    async def bad(_):
        return Response("nonsense")

    app = Starlette(routes=[Route("/good/internal/evidence", good), Route("/bad/internal/evidence", bad)])
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none", lifespan="off"))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        while not server.started:
            await asyncio.sleep(0.01)
        async with Scraper() as scraper:
            found = await scraper.read(
                {"a": f"{url}/good", "b": f"{url}/bad", "c": "http://127.0.0.1:1", "d": f"{url}/none"}, history=True
            )
        server.should_exit = True
        await task
    assert found["a"].flags == "f"
    assert set(found["a"].counters[0].operations) == {"recall"}
    assert len(found["a"].ring) == 1
    assert (found["b"], found["c"], found["d"]) == (None, None, None)
