"""What may stand around a stack's pods: an autoscaler, network rules, a monitor. Knows fields; nothing of the objects."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator

from memorystack_operator.api.cel import Cel, ruled
from memorystack_operator.api.fields import Label, Model

__all__ = ["Autoscaling", "NetworkRules", "PodMonitorSpec"]

Count = Annotated[int, Field(ge=1, le=1000)]
Peers = Annotated[tuple[dict[str, Any], ...], Field(max_length=16)]


class Autoscaling(Model):
    """A HorizontalPodAutoscaler for the runtime's pods. A canary counts in pods, so it needs at least two."""

    model_config = ruled(
        Cel(
            "!has(self.minReplicas) || self.minReplicas <= self.maxReplicas",
            "minReplicas must not be above maxReplicas",
            ".minReplicas",
        )
    )

    min_replicas: Count = 2
    """Pods at least."""
    max_replicas: Count
    """Pods at most."""
    target_cpu: Annotated[int, Field(ge=1, le=100, alias="targetCPUUtilizationPercentage")] = 70
    """Percentage of the requested CPU that the pods should use on average."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_replicas > self.max_replicas:
            msg = f"minReplicas must not be above maxReplicas: {self.min_replicas} is above {self.max_replicas}"
            raise ValueError(msg)
        return self


class NetworkRules(Model):
    """NetworkPolicies: who may open connections to the stack's pods. What they open themselves is not limited."""

    clients: Peers = ()
    """Who may call the API, as the `from` of a NetworkPolicy; empty: every pod of the stack's namespace."""
    scrapers: Peers = ()
    """Who may read /metrics on the second port, besides the operator."""


class PodMonitorSpec(Model):
    """A PodMonitor of the Prometheus operator. It reads the pods' second port, which is in no Service."""

    interval: Annotated[str, StringConstraints(pattern=r"^([0-9]+(ms|s|m|h))+$", max_length=32)] = "30s"
    """How often the pods are scraped."""
    labels: Annotated[dict[Label, Label], Field(max_length=64)] = {}
    """Labels by which your Prometheus finds it, as release: prometheus."""
