"""Where a story is told: on a node of its own, on kind, or on a cluster that is there.

Knows: how each comes up and goes. Must not know: the story. Each gives the administrator's kubeconfig.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from support.cluster import ClusterError, ClusterFolder, hold
from support.cluster.programs import program
from support.node.images import PAUSE, archives
from support.node.packages import BUILDERS, require_programs

__all__ = ["KIND_NAME", "on_kind", "on_node"]

KIND_NAME: Final = "memorystack-e2e"
ENGINES: Final = ("docker", "podman", "nerdctl")


@contextmanager
def on_node(folder: Path) -> Iterator[Path]:
    """A real node in namespaces of this machine; one that is up in that folder is used, and stays. Raises ClusterError."""
    cluster = ClusterFolder(folder)
    with hold(cluster, node=True):
        yield cluster.admin


@contextmanager
def on_kind(folder: Path) -> Iterator[Path]:
    """A cluster of kind's for the length of the block, with our images. Raises ClusterError."""
    if not any(map(_answers, ENGINES)):
        raise ClusterError(
            f"kind runs its node as a container, and none of {', '.join(ENGINES)} answers here: start one, or leave "
            "CLUSTER=kind out (a node of its own, as root), or name a cluster that has the images with KUBECONFIG=FILE"
        )
    require_programs(BUILDERS)
    folder.mkdir(parents=True, exist_ok=True)
    access = (folder / "kind.kubeconfig").absolute()
    _kind("create", "cluster", "--kubeconfig", str(access), "--wait", "3m", otherwise=_NOT_PULLED)
    try:
        for name, archive in archives().items():
            if name != PAUSE.name:  # kind's node has one
                _kind("load", "image-archive", str(archive), otherwise=f"the node does not take the image {name}")
        yield access
    finally:
        _kind("delete", "cluster", "--kubeconfig", str(access), otherwise="the cluster stays")


_NOT_PULLED: Final = (
    "kind makes no cluster here. It pulls its node's image, kindest/node, from a registry; where none is reached, leave "
    "CLUSTER=kind out (a node of its own, as root)"
)


def _answers(engine: str) -> bool:
    """Whether it is there, and its daemon, too."""
    return (
        bool(shutil.which(engine)) and not subprocess.run([engine, "ps"], capture_output=True, check=False).returncode
    )


def _kind(*words: str, otherwise: str) -> None:
    done = subprocess.run(
        [str(program("kind")), *words, "--name", KIND_NAME], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ClusterError(f"{otherwise}; kind {words[0]} said:\n{(done.stderr or done.stdout).strip()[-1500:]}")
