"""Answers recalls: cache, else embed and query; identical ones at the same time share one computation.

Knows: the order of tiers and what degrades. Must not know: HTTP. What is cached is the finished JSON body.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import orjson

from memorystack_runtime import sparse
from memorystack_runtime.cache import RecallCache
from memorystack_runtime.embedder import Embedder
from memorystack_runtime.errors import DependencyRejected, Unavailable
from memorystack_runtime.models import RecallQuery
from memorystack_runtime.store import Scored, Store

__all__ = ["Answer", "Recall"]


@dataclass(frozen=True, slots=True)
class Answer:
    """A recall as JSON (models.RecallResult), and where it came from."""

    body: bytes
    source: Literal["lru", "redis", "computed"]


class Recall:
    """Recalls of one process."""

    def __init__(self, store: Store, embedder: Embedder, cache: RecallCache) -> None:
        self.degraded = 0
        self._store = store
        self._embedder = embedder
        self._cache = cache
        self._flights: dict[str, asyncio.Task[bytes]] = {}

    async def answer(self, query: RecallQuery) -> Answer:
        """Raises Unavailable when the store is away; without the embedder words alone are matched."""
        asked = orjson.dumps([query.query, query.limit, query.mode])
        key = await self._cache.key(query.namespace, asked)
        if key is None:
            # The generation is not known (Redis is away): neither the cache nor another's computation can be trusted.
            return Answer(await self._compute(query, None), "computed")
        found = await self._cache.get(key)
        if found is not None:
            return Answer(found.body, found.tier)
        return Answer(await self._together(key, lambda: self._compute(query, key)), "computed")

    async def close(self) -> None:
        """Ends computations that nobody waits for any more."""
        for task in self._flights.values():
            task.cancel()
        await asyncio.gather(*self._flights.values(), return_exceptions=True)

    async def _together(self, key: str, compute: Callable[[], Awaitable[bytes]]) -> bytes:
        """One computation a key; a caller that leaves does not take it away from the others."""
        task = self._flights.get(key)
        if task is None:
            task = asyncio.ensure_future(compute())
            self._flights[key] = task
            task.add_done_callback(lambda done: self._landed(key, done))
        return await asyncio.shield(task)

    def _landed(self, key: str, task: asyncio.Task[bytes]) -> None:
        self._flights.pop(key, None)
        if not task.cancelled():
            task.exception()  # looked at, so that a failure nobody waited for is no warning

    async def _compute(self, query: RecallQuery, key: str | None) -> bytes:
        words = sparse.of_query(query.query) if query.mode != "dense" else None
        dense, degraded = None, False
        if query.mode != "sparse":
            try:
                (dense,) = await self._embedder.embed([query.query])
            except (Unavailable, DependencyRejected):
                if query.mode == "dense":
                    raise
                degraded = True
                self.degraded += 1
        if words is not None and not words.indices and dense is None:
            return _body([], query.mode, degraded=degraded)
        if words is not None and not words.indices:
            words = None
        found = await self._store.query(query.namespace, query.limit, dense, words)
        body = _body(found, query.mode, degraded=degraded)
        if key is not None and not degraded:
            await self._cache.put(key, body)
        return body


def _body(found: list[Scored], mode: str, *, degraded: bool) -> bytes:
    hits = [
        {
            "id": p.payload["document"],
            "chunk": p.payload["order"],
            "text": p.payload["text"],
            "score": p.score,
            "metadata": p.payload.get("metadata") or {},
        }
        for p in found
    ]
    return orjson.dumps({"hits": hits, "degraded": degraded, "mode": mode})
