"""A store and an embedder in this process, for the steps of an ingest: what is on record is looked at between them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from memorystack_runtime.store import Payload, Point, Scored, Stored


class Shelf:
    """Stands in for store.Store. `before` is called with the name of each operation, and may raise."""

    def __init__(self, before: Callable[[str], None] = lambda _: None) -> None:
        self.points: dict[str, Payload] = {}
        self.vectors: dict[str, Any] = {}
        self.upserts: list[list[Payload]] = []
        self.done: list[str] = []
        self.queries: list[tuple[Any, ...]] = []
        self.found: list[Scored] = []
        self.before = before

    async def upsert(self, points: Sequence[Point]) -> None:
        await self._begin("upsert")
        self.upserts.append([dict(p.payload) for p in points])
        for p in points:
            self.points[p.id] = dict(p.payload)
            self.vectors[p.id] = (p.dense.tolist(), p.sparse)

    async def document(self, namespace: str, document: str) -> list[Stored]:
        await self._begin("document")
        wanted = (namespace, document)
        return [Stored(i, dict(p)) for i, p in self.points.items() if (p["namespace"], p["document"]) == wanted]

    async def set_payload(self, ids: Sequence[str], payload: Payload) -> None:
        await self._begin("set_payload")
        for one in ids:
            self.points[one].update(payload)

    async def delete(self, ids: Sequence[str]) -> None:
        await self._begin("delete")
        for one in ids:
            self.points.pop(one, None)

    async def query(self, *asked: Any) -> list[Scored]:
        await self._begin("query")
        self.queries.append(asked)
        return self.found

    async def _begin(self, name: str) -> None:
        await asyncio.sleep(0)
        self.before(name)
        self.done.append(name)

    @property
    def live(self) -> list[str]:
        """Texts that can be recalled, in order."""
        found = sorted((p["order"], p["text"]) for p in self.points.values() if p["live"])
        return [text for _, text in found]


class Words:
    """Stands in for embedder.Embedder: a text's vector is its length. `fails` says at which text it gives up."""

    def __init__(self, fails: Callable[[str], Exception | None] = lambda _: None) -> None:
        self.batches: list[list[str]] = []
        self.in_flight = 0
        self.most = 0
        self.fails = fails

    async def embed(self, texts: Sequence[str]) -> list[np.ndarray]:
        self.batches.append(list(texts))
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            for _ in range(3):
                await asyncio.sleep(0)
            for text in texts:
                if error := self.fails(text):
                    raise error
            return [np.array([len(text)], dtype=np.float32) for text in texts]
        finally:
            self.in_flight -= 1
