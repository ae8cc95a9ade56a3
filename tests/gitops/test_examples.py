"""examples/gitops on a real API server: kustomize builds each environment, the server takes it, and Flux' expressions hold."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml
from support.cluster import ControlPlane
from support.stories import STORIES, resource

from memorystack_operator.api import API_VERSION, KIND, MemoryStack

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "gitops"
ENVIRONMENTS = ("dev", "staging", "production")
FLUX: Final = {"Progressing": "InProgress", "Suspended": "Current", "Healthy": "Current", "Degraded": "Failed"}
"""What Argo CD shows -> what Flux shows, as docs/gitops.md has it."""
ORDER: Final = ("InProgress", "Failed", "Current")
"""Flux asks in this order, after it has compared the generations (RFC 0009)."""
PROMISED: Final = "InProgress"
"""What it says when no expression holds."""


@pytest.fixture
def served(control_plane: ControlPlane) -> ControlPlane:
    """With our definition."""
    control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
    control_plane.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(ROOT / "crds"))
    return control_plane


def built(plane: ControlPlane, environment: str) -> dict[str, dict[str, Any]]:
    text = plane.kubectl("kustomize", str(EXAMPLES / "overlays" / environment)).stdout
    return {o["kind"]: o for o in yaml.safe_load_all(text)}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_environment_when_built_then_the_server_and_the_operator_take_it(
    served: ControlPlane, namespace: str, environment: str
) -> None:
    made = built(served, environment)
    assert set(made) == {"Namespace", KIND}
    stack = made[KIND]
    assert made["Namespace"]["metadata"]["name"] == stack["metadata"]["namespace"] == f"memory-{environment}"
    assert MemoryStack.model_validate(stack).spec.rollout.budgets
    stack["metadata"]["namespace"] = namespace
    words = ["apply", "--server-side", "--dry-run=server", "-o", "json", "-f", "-"]
    done = served.kubectl(*words, stdin=yaml.safe_dump(stack))
    assert json.loads(done.stdout)["spec"]["replicas"] == stack["spec"]["replicas"]
    assert "Warning" not in done.stderr


def test_the_flags_when_looked_for_then_stand_in_the_overlays_alone() -> None:
    base = yaml.safe_load((EXAMPLES / "base" / "memorystack.yaml").read_text())
    assert set(base["spec"]) == {"rollout"}


def test_the_applications_when_read_then_name_paths_that_exist_and_our_kind() -> None:
    application = yaml.safe_load((EXAMPLES / "argocd" / "application.yaml").read_text())
    source, kustomization = yaml.safe_load_all((EXAMPLES / "flux" / "kustomization.yaml").read_text())
    for path in (application["spec"]["source"]["path"], kustomization["spec"]["path"]):
        assert (ROOT / path / "kustomization.yaml").is_file()
    assert kustomization["spec"]["sourceRef"]["name"] == source["metadata"]["name"]
    (check,) = kustomization["spec"]["healthCheckExprs"]
    assert (check["apiVersion"], check["kind"]) == (API_VERSION, KIND)


def policy(name: str, namespace: str) -> list[dict[str, Any]]:
    """Warns for each of Flux' expressions that does not hold for a status that is written."""
    checks = yaml.safe_load_all((EXAMPLES / "flux" / "kustomization.yaml").read_text())
    (check,) = next(c for c in checks if c["kind"] == "Kustomization")["spec"]["healthCheckExprs"]
    group, _, version = API_VERSION.partition("/")
    rule = {
        "apiGroups": [group],
        "apiVersions": [version],
        "operations": ["UPDATE"],
        "resources": ["memorystacks/status"],
    }
    validations = [
        {"expression": re.sub(r"(?<![\w.])status\.", "object.status.", check[key]), "message": said}
        for key, said in (("inProgress", "InProgress"), ("failed", "Failed"), ("current", "Current"))
    ]
    api = "admissionregistration.k8s.io/v1"
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [rule]},
        "matchConditions": [{"name": "here", "expression": f"request.namespace == '{namespace}'"}],
        "validations": validations,
    }
    return [
        {"apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name}, "spec": spec},
        {
            "apiVersion": api,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Warn"]},
        },
    ]


@pytest.fixture
def asked(served: ControlPlane, namespace: str) -> Iterator[httpx.Client]:
    """The API, with Flux' expressions in force for statuses of the namespace."""
    objects = policy(f"flux-{namespace}", namespace)
    served.apply(*objects)
    try:
        with served.api() as api:
            yield api
    finally:
        served.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=yaml.safe_dump_all(objects))


def holds(api: httpx.Client, namespace: str, stack: dict[str, Any], status: dict[str, Any]) -> list[str]:
    """Which of Flux' expressions hold for that status, by the API server's CEL."""
    path = f"/apis/{API_VERSION}/namespaces/{namespace}/memorystacks/{stack['metadata']['name']}/status"
    answer = api.put(path, params={"dryRun": "All"}, json={**stack, "status": status})
    answer.raise_for_status()
    said = " ".join(answer.headers.get_list("warning"))
    return [name for name in ORDER if f": {name}" not in said]


def test_flux_when_a_stack_is_so_then_shows_it(asked: httpx.Client, namespace: str) -> None:
    body = resource("all is well")
    meta = {"name": "mem", "namespace": namespace}
    made = {"apiVersion": API_VERSION, "kind": KIND, "metadata": meta, "spec": body["spec"]}
    stack = asked.post(f"/apis/{API_VERSION}/namespaces/{namespace}/memorystacks", json=made).raise_for_status().json()
    end = time.monotonic() + 30
    while holds(asked, namespace, stack, {"observedGeneration": 1}):  # no condition: nothing holds
        assert time.monotonic() < end, "the policy does not come into force"
        time.sleep(0.1)
    shown = {}
    for name in STORIES:
        told = resource(name)
        seen = told["status"]["observedGeneration"] == told["metadata"]["generation"]
        found = holds(asked, namespace, stack, told["status"])
        shown[name] = found[0] if seen and found else PROMISED
    assert shown == {name: FLUX[story.shown] for name, story in STORIES.items()}
