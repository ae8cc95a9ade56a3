"""What managed parts share: their address, their Service, and the shape of their one pod.

Knows: conventions of Qdrant, Redis and the embedder alike. Must not know: what any of them is told at its start.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from memorystack_operator.api.spec import MemoryStack
from memorystack_operator.core.decision import Child
from memorystack_operator.core.render.names import Part, labels, metadata, part_name, part_selector
from memorystack_operator.core.render.placement import pod_security, pull_secrets

__all__ = ["BUNDLED_MODEL", "PORTS", "part_deployment", "part_pod", "part_service", "url_of"]

PORTS: Final[Mapping[Part, int]] = {"qdrant": 6333, "redis": 6379, "embedder": 8080}
BUNDLED_MODEL: Final = "memorystack-hashed"
_URLS: Final[Mapping[Part, str]] = {
    "qdrant": "http://{host}:6333",
    "redis": "redis://{host}:6379/0",
    "embedder": "http://{host}:8080/v1",
}


def url_of(stack: MemoryStack, part: Part) -> str:
    """Where the runtime finds it, by the name of its Service."""
    return _URLS[part].format(host=f"{part_name(stack, part)}.{stack.metadata.namespace}")


def part_service(stack: MemoryStack, part: Part) -> Child:
    """Its address within the cluster."""
    port = {"name": part, "port": PORTS[part], "targetPort": part, "protocol": "TCP"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(stack, part_name(stack, part), part),
        "spec": {"selector": part_selector(stack, part), "ports": [port]},
    }


def part_deployment(stack: MemoryStack, part: Part, pod: Mapping[str, Any]) -> Child:
    """One pod without a volume: what it held may be lost with it."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(stack, part_name(stack, part), part),
        "spec": {"replicas": 1, "selector": {"matchLabels": part_selector(stack, part)}, "template": pod},
    }


def part_pod(
    stack: MemoryStack, part: Part, container: Mapping[str, Any], volumes: list[dict[str, Any]], *, user: int
) -> dict[str, Any]:
    """A pod template with that one container, run as `user`; meets Pod Security `restricted`."""
    return {
        "metadata": {"labels": labels(stack, part)},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 30,
            "securityContext": pod_security(user),
            "containers": [container],
            "volumes": volumes,
            **pull_secrets(stack),
        },
    }
