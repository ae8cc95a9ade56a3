"""Keys and two tiers, with generations of the test's own."""

from __future__ import annotations

import asyncio

import pytest
from support.engines import flags

from memorystack_runtime.cache import CacheStats, Found, RecallCache
from memorystack_runtime.contract import CacheFlags


class Shared:
    """Stands in for generations: a number for all namespaces, and a dictionary for the shared tier."""

    def __init__(self) -> None:
        self.number: int | None = 1
        self.entries: dict[str, bytes] = {}
        self.lives: dict[str, int] = {}
        self.forget = None

    def on_loss(self, forget) -> None:
        self.forget = forget

    async def current(self, namespace: str) -> int | None:
        del namespace
        return self.number

    async def read(self, key: str) -> bytes | None:
        return self.entries.get(key)

    async def write(self, key: str, body: bytes, ttl_ms: int) -> None:
        self.entries[key], self.lives[key] = body, ttl_ms


@pytest.fixture
def shared() -> Shared:
    return Shared()


def cache(shared: Shared, size: int = 3, ttl: int = 60_000) -> RecallCache:
    return RecallCache(CacheFlags(max_size=size, ttl_ms=ttl), shared)


async def test_a_key_is_of_namespace_generation_and_query(shared: Shared):
    one = cache(shared)
    keys = [await one.key("a", b"q"), await one.key("b", b"q"), await one.key("a", b"r"), await one.key("a", b"\xff")]
    shared.number = 2
    keys.append(await one.key("a", b"q"))
    assert len(set(keys)) == 5
    shared.number = 1
    assert await one.key("a", b"q") == keys[0]
    shared.number = None
    assert await one.key("a", b"q") is None


async def test_parts_of_a_key_cannot_be_moved_from_one_to_the_next(shared: Shared):
    one = cache(shared)
    assert await one.key("a|1", b"q") != await one.key("a", b"1|q")


async def test_an_entry_is_found_in_the_nearest_tier_and_kept_there(shared: Shared):
    one, other = cache(shared), cache(shared)
    assert await one.get("k") is None
    await one.put("k", b"x")
    assert (shared.entries, shared.lives) == ({"k": b"x"}, {"k": 60_000})
    assert await one.get("k") == Found(b"x", "lru")
    assert await other.get("k") == Found(b"x", "redis")
    assert await other.get("k") == Found(b"x", "lru")
    assert one.stats == CacheStats(lru_hits=1, redis_hits=0, misses=1, evictions=0)
    assert other.stats == CacheStats(lru_hits=1, redis_hits=1, misses=0, evictions=0)
    assert (len(one), len(other)) == (1, 1)
    await one.get("k")
    await one.get("none")
    await one.get("none")
    assert one.stats == CacheStats(lru_hits=2, redis_hits=0, misses=3, evictions=0)


async def test_the_least_recently_used_goes_first(shared: Shared):
    one = cache(shared, size=2)
    for key in "ab":
        await one.put(key, key.encode())
    shared.entries.clear()
    assert await one.get("a")
    await one.put("c", b"c")
    shared.entries.clear()
    assert [bool(await one.get(key)) for key in "abc"] == [True, False, True]
    assert (one.stats.evictions, len(one)) == (1, 2)
    await one.put("d", b"d")
    assert one.stats.evictions == 2


async def test_a_size_of_zero_keeps_nothing_in_process_and_still_shares(shared: Shared):
    one = cache(shared, size=0)
    await one.put("k", b"x")
    assert len(one) == 0
    assert await one.get("k") == Found(b"x", "redis")
    assert len(one) == 0


async def test_a_smaller_cache_keeps_the_newest_and_a_larger_one_all(shared: Shared):
    one = cache(shared, size=3)
    for key in "abc":
        await one.put(key, b"x")
    shared.entries.clear()
    one.resize(CacheFlags(max_size=2, ttl_ms=60_000))
    assert [bool(await one.get(key)) for key in "abc"] == [False, True, True]
    one.resize(CacheFlags(max_size=9, ttl_ms=60_000))
    assert [bool(await one.get(key)) for key in "abc"] == [False, True, True]
    one.resize(CacheFlags(max_size=0, ttl_ms=60_000))
    assert len(one) == 0
    one.resize(CacheFlags(max_size=2, ttl_ms=60_000))
    for key in "def":
        await one.put(key, b"x")
    assert len(one) == 2


async def test_the_same_flags_again_change_nothing_and_a_new_ttl_is_a_new_life(shared: Shared):
    one = cache(shared, ttl=1500)
    await one.put("k", b"x")
    shared.entries.clear()
    await asyncio.sleep(0.9)
    one.resize(CacheFlags(max_size=3, ttl_ms=1500))
    await asyncio.sleep(0.9)
    assert await one.get("k") is None
    await one.put("k", b"x")
    shared.entries.clear()
    one.resize(CacheFlags(max_size=3, ttl_ms=60_000))
    await asyncio.sleep(1.6)
    assert await one.get("k") == Found(b"x", "lru")
    await one.put("l", b"x")
    assert shared.lives["l"] == 60_000


async def test_what_may_have_been_missed_is_forgotten(shared: Shared):
    one = cache(shared)
    await one.put("k", b"x")
    shared.entries.clear()
    shared.forget()
    assert len(one) == 0
    one.resize(flags(size=5).cache)
    await one.put("k", b"x")
    shared.forget()
    assert len(one) == 0
