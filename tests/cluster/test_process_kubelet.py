"""The process kubelet does what a kubelet does with a pod: files, leases, restarts, missing Secrets, and the real runtime."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.cluster import ControlPlane
from support.kubelet.status import is_ready

from memorystack_operator.api.spec import MemoryStack
from memorystack_operator.api.status import Stable
from memorystack_operator.core import Status
from memorystack_operator.core.render import render
from memorystack_runtime.contract import (
    ANNOTATION_FLAGS,
    BUDGETS_FILE,
    CONFIG_DIR_VARIABLE,
    FLAGS_FILE,
    LEASE_FILE,
    Budgets,
    Features,
    FlagLease,
    FlagsFile,
    HttpPool,
    revision_of,
)
from memorystack_runtime.dev import start

STABLE = Features()
NEW = Features(http_pool=HttpPool(enabled=True, connections=4))
LEASE = FlagLease(epoch=1, revision=revision_of(NEW), features=NEW, renewal=1)
INTERNAL = 9090


def stub_pod(name: str, **container: Any) -> dict[str, Any]:
    """With the config volume that the operator renders."""
    lease = {"path": LEASE_FILE, "fieldRef": {"fieldPath": f"metadata.annotations['{ANNOTATION_FLAGS}']"}}
    sources = [{"configMap": {"name": "flags"}}, {"downwardAPI": {"items": [lease]}}]
    env = [{"name": CONFIG_DIR_VARIABLE, "value": "/config"}, *container.pop("env", [])]
    one = {
        "name": "runtime",
        "image": "memorystack-stub:1",
        "env": env,
        "ports": [{"name": "http", "containerPort": 8080}, {"name": "internal", "containerPort": INTERNAL}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "internal"}, "periodSeconds": 1},
        "volumeMounts": [{"name": "config", "mountPath": "/config"}],
        **container,
    }
    volumes = [{"name": "config", "projected": {"sources": sources}}]
    spec = {"containers": [one], "volumes": volumes, "terminationGracePeriodSeconds": 1}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def flags() -> dict[str, Any]:
    file = FlagsFile(revision=revision_of(STABLE), features=STABLE).model_dump_json(by_alias=True)
    budgets = Budgets(revision="b1", p95_ms={"recall": 250}).model_dump_json(by_alias=True)
    data = {FLAGS_FILE: file, BUDGETS_FILE: budgets}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "flags"}, "data": data}


class Watched:
    """A pod of one namespace, and what its process says."""

    def __init__(self, plane: ControlPlane, namespace: str, name: str) -> None:
        self._plane = plane
        self._where = (f"pod/{name}", "-n", namespace)

    @property
    def container(self) -> dict[str, Any]:
        found: dict[str, Any] = self._status.get("containerStatuses", [{}])[0]
        return found

    @property
    def ready(self) -> bool:
        return bool(self.container.get("ready"))

    @property
    def waiting(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self.container.get("state", {}).get("waiting", {})
        return found

    def condition(self, kind: str) -> str:
        return next((c["status"] for c in self._status["conditions"] if c["type"] == kind), "")

    def declare(self, kind: str, status: str) -> None:
        patch = json.dumps({"status": {"conditions": [{"type": kind, "status": status}]}})
        self._plane.kubectl("patch", *self._where, "--subresource=status", "--type=strategic", "-p", patch)

    def annotate(self, value: str) -> None:
        self._plane.kubectl("annotate", "--overwrite", *self._where, f"{ANNOTATION_FLAGS}={value}")

    def inside(self, path: str, **changes: object) -> httpx.Response:
        url = f"http://{self._status['podIP']}:{INTERNAL}{path}"
        return httpx.request("PUT" if changes else "GET", url, json=changes or None, trust_env=False, timeout=5)

    @property
    def _status(self) -> dict[str, Any]:
        found: dict[str, Any] = self._plane.get(*self._where)["status"]
        return found


@pytest.fixture
def apply(control_plane: ControlPlane, namespace: str) -> Callable[..., None]:
    def into_the_namespace(*manifests: Mapping[str, Any]) -> None:
        placed = [{**m, "metadata": {**m["metadata"], "namespace": namespace}} for m in manifests]
        control_plane.apply(*placed)

    return into_the_namespace


def wait(until: Callable[[], object], what: str, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, what
        time.sleep(0.1)


def test_a_lease_when_annotated_then_reaches_the_warm_pods_file_without_a_restart(
    control_plane: ControlPlane, namespace: str, apply: Callable[..., None]
) -> None:
    apply(flags(), stub_pod("one"))
    pod = Watched(control_plane, namespace, "one")
    wait(lambda: pod.ready, "the stub does not become ready")
    began = pod.container["state"]["running"]["startedAt"]
    assert pod.inside("/internal/evidence").json()["source"] == "file"
    pod.annotate(LEASE.model_dump_json(by_alias=True))
    wait(lambda: pod.inside("/internal/evidence").json()["source"] == "lease", "the lease does not arrive")
    assert pod.inside("/internal/evidence").json()["flags"] == revision_of(NEW)
    assert (pod.container["restartCount"], pod.container["state"]["running"]["startedAt"]) == (0, began)


def test_a_pod_when_its_process_dies_then_is_restarted_and_the_restart_is_counted(
    control_plane: ControlPlane, namespace: str, apply: Callable[..., None]
) -> None:
    apply(flags(), stub_pod("one"))
    pod = Watched(control_plane, namespace, "one")
    wait(lambda: pod.ready, "the stub does not become ready")
    with pytest.raises(httpx.HTTPError):
        pod.inside("/control", crash=True)
    wait(lambda: pod.container["restartCount"] == 1 and pod.ready, "the restart is not counted")
    assert pod.container["lastState"]["terminated"]["exitCode"] == 13


def test_a_pod_when_others_wrote_that_it_is_not_ready_then_its_kubelet_says_again_that_it_is(
    control_plane: ControlPlane, namespace: str, apply: Callable[..., None]
) -> None:
    """As the controller of nodes does while a node is late; a real kubelet takes it back as well."""
    apply(flags(), stub_pod("one"))
    pod = Watched(control_plane, namespace, "one")
    wait(lambda: pod.ready and pod.condition("Ready") == "True", "the stub does not become ready")
    pod.declare("Ready", "False")
    wait(lambda: pod.condition("Ready") == "True", "it is still called unready")


def test_a_node_when_others_wrote_that_it_is_not_ready_then_its_kubelet_says_again_that_it_is(
    own_control_plane: ControlPlane,
) -> None:
    patch = json.dumps({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}})
    node = ("node/node-1",)
    own_control_plane.kubectl("patch", *node, "--subresource=status", "--type=strategic", "-p", patch)
    assert not is_ready(own_control_plane.get(*node))
    wait(lambda: is_ready(own_control_plane.get(*node)), "it is still called unready")


def test_a_pod_when_its_secret_is_missing_then_says_which_and_starts_when_it_comes(
    control_plane: ControlPlane, namespace: str, apply: Callable[..., None]
) -> None:
    variable = {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "late", "key": "key"}}}
    apply(flags(), stub_pod("one", env=[variable]))
    pod = Watched(control_plane, namespace, "one")
    wait(lambda: pod.waiting, "the pod tells nothing")
    assert pod.waiting == {"reason": "CreateContainerConfigError", "message": 'secret "late" not found'}
    apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "late"}, "stringData": {"key": "x"}})
    wait(lambda: pod.ready, "the pod does not start when its Secret is there")
    assert pod.container["restartCount"] == 0


@pytest.mark.parametrize("image", ["elsewhere/unknown:1", "memorystack-stub:missing"])
def test_a_pod_when_its_image_is_not_there_then_waits_and_names_it(
    control_plane: ControlPlane, namespace: str, apply: Callable[..., None], image: str
) -> None:
    apply(flags(), stub_pod("one", image=image))
    pod = Watched(control_plane, namespace, "one")
    wait(lambda: pod.waiting, "the pod tells nothing")
    assert pod.waiting["reason"] == "ErrImagePull"
    assert image in pod.waiting["message"]


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """URLs of a vector store and of an embedder of 64 dimensions."""
    with start("qdrant", path=tmp_path) as qdrant, start("embedder", dimensions=64, latency_ms=1) as embedder:
        yield qdrant.url, f"{embedder.url}/v1"


def test_the_runtime_when_rendered_for_a_stack_then_becomes_ready_and_recalls_what_was_stored(
    control_plane: ControlPlane, namespace: str, engines: tuple[str, str]
) -> None:
    """The real one, with the flags of its ConfigMap."""
    spec = {
        "replicas": 1,
        "qdrant": {"url": engines[0]},
        "embedder": {"url": engines[1], "model": "m", "dimensions": 64},
        "auth": {"disabled": True},
    }
    metadata = {"name": "mem", "namespace": namespace, "uid": "00000000-0000-0000-0000-000000000001"}
    stack = MemoryStack.model_validate({"metadata": metadata, "spec": spec})
    now = datetime.now(UTC)
    stable = Stable(revision=revision_of(NEW), features=NEW, template="t1-0", image="memorystack-runtime:1", since=now)
    for child in render(stack, Status(stable=stable)):
        if child["kind"] in {"ConfigMap", "ServiceAccount", "Deployment"}:
            control_plane.apply({**child, "metadata": {k: v for k, v in child["metadata"].items() if "owner" not in k}})
    control_plane.kubectl("rollout", "status", "deployment/mem", "-n", namespace, "--timeout=60s")
    (pod,) = control_plane.get("pods", "-n", namespace)["items"]
    running = Watched(control_plane, namespace, pod["metadata"]["name"])
    assert running.inside("/internal/evidence").json()["flags"] == revision_of(NEW)
    url = f"http://{pod['status']['podIP']}:8080/v1"
    text = "The owl hunts at night."
    with httpx.Client(base_url=url, trust_env=False, timeout=20) as client:
        client.post("/memories", json={"namespace": "me", "text": text}).raise_for_status()
        found = client.post("/recall", json={"namespace": "me", "query": "When does the owl hunt?"}).json()
    assert text in json.dumps(found)
