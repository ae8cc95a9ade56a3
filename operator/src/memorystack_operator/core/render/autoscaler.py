"""The HorizontalPodAutoscaler of the main Deployment, when asked for. The second Deployment is outside of it."""

from __future__ import annotations

from memorystack_operator.api.spec import MemoryStack
from memorystack_operator.core.decision import Child
from memorystack_operator.core.render.names import metadata
from memorystack_operator.core.status import Status

__all__ = ["autoscaler"]


def autoscaler(stack: MemoryStack, status: Status) -> Child | None:
    """By CPU; it stands before the Deployment, so that somebody counts the pods before we stop to."""
    del status
    scaling = stack.spec.autoscaling
    if scaling is None:
        return None
    target = {"type": "Utilization", "averageUtilization": scaling.target_cpu}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(stack, stack.metadata.name),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": stack.metadata.name},
            "minReplicas": scaling.min_replicas,
            "maxReplicas": scaling.max_replicas,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        },
    }
