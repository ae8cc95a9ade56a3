"""Talking to the local engines, and flags in one line."""

from __future__ import annotations

import httpx

from memorystack_runtime.contract import CacheFlags, Features, HttpPool, ParallelIngest
from memorystack_runtime.dev import RunningEngine


def control(engine: RunningEngine, **changes: object) -> None:
    httpx.put(f"{engine.url}/control", json=changes).raise_for_status()


def stats(engine: RunningEngine) -> dict:
    return httpx.get(f"{engine.url}/stats").json()


def flags(
    *, pool: bool = False, connections: int = 10, concurrency: int = 0, size: int = 100, ttl: int = 60_000
) -> Features:
    return Features(
        http_pool=HttpPool(enabled=pool, connections=connections),
        parallel_ingest=ParallelIngest(concurrency=concurrency),
        cache=CacheFlags(max_size=size, ttl_ms=ttl),
    )
