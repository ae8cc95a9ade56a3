"""The rights that the chart gives the operator are those that it uses: less would stop it, more would be a gift to whoever takes it over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from support.cluster import ControlPlane
from support.operating import Operator, chart_of, grant, serve_the_kind
from support.stacks import EVEN, Stack

Right = tuple[str, str, str]
"""API group, resource with its subresource, verb."""
HOME: Final = "home"
POD_MONITORS: Final[Mapping[str, Any]] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "podmonitors.monitoring.coreos.com"},
    "spec": {
        "group": "monitoring.coreos.com",
        "scope": "Namespaced",
        "names": {
            "plural": "podmonitors",
            "singular": "podmonitor",
            "kind": "PodMonitor",
            "listKind": "PodMonitorList",
        },
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                    }
                },
            }
        ],
    },
}
"""Of the Prometheus operator: just enough to take one."""
SWIFT = ("--surge-seconds", "0.2", "--lease-seconds", "3", "--renew-seconds", "2", "--retry-seconds", "0.3")
EVERYTHING: Final[Mapping[str, Any]] = {
    "qdrant": {"managed": {"storage": "1Gi"}},
    "redis": {"managed": {}},
    "embedder": {"managed": {}},
    "networkPolicy": {"clients": [{"podSelector": {"matchLabels": {"app": "agent"}}}]},
    "podMonitor": {},
}
IN_RACES: Final = {
    ("", "pods", "get"),  # a pod was patched by somebody else at the same moment
    ("memorystack.dev", "memorystacks", "get"),  # so was the status
    ("events.k8s.io", "events", "patch"),  # the same thing is told once more
}
"""Used only when others are quicker, which no test can order: test_faults and the shell's own tests have these."""


def granted(role: Mapping[str, Any]) -> set[Right]:
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def used(plane: ControlPlane, namespace: str) -> set[Right]:
    """By the operator, so far; a server-side apply that makes an object needs the right to create it. A refusal is a failure."""
    found: set[Right] = set()
    for entry in plane.audited(f"system:serviceaccount:{namespace}:operator"):
        about = entry.get("objectRef")
        if about is None:
            continue
        assert entry["responseStatus"]["code"] != 403, entry
        resource = "/".join(filter(None, (about["resource"], about.get("subresource"))))
        made = entry["verb"] == "patch" and entry["responseStatus"]["code"] == 201
        for verb in (entry["verb"], "create") if made else (entry["verb"],):
            found.add((about.get("apiGroup", ""), resource, verb))
    return found


@pytest.fixture
def stack(own_control_plane: ControlPlane, tmp_path: Path) -> Iterator[Stack]:
    """On an API server of its own, which also knows PodMonitors; its audit log tells of this operator alone."""
    plane = own_control_plane
    plane.apply(POD_MONITORS)
    plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd/podmonitors.monitoring.coreos.com")
    serve_the_kind(plane)
    with (
        plane.namespace("mem") as home,
        plane.api() as api,
        Operator(grant(plane, home, "operator"), home, tmp_path, *SWIFT),
    ):
        yield Stack(plane, api, home, "mem", replicas=2)


def tour(stack: Stack) -> None:
    """A life in which everything is asked for once, and given up again."""
    plain = dict(stack.spec)
    stack.apply(**EVERYTHING)
    stack.wait(lambda: stack.child("apis/monitoring.coreos.com/v1/podmonitors/mem"), "there is no PodMonitor")
    own = {**plain["template"], "serviceAccountName": "default"}
    stack.spec = {**plain, "autoscaling": {"minReplicas": 2, "maxReplicas": 3}, "template": own}
    del stack.spec["replicas"]
    stack.apply()
    stack.wait(lambda: stack.child("apis/autoscaling/v2/horizontalpodautoscalers/mem"), "there is no autoscaler")
    stack.wait(lambda: not stack.child("api/v1/serviceaccounts/mem"), "the account stays")
    stack.spec = {**plain, "replicas": 1}
    stack.apply()
    stack.wait_idle()
    with stack.traffic():
        stack.apply(features=EVEN)
        stack.wait(lambda: stack.leased(), "no flag is lent")
        stack.apply(features={})
        stack.wait(lambda: not stack.child("apis/apps/v1/deployments/mem-surge"), "the surge pod stays")
    stack.wait_idle()


def test_the_rights_of_the_chart_when_everything_was_used_then_are_those_and_no_more(stack: Stack) -> None:
    tour(stack)
    rights = {r for body in chart_of(stack.namespace, "operator") if body["kind"] == "Role" for r in granted(body)}
    seen = used(stack.plane, stack.namespace)
    assert rights - seen - IN_RACES == set(), "granted and never used"
    assert seen - rights == set(), "used by everybody's rights"
