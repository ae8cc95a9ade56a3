"""What a stack asks for that one machine has not, each in one line for `memorystack up`. Knows the spec alone."""

from __future__ import annotations

from memorystack_operator.api import Spec

__all__ = ["missing_here"]


def missing_here(spec: Spec) -> list[str]:
    """Nothing of this changes what is judged."""
    found = []
    if spec.autoscaling:
        least = spec.autoscaling.min_replicas
        found.append(f"autoscaling nothing scales on one machine: minReplicas, {least} pods, run")
    if spec.network_policy:
        found.append("networkPolicy has no effect on one machine")
    if spec.pod_monitor:
        found.append("podMonitor has no effect on one machine: each pod's /metrics is on its second port")
    if spec.template.tolerations or spec.template.affinity or spec.template.node_selector:
        found.append("template   nodeSelector, tolerations and affinity have no effect on one machine")
    return found
