"""The chart on a real API server: every object is taken, the roles suffice, and the policy on pods holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.chart import CHART, RELEASE, rendered
from support.cluster import ControlPlane

ACCOUNT = f"{RELEASE}-memorystack-operator"
FOREIGN = {"monitoring.coreos.com/v1"}
"""Kinds of the Prometheus operator: no server of a test serves them."""
OURS = "app.kubernetes.io/managed-by"


def pod(name: str, namespace: str, owner: str = "memorystack-operator") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {OURS: owner, "app": "a"},
            "annotations": {"a": "b", "memorystack.dev/touched": "1"},
        },
        "spec": {"containers": [{"name": "c", "image": "none:1"}], "nodeSelector": {"no": "node"}},
    }


@pytest.fixture
def account(control_plane: ControlPlane, namespace: str) -> Iterator[Path]:
    """A kubeconfig of the operator's account, with the chart's roles and its policy in force for it."""
    found = rendered(namespace=namespace, namespaces=[namespace], crds={"enabled": False})
    wanted = {"ServiceAccount", "Role", "RoleBinding", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    objects = [body for (kind, _, _), body in found.items() if kind in wanted]
    control_plane.apply(*objects)
    try:
        yield control_plane.service_account(namespace, ACCOUNT, make=False)
    finally:
        gone = [o for o in objects if "Admission" in o["kind"]]
        control_plane.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=yaml.safe_dump_all(gone))


def patch(plane: ControlPlane, account: Path, namespace: str, change: dict[str, Any], name: str = "ours") -> str:
    """What is said against it; empty: it was made."""
    words = ["-n", namespace, "patch", "pod", name, "--type=strategic", "-p", json.dumps(change)]
    return plane.kubectl(*words, kubeconfig=account, check=False).stderr


def noted(**notes: str | None) -> dict[str, Any]:
    return {"metadata": {"annotations": notes}}


MARKS = {
    "metadata": {
        "annotations": {
            "memorystack.dev/flags": "{}",
            "memorystack.dev/touched": "2",
            "controller.kubernetes.io/pod-deletion-cost": "100",
        },
        "labels": {"memorystack.dev/arm": "canary"},
    }
}
NO_MARKS = {
    "metadata": {
        "annotations": dict.fromkeys(MARKS["metadata"]["annotations"]),
        "labels": {"memorystack.dev/arm": None},
    }
}
REFUSED = {
    "another annotation": (noted(c="d"), "of a pod's annotations the operator may change only memorystack.dev/flags"),
    "a changed annotation": (noted(a="c"), "of a pod's annotations"),
    "an annotation less": (noted(a=None), "of a pod's annotations"),
    "another label": ({"metadata": {"labels": {"c": "d"}}}, "of a pod's labels the operator may change only"),
    "a changed label": ({"metadata": {"labels": {"app": "c"}}}, "of a pod's labels"),
    "a label less": ({"metadata": {"labels": {"app": None}}}, "of a pod's labels"),
    "another image": ({"spec": {"containers": [{"name": "c", "image": "evil:1"}]}}, "neither a pod's spec"),
    "a deadline": ({"spec": {"activeDeadlineSeconds": 60}}, "neither a pod's spec"),
    "an owner": (
        {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "x"}]}},
        "nor its owners",
    ),
    "a finalizer": ({"metadata": {"finalizers": ["example.com/stay"]}}, "nor its finalizers"),
}


def test_the_policy_when_the_operator_patches_a_pod_then_its_marks_pass_and_everything_else_is_refused(
    control_plane: ControlPlane, namespace: str, account: Path
) -> None:
    control_plane.apply(pod("ours", namespace), pod("theirs", namespace, "somebody"))
    # A policy is in force about a second after it was made, and nothing tells when.
    tries = (patch(control_plane, account, namespace, noted(c=str(n))) for n in range(100))
    assert any("may change only" in said for said in tries), "the policy does not come into force"
    assert patch(control_plane, account, namespace, MARKS) == ""
    assert patch(control_plane, account, namespace, NO_MARKS) == ""
    for what, (change, said) in REFUSED.items():
        assert said in patch(control_plane, account, namespace, change), what
    assert "pods of its stacks" in patch(control_plane, account, namespace, MARKS, name="theirs")
    # Others are not concerned: the policy is about one account.
    assert patch(control_plane, control_plane.kubeconfig, namespace, noted(c="d")) == ""


def test_the_roles_when_asked_then_allow_what_the_operator_does_and_no_secret(
    control_plane: ControlPlane, namespace: str, account: Path
) -> None:
    def may(verb: str, what: str, *where: str) -> bool:
        words = ["auth", "can-i", verb, what, "-n", namespace, *where]
        return control_plane.kubectl(*words, kubeconfig=account, check=False).stdout.strip() == "yes"

    # kubectl asks only about kinds that are served.
    control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CHART.parents[1] / "crds"))
    # Roles are in force a moment after they were made.
    assert any(may("patch", "memorystacks.memorystack.dev", "--subresource=status") for _ in range(50))
    assert not may("patch", "memorystacks.memorystack.dev")
    assert may("patch", "deployments.apps", "--subresource=scale")
    assert may("update", "leases.coordination.k8s.io/memorystack-operator")
    assert not may("update", "leases.coordination.k8s.io/another")
    assert not may("get", "secrets")
    assert not may("create", "pods")
    assert not may("list", "pods", "-A")


@pytest.mark.parametrize("mode", ["cluster", "namespaces"])
def test_every_object_when_sent_to_the_api_server_then_is_taken(
    control_plane: ControlPlane, namespace: str, mode: str
) -> None:
    """Its dry run goes through everything but storage: schema, admission, CEL."""
    more = {"namespaces": [namespace]} if mode == "namespaces" else {}
    found = rendered(
        namespace=namespace,
        replicas=2,
        networkPolicy={"enabled": True},
        metrics={"dashboard": {"enabled": True}},
        **more,
    )
    objects = [body for body in found.values() if body["apiVersion"] not in FOREIGN]
    text = yaml.safe_dump_all(objects)
    words = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-o", "json", "-f", "-"]
    done = control_plane.kubectl(*words, stdin=text)
    assert len(json.loads(done.stdout)["items"]) == len(objects)
    assert "Warning" not in done.stderr


def test_the_operators_pods_when_their_namespace_is_restricted_then_are_allowed(control_plane: ControlPlane) -> None:
    enforced = {"pod-security.kubernetes.io/enforce": "restricted"}
    with control_plane.namespace(**enforced) as name:
        deployment = next(body for (kind, _, _), body in rendered(namespace=name).items() if kind == "Deployment")
        template = deployment["spec"]["template"]
        spec = {**template["spec"], "serviceAccountName": "default"}
        meta = {**template["metadata"], "name": "operator", "namespace": name}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}
        control_plane.kubectl("create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(body))
