"""The main Deployment. Knows pods' shape; flags and budgets never enter the template."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from memorystack_operator.api.spec import MemoryStack
from memorystack_operator.core.decision import Child
from memorystack_operator.core.render.container import container
from memorystack_operator.core.render.names import labels, metadata, pod_selector
from memorystack_operator.core.render.volumes import volumes
from memorystack_operator.core.state import Status

__all__ = ["deployment", "template_revision"]

GRACE_SECONDS: Final = 30
_SPREAD: Final = ("topology.kubernetes.io/zone", "kubernetes.io/hostname")


def deployment(stack: MemoryStack, status: Status) -> Child | None:
    """Rolls over without ever having fewer pods than asked for."""
    del status
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(stack, stack.metadata.name),
        "spec": {
            "replicas": stack.spec.replicas,
            "selector": {"matchLabels": pod_selector(stack)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": _template(stack),
        },
    }


def template_revision(stack: MemoryStack) -> str:
    """Hash of the pod template: another value means that pods are replaced."""
    text = json.dumps(_template(stack), sort_keys=True, separators=(",", ":"))
    return f"t1-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _template(stack: MemoryStack) -> dict[str, Any]:
    wanted = stack.spec.template
    # Our own labels win: selectors and the canary depend on them.
    own = {**wanted.labels, **labels(stack), **pod_selector(stack)}
    meta: dict[str, Any] = {"labels": own}
    if wanted.annotations:
        meta["annotations"] = dict(wanted.annotations)
    return {"metadata": meta, "spec": _pod(stack)}


def _pod(stack: MemoryStack) -> dict[str, Any]:
    wanted = stack.spec.template
    pod: dict[str, Any] = {
        "serviceAccountName": wanted.service_account_name or stack.metadata.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [_spread(stack, key) for key in _SPREAD],
        "containers": [container(stack)],
        "volumes": volumes(stack),
    }
    if wanted.node_selector:
        pod["nodeSelector"] = dict(wanted.node_selector)
    return pod


def _spread(stack: MemoryStack, key: str) -> dict[str, Any]:
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": pod_selector(stack)},
    }
