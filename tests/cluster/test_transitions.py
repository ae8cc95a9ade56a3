"""From one spec to another: whatever a stack was before, its children become those of a stack that was made so at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from support.stacks import Stack

KINDS: Final = "serviceaccounts,configmaps,services,deployments,statefulsets,poddisruptionbudgets,horizontalpodautoscalers,networkpolicies"
SPECS: Final[Mapping[str, Mapping[str, Any]]] = {
    "plain": {},
    "managed": {"qdrant": {"managed": {"storage": "1Gi"}}, "redis": {"managed": {}}, "embedder": {"managed": {}}},
    "autoscaled": {"replicas": None, "autoscaling": {"minReplicas": 2, "maxReplicas": 3}},
    "closed": {
        "networkPolicy": {"clients": [{"podSelector": {"matchLabels": {"app": "agent"}}}]},
        "redis": {"managed": {}},
    },
    "bigger": {"replicas": 3, "auth": {"apiKeysSecretRef": {"name": "keys", "key": "keys"}}},
    "its own": {
        "redis": {"urlSecretRef": {"name": "r", "key": "url"}},
        "template": {
            "serviceAccountName": "default",
            "labels": {"team": "x"},
            "annotations": {"note": "kept"},
            "env": [{"name": "A", "value": "1"}],
            "resources": {"limits": {"memory": "1Gi"}},
        },
    },
    "other budgets": {"rollout": {"budgets": [{"operation": "store", "p95": "400ms"}], "maxErrorPercent": 2}},
}
"""What differs from a plain one. Each field of the spec that reaches a child is in one of them."""
BARE: Final[Mapping[str, Any]] = {
    "image": "memorystack-still:1",
    "replicas": 1,
    "autoscaling": None,
    "qdrant": {"url": "http://qdrant:6333"},
    "redis": None,
    "embedder": {"url": "http://embedder/v1", "model": "m", "dimensions": 64},
    "auth": {"disabled": True},
    "networkPolicy": None,
    "rollout": {},
    "template": {},
}
SET_BY_OTHERS: Final = ("clusterIP", "clusterIPs")


def children(stack: Stack) -> dict[str, Any]:
    """Kind and name -> what we set of it, told as if every stack had the same name."""
    listed = stack.plane.get(KINDS, "-n", stack.namespace, "-l", stack.selector)
    found = json.loads(json.dumps(listed).replace(stack.name, "NAME"))["items"]
    scaled = any(one["kind"] == "HorizontalPodAutoscaler" for one in found)
    return {f"{one['kind']} {one['metadata']['name']}": _set(one, scaled=scaled) for one in found}


def _set(child: Mapping[str, Any], *, scaled: bool) -> dict[str, Any]:
    meta, spec = child["metadata"], dict(child.get("spec") or {})
    ours = {k: v for k, v in (meta.get("annotations") or {}).items() if k.split("/")[0] == "memorystack.dev"}
    ours.pop("memorystack.dev/rendered", None)  # a hash of all this, the real name included
    left = ["replicas"] if scaled and child["kind"] == "Deployment" else []
    kept = {k: v for k, v in spec.items() if k not in (*SET_BY_OTHERS, *left)}
    return {"labels": meta["labels"], "annotations": ours, "spec": kept, "data": child.get("data")}


def become(stack: Stack, name: str) -> None:
    """Made or changed: a field that is None is none of the spec's."""
    spec = {**stack.spec, **BARE, **SPECS[name]}
    stack.spec = {key: value for key, value in spec.items() if value is not None}
    stack.apply()


def test_a_stack_when_its_spec_becomes_another_then_its_children_are_those_of_one_made_so_at_once(
    new_stack: Callable[[], Stack],
) -> None:
    made = {name: new_stack() for name in SPECS}
    for name, stack in made.items():
        become(stack, name)
    for stack in made.values():
        stack.wait(lambda stack=stack: stack.deployment, "its Deployment, the last of its children, does not come")
    fresh = {name: children(stack) for name, stack in made.items()}
    assert len({json.dumps(found, sort_keys=True) for found in fresh.values()}) == len(SPECS)
    walker, there = made["plain"], list(SPECS)
    for name in [*there[1:], *reversed(there[:-1])]:
        become(walker, name)
        walker.wait(lambda name=name: children(walker) == fresh[name], f"it does not become {name}", 60)
