"""A cluster in namespaces of its own with a real node. Knows the order in which a node comes up; flags are in `components`."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import yaml
from support.cluster import control_plane
from support.cluster.access import NODE_NAME
from support.cluster.errors import ClusterError
from support.cluster.folder import ClusterFolder
from support.cluster.ground import Ready, Start
from support.cluster.programs import program, programs
from support.node import cgroups, components
from support.node.images import archives
from support.node.relay import relay
from support.node.sandbox import ADDRESS, begin, entered, entered_network, first_process, prepare

__all__ = ["PROGRAMS", "Namespaces"]

PROGRAMS: Final = ("kubelet", "kube-proxy", "coredns", "pause", "kubectl")
API_PORT: Final = 6443
BEGIN_SECONDS: Final = 10.0


class Namespaces:
    """The ground of a cluster with a real node."""

    def __init__(self, folder: ClusterFolder, port: int) -> None:
        chosen = control_plane.choose(port)
        self._outside = chosen.port
        # The API server's own certificate names localhost, not 127.0.0.1.
        self.at = replace(chosen, host=ADDRESS, port=API_PORT, url=f"https://localhost:{chosen.port}")
        self._folder = folder
        self._node = folder.root / "node"
        self._cgroup = cgroups.name_for(folder.root)
        self._server: asyncio.Server | None = None
        self._first = 0

    async def open(self, start: Start) -> None:
        """Namespaces, their interfaces, and the way in. Raises ClusterError."""
        holder = await start("namespaces", begin())
        end = time.monotonic() + BEGIN_SECONDS
        while not (first := first_process(holder)):
            if time.monotonic() > end:
                raise ClusterError(f"no namespaces were made: {(self._folder.logs / 'namespaces.log').read_text()}")
            await asyncio.sleep(0.02)
        self._first = first
        await asyncio.to_thread(prepare, first, self._folder.root)
        cgroups.make(self._cgroup)
        self._server = await relay(first, API_PORT, control_plane.HOST, self._outside)

    def place(self, command: Sequence[str]) -> list[str]:
        """In the node's network."""
        return entered_network(self._first, command)

    async def populate(self, start: Start, serves: Callable[[str], Ready]) -> None:
        """containerd with our images, kubelet, kube-proxy and CoreDNS. Raises ClusterError."""
        node, folder, found = self._node, self._folder, programs(PROGRAMS)
        (node / "cni").mkdir(parents=True, exist_ok=True)
        await asyncio.to_thread(self._apply, [*components.volumes(node), _reader("coredns")])
        await start("containerd", self._inside(components.containerd(node)), self._containerd_answers)
        await start("coredns", self.place(components.coredns(found["coredns"], folder, node)))
        await start("kube-proxy", self.place(components.kube_proxy(found["kube-proxy"], folder, node)))
        for name, archive in archives().items():
            await asyncio.to_thread(self._load, name, archive)
        command = self._inside(components.kubelet(found["kubelet"], folder, node, self._cgroup))
        await start("kubelet", command, self._node_is_ready)

    async def close(self) -> None:
        """The namespaces are gone by now; their cgroups and files stay until now."""
        if self._server:
            self._server.close()
        await asyncio.to_thread(cgroups.remove, self._cgroup)
        await asyncio.to_thread(shutil.rmtree, self._node, ignore_errors=True)

    def _inside(self, command: Sequence[str]) -> list[str]:
        return entered(self._first, command)

    async def _containerd_answers(self) -> bool:
        return await asyncio.to_thread(_works, self._inside(components.ctr("version")))

    async def _node_is_ready(self) -> bool:
        words = ["wait", "--for=condition=Ready", f"node/{NODE_NAME}", "--timeout=1s"]
        return await asyncio.to_thread(_works, [*self._kubectl(), *words])

    def _load(self, name: str, archive: Path) -> None:
        began = time.monotonic()
        command = self._inside(components.ctr("images", "import", str(archive)))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ClusterError(f"the image {name} cannot be loaded: {done.stderr.strip()}")
        print(f"image {name} is ready after {time.monotonic() - began:.1f} s", flush=True)

    def _kubectl(self) -> list[str]:
        """As administrator; what it remembers of this cluster goes with it."""
        folder = self._folder
        return [
            str(program("kubectl")),
            f"--kubeconfig={folder.admin}",
            f"--cache-dir={folder.root / '.kube' / 'cache'}",
        ]

    def _apply(self, manifests: list[dict[str, Any]]) -> None:
        command = [*self._kubectl(), "apply", "-f", "-"]
        text = yaml.safe_dump_all(manifests)
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ClusterError(f"the node's volumes cannot be applied: {done.stderr.strip()}")


def _works(command: Sequence[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _reader(user: str) -> dict[str, Any]:
    """May read what there is, Secrets aside."""
    api = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{api}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"{user}-reads"},
        "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": api, "kind": "User", "name": user}],
    }
