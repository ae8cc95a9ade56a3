"""A resource that passes the schema and cannot work: a condition names what is wrong, and nobody has to help once it is mended."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from support.cluster import ControlPlane
from support.kstatus import kstatus
from support.operating import Operator, grant
from support.stacks import Stack
from support.up import free_port

from memorystack_runtime.dev import start

SOON = ("--slow-start-seconds", "2")


@pytest.fixture(scope="module")
def operator(served: ControlPlane, home: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """It asks pods early why they do not start."""
    account = grant(served, home, "operator")
    with Operator(account, home, tmp_path_factory.mktemp("operator"), *SOON) as one:
        yield one


def secret(stack: Stack, **data: str) -> None:
    """`<stack>-keys`, made or changed."""
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"{stack.name}-keys"}, "stringData": data}
    stack.plane.kubectl("-n", stack.namespace, "apply", "-f", "-", stdin=yaml.safe_dump(body))


def keys(stack: Stack) -> dict[str, Any]:
    """Part of a spec that needs that Secret."""
    return {"auth": {"apiKeysSecretRef": {"name": f"{stack.name}-keys", "key": "keys"}}}


def variable(stack: Stack) -> dict[str, Any]:
    """Part of a spec that needs it in a variable; the other needs it in a volume."""
    return {"qdrant": {**stack.spec["qdrant"], "apiKeySecretRef": {"name": f"{stack.name}-keys", "key": "keys"}}}


def template(stack: Stack, **fields: Any) -> dict[str, Any]:
    return {"template": {**stack.spec["template"], **fields}}


@dataclass(frozen=True)
class Trouble:
    """What is applied, what is said of it, and what mends it."""

    spec: Callable[[Stack], Mapping[str, Any]]
    reason: str
    words: tuple[str, ...]
    mend: Callable[[Stack], object]
    before: Callable[[Stack], object] = lambda _: None


TROUBLES = {
    "an image that is not there": Trouble(
        lambda _: {"image": "memorystack-stub:missing"},
        "ImageNotPullable",
        ("memorystack-stub:missing", "check spec.image"),
        lambda s: s.apply(image="memorystack-stub:1"),
    ),
    "a Secret that is not there": Trouble(
        variable, "SecretMissing", ('-keys" not found', "create it"), lambda s: secret(s, keys="me:00")
    ),
    "a Secret of a volume that is not there": Trouble(
        keys,
        "PodNotStarting",
        ("volumes", "do the Secrets that the spec names exist?"),
        lambda s: secret(s, keys="me:00"),
    ),
    "a Secret without the key": Trouble(
        variable,
        "SecretMissing",
        ("couldn't find key keys",),
        lambda s: secret(s, keys="me:00"),
        before=lambda s: secret(s, other="x"),
    ),
    "no node that fits": Trouble(
        lambda s: template(s, nodeSelector={"disk": "of-gold"}),
        "Unschedulable",
        ("node", "spec.template"),
        lambda s: s.apply(**template(s, nodeSelector={})),
    ),
    "an account that is not there": Trouble(
        lambda s: template(s, serviceAccountName=f"{s.name}-late"),
        "PodsRefused",
        ("-late", "not found"),
        lambda s: s.kubectl("create", "serviceaccount", f"{s.name}-late"),
    ),
}


@pytest.mark.parametrize("what", TROUBLES)
def test_a_stack_when_it_cannot_work_then_a_condition_names_what_is_wrong_and_it_starts_once_that_is_mended(
    stack: Stack, what: str
) -> None:
    trouble = TROUBLES[what]
    trouble.before(stack)
    stack.apply(**trouble.spec(stack))
    stack.wait(lambda: stack.condition("Stalled").get("reason") == trouble.reason, "the trouble is not named")
    told = stack.condition("Stalled")
    assert all(word in told["message"] for word in trouble.words), told["message"]
    assert kstatus(stack.get()) == "Failed"
    assert stack.condition("Ready")["status"] == "False"
    assert not stack.condition("Reconciling")
    trouble.mend(stack)
    stack.wait_ready(90)
    stack.wait_idle()
    stack.wait(lambda: kstatus(stack.get()) == "Current", "it is still called stalled")
    assert not stack.condition("Stalled")
    assert stack.status["replicas"] == 3


def test_a_stack_when_qdrant_cannot_be_reached_then_says_so_and_is_ready_once_it_can(
    stack: Stack, tmp_path: Path
) -> None:
    """The real runtime, whose readiness names what it waits for."""
    port = free_port()
    with start("embedder", dimensions=64, latency_ms=1) as embedder:
        stack.spec["embedder"] = {"url": f"{embedder.url}/v1", "model": "m", "dimensions": 64}
        stack.spec["template"] = {}
        stack.apply(replicas=1, image="memorystack-runtime:1", qdrant={"url": f"http://127.0.0.1:{port}"})
        stack.wait(lambda: stack.condition("Stalled"), "nothing is said")
        told = stack.condition("Stalled")
        assert told["reason"] == "DependencyDown"
        assert "qdrant" in told["message"]
        assert kstatus(stack.get()) == "Failed"
        with start("qdrant", path=tmp_path, port=port):
            stack.wait_idle()
            stack.wait(lambda: kstatus(stack.get()) == "Current", "it is still called stalled")
            assert sum(p["status"]["containerStatuses"][0]["restartCount"] for p in stack.pods()) == 0


def test_a_running_stack_when_its_new_image_cannot_be_pulled_then_serves_on_and_says_why_it_does_not_change(
    stack: Stack,
) -> None:
    stack.apply()
    stack.wait_idle()
    before = stack.uids()
    with stack.traffic(rate=20) as traffic:
        stack.apply(image="memorystack-stub:missing")
        stack.wait(lambda: stack.condition("Stalled"), "nothing is said")
        assert stack.condition("Stalled")["reason"] == "ImageNotPullable"
        # On a busy machine a pod misses a probe now and then; whether anybody noticed, the traffic says.
        stack.wait(lambda: stack.condition("Ready").get("status") == "True", "it does not serve on")
        assert stack.condition("Stalled")
        assert before <= stack.uids()
        stack.apply(image="memorystack-stub:1")
        stack.wait_idle()
        stack.wait(lambda: kstatus(stack.get()) == "Current", "it is still called stalled")
    stack.wait(lambda: stack.uids() == before, "pods of the image that is not there stay")
    assert all(a.status == 200 for a in traffic.answers)


@pytest.mark.parametrize("kind", ["Service", "Deployment", "ConfigMap"])
def test_an_object_of_the_same_name_when_it_is_somebody_elses_then_is_not_taken_over_and_is_named(
    stack: Stack, api: httpx.Client, kind: str
) -> None:
    path, body = foreign(stack, kind)
    made = api.post(path, json=body)
    assert made.is_success, made.text
    at = f"{path}/{body['metadata']['name']}"
    stack.apply()
    stack.wait(lambda: stack.condition("Stalled"), "nothing is said")
    told = stack.condition("Stalled")
    assert told["reason"] == "ForeignObject"
    assert f"{kind} {body['metadata']['name']} was made by somebody else" in told["message"]
    time.sleep(1)
    now = api.get(at).json()
    for field in ("spec", "data"):
        assert now.get(field) == made.json().get(field), "it was changed"
    assert not now["metadata"].get("ownerReferences")
    assert not [m for m in now["metadata"]["managedFields"] if m["manager"] == "memorystack-operator"]
    api.delete(at, params={"propagationPolicy": "Foreground"}).raise_for_status()
    stack.wait_idle()
    stack.wait(lambda: kstatus(stack.get()) == "Current", "it is still called stalled")
    owners = api.get(at).json()["metadata"]["ownerReferences"]
    assert [o["uid"] for o in owners] == [stack.get()["metadata"]["uid"]]


def foreign(stack: Stack, kind: str) -> tuple[str, dict[str, Any]]:
    """Where it is made, and what it is."""
    labels = {"app": "another"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "memorystack-still:1"}]}}
    kinds: Mapping[str, tuple[str, str, dict[str, Any]]] = {
        "Service": ("api/v1", stack.name, {"spec": {"ports": [{"port": 81}], "selector": labels}}),
        "Deployment": (
            "apis/apps/v1",
            stack.name,
            {"spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": pod}},
        ),
        "ConfigMap": ("api/v1", f"{stack.name}-flags", {"data": {"of": "another"}}),
    }
    group, name, body = kinds[kind]
    path = f"/{group}/namespaces/{stack.namespace}/{kind.lower()}s"
    return path, {"apiVersion": group.split("/", 1)[1], "kind": kind, "metadata": {"name": name}, **body}


DRIFT: Mapping[str, tuple[str, ...]] = {
    "a Service that points elsewhere": (
        "patch", "service/{}", "--type=merge", "-p", '{{"spec":{{"selector":{{"app.kubernetes.io/instance":"x"}}}}}}',
    ),
    "a Deployment that was scaled": ("scale", "deployment/{}", "--replicas=5"),
    "a Deployment of another image": ("set", "image", "deployment/{}", "runtime=memorystack-still:1"),
    "a disruption budget that was deleted": ("delete", "pdb/{}"),
    "flags that were deleted": ("delete", "configmap/{}-flags"),
}  # fmt: skip


@pytest.fixture(scope="module")
def settled(served: ControlPlane, api: httpx.Client, home: str, operator: Operator) -> Stack:
    """One for all that may be done to its children."""
    del operator
    one = Stack(served, api, home, "drift", auth={"apiKeysSecretRef": {"name": "drift-keys", "key": "keys"}})
    secret(one, keys="me:00")
    one.apply()
    one.wait_idle()
    return one


def children(stack: Stack) -> dict[str, Any]:
    """What the operator made: kind and name -> what was set."""
    kinds = "deployments,services,configmaps,poddisruptionbudgets,serviceaccounts"
    found = json.loads(stack.kubectl("get", kinds, "-l", stack.selector, "-o", "json"))["items"]
    return {f"{c['kind']} {c['metadata']['name']}": c.get("spec") or c.get("data") for c in found}


@pytest.mark.parametrize("what", DRIFT)
def test_a_child_when_changed_by_hand_then_is_as_it_was_again(settled: Stack, what: str) -> None:
    before, told = children(settled), settled.events()
    settled.kubectl(*(word.format(settled.name) for word in DRIFT[what]))
    settled.wait(lambda: children(settled) == before, "it is not healed")
    settled.wait_idle()
    assert settled.events() == told


def test_a_secret_when_changed_then_no_pod_restarts(settled: Stack) -> None:
    settled.wait(lambda: len(settled.pods()) == 3, "pods of the test before stay")
    before = settled.uids(), settled.deployment["metadata"]["generation"]
    secret(settled, keys="me:01,you:02")
    time.sleep(4)
    assert (settled.uids(), settled.deployment["metadata"]["generation"]) == before
    assert sum(p["status"]["containerStatuses"][0]["restartCount"] for p in settled.pods()) == 0
