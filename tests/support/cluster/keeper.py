"""The process behind a cluster: starts its components in order, keeps them alive, and goes when nobody holds it any more.

Knows: the order, readiness and the end. Must not know: flags of components. All components are on its leash: if it is
killed, the kernel kills them. So a test run that dies, however it dies, leaves no process.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import ssl
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

import httpx
from support.cluster import control_plane
from support.cluster.access import IDENTITIES, make_service_account_key, make_tokens, write_kubeconfig
from support.cluster.errors import ClusterError
from support.cluster.folder import ClusterFolder
from support.cluster.ground import Ground, Machine, Ready
from support.cluster.programs import CONTROL_PLANE, programs

from memorystack_operator.local.daemon import Daemon
from memorystack_operator.local.errors import LocalError
from memorystack_operator.local.remains import record
from memorystack_operator.local.state import write_atomically

__all__ = ["Keeper"]

READY_SECONDS: Final = 120.0
"""Of each component; all take a few seconds on an idle machine."""
LOOK_SECONDS: Final = 0.2
GRACE_SECONDS: Final = 2.0


class Keeper:
    """One cluster."""

    def __init__(self, folder: ClusterFolder, ground: Ground, *, node: bool = False) -> None:
        self.folder = folder
        self.ground = ground
        self._node = node
        self._daemons: dict[str, Daemon] = {}
        self._commands: dict[str, list[str]] = {}
        self._down: set[str] = set()
        self._tokens: dict[str, str] = {}

    async def run(self) -> None:
        """Until nobody holds the cluster, or SIGTERM. Raises ClusterError when it does not come up."""
        ending = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, ending.set)
        try:
            self._say("Starting")
            await self._bring_up()
            self._say("Up")
            while not ending.is_set():
                await self._obey()
                if self._nobody_holds():
                    break
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            await self._bring_down()

    async def _bring_up(self) -> None:
        folder, at = self.folder, self.ground.at
        shutil.rmtree(folder.etcd, ignore_errors=True)
        await self.ground.open(self._start)
        found = programs(CONTROL_PLANE)
        make_service_account_key(folder.keys / "service-accounts.key")
        tokens = self._tokens = make_tokens(folder.keys / "tokens.csv")
        # Only from this machine's own network can one ask etcd; else the API server says that it waits for it.
        healthy = _answers(f"{at.etcd}/health") if at.host == control_plane.HOST else None
        await self._begin("etcd", control_plane.etcd(found["etcd"], folder, at), healthy)
        server = control_plane.api_server(found["kube-apiserver"], folder, at)
        await self._begin("kube-apiserver", server, self._serves("/readyz"))
        for name in IDENTITIES:
            write_kubeconfig(folder, name, at.url if name == "admin" else at.inner_url, tokens[name])
        await self._begin("kube-scheduler", control_plane.scheduler(found["kube-scheduler"], folder))
        manager = control_plane.controller_manager(found["kube-controller-manager"], folder)
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        await self._begin("kube-controller-manager", manager, self._serves(account))
        await self.ground.populate(self._start, self._serves)

    async def _begin(self, name: str, command: Sequence[str], ready: Ready | None = None) -> None:
        await self._start(name, self.ground.place(command), ready)

    async def _start(self, name: str, command: Sequence[str], ready: Ready | None = None) -> int:
        """Returns once it is ready. Raises ClusterError with its last words when it does not become so."""
        began = time.monotonic()
        self._commands[name] = list(command)
        daemon = self._daemons[name] = Daemon(name, command, self.folder.logs / f"{name}.log")
        await daemon.start()
        self._record()
        while ready and not await ready():
            if daemon.failing or time.monotonic() - began > READY_SECONDS:
                said = daemon.last_line() or "it said nothing"
                raise ClusterError(f"{name} does not come up: {said} (its log: {daemon.log})")
            await asyncio.sleep(0.05)
        print(f"{name} is ready after {time.monotonic() - began:.1f} s", flush=True)
        return daemon.pid or 0

    def _serves(self, path: str) -> Ready:
        """Whether the API answers there, as administrator."""
        return lambda: self._ask(path)

    async def _ask(self, path: str) -> bool:
        certificate = self.folder.keys / "apiserver.crt"
        if not certificate.exists():
            return False
        token = self._tokens["admin"]
        with suppress(httpx.HTTPError, ssl.SSLError, OSError):
            trust = ssl.create_default_context(cafile=str(certificate))
            async with httpx.AsyncClient(verify=trust, trust_env=False, timeout=2.0) as client:
                answer = await client.get(self.ground.at.url + path, headers={"authorization": f"Bearer {token}"})
                return answer.is_success
        return False

    async def _obey(self) -> None:
        """A file in `stopped/` takes the component of that name down, and its removal brings it back: for tests of outages."""
        wanted = {path.name for path in self.folder.stopped.iterdir()} & self._daemons.keys()
        for name in wanted - self._down:
            await self._daemons[name].stop(0)  # at once: an outage says no goodbye
        for name in self._down - wanted:
            await self._start(name, self._commands[name])
        self._down = wanted

    def _nobody_holds(self) -> bool:
        """Under the lock, so that nobody joins a cluster that is about to go."""
        if self.folder.held():
            return False
        with self.folder.locked():
            if self.folder.held():
                return False
            self._say("Ending")
            return True

    def _say(self, phase: Literal["Starting", "Up", "Ending"]) -> None:
        self.folder.write_keeper(phase, self.ground.at.url, node=self._node)

    async def _bring_down(self) -> None:
        self._say("Ending")
        for daemon in reversed(self._daemons.values()):
            await daemon.stop(GRACE_SECONDS)
        await self.ground.close()
        self.folder.remains.unlink(missing_ok=True)
        shutil.rmtree(self.folder.etcd, ignore_errors=True)

    def _record(self) -> None:
        record(self.folder.remains, [d.pid for d in self._daemons.values() if d.pid is not None])


def _answers(url: str) -> Ready:
    async def ask() -> bool:
        with suppress(httpx.HTTPError):
            async with httpx.AsyncClient(trust_env=False, timeout=2.0) as client:
                return (await client.get(url)).is_success
        return False

    return ask


def _ground(folder: ClusterFolder, port: int, *, node: bool) -> Ground:
    if node:
        from support.node.ground import Namespaces  # only here: it stands on this package

        return Namespaces(folder, port)
    return Machine(folder, port)


def main() -> int:
    """`python -m support.cluster.keeper FOLDER PORT node|processes`: returns once the keeper, a process of its own, has written
    itself down."""
    folder, port, node = ClusterFolder(Path(sys.argv[1])), int(sys.argv[2]), sys.argv[3] == "node"
    try:
        keeper = Keeper(folder, _ground(folder, port, node=node), node=node)
    except LocalError as error:
        write_atomically(folder.failure, str(error))
        return 1
    if child := os.fork():
        while folder.read_keeper() is None and os.waitpid(child, os.WNOHANG) == (0, 0):
            time.sleep(0.01)
        return 0
    try:
        asyncio.run(keeper.run())
    except (ClusterError, LocalError, OSError) as error:
        write_atomically(folder.failure, str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
