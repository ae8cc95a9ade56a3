"""The process: `python -m support.kubelet --kubeconfig FILE --folder DIR --node NAME`. Ends with SIGTERM, and its pods with it.

Knows: which pods are bound to its node, and their addresses. Must not know: how a pod lives.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import aiohttp
import click
import structlog
from support.kubelet.api import Api, Change, Object
from support.kubelet.node import keep_alive, register
from support.kubelet.pod import PodLife

_log = structlog.get_logger(__name__)


class Kubelet:
    """The pods of one node."""

    def __init__(self, api: Api, folder: Path, web: aiohttp.ClientSession) -> None:
        self._api = api
        self._folder = folder
        self._web = web
        self._pods: dict[str, PodLife] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._addresses = _addresses()

    async def run(self, node: str) -> None:
        """Follows the API for ever."""
        try:
            async for change in self._api.changes("/api/v1/pods", f"spec.nodeName={node}"):
                self._take(change)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _take(self, change: Change) -> None:
        if change.kind == "Listed":
            for uid in self._tasks.keys() - change.uids:  # deleted while nobody watched
                self._tasks[uid].cancel()
            return
        uid = change.object["metadata"]["uid"]
        if change.kind == "Gone":
            if task := self._tasks.get(uid):
                task.cancel()
        elif uid in self._pods:
            self._pods[uid].update(change.object)
        elif (change.object.get("status") or {}).get("phase") not in {"Succeeded", "Failed"}:
            self._begin(uid, change.object)

    def _begin(self, uid: str, pod: Object) -> None:
        life = self._pods[uid] = PodLife(self._api, pod, next(self._addresses), self._folder, self._web)
        task = self._tasks[uid] = asyncio.create_task(life.run())

        def ended(task: asyncio.Task[None]) -> None:
            self._pods.pop(uid, None)
            self._tasks.pop(uid, None)
            if not task.cancelled() and (error := task.exception()):
                _log.error("pod_lost", pod=pod["metadata"]["name"], error=repr(error), exc_info=error)

        task.add_done_callback(ended)


def _addresses() -> Iterator[str]:
    """Loopback addresses that no other kubelet on this machine is likely to use: 127.x.y.1 and up, x and y by chance."""
    chance = random.SystemRandom()
    for _ in itertools.count():
        x, y = chance.randrange(16, 255), chance.randrange(256)
        yield from (f"127.{x}.{y}.{z}" for z in range(1, 255))


async def _serve(kubeconfig: Path, folder: Path, node: str, labels: Mapping[str, str]) -> None:
    me = asyncio.current_task()
    assert me is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, me.cancel)
    # A probe is a connection of its own, as a kubelet's.
    web = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True, limit=0))
    async with Api(kubeconfig) as api, web:
        await register(api, node, labels)
        lease = asyncio.create_task(keep_alive(api, node))
        print(f"node {node} is ready", flush=True)
        try:
            await Kubelet(api, folder, web).run(node)
        except asyncio.CancelledError:
            _log.info("ending")
        finally:
            lease.cancel()


@click.command()
@click.option("--kubeconfig", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), required=True, help="For the pods' files.")
@click.option("--node", required=True, help="The Node's name.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Of the Node; may be given more than once.")
def main(kubeconfig: Path, folder: Path, node: str, labels: tuple[str, ...]) -> None:
    """Make processes of the pods that are bound to a node of this name."""
    pairs = dict(label.split("=", 1) for label in labels)
    asyncio.run(_serve(kubeconfig, folder, node, pairs))


if __name__ == "__main__":
    main()
