"""The folder of one cluster: what lies where, who holds it, and who may change that.

Knows: paths, a lock and processes' identities. Must not know: what the cluster is made of.
"""

from __future__ import annotations

import fcntl
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import psutil
from support.cluster.errors import ClusterError

from memorystack_operator.local.remains import is_same_process
from memorystack_operator.local.state import write_atomically

__all__ = ["KEPT", "ClusterFolder", "KeeperRecord"]

KEPT: Final = "kept"
"""The holder that `make cluster-up` leaves: it stays until `make cluster-down`."""


@dataclass(frozen=True)
class KeeperRecord:
    """The process that looks after a cluster, as it wrote itself down."""

    pid: int
    created: float
    """Its start in Unix seconds: a pid alone may be somebody else's by now."""
    phase: Literal["Starting", "Up", "Ending"]
    url: str = ""
    """The API server's."""
    node: bool = False
    """Whether there is a real node (kubelet, containerd), or the control plane alone."""


class ClusterFolder:
    """Paths, and the holders' book."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.failure = self.root / "failure.txt"
        self.remains = self.root / "processes.json"
        self.keeper = self.root / "keeper.json"
        self.logs = self.root / "logs"
        self.keys = self.root / "keys"
        self.etcd = self.root / "etcd"
        self.pods = self.root / "pods"
        self.audit = self.root / "audit.log"
        self.kubeconfigs = self.root / "kubeconfigs"
        self.admin = self.kubeconfigs / "admin"
        self.stopped = self.root / "stopped"
        self.holders = self.root / "holders"
        self.undo = self.root / "undo.jsonl"

    def make(self) -> None:
        """Raises ClusterError when it cannot be written."""
        try:
            for folder in (self.root, self.logs, self.keys, self.kubeconfigs, self.stopped, self.holders):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomically(self.root / ".gitignore", "*\n")
        except OSError as error:
            msg = f"the cluster's folder {self.root} cannot be written ({error.strerror}): choose another with --folder"
            raise ClusterError(msg) from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One at a time starts, ends, joins or leaves."""
        while True:
            self.make()
            path = self.root / "lock"
            with path.open("a") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX)
                # Whoever held it before may have removed the folder: then this is a lock on nothing.
                if path.exists() and path.stat().st_ino == os.fstat(handle.fileno()).st_ino:
                    yield
                    return

    def read_keeper(self) -> KeeperRecord | None:
        """The keeper, if it is alive."""
        record = _read(self.keeper)
        keeper = KeeperRecord(**record) if record else None
        return keeper if keeper and is_same_process(keeper.pid, keeper.created) else None

    def write_keeper(self, phase: Literal["Starting", "Up", "Ending"], url: str, *, node: bool) -> None:
        """This process is the keeper."""
        keeper = KeeperRecord(os.getpid(), psutil.Process().create_time(), phase, url, node)
        write_atomically(self.keeper, json.dumps(asdict(keeper)))

    def join(self, *, kept: bool = False) -> Path:
        """This process holds the cluster until it leaves or dies; `kept`: somebody says down."""
        name = KEPT if kept else f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        path = self.holders / name
        write_atomically(path, json.dumps({"pid": os.getpid(), "created": psutil.Process().create_time()}))
        return path

    def held(self) -> bool:
        """Whether anybody still holds it; those who died are struck off."""
        alive = False
        for path in self.holders.iterdir():
            record = _read(path)
            if path.name == KEPT or (record and is_same_process(record["pid"], record["created"])):
                alive = True
            elif not path.name.startswith("."):
                path.unlink(missing_ok=True)
        return alive


def _read(path: Path) -> dict[str, Any] | None:
    with suppress(OSError, ValueError):
        record = json.loads(path.read_text())
        return record if isinstance(record, dict) else None
    return None
