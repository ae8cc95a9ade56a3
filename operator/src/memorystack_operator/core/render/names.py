"""Names, labels and metadata that all children share. Knows conventions; nothing of any kind."""

from __future__ import annotations

from typing import Any, Final

from memorystack_operator.api.spec import API_VERSION, KIND, MemoryStack

__all__ = [
    "CONFIG_FOLDER",
    "INTERNAL_PORT",
    "PORT",
    "config_name",
    "labels",
    "metadata",
    "pod_selector",
    "stack_selector",
]

PORT: Final = 8080
INTERNAL_PORT: Final = 9090
CONFIG_FOLDER: Final = "/etc/memorystack/config"


def config_name(stack: MemoryStack) -> str:
    """The ConfigMap with flags and budgets."""
    return f"{stack.metadata.name}-flags"


def stack_selector(stack: MemoryStack) -> dict[str, str]:
    """All pods of the stack, whatever Deployment they belong to: for the Service and the disruption budget."""
    return {"app.kubernetes.io/name": "memorystack", "app.kubernetes.io/instance": stack.metadata.name}


def pod_selector(stack: MemoryStack) -> dict[str, str]:
    """Pods of the main Deployment; a selector is immutable, so it never holds the arm."""
    return {**stack_selector(stack), "memorystack.dev/deployment": "main"}


def labels(stack: MemoryStack) -> dict[str, str]:
    """On every child. The parent's own labels are not copied: GitOps tools would take the children for theirs."""
    return {
        **stack_selector(stack),
        "app.kubernetes.io/component": "runtime",
        "app.kubernetes.io/part-of": "memorystack",
        "app.kubernetes.io/managed-by": "memorystack-operator",
    }


def metadata(stack: MemoryStack, name: str) -> dict[str, Any]:
    """Owned by the stack, so that Kubernetes collects it; without blocking the stack's deletion."""
    return {
        "name": name,
        "namespace": stack.metadata.namespace,
        "labels": labels(stack),
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "name": stack.metadata.name,
                "uid": stack.metadata.uid,
                "controller": True,
                "blockOwnerDeletion": False,
            }
        ],
    }
