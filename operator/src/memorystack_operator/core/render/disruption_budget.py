"""How many pods a drain may take at once."""

from __future__ import annotations

from memorystack_operator.api.spec import MemoryStack
from memorystack_operator.core.decision import Child
from memorystack_operator.core.render.names import metadata, stack_selector
from memorystack_operator.core.status import Status

__all__ = ["disruption_budget"]


def disruption_budget(stack: MemoryStack, status: Status) -> Child | None:
    """maxUnavailable, since minAvailable at one replica would block every drain; unhealthy pods may always go."""
    del status
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(stack, stack.metadata.name),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": stack_selector(stack)},
        },
    }
