"""The Deployments of the runtime. Knows pods' shape; flags and budgets never enter the template."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from memorystack_operator.api.spec import MemoryStack
from memorystack_operator.core.decision import Child
from memorystack_operator.core.render.container import container
from memorystack_operator.core.render.names import Which, labels, metadata, pod_selector, second_name
from memorystack_operator.core.render.placement import placement, pod_security
from memorystack_operator.core.render.volumes import volumes
from memorystack_operator.core.status import Status

__all__ = ["deployment", "second_deployment", "template_revision"]

GRACE_SECONDS: Final = 30
USER: Final = 10001
_SPREAD: Final = ("topology.kubernetes.io/zone", "kubernetes.io/hostname")


def deployment(stack: MemoryStack, status: Status) -> Child | None:
    """The main one. Rolls over without ever having fewer pods than asked for; an autoscaler owns the number of pods."""
    counted = {} if stack.spec.autoscaling else {"replicas": stack.spec.replicas}
    return _deployment(stack, stack.metadata.name, "main", status, counted)


def second_deployment(stack: MemoryStack, status: Status, replicas: int) -> Child:
    """`<name>-canary`, outside any autoscaler: pods of the same template beside the main ones, in the same Service."""
    return _deployment(stack, second_name(stack), "canary", status, {"replicas": replicas})


def template_revision(stack: MemoryStack, image: str) -> str:
    """Hash of the pod template: another value means that pods are replaced. `image` is for a spec that names none."""
    text = json.dumps(_template(stack, "main", image), sort_keys=True, separators=(",", ":"))
    return f"t1-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _deployment(stack: MemoryStack, name: str, which: Which, status: Status, counted: dict[str, Any]) -> Child:
    image = status.stable.image if status.stable else ""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(stack, name),
        "spec": {
            **counted,
            "selector": {"matchLabels": pod_selector(stack, which)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": _template(stack, which, image),
        },
    }


def _template(stack: MemoryStack, which: Which, image: str) -> dict[str, Any]:
    wanted = stack.spec.template
    # Our own labels win: selectors and the canary depend on them.
    own = {**wanted.labels, **labels(stack), **pod_selector(stack, which)}
    meta: dict[str, Any] = {"labels": own}
    if wanted.annotations:
        meta["annotations"] = dict(wanted.annotations)
    return {"metadata": meta, "spec": _pod(stack, which, image)}


def _pod(stack: MemoryStack, which: Which, image: str) -> dict[str, Any]:
    wanted = stack.spec.template
    return {
        "serviceAccountName": wanted.service_account_name or stack.metadata.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": pod_security(USER),
        "topologySpreadConstraints": [_spread(stack, which, key) for key in _SPREAD],
        "containers": [container(stack, image)],
        "volumes": volumes(stack),
        **placement(stack),
    }


def _spread(stack: MemoryStack, which: Which, key: str) -> dict[str, Any]:
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": pod_selector(stack, which)},
    }
