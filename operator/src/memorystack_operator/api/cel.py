"""A static rule's twin in CEL: what the API server asks before it stores a resource, beside the check that Python makes.

Knows: the shape of `x-kubernetes-validations`. Must not know: any field.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

__all__ = ["VALIDATIONS", "Cel", "Checked", "listed", "ruled", "validations"]

VALIDATIONS: Final = "x-kubernetes-validations"


@dataclass(frozen=True, slots=True)
class Cel:
    """One rule of an object: `rule` in CEL over `self`, and the sentence of its refusal.

    `field` names the field that the refusal points at, as `.replicas`; empty: the object itself.
    """

    rule: str
    message: str
    field: str = ""

    def as_json(self) -> dict[str, str]:
        """As the API server reads it."""
        shown = {"fieldPath": self.field} if self.field else {}
        return {"rule": self.rule, "message": self.message, **shown, "reason": "FieldValueInvalid"}


def validations(*rules: Cel) -> dict[str, Any]:
    """For a field's or a model's `json_schema_extra`."""
    return {VALIDATIONS: [rule.as_json() for rule in rules]}


def ruled(*rules: Cel) -> ConfigDict:
    """The `model_config` of a model with these rules; its validators are their twins."""
    return ConfigDict(json_schema_extra=validations(*rules))


def listed(kind: Literal["map", "set"], *keys: str) -> dict[str, Any]:
    """A list without repeats, for `json_schema_extra`: of values (set), or of objects that differ in `keys` (map)."""
    found: dict[str, Any] = {"x-kubernetes-list-type": kind}
    return {**found, "x-kubernetes-list-map-keys": list(keys)} if keys else found


@dataclass(frozen=True, slots=True)
class Checked:
    """Annotates a value with one rule: the check in Python (value in, value out, or ValueError), and the same in CEL."""

    check: Callable[[Any], Any]
    cel: Cel

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        found = handler(schema)
        return {**found, VALIDATIONS: [*found.get(VALIDATIONS, []), self.cel.as_json()]}
