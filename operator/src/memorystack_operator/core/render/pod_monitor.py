"""Metrics for the Prometheus operator, when asked for: of pods, since the second port is in no Service."""

from __future__ import annotations

from memorystack_operator.api.spec import MemoryStack
from memorystack_operator.core.decision import Child
from memorystack_operator.core.render.names import metadata, stack_selector
from memorystack_operator.core.status import Status

__all__ = ["pod_monitor"]


def pod_monitor(stack: MemoryStack, status: Status) -> Child | None:
    """Over all pods of the stack, canaries included."""
    del status
    wanted = stack.spec.pod_monitor
    if wanted is None:
        return None
    meta = metadata(stack, stack.metadata.name)
    # The user's labels are what a Prometheus selects monitors by; ours win, as everywhere.
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": {**meta, "labels": {**wanted.labels, **meta["labels"]}},
        "spec": {
            "selector": {"matchLabels": stack_selector(stack)},
            "podMetricsEndpoints": [{"port": "internal", "path": "/metrics", "interval": wanted.interval}],
        },
    }
