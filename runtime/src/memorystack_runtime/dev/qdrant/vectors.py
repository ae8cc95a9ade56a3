"""Checks vectors against a collection's schema before the engine sees them.

Knows: lengths, names and the form of sparse vectors. A wrong point is refused here, so that no half of a batch is written.
"""

from __future__ import annotations

from typing import Any

import qdrant_edge as edge

from .body import Json, QdrantError, items, mapping
from .schema import Schema

__all__ = ["point_vectors", "query_vector"]


def point_vectors(value: object, schema: Schema) -> Any:
    """A point's vectors for the engine: a list for the unnamed vector, else a mapping by name."""
    if isinstance(value, list):
        return _vector(value, "", schema)
    return {name: _vector(each, name, schema) for name, each in mapping(value, "vector").items()}


def query_vector(value: object, using: str, schema: Schema) -> Any:
    """A vector to search with, checked against the vector named `using`."""
    return _vector(value, using, schema)


def _vector(value: object, name: str, schema: Schema) -> Any:
    if name in schema.sparse:
        return _sparse(mapping(value, f"the sparse vector {name}"))
    spec = schema.dense.get(name)
    if spec is None:
        raise QdrantError(400, f"Wrong input: Not existing vector name error: {name}")
    if isinstance(value, dict):
        raise QdrantError(
            400, f"Wrong input: the vector {name!r} must be a list of numbers; this engine embeds no text"
        )
    vector = items(value, f"the vector {name!r}")
    if len(vector) != spec.size:
        raise QdrantError(400, f"Wrong input: Vector dimension error: expected dim: {spec.size}, got {len(vector)}")
    if not all(type(each) is float or type(each) is int for each in vector):
        raise QdrantError.format(f"the vector {name!r} must be a list of numbers")
    return vector


def _sparse(value: Json) -> edge.SparseVector:
    indices, values = items(value.get("indices"), "indices"), items(value.get("values"), "values")
    if len(indices) != len(values):
        raise _invalid(f"values: must be the same length as indices, {len(values)} and {len(indices)}")
    if len(set(indices)) != len(indices):
        raise _invalid("indices: must be unique")
    if not all(type(index) is int and 0 <= index < 2**32 for index in indices):
        raise _invalid("indices: must be unsigned 32-bit integers")
    try:
        return edge.SparseVector(indices, values)
    except TypeError as error:
        raise QdrantError.format(f"values of a sparse vector must be numbers: {error}") from error


def _invalid(sentence: str) -> QdrantError:
    return QdrantError(422, f"Validation error in JSON body: [{sentence}]")
