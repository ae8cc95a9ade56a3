"""From a pydantic model to a structural schema: what an API server accepts in a CustomResourceDefinition.

Knows: pydantic's JSON schema and the API server's subset of it. Must not know: which resource it is for.
Refuses (TypeError, naming the path) what has no structural form, rather than publishing half a schema.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from memorystack_operator.api.durations import format_duration

__all__ = ["field_docs", "structural"]

Schema = dict[str, Any]
KEPT: Final = frozenset(
    {"type", "format", "pattern", "enum", "minimum", "maximum"}
    | {"minLength", "maxLength", "minItems", "maxItems", "maxProperties", "minProperties"}
    | {"x-kubernetes-validations", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"}
    | {"x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields"}
)
TREATED: Final = frozenset(
    {"$ref", "anyOf", "const", "properties", "required", "items", "additionalProperties", "propertyNames"}
    | {"title", "description", "default"}
)
UNKNOWN: Final = "x-kubernetes-preserve-unknown-fields"


def structural(model: type[BaseModel], *, opaque: frozenset[type[BaseModel]] = frozenset()) -> Schema:
    """The schema of one model, without references, each field with its description.

    A root that ignores unknown fields is a record that we write ourselves: an older definition must neither cut nor
    refuse a newer one, so it keeps unknown fields and requires nothing. Of a model in `opaque` no field is told.
    """
    return _Making(model, opaque).of(model)


class _Making:
    def __init__(self, root: type[BaseModel], opaque: frozenset[type[BaseModel]]) -> None:
        raw = root.model_json_schema(by_alias=True, mode="validation")
        self._raw: Mapping[str, Schema] = {root.__name__: raw, **raw.get("$defs", {})}
        self._models = {m.__name__: m for m in _models(root)}
        self._opaque = opaque
        self._lenient = root.model_config.get("extra") == "ignore"

    def of(self, model: type[BaseModel]) -> Schema:
        """An object's schema."""
        about = inspect.cleandoc(model.__doc__ or "")
        if model in self._opaque:
            return {"type": "object", "description": about, UNKNOWN: True}
        raw = self._raw[model.__name__]
        docs = field_docs(model)
        found: Schema = {"type": "object", "description": about, "properties": {}}
        for name, field in model.model_fields.items():
            alias = field.alias or name
            made = self._node(raw["properties"][alias], f"{model.__name__}.{alias}")
            default = None if self._lenient else _scalar(field.default)
            text = {"description": docs[name]} if name in docs else {}
            found["properties"][alias] = text | made | text | ({} if default is None else {"default": default})
        if self._lenient:
            return found | {UNKNOWN: True}
        return found | {key: raw[key] for key in ("required", "x-kubernetes-validations") if key in raw}

    def _node(self, node: Schema, path: str) -> Schema:
        foreign = set(node) - KEPT - TREATED  # prefixItems, oneOf, exclusiveMinimum ...
        if foreign:
            msg = f"{path}: {', '.join(sorted(foreign))} has no structural form: write the field's type another way"
            raise TypeError(msg)
        if "$ref" in node:
            return self._named(str(node["$ref"]).rpartition("/")[2], path)
        if "anyOf" in node:
            # A null is dropped by the API server, so "may be null" and "may be left out" are the same.
            kinds = [n for n in node["anyOf"] if n != {"type": "null"}]
            if len(kinds) != 1:
                msg = f"{path}: a union has no structural form: write the field's type another way"
                raise TypeError(msg)
            return self._node(kinds[0], path) | {k: v for k, v in node.items() if k in KEPT}
        found = {key: value for key, value in node.items() if key in KEPT - ({"enum"} if self._lenient else set())}
        if "const" in node and not self._lenient:
            found["enum"] = [node["const"]]
        if node.get("type") == "integer":
            found["format"] = "int64"
        if node.get("type") == "array":
            found["items"] = _item(self._node(node["items"], f"{path}[]"), found.get("x-kubernetes-list-map-keys"))
        if node.get("additionalProperties") is True:
            found[UNKNOWN] = True  # any object: whoever it is handed to checks it
        if isinstance(node.get("additionalProperties"), dict):
            found |= self._mapping(node, path)
        return found

    def _named(self, name: str, path: str) -> Schema:
        model = self._models.get(name)
        return self.of(model) if model else self._node(self._raw[name], path)

    def _mapping(self, node: Schema, path: str) -> Schema:
        value = self._node(node["additionalProperties"], f"{path}{{}}")
        keys = node.get("propertyNames", {}).get("enum")
        if keys and not self._lenient:
            return {"properties": {key: {**value, "description": f"The {key}."} for key in keys}}
        return {"additionalProperties": value}


def _item(node: Schema, keys: list[str] | None) -> Schema:
    """Without defaults: inside a list they look to GitOps tools like a change that somebody made. Its keys are required."""
    properties = node.get("properties")
    if not properties:
        return node
    bare = {n: {k: v for k, v in p.items() if k != "default"} for n, p in properties.items()}
    required = sorted({*node.get("required", ()), *(keys or ())})
    return {**node, "properties": bare, **({"required": required} if required else {})}


def _scalar(value: object) -> bool | int | float | str | None:
    if isinstance(value, timedelta):
        return format_duration(value)
    return value if isinstance(value, bool | int | float | str) else None


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """All models that a type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from _models(field.annotation)
    for part in getattr(annotation, "__args__", ()):
        yield from _models(part)


def field_docs(model: type[BaseModel]) -> dict[str, str]:
    """Field -> the text that stands under it in the source; inherited ones too."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel) and base is not BaseModel:
            found |= _docs_in(Path(inspect.getfile(base))).get(base.__name__, {})
    return found


@cache
def _docs_in(path: Path) -> dict[str, dict[str, str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name: dict(_docs_of(node)) for node in tree.body if isinstance(node, ast.ClassDef)}


def _docs_of(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, text in zip(node.body, node.body[1:], strict=False):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str):
            yield field.target.id, inspect.cleandoc(text.value.value)
