"""Translates Qdrant's JSON filters into the engine's.

Knows: must, should, must_not, min_should and the conditions of a memory runtime; geo conditions are refused by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import qdrant_edge as edge

from .body import Json, QdrantError, items, mapping, number, point_id, text, whole

__all__ = ["filter_of", "optional_filter"]

CLAUSES = frozenset({"must", "should", "must_not", "min_should"})


def optional_filter(value: object) -> edge.Filter | None:
    """The filter, or None when there is none."""
    return None if value is None else filter_of(value)


def filter_of(value: object) -> edge.Filter:
    """A filter from its JSON; an unknown clause or condition is refused by its name."""
    clauses = mapping(value, "filter")
    if unknown := clauses.keys() - CLAUSES:
        raise QdrantError.format(f"unknown field `{min(unknown)}` in filter, expected one of {sorted(CLAUSES)}")
    least = clauses.get("min_should")
    return edge.Filter(
        must=_conditions(clauses.get("must")),
        should=_conditions(clauses.get("should")),
        must_not=_conditions(clauses.get("must_not")),
        min_should=None if least is None else _min_should(mapping(least, "min_should")),
    )


def _min_should(value: Json) -> edge.MinShould:
    conditions = _conditions(value.get("conditions")) or []
    return edge.MinShould(conditions, whole(value.get("min_count"), "min_should.min_count"))


def _conditions(value: object) -> list[Any] | None:
    if value is None:
        return None
    listed = value if isinstance(value, list) else [value]
    return [_condition(mapping(condition, "a condition")) for condition in listed]


def _condition(value: Json) -> object:
    if "key" in value:
        return _field(value)
    for name, build in CONDITIONS.items():
        if name in value:
            return build(value[name])
    if value.keys() & CLAUSES:
        return filter_of(value)
    raise QdrantError.format(f"unknown condition {sorted(value)} in filter")


def _key(value: object) -> str:
    return text(mapping(value, "the condition").get("key"), "key")


def _nested(value: object) -> edge.NestedCondition:
    nested = mapping(value, "nested")
    return edge.NestedCondition(text(nested.get("key"), "nested.key"), filter_of(nested.get("filter")))


CONDITIONS: dict[str, Callable[[Any], object]] = {
    "has_id": lambda value: edge.HasIdCondition({point_id(each) for each in items(value, "has_id")}),
    "is_empty": lambda value: edge.IsEmptyCondition(_key(value)),
    "is_null": lambda value: edge.IsNullCondition(_key(value)),
    "has_vector": lambda value: edge.HasVectorCondition(text(value, "has_vector")),
    "nested": _nested,
}


def _field(value: Json) -> edge.FieldCondition:
    key = text(value["key"], "key")
    given = {name: asked for name, asked in value.items() if name != "key" and asked is not None}
    if len(given) != 1:
        raise QdrantError.format(
            f"the condition on `{key}` must have one of match, range, values_count, is_empty, is_null"
        )
    name, asked = next(iter(given.items()))
    match name:
        case "match":
            return edge.FieldCondition(key, match=_match(key, mapping(asked, "match")))
        case "range":
            return edge.FieldCondition(key, range=_range(key, mapping(asked, "range")))
        case "values_count":
            bounds = {bound: whole(limit, bound) for bound, limit in _bounds(mapping(asked, "values_count"))}
            return edge.FieldCondition(key, values_count=edge.ValuesCount(**bounds))
        case "is_empty":
            return edge.FieldCondition(key, is_empty=bool(asked))
        case "is_null":
            return edge.FieldCondition(key, is_null=bool(asked))
    raise QdrantError.format(f"the condition `{name}` on `{key}` is not known to this engine")


def _match(key: str, value: Json) -> Any:
    build = MATCHES.get(next(iter(value), ""))
    if build is None or len(value) != 1:
        raise QdrantError.format(f"match on `{key}` must have one of {sorted(MATCHES)}")
    asked = next(iter(value.values()))
    try:
        return build(asked)
    except TypeError:
        raise QdrantError.format(f"match on `{key}` cannot compare with {asked!r}") from None


def _match_value(asked: Any) -> edge.MatchValue:
    # The engine's binding takes Python's True for the integer 1, and numpy's for what it is.
    value: Any = np.bool_(asked) if isinstance(asked, bool) else asked
    return edge.MatchValue(value)


MATCHES: dict[str, Callable[[Any], object]] = {
    "value": _match_value,
    "any": edge.MatchAny,
    "except": edge.MatchExcept,
    "text": edge.MatchText,
    "text_any": edge.MatchTextAny,
    "phrase": edge.MatchPhrase,
}


def _range(key: str, value: Json) -> edge.RangeFloat | edge.RangeDateTime:
    bounds = dict(_bounds(value))
    if not any(isinstance(limit, str) for limit in bounds.values()):
        return edge.RangeFloat(**{name: number(limit, f"{key}.{name}") for name, limit in bounds.items()})
    try:
        return edge.RangeDateTime(**{name: text(limit, f"{key}.{name}") for name, limit in bounds.items()})
    except ValueError as error:
        raise QdrantError.format(f"range on `{key}`: {error}") from error


def _bounds(value: Json) -> list[tuple[str, Any]]:
    if unknown := value.keys() - {"gte", "gt", "lte", "lt"}:
        raise QdrantError.format(f"unknown bound `{min(unknown)}`, expected gte, gt, lte or lt")
    return [(name, limit) for name, limit in value.items() if limit is not None]
