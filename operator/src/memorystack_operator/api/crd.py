"""The CustomResourceDefinition, made from the models: what `kubectl apply` refuses, and what `kubectl explain` says.

Knows: names, columns and the root of the resource. Must not know: the models' fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import yaml
from pydantic import BaseModel

from memorystack_operator.api.cel import VALIDATIONS, Cel
from memorystack_operator.api.spec import API_VERSION, KIND, MemoryStack, Spec
from memorystack_operator.api.structural import structural

__all__ = ["CRD_FILE", "definition", "definition_yaml"]

GROUP, _, VERSION = API_VERSION.partition("/")
PLURAL: Final = "memorystacks"
CRD_FILE: Final = f"{PLURAL}.{GROUP}.yaml"
NAME_RULE: Final = Cel(
    "self.metadata.name.size() <= 53 && self.metadata.name.matches('^[a-z][-a-z0-9]*$')",
    "metadata.name must begin with a letter, hold only small letters, digits and dashes, and be at most 53 long: children's names begin with it",
)
"""No fieldPath: the API server takes only paths within the schema, and `metadata` has none here."""
COLUMNS: Final[tuple[Mapping[str, Any], ...]] = (
    {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
    {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
    {"name": "Step", "type": "string", "jsonPath": ".status.progress.step"},
    {"name": "Weight", "type": "string", "jsonPath": ".status.progress.weight"},
    {"name": "Canary P95", "type": "string", "jsonPath": ".status.progress.p95"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {"name": "Message", "type": "string", "jsonPath": ".status.message", "priority": 1},
)
HEADER: Final = (
    "# Made by `make generate` from operator/src/memorystack_operator/api: edit the models, not this file.\n"
)


def definition(status: type[BaseModel], *, opaque: frozenset[type[BaseModel]]) -> dict[str, Any]:
    """The whole definition as plain data. `status` is the engine's model; of those in `opaque` no field is told."""
    names = {
        "kind": KIND,
        "listKind": f"{KIND}List",
        "plural": PLURAL,
        "singular": KIND.lower(),
        "shortNames": ["mstack"],
        "categories": ["memory"],
    }
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _root(structural(status, opaque=opaque))},
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "additionalPrinterColumns": [dict(column) for column in COLUMNS],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {"group": GROUP, "names": names, "scope": "Namespaced", "versions": [version]},
    }


def definition_yaml(status: type[BaseModel], *, opaque: frozenset[type[BaseModel]]) -> str:
    """As it stands in `crds/`."""
    return HEADER + yaml.dump(definition(status, opaque=opaque), Dumper=_Plain, sort_keys=False, width=120)


class _Plain(yaml.SafeDumper):
    """Anchors are YAML that hardly anybody reads."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _root(status: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "description": str(MemoryStack.__doc__),
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"Always {API_VERSION}."},
            "kind": {"type": "string", "description": f"Always {KIND}."},
            "metadata": {"type": "object"},
            "spec": structural(Spec),
            # An object that nobody has looked at yet must not look healthy to kstatus.
            "status": {**status, "default": {"observedGeneration": -1}},
        },
        VALIDATIONS: [NAME_RULE.as_json()],
    }
