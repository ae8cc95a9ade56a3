"""Translates Qdrant's JSON writes into the engine's operations.

Knows: upsert, delete and payload operations, by ids or by filter. Must not know: shards or durability.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qdrant_edge as edge

from .body import Json, PointId, QdrantError, items, mapping, point_id, text
from .filters import filter_of, optional_filter
from .schema import Schema
from .vectors import point_vectors

__all__ = ["Write", "batch", "operation"]

Write = edge.UpdateOperation
Selection = list[PointId] | edge.Filter


def operation(name: str, body: Json, schema: Schema) -> Write:
    """The operation `name` (as in Qdrant's batch: upsert, delete, set_payload ...) with its body."""
    build = WRITES.get(name)
    if build is None:
        raise QdrantError.format(f"unknown operation `{name}`, expected one of {sorted(WRITES)}")
    return build(body, schema)


def batch(body: Json, schema: Schema) -> list[Write]:
    """All operations of `POST /collections/{c}/points/batch`, checked before the first is applied."""
    writes = []
    for each in items(body.get("operations"), "operations"):
        entry = mapping(each, "an operation")
        if len(entry) != 1:
            raise QdrantError.format(f"an operation must have one name, not {sorted(entry)}")
        name, content = next(iter(entry.items()))
        writes.append(operation(name, mapping(content, name), schema))
    return writes


def _upsert(body: Json, schema: Schema) -> Write:
    points = _columns(mapping(body["batch"], "batch")) if "batch" in body else items(body.get("points"), "points")
    built = [_point(mapping(point, "a point"), schema) for point in points]
    if not built:
        raise QdrantError(400, "Wrong input: Empty update request")
    condition = optional_filter(body.get("update_filter"))
    return Write.upsert_points(built, condition) if condition else Write.upsert_points(built)


def _columns(body: Json) -> list[Json]:
    ids, payloads = items(body.get("ids"), "batch.ids"), body.get("payloads")
    vectors = body.get("vectors")
    if isinstance(vectors, dict):
        rows: list[Any] = [{name: column[row] for name, column in vectors.items()} for row in range(len(ids))]
    else:
        rows = items(vectors, "batch.vectors")
    payloads = [None] * len(ids) if payloads is None else items(payloads, "batch.payloads")
    if not len(ids) == len(rows) == len(payloads):
        raise QdrantError(400, "Wrong input: batch.ids, batch.vectors and batch.payloads must have the same length")
    return [
        {"id": id_, "vector": vector, "payload": payload}
        for id_, vector, payload in zip(ids, rows, payloads, strict=True)
    ]


def _point(point: Json, schema: Schema) -> edge.Point:
    payload = point.get("payload")
    return edge.Point(
        point_id(point.get("id")),
        point_vectors(point.get("vector"), schema),
        None if payload is None else dict(mapping(payload, "payload")),
    )


def _delete(body: Json, _schema: Schema) -> Write:
    chosen = _selection(body)
    return Write.delete_points_by_filter(chosen) if isinstance(chosen, edge.Filter) else Write.delete_points(chosen)


def _set_payload(body: Json, _schema: Schema) -> Write:
    chosen, payload, key = _selection(body), _payload(body), body.get("key")
    if isinstance(chosen, edge.Filter):
        return Write.set_payload_by_filter(chosen, payload, key)
    return Write.set_payload(chosen, payload, key)


def _overwrite_payload(body: Json, _schema: Schema) -> Write:
    chosen, payload, key = _selection(body), _payload(body), body.get("key")
    if isinstance(chosen, edge.Filter):
        return Write.overwrite_payload_by_filter(chosen, payload, key)
    return Write.overwrite_payload(chosen, payload, key)


def _delete_payload(body: Json, _schema: Schema) -> Write:
    chosen, keys = _selection(body), [text(key, "keys") for key in items(body.get("keys"), "keys")]
    if isinstance(chosen, edge.Filter):
        return Write.delete_payload_by_filter(chosen, keys)
    return Write.delete_payload(chosen, keys)


def _clear_payload(body: Json, _schema: Schema) -> Write:
    chosen = _selection(body)
    return Write.clear_payload_by_filter(chosen) if isinstance(chosen, edge.Filter) else Write.clear_payload(chosen)


WRITES: dict[str, Callable[[Json, Schema], Write]] = {
    "upsert": _upsert,
    "delete": _delete,
    "set_payload": _set_payload,
    "overwrite_payload": _overwrite_payload,
    "delete_payload": _delete_payload,
    "clear_payload": _clear_payload,
}


def _selection(body: Json) -> Selection:
    """Points by ids or by filter; neither is refused, so that a missing field never means all points."""
    if body.get("points") is not None:
        return [point_id(each) for each in items(body["points"], "points")]
    if body.get("filter") is not None:
        return filter_of(body["filter"])
    raise QdrantError.format("either `points` or `filter` must be given")


def _payload(body: Json) -> dict[str, Any]:
    return dict(mapping(body.get("payload"), "payload"))
