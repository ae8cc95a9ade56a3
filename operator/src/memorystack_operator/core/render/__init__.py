"""Every child of a stack, as manifests: one builder a kind, pure, with deterministic names.

Knows: the resource and its status. Must not know: what is there already. Adding a kind means one file and one line here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from memorystack_operator.api.spec import MemoryStack
from memorystack_operator.core.decision import Child
from memorystack_operator.core.render.autoscaler import autoscaler
from memorystack_operator.core.render.config_map import config_map
from memorystack_operator.core.render.deployment import deployment, second_deployment, template_revision
from memorystack_operator.core.render.disruption_budget import disruption_budget
from memorystack_operator.core.render.managed_embedder import embedder_service, managed_embedder
from memorystack_operator.core.render.managed_qdrant import managed_qdrant, qdrant_service
from memorystack_operator.core.render.managed_redis import managed_redis, redis_service
from memorystack_operator.core.render.network_policy import parts_policy, runtime_policy
from memorystack_operator.core.render.pod_monitor import pod_monitor
from memorystack_operator.core.render.service import service
from memorystack_operator.core.render.service_account import service_account
from memorystack_operator.core.render.surge import surge_deployment
from memorystack_operator.core.status import Status

__all__ = ["CHILDREN", "Builder", "render", "second_deployment", "template_revision"]

Builder = Callable[[MemoryStack, Status], Child | None]

CHILDREN: Final[tuple[Builder, ...]] = (
    service_account,
    config_map,  # before the pods, so that none starts without its flags
    runtime_policy,  # before the pods, so that none is open for a moment
    parts_policy,
    qdrant_service,
    redis_service,
    embedder_service,
    managed_qdrant,
    managed_redis,
    managed_embedder,
    service,
    disruption_budget,
    pod_monitor,
    autoscaler,  # before the Deployment, which leaves its number of pods to it
    deployment,
    surge_deployment,  # the main one comes first, should there be room for one pod only
)


def render(stack: MemoryStack, status: Status) -> tuple[Child, ...]:
    """All children, in the order in which they are applied; None before anything was adopted."""
    if status.stable is None:
        return ()
    return tuple(child for build in CHILDREN if (child := build(stack, status)) is not None)
