"""The client of an OpenAI-compatible embedder. Knows batches and vectors; nothing of documents.

Asks for base64 vectors (384 floats as JSON cost more than the search) and falls back to plain numbers.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any, Final

import httpx
import numpy as np
import numpy.typing as npt
import orjson

from memorystack_runtime.errors import DependencyRejected, Unavailable
from memorystack_runtime.pool import Channel
from memorystack_runtime.resilience import insist

__all__ = ["MAX_BATCH", "Embedder", "Vector"]

MAX_BATCH: Final = 32
"""TEI refuses more inputs than this in one request."""
Vector = npt.NDArray[np.float32]


class Embedder:
    """Embeds texts through one channel."""

    def __init__(self, channel: Channel, model: str, dimensions: int) -> None:
        self.channel = channel
        self.in_flight = 0
        self.max_in_flight = 0
        self.requests = 0
        self._model = model
        self._dimensions = dimensions
        self._format = "base64"

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """One vector a text, in order. Raises Unavailable, or DependencyRejected for what no retry mends."""
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            return await self._embed(list(texts))
        finally:
            self.in_flight -= 1

    async def _embed(self, texts: list[str]) -> list[Vector]:
        response = await self._ask(texts)
        if response.status_code in (400, 422) and self._format == "base64" and b"encoding_format" in response.content:
            self._format = "float"
            response = await self._ask(texts)
        if response.status_code in (413, 422) and len(texts) > 1:
            half = len(texts) // 2
            return await self._embed(texts[:half]) + await self._embed(texts[half:])
        if response.status_code != httpx.codes.OK:
            raise self._refusal(response)
        return self._vectors(response, len(texts))

    async def _ask(self, texts: list[str]) -> httpx.Response:
        body = orjson.dumps({"model": self._model, "input": texts, "encoding_format": self._format})
        self.requests += 1
        return await insist("embedder", lambda: self.channel.call("POST", "/embeddings", body))

    def _vectors(self, response: httpx.Response, count: int) -> list[Vector]:
        try:
            data = sorted(orjson.loads(response.content)["data"], key=lambda item: item["index"])
            vectors = [_vector(item["embedding"]) for item in data]
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, binascii.Error) as error:
            raise DependencyRejected("embedder", "answered something that is no list of embeddings") from error
        if len(vectors) != count:
            raise DependencyRejected("embedder", f"gave {len(vectors)} vectors for {count} texts")
        for vector in vectors:
            if len(vector) != self._dimensions:
                text = (
                    f"gave vectors of {len(vector)} dimensions, the stack expects {self._dimensions}: "
                    "set spec.embedder.dimensions to the model's, or name another model"
                )
                raise DependencyRejected("embedder", text)
        return vectors

    def _refusal(self, response: httpx.Response) -> Exception:
        said = response.text[:200]
        if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            return Unavailable("embedder", f"failed with {response.status_code}: {said}")
        return DependencyRejected("embedder", f"refused with {response.status_code}: {said}")


def _vector(value: Any) -> Vector:
    if isinstance(value, str):
        return np.frombuffer(base64.b64decode(value, validate=True), dtype="<f4")
    numbers = np.asarray(value, dtype=np.float32)
    if numbers.ndim != 1:
        raise ValueError("a vector is a list of numbers")
    return numbers
