"""Recalls kept in process and in Redis, under keys that hold the namespace's generation.

Knows: keys, generations and two tiers. Must not know: what an entry holds. A write makes the generation grow before it is
acknowledged, so what was computed before it can never be found again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import orjson
from cachetools import TTLCache

from memorystack_runtime.contract import CacheFlags
from memorystack_runtime.generations import Generations

__all__ = ["CacheStats", "Found", "RecallCache"]


@dataclass(slots=True)
class CacheStats:
    lru_hits: int = 0
    redis_hits: int = 0
    misses: int = 0
    evictions: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """A cached answer and the tier that held it."""

    body: bytes
    tier: Literal["lru", "redis"]


class _Lru(TTLCache[str, bytes]):
    """Least recently used goes first; counts what was pushed out."""

    def __init__(self, flags: CacheFlags, stats: CacheStats) -> None:
        super().__init__(maxsize=max(1, flags.max_size), ttl=flags.ttl_ms / 1000)
        self._stats = stats

    def popitem(self) -> tuple[str, bytes]:
        self._stats.evictions += 1
        return super().popitem()


class RecallCache:
    """LRU, then Redis. `key` is None while the generation cannot be known: then nothing is cached or served from here."""

    def __init__(self, flags: CacheFlags, generations: Generations) -> None:
        self.stats = CacheStats()
        self.generations = generations
        self._flags = flags
        self._lru = _Lru(flags, self.stats)
        # What changed while the counters could not be followed is unknown, so nothing from before is trusted.
        generations.on_loss(self._lru_clear)

    def __len__(self) -> int:
        return len(self._lru)

    async def key(self, namespace: str, query: bytes) -> str | None:
        """The key of a query now; it changes with each write in the namespace."""
        generation = await self.generations.current(namespace)
        if generation is None:
            return None
        # Hashing a list keeps parts apart that a separator in a name could join.
        parts = orjson.dumps([namespace, generation, query.hex()])
        return hashlib.sha256(parts).hexdigest()

    async def get(self, key: str) -> Found | None:
        """The entry, from the nearest tier that has it; a hit in Redis is kept in process, too."""
        body = self._lru.get(key) if self._flags.max_size else None
        if body is not None:
            self.stats.lru_hits += 1
            return Found(body, "lru")
        body = await self.generations.read(key)
        if body is not None:
            self.stats.redis_hits += 1
            self._keep(key, body)
            return Found(body, "redis")
        self.stats.misses += 1
        return None

    async def put(self, key: str, body: bytes) -> None:
        """Keeps the entry in both tiers for the flag's ttl."""
        self._keep(key, body)
        await self.generations.write(key, body, self._flags.ttl_ms)

    def resize(self, flags: CacheFlags) -> None:
        """The most recently used entries stay, with a new life of the new ttl."""
        if flags == self._flags:
            return
        old, self._flags = list(self._lru.items()), flags
        self._lru = _Lru(flags, self.stats)
        for key, body in old[-flags.max_size :] if flags.max_size else []:
            self._lru[key] = body

    def _lru_clear(self) -> None:
        self._lru.clear()

    def _keep(self, key: str, body: bytes) -> None:
        if self._flags.max_size:
            self._lru[key] = body
