"""One Qdrant node with a volume, when asked for. The volume outlives the stack: memories are never deleted by us."""

from __future__ import annotations

from typing import Any, Final

from memorystack_operator.api.backends import ManagedQdrant
from memorystack_operator.api.spec import MemoryStack
from memorystack_operator.core.decision import Child
from memorystack_operator.core.render.container import UNPRIVILEGED
from memorystack_operator.core.render.names import metadata, part_name, part_selector
from memorystack_operator.core.render.parts import PORTS, part_pod, part_service
from memorystack_operator.core.status import Status

__all__ = ["managed_qdrant", "qdrant_service"]

USER: Final = 1000
"""Of the image's unprivileged variant."""


def qdrant_service(stack: MemoryStack, status: Status) -> Child | None:
    """Its address."""
    del status
    return part_service(stack, "qdrant") if stack.spec.qdrant.managed else None


def managed_qdrant(stack: MemoryStack, status: Status) -> Child | None:
    """A StatefulSet, since two pods must never open the same volume."""
    del status
    managed = stack.spec.qdrant.managed
    if managed is None:
        return None
    scratch: list[dict[str, Any]] = [{"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}}]
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata(stack, part_name(stack, "qdrant"), "qdrant"),
        "spec": {
            "replicas": 1,
            "serviceName": part_name(stack, "qdrant"),
            "selector": {"matchLabels": part_selector(stack, "qdrant")},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
            "template": part_pod(stack, "qdrant", _container(managed), scratch, user=USER),
            "volumeClaimTemplates": [_claim(managed)],
        },
    }


def _container(managed: ManagedQdrant) -> dict[str, Any]:
    return {
        "name": "qdrant",
        "image": managed.image,
        # The root file system is read-only, and the image marks its first start in its own folder.
        "env": [
            {"name": "QDRANT_INIT_FILE_PATH", "value": "/qdrant/scratch/.qdrant-initialized"},
            {"name": "QDRANT__STORAGE__STORAGE_PATH", "value": "/qdrant/storage"},
            {"name": "QDRANT__STORAGE__SNAPSHOTS_PATH", "value": "/qdrant/scratch/snapshots"},
            {"name": "QDRANT__TELEMETRY_DISABLED", "value": "true"},
        ],
        "ports": [{"name": "qdrant", "containerPort": PORTS["qdrant"], "protocol": "TCP"}],
        "startupProbe": {"httpGet": {"path": "/readyz", "port": "qdrant"}, "periodSeconds": 2, "failureThreshold": 150},
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "qdrant"}, "periodSeconds": 5},
        "livenessProbe": {"httpGet": {"path": "/livez", "port": "qdrant"}, "periodSeconds": 10, "failureThreshold": 6},
        "securityContext": {**UNPRIVILEGED},
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}},
        "volumeMounts": [
            {"name": "storage", "mountPath": "/qdrant/storage"},
            {"name": "scratch", "mountPath": "/qdrant/scratch"},
        ],
    }


def _claim(managed: ManagedQdrant) -> dict[str, Any]:
    named = {"storageClassName": managed.storage_class_name} if managed.storage_class_name else {}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "storage"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": managed.storage}},
            **named,
        },
    }
