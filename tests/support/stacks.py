"""A MemoryStack as people handle it, on a real API server: for tests.

How to use it:

    stack = Stack(control_plane, api, namespace, "mem")
    stack.apply(features=BAD)
    stack.wait_for("Rejected")

Knows: kubectl, the API and a stub's behaviour. Must not know: the operator.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import yaml
from support.cluster import ControlPlane
from support.described import described
from support.traffic import Traffic

__all__ = ["BAD", "EVEN", "GOOD", "PATIENCE_SECONDS", "RULES_OF_STUBS", "Stack", "notes"]

PATIENCE_SECONDS = 120.0
"""On a machine that others use as well."""
GOOD: Mapping[str, Any] = {"parallelIngest": {"concurrency": 4}}
BAD: Mapping[str, Any] = {"httpPool": {"enabled": True}}
EVEN: Mapping[str, Any] = {"cache": {"maxSize": 200}}
"""It changes nothing of a stub's latency."""
RULES_OF_STUBS = ({"when": BAD, "p95Ms": 600}, {"when": GOOD, "p95Ms": 60})
"""Milliseconds; without either 150, and the budget is 250."""


class Stack:
    """A MemoryStack of stub pods, handled as people do it: with kubectl; and looked at through the API."""

    def __init__(self, plane: ControlPlane, api: httpx.Client, namespace: str, name: str, **spec: Any) -> None:
        self.plane = plane
        self.namespace = namespace
        self.name = name
        self.selector = f"app.kubernetes.io/instance={name}"
        self._api = api
        self.path = f"/apis/memorystack.dev/v1alpha1/namespaces/{namespace}/memorystacks/{name}"
        self.spec: dict[str, Any] = {
            "replicas": 3,
            "image": "memorystack-stub:1",
            "qdrant": {"url": "http://qdrant:6333"},
            "embedder": {"url": "http://embedder/v1", "model": "m", "dimensions": 64},
            "auth": {"disabled": True},
            "rollout": {
                "budgets": [{"operation": "recall", "p95": "250ms"}],
                "steps": [{"weight": 34, "minDuration": "2s"}],
                "analysis": {"interval": "1s"},
            },
            "template": {"env": [{"name": "STUB_BEHAVIOUR", "value": json.dumps({"rules": RULES_OF_STUBS})}]},
            **spec,
        }

    def manifest(self, **spec: Any) -> dict[str, Any]:
        """With these fields of the spec from now on."""
        self.spec = {**self.spec, **spec}
        meta = {"name": self.name, "namespace": self.namespace}
        return {"apiVersion": "memorystack.dev/v1alpha1", "kind": "MemoryStack", "metadata": meta, "spec": self.spec}

    def apply(self, *flags: str, **spec: Any) -> None:
        """`kubectl apply` of the file."""
        self.plane.kubectl("apply", *flags, "-f", "-", stdin=yaml.safe_dump(self.manifest(**spec)))

    def kubectl(self, *words: str) -> str:
        """In its namespace; what was printed."""
        return self.plane.kubectl("-n", self.namespace, *words).stdout

    def get(self) -> dict[str, Any]:
        """The resource; empty when there is none."""
        answer = self._api.get(self.path)
        return {} if answer.status_code == 404 else _read(answer)

    def child(self, path: str) -> dict[str, Any]:
        """As `apis/apps/v1/deployments/mem`; the namespace is put in. Empty when there is none."""
        root, plural, name = path.rsplit("/", 2)
        answer = self._api.get(f"/{root}/namespaces/{self.namespace}/{plural}/{name}")
        return {} if answer.status_code == 404 else _read(answer)

    @property
    def deployment(self) -> dict[str, Any]:
        """The main one."""
        return self.child(f"apis/apps/v1/deployments/{self.name}")

    @property
    def status(self) -> dict[str, Any]:
        """Empty while there is none."""
        found: dict[str, Any] = self.get().get("status", {})
        return found

    @property
    def phase(self) -> str:
        """The printer column."""
        return str(self.status.get("phase", ""))

    @property
    def rollout(self) -> dict[str, Any]:
        """The stage under way; empty while there is none."""
        found: dict[str, Any] = self.status.get("rollout") or {}
        return found

    @property
    def counted(self) -> int:
        """Recalls of the canary on record."""
        evidence = self.rollout.get("evidence") or {}
        return int(evidence.get("recall", {}).get("canaryRequests", 0))

    @property
    def last(self) -> dict[str, Any]:
        """The newest line of the history."""
        return (self.status.get("history") or [{}])[-1]

    def condition(self, kind: str) -> dict[str, Any]:
        """Empty when it is not there."""
        return next((c for c in self.status.get("conditions", ()) if c["type"] == kind), {})

    def pods(self) -> list[dict[str, Any]]:
        """All of them."""
        return self._list(f"/api/v1/namespaces/{self.namespace}/pods", labelSelector=self.selector)

    def uids(self) -> set[str]:
        """Of the pods."""
        return {pod["metadata"]["uid"] for pod in self.pods()}

    def leased(self) -> list[str]:
        """Names of the pods that hold the flags annotation."""
        return [p["metadata"]["name"] for p in self.pods() if "memorystack.dev/flags" in notes(p)]

    def said(self) -> list[dict[str, Any]]:
        """Its Events, oldest first."""
        found = self._list(f"/apis/events.k8s.io/v1/namespaces/{self.namespace}/events")
        mine = [e for e in found if e["regarding"]["kind"] == "MemoryStack" and e["regarding"]["name"] == self.name]
        return sorted(mine, key=lambda e: e["eventTime"])

    def events(self) -> list[str]:
        """Their reasons; one that was told n times is there n times."""
        return [e["reason"] for e in self.said() for _ in range((e.get("series") or {}).get("count", 1))]

    def wait(self, holds: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Fails with all that is known when it does not come true."""
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end:
                pytest.fail(f"{what}: {described(self.status, self.pods(), self.events())}")
            time.sleep(0.1)

    def wait_for(self, *phases: str, seconds: float = PATIENCE_SECONDS) -> None:
        """One of these."""
        self.wait(lambda: self.phase in phases, f"the stack does not become {' or '.join(phases)}", seconds)

    def wait_ready(self, seconds: float) -> None:
        """By its condition, and then for `kubectl wait` at once."""
        self.wait(lambda: self.condition("Ready").get("status") == "True", "it does not become ready", seconds)
        self.assert_ready()

    def assert_ready(self) -> None:
        """`kubectl wait` for Ready returns at once."""
        self.kubectl("wait", "--for=condition=Ready", "--timeout=1s", f"mstack/{self.name}")

    def wait_idle(self) -> None:
        """Nothing is under way, and the newest spec was seen."""
        self.wait(self._is_idle, "the stack does not become idle")

    def wait_ended(self, count: int, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """The history has so many lines; the newest."""
        self.wait(lambda: len(self.status.get("history") or ()) >= count, "no verdict", seconds)
        return self.last

    def traffic(self, rate: float = 100.0, seconds: float = 120.0) -> Traffic:
        """Recalls to its ready pods."""
        return Traffic(self.plane.kubeconfig, self.namespace, self.selector, rate=rate, seconds=seconds)

    @contextmanager
    def canary(
        self, weight: int = 34, *, rate: float = 60.0, seconds: float = 180.0, counted: int = 20
    ) -> Iterator[Traffic]:
        """In the middle of a step that does not end by itself, under traffic: more recalls of `EVEN` are on record than `counted`."""
        self.apply(rollout={**self.spec["rollout"], "steps": [{"weight": weight, "minDuration": "10m"}]})
        self.wait_idle()
        with self.traffic(rate, seconds) as traffic:
            self.apply(features=EVEN)
            self.wait(lambda: self.counted > counted, "nothing is counted")
            yield traffic

    def evict(self, pod: str) -> int:
        """As a drain of its node does it; the answer's status: 201, or 429 while another pod is away."""
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
        return self._api.post(f"/api/v1/namespaces/{self.namespace}/pods/{pod}/eviction", json=body).status_code

    def delete(self) -> None:
        """Returns at once."""
        self._api.delete(self.path)

    def _is_idle(self) -> bool:
        found = self.get()
        status = found["status"]
        return bool(status.get("phase") == "Idle" and status["observedGeneration"] == found["metadata"]["generation"])

    def _list(self, path: str, **query: str) -> list[dict[str, Any]]:
        return list(_read(self._api.get(path, params=query))["items"])


def notes(pod: Mapping[str, Any]) -> Mapping[str, str]:
    """Its annotations."""
    found: Mapping[str, str] = pod["metadata"].get("annotations") or {}
    return found


def _read(answer: httpx.Response) -> dict[str, Any]:
    assert answer.is_success, answer.text
    found: dict[str, Any] = answer.json()
    return found
