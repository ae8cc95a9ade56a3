"""The runtime's container: its variables, ports, probes and limits of power."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from memorystack_operator.api.fields import SecretKeyRef
from memorystack_operator.api.pods import EnvVar
from memorystack_operator.api.spec import MemoryStack
from memorystack_operator.core.render.names import CONFIG_FOLDER, INTERNAL_PORT, PORT
from memorystack_operator.core.render.parts import BUNDLED_MODEL, url_of
from memorystack_operator.core.render.volumes import CA_FOLDER, KEYS_FOLDER, mounts
from memorystack_runtime.contract import CONFIG_DIR_VARIABLE

__all__ = ["UNPRIVILEGED", "container"]

DRAIN_SECONDS: Final = 10
UNPRIVILEGED: Final[Mapping[str, Any]] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
"""A container's part of Pod Security `restricted`."""


def container(stack: MemoryStack, image: str) -> dict[str, Any]:
    """Meets Pod Security `restricted`; `image` is for a spec that names none."""
    resources = stack.spec.template.resources or {"requests": {"cpu": "100m", "memory": "192Mi"}}
    return {
        "name": "runtime",
        "image": stack.spec.image or image,
        "env": _variables(stack),
        "ports": [
            {"name": "http", "containerPort": PORT, "protocol": "TCP"},
            {"name": "internal", "containerPort": INTERNAL_PORT, "protocol": "TCP"},
        ],
        "startupProbe": {**_probe("/healthz"), "periodSeconds": 1, "failureThreshold": 60},
        "readinessProbe": {**_probe("/readyz"), "periodSeconds": 2, "failureThreshold": 2, "timeoutSeconds": 3},
        "livenessProbe": {**_probe("/healthz"), "periodSeconds": 10, "failureThreshold": 6, "timeoutSeconds": 5},
        # Endpoints forget the pod while it still serves; only then SIGTERM makes it drain.
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
        "securityContext": {**UNPRIVILEGED},
        "resources": {kind: dict(amounts) for kind, amounts in resources.items()},
        "volumeMounts": mounts(stack),
    }


def _variables(stack: MemoryStack) -> list[dict[str, Any]]:
    spec = stack.spec
    found = [
        _plain(CONFIG_DIR_VARIABLE, CONFIG_FOLDER),
        _plain("MEMORYSTACK_QDRANT_URL", spec.qdrant.url or url_of(stack, "qdrant")),
        _plain("MEMORYSTACK_QDRANT_COLLECTION", spec.qdrant.collection),
        _plain("MEMORYSTACK_EMBEDDER_URL", spec.embedder.url or url_of(stack, "embedder")),
        _plain("MEMORYSTACK_EMBEDDER_MODEL", spec.embedder.model or BUNDLED_MODEL),
        _plain("MEMORYSTACK_EMBEDDER_DIMENSIONS", str(spec.embedder.vector_length)),
        _plain("MEMORYSTACK_DRAIN_SECONDS", str(DRAIN_SECONDS)),
        _field("MEMORYSTACK_POD_NAME", "metadata.name"),
        _field("MEMORYSTACK_POD_UID", "metadata.uid"),
    ]
    if spec.redis and spec.redis.url_secret_ref:
        found.append(_secret("MEMORYSTACK_REDIS_URL", spec.redis.url_secret_ref))
    elif spec.redis:
        found.append(_plain("MEMORYSTACK_REDIS_URL", spec.redis.url or url_of(stack, "redis")))
    if spec.qdrant.api_key_secret_ref:
        found.append(_secret("MEMORYSTACK_QDRANT_API_KEY", spec.qdrant.api_key_secret_ref))
    if spec.qdrant.ca_secret_ref:
        found.append(_plain("MEMORYSTACK_QDRANT_CA", f"{CA_FOLDER}/{spec.qdrant.ca_secret_ref.key}"))
    if spec.embedder.api_key_secret_ref:
        found.append(_secret("MEMORYSTACK_EMBEDDER_API_KEY", spec.embedder.api_key_secret_ref))
    if spec.auth.api_keys_secret_ref:
        found.append(_plain("MEMORYSTACK_API_KEYS_FILE", f"{KEYS_FOLDER}/{spec.auth.api_keys_secret_ref.key}"))
    else:
        found.append(_plain("MEMORYSTACK_AUTH_DISABLED", "true"))
    own = {v["name"] for v in found}
    return [*found, *(_further(v) for v in spec.template.env if v.name not in own)]


def _further(variable: EnvVar) -> dict[str, Any]:
    if variable.value_from:
        return _secret(variable.name, variable.value_from.secret_key_ref)
    return _plain(variable.name, variable.value or "")


def _plain(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "value": value}


def _field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _secret(name: str, ref: SecretKeyRef) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": ref.name, "key": ref.key}}}


def _probe(path: str) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": "internal"}}
