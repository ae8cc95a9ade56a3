"""The second Deployment, while a single replica is compared with its pod. Knows the status; nothing of when it is wanted."""

from __future__ import annotations

from memorystack_operator.api.spec import MemoryStack
from memorystack_operator.core.decision import Child
from memorystack_operator.core.render.deployment import second_deployment
from memorystack_operator.core.status import Status

__all__ = ["surge_deployment"]


def surge_deployment(stack: MemoryStack, status: Status) -> Child | None:
    """One pod of the same template, in the same Service, outside any autoscaler."""
    if status.surge is None or not status.surge.runs:
        return None
    return second_deployment(stack, status, 1)
