"""The same ground on a real node: pods are containers, the operator is one of them, installed by helm, and the client is inside too.

Knows: the node's namespaces, helm and the stub's image. Must not know: what is measured. Needs root.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import psutil
from load.cluster.client import Client
from load.cluster.ground import RATE, TRAFFIC_SECONDS, Home, ended_with
from load.cluster.report import REPOSITORY
from support.cluster import ClusterError, ClusterFolder, ControlPlane, hold
from support.cluster.access import kubeconfig
from support.cluster.programs import program
from support.node.components import ctr
from support.node.images import STUB, archive_of
from support.node.sandbox import ADDRESS, POD_NETWORK, entered, entered_network, first_process
from support.stacks import Stack

__all__ = ["NodeGround"]

RELEASE: Final = "memorystack-operator"
SYSTEM: Final = "memorystack-system"
API_PORT: Final = 6443


class NodeGround:
    """One node for all experiments of a run."""

    def __init__(self, plane: ControlPlane, first: int) -> None:
        self.plane = plane
        self._first = first

    @contextmanager
    def home(self) -> Iterator[Home]:
        """The operator is a pod, as `helm install` leaves it."""
        words = ["--namespace", SYSTEM, "--create-namespace", "--wait", "--timeout", "3m"]
        self._helm("install", RELEASE, "charts/memorystack-operator", *words)
        user = f"system:serviceaccount:{SYSTEM}:{RELEASE}"
        with self.plane.namespace("bench") as name, self.plane.api() as api:
            yield Home(self.plane, api, name, user, self._client, STUB.name)

    def _client(self, stack: Stack, seed: int) -> Client:
        """In the node's network, where pods have addresses of a network that was made for this."""
        inside = self.plane.folder.kubeconfigs / "client"
        if not inside.exists():
            _write_inner_access(self.plane, inside)
        where = {"kubeconfig": str(inside), "namespace": stack.namespace, "selector": stack.selector}
        how = {"rate": RATE, "seconds": TRAFFIC_SECONDS, "seed": seed, "within": POD_NETWORK}
        return Client(entered_network(self._first, []), {**where, **how})

    def _helm(self, *words: str) -> None:
        env = {**os.environ, "KUBECONFIG": str(self.plane.kubeconfig)}
        done = subprocess.run(
            [str(program("helm")), *words], cwd=REPOSITORY, env=env, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise ClusterError(f"helm {' '.join(words)}: {done.stderr.strip()[-1000:]}")

    @classmethod
    @contextmanager
    def open(cls) -> Iterator[NodeGround]:
        """The node is up, with the stub's image. Raises ClusterError."""
        archive = archive_of(STUB)
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            folder = ClusterFolder(Path(name) / "cluster")
            with ended_with(folder), hold(folder, node=True) as keeper:
                first = _first_of(keeper.pid)
                _run(entered(first, ctr("images", "import", str(archive))))
                yield cls(ControlPlane(folder, keeper.url), first)


def _first_of(keeper: int) -> int:
    found = [first for child in psutil.Process(keeper).children() if (first := first_process(child.pid))]
    if len(found) != 1:
        raise ClusterError(f"the node's first process is not to be found among the children of {keeper}")
    return found[0]


def _write_inner_access(plane: ControlPlane, path: Path) -> None:
    """The administrator's, by the API server's address inside."""
    with plane.api() as api:
        token = _token(api)
    path.write_text(kubeconfig(f"https://{ADDRESS}:{API_PORT}", plane.authority.read_bytes(), token, "default"))
    path.chmod(0o600)


def _token(api: httpx.Client) -> str:
    return str(api.headers["authorization"]).removeprefix("Bearer ")


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"{' '.join(command)}: {done.stderr.strip()[-1000:]}")
