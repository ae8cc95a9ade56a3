"""One Redis without a volume, when asked for: it caches, and nothing else is kept in it."""

from __future__ import annotations

from typing import Any, Final

from memorystack_operator.api.spec import MemoryStack
from memorystack_operator.core.decision import Child
from memorystack_operator.core.render.container import UNPRIVILEGED
from memorystack_operator.core.render.parts import PORTS, part_deployment, part_pod, part_service
from memorystack_operator.core.status import Status

__all__ = ["managed_redis", "redis_service"]

USER: Final = 999
MEMORY: Final = "128mb"


def redis_service(stack: MemoryStack, status: Status) -> Child | None:
    """Its address."""
    del status
    return part_service(stack, "redis") if stack.spec.redis and stack.spec.redis.managed else None


def managed_redis(stack: MemoryStack, status: Status) -> Child | None:
    """Writes nothing to disk, and forgets what was not used for longest."""
    del status
    managed = stack.spec.redis.managed if stack.spec.redis else None
    if managed is None:
        return None
    volumes: list[dict[str, Any]] = [{"name": "data", "emptyDir": {"sizeLimit": "16Mi"}}]
    pod = part_pod(stack, "redis", _container(managed.image), volumes, user=USER)
    return part_deployment(stack, "redis", pod)


def _container(image: str) -> dict[str, Any]:
    args = ["--save", "", "--appendonly", "no", "--maxmemory", MEMORY, "--maxmemory-policy", "allkeys-lru"]
    return {
        "name": "redis",
        "image": image,
        "args": args,
        "ports": [{"name": "redis", "containerPort": PORTS["redis"], "protocol": "TCP"}],
        "readinessProbe": {"tcpSocket": {"port": "redis"}, "periodSeconds": 2},
        "livenessProbe": {"tcpSocket": {"port": "redis"}, "periodSeconds": 10, "failureThreshold": 6},
        "securityContext": {**UNPRIVILEGED},
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
