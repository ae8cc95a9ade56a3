"""What is mounted into a pod: flags, budgets and the lease in one projected volume, secrets, and a place for temporary files."""

from __future__ import annotations

from typing import Any, Final

from memorystack_operator.api.spec import MemoryStack
from memorystack_operator.core.render.names import CONFIG_FOLDER, config_name
from memorystack_runtime.contract import ANNOTATION_FLAGS, BUDGETS_FILE, FLAGS_FILE, LEASE_FILE

__all__ = ["CA_FOLDER", "KEYS_FOLDER", "mounts", "volumes"]

KEYS_FOLDER: Final = "/etc/memorystack/keys"
CA_FOLDER: Final = "/etc/memorystack/qdrant-ca"


def volumes(stack: MemoryStack) -> list[dict[str, Any]]:
    """One volume for flags and lease together, so that both arrive at once; never subPath, which is not refreshed."""
    sources: list[dict[str, Any]] = [
        {
            "configMap": {
                "name": config_name(stack),
                "optional": True,
                "items": [{"key": name, "path": name} for name in (FLAGS_FILE, BUDGETS_FILE)],
            }
        },
        {
            "downwardAPI": {
                "items": [
                    {"path": LEASE_FILE, "fieldRef": {"fieldPath": f"metadata.annotations['{ANNOTATION_FLAGS}']"}}
                ]
            }
        },
    ]
    found: list[dict[str, Any]] = [
        {"name": "config", "projected": {"sources": sources}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
    ]
    keys, ca = stack.spec.auth.api_keys_secret_ref, stack.spec.qdrant.ca_secret_ref
    if keys:
        found.append({"name": "keys", "secret": _secret(keys.name, keys.key)})
    if ca:
        found.append({"name": "qdrant-ca", "secret": _secret(ca.name, ca.key)})
    return found


def mounts(stack: MemoryStack) -> list[dict[str, Any]]:
    """Where they are mounted."""
    found: list[dict[str, Any]] = [
        {"name": "config", "mountPath": CONFIG_FOLDER, "readOnly": True},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 -- the pod's own
    ]
    if stack.spec.auth.api_keys_secret_ref:
        found.append({"name": "keys", "mountPath": KEYS_FOLDER, "readOnly": True})
    if stack.spec.qdrant.ca_secret_ref:
        found.append({"name": "qdrant-ca", "mountPath": CA_FOLDER, "readOnly": True})
    return found


def _secret(name: str, key: str) -> dict[str, Any]:
    return {"secretName": name, "items": [{"key": key, "path": key}], "defaultMode": 0o440}
