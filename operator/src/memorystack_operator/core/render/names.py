"""Names, labels and metadata that all children share. Knows conventions; nothing of any kind."""

from __future__ import annotations

import hashlib
from typing import Any, Final, Literal

from memorystack_operator.api.spec import API_VERSION, KIND, MemoryStack

__all__ = [
    "CONFIG_FOLDER",
    "INTERNAL_PORT",
    "PORT",
    "Part",
    "Which",
    "config_name",
    "labels",
    "metadata",
    "part_name",
    "part_selector",
    "pod_selector",
    "second_name",
    "stack_selector",
]

PORT: Final = 8080
INTERNAL_PORT: Final = 9090
CONFIG_FOLDER: Final = "/etc/memorystack/config"
LONGEST_PART: Final = 52
Which = Literal["main", "canary"]
"""The value of the label memorystack.dev/deployment."""
Part = Literal["qdrant", "redis", "embedder"]
"""What the operator can run beside the pods, so that a first try needs nothing else."""


def config_name(stack: MemoryStack) -> str:
    """The ConfigMap with flags and budgets."""
    return f"{stack.metadata.name}-flags"


def stack_selector(stack: MemoryStack) -> dict[str, str]:
    """All pods of the stack, whatever Deployment they belong to: for the Service and the disruption budget."""
    return {"app.kubernetes.io/name": "memorystack", "app.kubernetes.io/instance": stack.metadata.name}


def pod_selector(stack: MemoryStack, which: Which = "main") -> dict[str, str]:
    """Pods of the main or of the second Deployment; a selector is immutable, so it never holds the arm."""
    return {**stack_selector(stack), "memorystack.dev/deployment": which}


def second_name(stack: MemoryStack) -> str:
    """Of the second Deployment."""
    return f"{stack.metadata.name}-canary"


def part_name(stack: MemoryStack, part: Part) -> str:
    """Of a managed part and of its Service. A StatefulSet's pods carry its name in a label of 63, with 11 more."""
    name = f"{stack.metadata.name}-{part}"
    if len(name) <= LONGEST_PART:
        return name
    mark = hashlib.sha256(stack.metadata.name.encode()).hexdigest()[:6]
    return f"{stack.metadata.name[: LONGEST_PART - len(part) - 8].rstrip('-')}-{mark}-{part}"


def part_selector(stack: MemoryStack, part: Part) -> dict[str, str]:
    """Pods of a managed part. Its own name keeps them out of the stack's Service and of the operator's sight."""
    return {"app.kubernetes.io/name": f"memorystack-{part}", "app.kubernetes.io/instance": stack.metadata.name}


def labels(stack: MemoryStack, part: Part | None = None) -> dict[str, str]:
    """On every child. The parent's own labels are not copied: GitOps tools would take the children for theirs."""
    return {
        **(part_selector(stack, part) if part else stack_selector(stack)),
        "app.kubernetes.io/component": part or "runtime",
        "app.kubernetes.io/part-of": "memorystack",
        "app.kubernetes.io/managed-by": "memorystack-operator",
    }


def metadata(stack: MemoryStack, name: str, part: Part | None = None) -> dict[str, Any]:
    """Owned by the stack, so that Kubernetes collects it; without blocking the stack's deletion."""
    return {
        "name": name,
        "namespace": stack.metadata.namespace,
        "labels": labels(stack, part),
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
