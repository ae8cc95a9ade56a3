"""The definition of the kind on an API server, and an account that may what the chart says. Knows kubectl and the chart."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.chart import rendered
from support.cluster import ControlPlane

__all__ = ["chart_of", "grant", "serve_the_kind"]

PATIENCE_SECONDS = 60.0
RIGHTS = {"ServiceAccount", "Role", "RoleBinding", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
CRDS = Path(__file__).parents[2] / "crds"


def serve_the_kind(plane: ControlPlane) -> None:
    """As often as one likes, also by several test workers at once."""
    plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    end = time.monotonic() + PATIENCE_SECONDS
    # kubectl wait ends with an error where the definition has no conditions yet (measured).
    while not _established(plane):
        assert time.monotonic() < end, "the kind is not served"
        time.sleep(0.1)


def _established(plane: ControlPlane) -> bool:
    status = plane.get("crd", "memorystacks.memorystack.dev").get("status") or {}
    return any(c["type"] == "Established" and c["status"] == "True" for c in status.get("conditions") or ())


def chart_of(namespace: str, account: str) -> list[Mapping[str, Any]]:
    """The chart's account, roles and policy for an operator that serves this namespace alone."""
    found = rendered(namespace=namespace, namespaces=[namespace], fullnameOverride=account, crds={"enabled": False})
    return [body for (kind, _, _), body in found.items() if kind in RIGHTS]


def grant(plane: ControlPlane, namespace: str, account: str) -> Path:
    """What the operator may do by its chart, and nothing else; a kubeconfig of the account that may."""
    plane.apply(*chart_of(namespace, account))
    return plane.service_account(namespace, account, make=False)
