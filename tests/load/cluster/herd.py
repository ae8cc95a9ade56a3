"""A node whose pods are addresses and nothing more: many stacks at rest on a small machine.

Each pod is a listening socket of this one process on a loopback address of its own; it is ready at once, and says which flags it
has, by the files that a kubelet would mount. Knows: the API and the shape of an evidence report. Must not know: stacks.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import aiohttp
from support.kubelet.api import Api, ApiError, Object
from support.kubelet.node import keep_alive, register
from support.kubelet.status import PodState, status_of
from support.kubelet.volumes import Missing, gather, mounted
from support.stub.http import Answer, Call, listen

__all__ = ["LABEL", "NODE"]

NODE: Final = "herd"
LABEL: Final = "memorystack.dev/herd"
ROOM: Final = {"pods": "5000"}
AT_ONCE: Final = 20
AGAIN_SECONDS: Final = 0.2


class Pod:
    """From its binding to its end."""

    def __init__(self, api: Api, pod: Object, address: str) -> None:
        self._api, self._pod, self._address = api, pod, address
        self._started = time.time()
        self._files: dict[str, Any] = {}
        self._server: asyncio.Server | None = None
        metadata = pod["metadata"]
        self._path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"

    async def begin(self) -> None:
        """It is ready when this returns."""
        while not self._files:
            try:
                found = mounted(self._pod, await gather(self._api, self._pod))
                self._files = {
                    Path(path).name: json.loads(text) for (_, path), text in found.items() if text[:1] == b"{"
                }
            except Missing:
                await asyncio.sleep(AGAIN_SECONDS)
        self._server = await listen(self._address, 9090, self._answer, set())
        state = PodState("Running", ready=True, started=True, began=self._started)
        status = status_of(self._pod, state, self._address, self._started, {}, self._started)
        await self._api.patch(f"{self._path}/status", {"status": status})

    async def end(self) -> None:
        """Its object goes at once."""
        if self._server:
            self._server.close()
        try:
            await self._api.delete(self._path, {"gracePeriodSeconds": 0})
        except ApiError:
            return  # somebody else was faster

    async def _answer(self, call: Call) -> Answer:
        if "/internal/evidence" not in call.target:
            return Answer(200)
        metadata = self._pod["metadata"]
        revisions = {part: self._files[f"{part}.json"]["revision"] for part in ("flags", "budgets")}
        who = {"pod": metadata["name"], "uid": metadata["uid"], "startedAt": self._started}
        return Answer(200, json.dumps({**who, **revisions, "source": "file", "counters": []}).encode())


class Herd:
    """All pods of the node."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._pods: dict[str, Pod] = {}
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._addresses = _addresses()

    async def run(self) -> None:
        """For ever."""
        async for change in self._api.changes("/api/v1/pods", f"spec.nodeName={NODE}"):
            if change.kind == "Set":
                self._take(change.object)

    def _take(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if pod["metadata"].get("deletionTimestamp"):
            if known := self._pods.pop(uid, None):
                self._begin(known.end)
        elif uid not in self._pods:
            self._pods[uid] = Pod(self._api, pod, next(self._addresses))
            self._begin(self._pods[uid].begin)

    def _begin(self, work: Any) -> None:
        async def one() -> None:
            async with self._turn:
                try:
                    await work()
                except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
                    print(f"{work.__qualname__}: {error!r}", file=sys.stderr, flush=True)

        task = asyncio.create_task(one())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _addresses() -> Iterator[str]:
    """The process kubelet chooses among 127.16 to 127.254; these are below."""
    for x in range(8, 16):
        for y in range(1, 255):
            yield from (f"127.{x}.{y}.{z}" for z in range(1, 255))


async def _serve(kubeconfig: Path) -> None:
    async with Api(kubeconfig) as api:
        await register(api, NODE, {LABEL: "true"})
        await api.patch(f"/api/v1/nodes/{NODE}/status", {"status": {"capacity": ROOM, "allocatable": ROOM}})
        await asyncio.gather(Herd(api).run(), keep_alive(api, NODE))


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
