"""The memory service without its HTTP: the one door to the data path.

Knows: how the parts are put together and how flags reach them. Must not know: requests, counters of evidence, or leases.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from pydantic import SecretStr

from memorystack_runtime.cache import RecallCache
from memorystack_runtime.contract import Features
from memorystack_runtime.embedder import Embedder
from memorystack_runtime.errors import Fault, NotFound
from memorystack_runtime.generations import Generations, LocalGenerations, RedisGenerations
from memorystack_runtime.ingest import Ingest
from memorystack_runtime.models import ChunkText, Memory, NewMemory, RecallQuery, StoredMemory
from memorystack_runtime.pool import Channel
from memorystack_runtime.recall import Answer, Recall
from memorystack_runtime.settings import Settings
from memorystack_runtime.store import Store

__all__ = ["MemoryService", "MemoryStats", "Readiness"]


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the process can serve, and what of its dependencies is away."""

    ready: bool
    problems: dict[str, str]


@dataclass(frozen=True, slots=True)
class MemoryStats:
    """Running counts of one process."""

    lru_hits: int
    lru_size: int
    lru_evictions: int
    redis_hits: int
    cache_misses: int
    redis_up: bool
    embed_requests: int
    embeds_in_flight: int
    embeds_in_flight_max: int
    embeds_queued: int
    pool_waits: int
    pool_wait_seconds: float
    store_queries: int
    store_upserts: int
    degraded_recalls: int


class MemoryService:
    """Opened once a process; every flag changes live."""

    def __init__(self, settings: Settings, features: Features) -> None:
        pool = features.http_pool
        ca = str(settings.qdrant_ca) if settings.qdrant_ca else None
        self._qdrant = Channel(
            "qdrant", settings.qdrant_url, pool, headers=_key("api-key", settings.qdrant_api_key), ca=ca
        )
        bearer = _key("authorization", settings.embedder_api_key, "Bearer ")
        self._embeddings = Channel("embedder", settings.embedder_url, pool, headers=bearer)
        self.store_ = Store(self._qdrant, settings.qdrant_collection, settings.embedder_dimensions)
        self._embedder = Embedder(self._embeddings, settings.embedder_model, settings.embedder_dimensions)
        self._generations = _shared_or_local(settings)
        self._cache = RecallCache(features.cache, self._generations)
        self._ingest = Ingest(self.store_, self._embedder, settings.chunk_characters)
        self._recall = Recall(self.store_, self._embedder, self._cache)
        self._ingest.concurrency = features.parallel_ingest.concurrency
        self._prepared = False
        self._preparing = asyncio.Lock()

    @classmethod
    async def open(cls, settings: Settings, features: Features) -> Self:
        """Starts even when dependencies are away; `ready` says which. Raises Misconfigured for what never mends."""
        service = cls(settings, features)
        try:
            await service._prepare()
        except Fault as error:
            if not getattr(error, "retry_after", None):
                await service.close()
                raise
        return service

    def apply(self, features: Features) -> None:
        """The flags in force from now on; calls under way end on what they began with."""
        self._qdrant.switch(features.http_pool)
        self._embeddings.switch(features.http_pool)
        self._ingest.concurrency = features.parallel_ingest.concurrency
        self._cache.resize(features.cache)

    async def store(self, namespace: str, memories: list[NewMemory]) -> list[StoredMemory]:
        """Stores in order; all are durable and recallable, on every pod, when this returns.

        When one fails, those before it stay stored: storing the whole list again is safe, ids are made from content.
        """
        await self._prepare()
        stored: list[StoredMemory] = []
        try:
            for memory in memories:
                stored.append(await self._ingest.store(namespace, memory))
        finally:
            # Also after a failure or a cancelled call: something may have been switched on already.
            if any(not s.unchanged for s in stored) or len(stored) < len(memories):
                await asyncio.shield(self._generations.grow(namespace))
        return stored

    async def get(self, namespace: str, identity: str) -> Memory:
        """Raises NotFound."""
        await self._prepare()
        found = [p for p in await self.store_.document(namespace, identity) if p.payload.get("live")]
        if not found:
            msg = f"no memory {identity!r} in namespace {namespace!r}"
            raise NotFound(msg)
        found.sort(key=lambda p: p.payload["order"])
        first = found[0].payload
        return Memory(
            id=identity,
            namespace=namespace,
            text="".join(p.payload["text"] for p in found),
            metadata=first.get("metadata") or {},
            version=first["version"],
            stored_at=datetime.fromtimestamp(first["storedAt"], UTC),
            chunks=[ChunkText(order=p.payload["order"], text=p.payload["text"]) for p in found],
        )

    async def delete(self, namespace: str, identity: str) -> None:
        """Raises NotFound."""
        await self.get(namespace, identity)
        try:
            await self.store_.delete_document(namespace, identity)
        finally:
            await asyncio.shield(self._generations.grow(namespace))

    async def recall(self, query: RecallQuery) -> Answer:
        """The finished JSON body of models.RecallResult."""
        await self._prepare()
        return await self._recall.answer(query)

    async def ready(self) -> Readiness:
        """The vector store is needed to serve; everything else degrades."""
        problems: dict[str, str] = {}
        try:
            await self._prepare()
            if not await self.store_.ping():
                problems["qdrant"] = "does not answer"
        except Fault as error:
            problems["qdrant"] = str(error)
        return Readiness(not problems, problems)

    def stats(self) -> MemoryStats:
        """Counts since the start."""
        cache = self._cache.stats
        waits = (self._qdrant.waits, self._embeddings.waits)
        return MemoryStats(
            lru_hits=cache.lru_hits,
            lru_size=len(self._cache),
            lru_evictions=cache.evictions,
            redis_hits=cache.redis_hits,
            cache_misses=cache.misses,
            redis_up=self._generations.shared,
            embed_requests=self._embedder.requests,
            embeds_in_flight=self._embedder.in_flight,
            embeds_in_flight_max=self._embedder.max_in_flight,
            embeds_queued=self._ingest.queued,
            pool_waits=sum(w.count for w in waits),
            pool_wait_seconds=sum(w.seconds for w in waits),
            store_queries=self.store_.queries,
            store_upserts=self.store_.upserts,
            degraded_recalls=self._recall.degraded,
        )

    async def close(self) -> None:
        """Leaves no task, timer or socket."""
        await self._recall.close()
        await self._generations.close()
        await asyncio.gather(self._qdrant.close(), self._embeddings.close())

    async def _prepare(self) -> None:
        """The collection exists; asked until it once was so."""
        if self._prepared:
            return
        async with self._preparing:
            if not self._prepared:
                await self.store_.prepare()
                self._prepared = True


def _shared_or_local(settings: Settings) -> Generations:
    if settings.redis_url is None or not settings.redis_url.get_secret_value():
        return LocalGenerations()
    return RedisGenerations(settings.redis_url.get_secret_value())


def _key(header: str, secret: SecretStr | None, prefix: str = "") -> dict[str, str]:
    return {header: prefix + secret.get_secret_value()} if secret else {}
