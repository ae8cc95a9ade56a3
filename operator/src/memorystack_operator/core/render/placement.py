"""Where a pod may run, and as whom. Knows the template's wishes; nothing of containers."""

from __future__ import annotations

from typing import Any

from memorystack_operator.api.spec import MemoryStack

__all__ = ["placement", "pod_security", "pull_secrets"]


def pod_security(user: int) -> dict[str, Any]:
    """A pod's part of Pod Security `restricted`, as user and group `user`."""
    return {
        "runAsNonRoot": True,
        "runAsUser": user,
        "runAsGroup": user,
        "fsGroup": user,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def placement(stack: MemoryStack) -> dict[str, Any]:
    """Fields of the runtime's pods that are there only when somebody asked for them."""
    wanted = stack.spec.template
    found: dict[str, Any] = pull_secrets(stack)
    if wanted.node_selector:
        found["nodeSelector"] = dict(wanted.node_selector)
    if wanted.tolerations:
        found["tolerations"] = [t.model_dump(by_alias=True, exclude_none=True) for t in wanted.tolerations]
    if wanted.affinity:
        found["affinity"] = wanted.affinity.model_dump(by_alias=True, exclude_none=True)
    return found


def pull_secrets(stack: MemoryStack) -> dict[str, Any]:
    """For every pod, those of managed parts too."""
    names = [{"name": secret.name} for secret in stack.spec.template.image_pull_secrets]
    return {"imagePullSecrets": names} if names else {}
