"""How fast documents are stored: against the least that the same engines need, and with the flags on against off."""

from __future__ import annotations

import asyncio
import base64
import statistics
import time

import numpy as np
import orjson
from load.bars import Bar
from load.ground import SENTENCE, document, engines

from memorystack_runtime.contract import CacheFlags, Features, HttpPool, ParallelIngest
from memorystack_runtime.memory import MemoryService
from memorystack_runtime.models import NewMemory
from memorystack_runtime.pool import Channel
from memorystack_runtime.settings import Settings

__all__ = ["big_document", "flags_off_and_on"]

ROUNDS = 5
CHUNKS = 200
FAST = Features(http_pool=HttpPool(enabled=True, connections=16), parallel_ingest=ParallelIngest(concurrency=8))
OPTIMISED = Features(
    http_pool=HttpPool(enabled=True),
    parallel_ingest=ParallelIngest(concurrency=4),
    cache=CacheFlags(max_size=500),
)


async def big_document() -> list[Bar]:
    """Ours and the floor in turns, so that a noisy neighbour meets both."""
    ours, floors = [], []
    async with engines(latency_ms=10, item_latency_ms=1) as settings:
        service = await MemoryService.open(settings, FAST)
        floor = Floor(settings, CHUNKS)
        for i in range(ROUNDS):
            began = time.perf_counter()
            await service.store("a", [NewMemory(id=f"d{i}", text=document(CHUNKS, i))])
            ours.append(time.perf_counter() - began)
            floors.append(await floor.seconds())
        await floor.close()
        await service.close()
    took, least = statistics.median(ours), statistics.median(floors)
    about = {"seconds": round(took, 4), "floorSeconds": round(least, 4), "rounds": ROUNDS}
    return [Bar("200 chunks, to the floor", round(took / least, 3), "<=", 1.5, "x", about)]


class Floor:
    """Eight requests in flight with 16 texts each, base64 vectors, upserts of 64 points; nothing else."""

    def __init__(self, settings: Settings, chunks: int) -> None:
        pool = HttpPool(enabled=True, connections=8)
        self._embed = Channel("e", settings.embedder_url, pool)
        self._store = Channel("q", settings.qdrant_url, pool)
        self._path = f"/collections/{settings.qdrant_collection}/points?wait=true"
        self._texts = [f"part {i} {SENTENCE}" for i in range(chunks)]
        self._turn = asyncio.Semaphore(8)
        self._vectors: dict[int, np.ndarray] = {}

    async def seconds(self) -> float:
        """That one document took."""
        began = time.perf_counter()
        await asyncio.gather(*(self._embed_from(i) for i in range(0, len(self._texts), 16)))
        await asyncio.gather(*(self._upsert_from(i) for i in range(0, len(self._texts), 64)))
        return time.perf_counter() - began

    async def close(self) -> None:
        await asyncio.gather(self._embed.close(), self._store.close())

    async def _embed_from(self, first: int) -> None:
        texts = self._texts[first : first + 16]
        body = orjson.dumps({"model": "m", "input": texts, "encoding_format": "base64"})
        async with self._turn:
            answer = await self._embed.call("POST", "/embeddings", body)
        for item in orjson.loads(answer.content)["data"]:
            self._vectors[first + item["index"]] = np.frombuffer(base64.b64decode(item["embedding"]), dtype="<f4")

    async def _upsert_from(self, first: int) -> None:
        points = [
            {"id": i + 1, "vector": {"dense": self._vectors[i]}, "payload": {"text": self._texts[i]}}
            for i in range(first, min(first + 64, len(self._texts)))
        ]
        body = orjson.dumps({"points": points}, option=orjson.OPT_SERIALIZE_NUMPY)
        (await self._store.call("PUT", self._path, body)).raise_for_status()


async def flags_off_and_on() -> list[Bar]:
    """p95 of stores of 2-8 chunks, one after the other."""
    async with engines(latency_ms=30, item_latency_ms=1) as settings:
        service = await MemoryService.open(settings, Features())
        off = await _p95_ms(service, "off")
        service.apply(OPTIMISED)
        on = await _p95_ms(service, "on")
        await service.close()
    about = {"p95OffMs": round(off, 1), "p95OnMs": round(on, 1)}
    return [Bar("store p95, flags off to on", round(100 * (on / off - 1), 1), "<=", -30, "%", about)]


async def _p95_ms(service: MemoryService, mark: str) -> float:
    took = []
    for i in range(40):
        text = document(2 + i % 7, f"{mark}{i}")
        began = time.perf_counter()
        await service.store("a", [NewMemory(id=f"{mark}{i}", text=text)])
        took.append(1000 * (time.perf_counter() - began))
    return float(np.percentile(took, 95))
