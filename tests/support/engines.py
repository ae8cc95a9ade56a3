"""Talking to the local engines, and flags in one line."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext

import httpx
import psutil

from memorystack_runtime.contract import CacheFlags, Features, HttpPool, ParallelIngest
from memorystack_runtime.dev import RunningEngine, start


def an_engine(engine: str, **options: object) -> AbstractContextManager[RunningEngine]:
    """A new one for the block, or the one that MEMORYSTACK_TEST_ENGINE_<NAME> names as `url pid`: thousands of short test
    runs, as mutation has them, share one.
    """
    kept = os.environ.get(f"MEMORYSTACK_TEST_ENGINE_{engine.upper()}")
    if kept is None:
        return start(engine, **options)
    url, pid = kept.split()
    return nullcontext(RunningEngine(url, int(pid), psutil.Process(int(pid))))


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
