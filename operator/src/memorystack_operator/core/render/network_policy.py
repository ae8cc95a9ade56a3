"""Who may open connections to a stack's pods, when asked for. Knows ports and peers; what pods open themselves is free."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from memorystack_operator.api.spec import MemoryStack
from memorystack_operator.core.decision import Child
from memorystack_operator.core.render.names import Part, metadata, stack_selector
from memorystack_operator.core.status import Status

__all__ = ["parts_policy", "runtime_policy"]

SAME_NAMESPACE: Final[Sequence[dict[str, Any]]] = ({"podSelector": {}},)
OPERATOR: Final[dict[str, Any]] = {
    "namespaceSelector": {},
    "podSelector": {"matchLabels": {"app.kubernetes.io/name": "memorystack-operator"}},
}
"""Wherever the operator runs: it reads every pod's evidence."""


def runtime_policy(stack: MemoryStack, status: Status) -> Child | None:
    """The API for clients, the second port for the operator and for whoever scrapes."""
    del status
    rules = stack.spec.network_policy
    if rules is None:
        return None
    ingress = [
        {"from": list(rules.clients or SAME_NAMESPACE), "ports": [_port("http")]},
        {"from": [OPERATOR, *rules.scrapers], "ports": [_port("internal")]},
    ]
    return _policy(stack, stack.metadata.name, {"matchLabels": stack_selector(stack)}, ingress)


def parts_policy(stack: MemoryStack, status: Status) -> Child | None:
    """Managed parts answer the stack's own pods alone."""
    del status
    parts = _managed(stack)
    if stack.spec.network_policy is None or not parts:
        return None
    names = {"key": "app.kubernetes.io/name", "operator": "In", "values": [f"memorystack-{part}" for part in parts]}
    selector = {"matchLabels": {"app.kubernetes.io/instance": stack.metadata.name}, "matchExpressions": [names]}
    ingress = [{"from": [{"podSelector": {"matchLabels": stack_selector(stack)}}]}]
    return _policy(stack, f"{stack.metadata.name}-parts", selector, ingress)


def _managed(stack: MemoryStack) -> list[Part]:
    spec = stack.spec
    asked: list[tuple[Part, object]] = [
        ("qdrant", spec.qdrant.managed),
        ("redis", spec.redis and spec.redis.managed),
        ("embedder", spec.embedder.managed),
    ]
    return [part for part, managed in asked if managed]


def _policy(stack: MemoryStack, name: str, selector: dict[str, Any], ingress: list[dict[str, Any]]) -> Child:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(stack, name),
        "spec": {"podSelector": selector, "policyTypes": ["Ingress"], "ingress": ingress},
    }


def _port(name: str) -> dict[str, Any]:
    return {"port": name, "protocol": "TCP"}
