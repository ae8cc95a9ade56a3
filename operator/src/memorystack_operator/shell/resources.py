"""The kinds of objects that the operator reads or writes, and their paths. Adding a child's kind means one line here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from memorystack_operator.api.spec import API_VERSION, KIND

__all__ = ["CHILDREN", "DEPLOYMENTS", "EVENTS", "LEASES", "OURS", "PAGE", "PODS", "STACKS", "Resource", "resource_of"]


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind as the API serves it."""

    api_version: str
    plural: str
    kind: str
    selector: str = ""
    """Label selector of the objects that are watched; empty: all."""

    @property
    def group(self) -> str:
        """Empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """Without the group."""
        return self.api_version.rpartition("/")[2]

    def path(self, namespace: str = "", name: str = "", sub: str = "") -> str:
        """Of one object, or of all (in a namespace)."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"
        where = f"/namespaces/{namespace}" if namespace else ""
        return f"{root}{where}/{self.plural}" + (f"/{name}" if name else "") + (f"/{sub}" if sub else "")


PAGE: Final = 20
"""Objects of a list that are in memory at a time: parsed, each takes 30 KB, and what a start once needed is never given back."""
OURS: Final = "app.kubernetes.io/managed-by=memorystack-operator"
STACKS: Final = Resource(API_VERSION, "memorystacks", KIND)
PODS: Final = Resource("v1", "pods", "Pod", OURS)
DEPLOYMENTS: Final = Resource("apps/v1", "deployments", "Deployment", OURS)
LEASES: Final = Resource("coordination.k8s.io/v1", "leases", "Lease")
EVENTS: Final = Resource("events.k8s.io/v1", "events", "Event")

CHILDREN: Final = (
    Resource("v1", "serviceaccounts", "ServiceAccount", OURS),
    Resource("v1", "configmaps", "ConfigMap", OURS),
    Resource("v1", "services", "Service", OURS),
    Resource("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget", OURS),
    Resource("autoscaling/v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", OURS),
    Resource("networking.k8s.io/v1", "networkpolicies", "NetworkPolicy", OURS),
    Resource("monitoring.coreos.com/v1", "podmonitors", "PodMonitor", OURS),
    Resource("apps/v1", "statefulsets", "StatefulSet", OURS),
    DEPLOYMENTS,
)


def resource_of(api_version: str, kind: str) -> Resource:
    """Of a rendered child. Raises LookupError when the table above lacks its kind."""
    found = next((r for r in CHILDREN if (r.api_version, r.kind) == (api_version, kind)), None)
    if found is None:
        msg = f"{api_version} {kind} is not in shell.resources.CHILDREN: add it there"
        raise LookupError(msg)
    return found
