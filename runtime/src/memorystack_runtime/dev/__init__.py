"""Engines for one machine: a vector store, an embedder and a redis-server, each a process of its own.

This face imports no server library; the engines are started with `python -m memorystack_runtime.dev.<engine>`.
"""

from __future__ import annotations

from .processes import (
    EngineFailedError,
    RunningEngine,
    end,
    engine_command,
    start,
    start_async,
    start_command,
    wait_until_ready,
)
from .redis import NO_REDIS, redis_command

__all__ = [
    "NO_REDIS",
    "EngineFailedError",
    "RunningEngine",
    "end",
    "engine_command",
    "redis_command",
    "start",
    "start_async",
    "start_command",
    "wait_until_ready",
]
