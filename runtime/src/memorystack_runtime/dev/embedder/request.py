"""Reads an embeddings request as OpenAI defines it.

Knows: the fields, their bounds and the refusals. Must not know: how vectors are made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import orjson

__all__ = ["EmbeddingsRequest", "RefusedError", "parse"]

MAX_DIMENSIONS: Final = 4096


class RefusedError(Exception):
    """The request is wrong: an HTTP status, a sentence and the name of the field."""

    def __init__(self, status: int, sentence: str, field: str | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.field = field


@dataclass(frozen=True)
class EmbeddingsRequest:
    """Texts to embed and the shape of the answer."""

    texts: tuple[str, ...]
    model: str
    base64: bool
    dimensions: int


def parse(body: bytes, *, dimensions: int, max_batch: int) -> EmbeddingsRequest:
    """The request in `body`; `dimensions` is what the model has when the request names none."""
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RefusedError(400, f"the body is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise RefusedError(400, "the body must be a JSON object with `input` and `model`")
    return EmbeddingsRequest(
        texts=_texts(fields.get("input"), max_batch),
        model=_model(fields.get("model")),
        base64=_wants_base64(fields.get("encoding_format")),
        dimensions=_dimensions(fields.get("dimensions"), dimensions),
    )


def _texts(value: object, max_batch: int) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise RefusedError(400, "`input` must be a string or a list of strings with at least one", "input")
    if "" in texts:
        raise RefusedError(400, "`input` holds an empty string; leave it out", "input")
    if len(texts) > max_batch:
        sentence = f"batch size {len(texts)} > maximum allowed batch size {max_batch}; send fewer texts"
        raise RefusedError(413, sentence, "input")
    return tuple(texts)


def _model(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise RefusedError(400, "`model` must be the name of a model", "model")
    return value


def _wants_base64(value: object) -> bool:
    if value not in (None, "float", "base64"):
        raise RefusedError(400, "`encoding_format` must be float or base64", "encoding_format")
    return value == "base64"


def _dimensions(value: object, default: int) -> int:
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_DIMENSIONS:
        raise RefusedError(400, f"`dimensions` must be an integer from 1 to {MAX_DIMENSIONS}", "dimensions")
    return value
