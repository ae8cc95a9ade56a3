"""The bundled embedder, when asked for: hashed words, so that a first try needs nothing else."""

from __future__ import annotations

from typing import Any, Final

from memorystack_operator.api.backends import ManagedEmbedder
from memorystack_operator.api.spec import MemoryStack
from memorystack_operator.core.decision import Child
from memorystack_operator.core.render.container import UNPRIVILEGED
from memorystack_operator.core.render.parts import PORTS, part_deployment, part_pod, part_service
from memorystack_operator.core.status import Status

__all__ = ["embedder_service", "managed_embedder"]

USER: Final = 10001


def embedder_service(stack: MemoryStack, status: Status) -> Child | None:
    """Its address."""
    del status
    return part_service(stack, "embedder") if stack.spec.embedder.managed else None


def managed_embedder(stack: MemoryStack, status: Status) -> Child | None:
    """Needs no volume: the vectors follow from the words."""
    managed = stack.spec.embedder.managed
    if managed is None:
        return None
    image = managed.image or stack.spec.image or (status.stable.image if status.stable else "")
    return part_deployment(stack, "embedder", part_pod(stack, "embedder", _container(managed, image), [], user=USER))


def _container(managed: ManagedEmbedder, image: str) -> dict[str, Any]:
    probe = {"httpGet": {"path": "/healthz", "port": "embedder"}}
    address = ["--host", "0.0.0.0", "--port", str(PORTS["embedder"])]  # noqa: S104 -- a pod's own address
    speed = ["--latency-ms", "0", "--item-latency-ms", "0"]
    return {
        "name": "embedder",
        "image": image,
        "command": ["python", "-m", "memorystack_runtime.dev.embedder"],
        "args": [*address, "--dimensions", str(managed.dimensions), *speed],
        "ports": [{"name": "embedder", "containerPort": PORTS["embedder"], "protocol": "TCP"}],
        "startupProbe": {**probe, "periodSeconds": 1, "failureThreshold": 60},
        "readinessProbe": {**probe, "periodSeconds": 2},
        "livenessProbe": {**probe, "periodSeconds": 10, "failureThreshold": 6},
        "securityContext": {**UNPRIVILEGED},
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
    }
