"""How Flux, `helm --wait` and others read a resource (cli-utils, pkg/kstatus/status/generic.go). Knows nothing of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["kstatus"]


def kstatus(resource: Mapping[str, Any]) -> str:
    """InProgress, Failed or Current."""
    status = resource.get("status", {})
    found = {c["type"]: c["status"] for c in status.get("conditions", ())}
    if status.get("observedGeneration") != resource["metadata"]["generation"] or found.get("Reconciling") == "True":
        return "InProgress"
    if found.get("Stalled") == "True":
        return "Failed"
    return "Current" if found.get("Ready", "True") == "True" else "InProgress"
