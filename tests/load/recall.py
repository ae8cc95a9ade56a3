"""What 20 identical recalls cost: the embedder and the store are asked once."""

from __future__ import annotations

import asyncio

from load.bars import Bar
from load.ground import engines

from memorystack_runtime.contract import Features
from memorystack_runtime.memory import MemoryService
from memorystack_runtime.models import NewMemory, RecallQuery

__all__ = ["identical_recalls"]


async def identical_recalls() -> list[Bar]:
    """At once, on a cold cache."""
    async with engines(latency_ms=30, item_latency_ms=1) as settings:
        service = await MemoryService.open(settings, Features())
        await service.store("a", [NewMemory(text="An owl hunts at night.")])
        before = service.stats()
        await asyncio.gather(*(service.recall(RecallQuery(namespace="a", query="owl")) for _ in range(20)))
        after = service.stats()
        await service.close()
    return [
        Bar("20 recalls: embeds", after.embed_requests - before.embed_requests, "=", 1),
        Bar("20 recalls: queries", after.store_queries - before.store_queries, "=", 1),
    ]
