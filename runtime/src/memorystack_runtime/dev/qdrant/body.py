"""Reads a JSON body field by field and refuses what is not as Qdrant's API defines it.

Knows: JSON values and Qdrant's way of saying what is wrong. Must not know: the engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson

__all__ = ["Json", "PointId", "QdrantError", "flag", "items", "load", "mapping", "number", "point_id", "text", "whole"]

Json = Mapping[str, Any]
PointId = int | str | UUID


class QdrantError(Exception):
    """An answer that is not 200: the HTTP status and the text of `status.error`."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status

    @classmethod
    def format(cls, sentence: str) -> QdrantError:
        """400: the body does not have the shape that the API defines."""
        return cls(400, f"Format error in JSON body: {sentence}")


def load(body: bytes) -> Json:
    """The body as an object; an empty body is an empty object."""
    if not body:
        return {}
    try:
        return mapping(orjson.loads(body), "the body")
    except orjson.JSONDecodeError as error:
        raise QdrantError.format(str(error)) from error


def mapping(value: object, name: str) -> Json:
    """`value` when it is an object."""
    if not isinstance(value, dict):
        raise QdrantError.format(f"{name} must be an object, not {_kind(value)}")
    return value


def items(value: object, name: str) -> list[Any]:
    """`value` when it is a list."""
    if not isinstance(value, list):
        raise QdrantError.format(f"{name} must be a list, not {_kind(value)}")
    return value


def text(value: object, name: str) -> str:
    """`value` when it is a string."""
    if not isinstance(value, str):
        raise QdrantError.format(f"{name} must be a string, not {_kind(value)}")
    return value


def whole(value: object, name: str, *, at_least: int = 0) -> int:
    """`value` when it is an integer of at least `at_least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
        raise QdrantError.format(f"{name} must be an integer of at least {at_least}, not {value!r}")
    return value


def number(value: object, name: str) -> float:
    """`value` when it is a number."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise QdrantError.format(f"{name} must be a number, not {_kind(value)}")
    return float(value)


def flag(value: object, name: str) -> bool:
    """`value` when it is true or false."""
    if not isinstance(value, bool):
        raise QdrantError.format(f"{name} must be true or false, not {_kind(value)}")
    return value


def point_id(value: object) -> PointId:
    """A point's id: an unsigned integer, or a UUID in its canonical form."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**64:
        return value
    try:
        return str(UUID(text(value, "a point ID")))
    except (ValueError, QdrantError):
        sentence = f"value {value} is not a valid point ID, valid values are either an unsigned integer or a UUID"
        raise QdrantError.format(sentence) from None


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__
