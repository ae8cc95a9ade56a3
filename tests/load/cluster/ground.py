"""What every experiment stands on: a real API server, operators under the chart's rights, stacks of stub pods, and its audit log.

Knows: how they come up and go. Must not know: what is measured. With `node` the pods are containers on a real kubelet.
"""

from __future__ import annotations

import json
import tempfile
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

import httpx
from support.cluster import ClusterFolder, ControlPlane, down, hold
from support.operating import Operator, grant, serve_the_kind
from support.stacks import Stack
from support.traffic import Answer, Traffic

__all__ = [
    "HISTORY_SECONDS",
    "RATE",
    "TRAFFIC_SECONDS",
    "Answered",
    "Ground",
    "Home",
    "Served",
    "ended_with",
    "rollout_of",
    "stub_env",
]

RATE: Final = 100.0
"""Requests per second of a stack, as in rivals.md."""
HISTORY_SECONDS: Final = 360.0
"""Of each pod before its start: eleven blocks of 30 s, a little more than the five minutes that are allowed."""
TRAFFIC_SECONDS: Final = 420.0
"""At most; a run ends it."""
WRITING: Final = {"create", "update", "patch", "delete", "deletecollection"}


class Answered(Protocol):
    """What a client wrote down; whole when its block has ended."""

    answers: list[Answer]
    unsent: int


Client = Callable[[Stack, int], AbstractContextManager[Answered]]
"""100 requests per second to a stack, at moments of their own for each seed."""


@dataclass(frozen=True)
class Home:
    """A namespace with an operator that serves it."""

    plane: ControlPlane
    api: httpx.Client
    namespace: str
    user: str
    """The operator's, as the API server knows it."""
    traffic: Client
    image: str = "memorystack-stub:1"

    @contextmanager
    def stack(self, prefix: str, **spec: Any) -> Iterator[Stack]:
        """A new one, idle and ready; deleted after the block."""
        named = f"{prefix}-{uuid.uuid4().hex[:5]}"
        one = Stack(self.plane, self.api, self.namespace, named, **{"image": self.image, **spec})
        self.api.post(one.path.rpartition("/")[0], json=one.manifest()).raise_for_status()
        try:
            one.wait(lambda: one.status.get("phase") == "Idle", "the stack does not become idle", 180)
            yield one
        finally:
            one.delete()

    def writes(self, since: float, until: float) -> dict[str, int]:
        """What the operator wrote between two moments (Unix seconds), as verb and resource; the leader's Lease aside."""
        found: Counter[str] = Counter()
        for entry in self.plane.audited(self.user):
            if entry["verb"] not in WRITING or entry["objectRef"]["resource"] == "leases":
                continue
            ref = entry["objectRef"]
            if since <= datetime.fromisoformat(entry["requestReceivedTimestamp"]).timestamp() <= until:
                what = "/".join(filter(None, (ref["resource"], ref.get("subresource"))))
                found[f"{entry['verb']} {what}"] += 1
        return dict(sorted(found.items()))


@dataclass(frozen=True)
class Served(Home):
    """By an operator that is a process of its own."""

    operator: Operator = field(kw_only=True)


class Ground:
    """One API server for all experiments of a run."""

    def __init__(self, plane: ControlPlane, api: httpx.Client, folder: Path) -> None:
        self.plane = plane
        self.api = api
        self.folder = folder
        """For logs."""
        self._lock = threading.Lock()

    @contextmanager
    def home(self, *options: str) -> Iterator[Served]:
        """`options` are the operator's."""
        with self.plane.namespace("bench") as name, self.plane.api() as api:
            with self._lock:
                account = grant(self.plane, name, "operator")
            with Operator(account, name, self.folder, *options) as operator:
                operator.until(lambda: operator.leads, "nobody leads")
                yield Served(
                    self.plane, api, name, f"system:serviceaccount:{name}:operator", _client, operator=operator
                )

    @classmethod
    @contextmanager
    def open(cls) -> Iterator[Ground]:
        """The API server is there for the length of the block. Raises ClusterError."""
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            folder = ClusterFolder(Path(name) / "cluster")
            with ended_with(folder), hold(folder) as keeper:
                plane = ControlPlane(folder, keeper.url)
                serve_the_kind(plane)
                with plane.api() as api:
                    yield cls(plane, api, Path(name))


@contextmanager
def ended_with(folder: ClusterFolder) -> Iterator[None]:
    """Whoever holds a cluster need not see its end; a folder that is to be removed must."""
    try:
        yield
    finally:
        down(folder)


def _client(stack: Stack, seed: int) -> Traffic:
    kubeconfig = stack.plane.kubeconfig
    return Traffic(kubeconfig, stack.namespace, stack.selector, rate=RATE, seconds=TRAFFIC_SECONDS, seed=seed)


def rollout_of(weight: int, seconds: int = 60, **analysis: Any) -> dict[str, Any]:
    """One step of that weight, everything else as by default; recalls within 250 ms."""
    return {
        "budgets": [{"operation": "recall", "p95": "250ms"}],
        "steps": [{"weight": weight, "minDuration": f"{seconds}s"}],
        **({"analysis": analysis} if analysis else {}),
    }


def stub_env(rules: Sequence[Mapping[str, Any]], replicas: int, **behaviour: Any) -> dict[str, Any]:
    """The pod template: where no rule fits, a stub answers within 150 ms at p95."""
    what = {"rules": rules, "historySeconds": HISTORY_SECONDS, "historyRate": RATE / replicas, **behaviour}
    return {"env": [{"name": "STUB_BEHAVIOUR", "value": json.dumps(what)}]}
