"""Generations on a real Redis: what it holds, what a pod mirrors, and what is owed after it was away."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable

import pytest
from redis.asyncio import Redis as Client

from memorystack_runtime.generations import LocalGenerations, RedisGenerations


async def until(condition: Callable[[], object], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
async def one(redis) -> AsyncIterator[RedisGenerations]:
    made = RedisGenerations(redis.url)
    made.forgotten = 0

    def forget() -> None:
        made.forgotten += 1

    made.on_loss(forget)
    await until(lambda: made.shared)
    yield made
    await made.close()


@pytest.fixture
async def client(redis) -> AsyncIterator[Client]:
    async with Client.from_url(redis.url) as made:
        yield made


async def reads(client: Client) -> int:
    """How often Redis was asked for a value."""
    found = (await client.info("commandstats")).get("cmdstat_get", {"calls": 0})
    return found["calls"]


async def test_by_itself_a_pod_counts_its_own_writes():
    alone = LocalGenerations()
    assert (await alone.current("a"), alone.shared) == (0, False)
    await alone.grow("a")
    first = await alone.current("a")
    await alone.grow("a")
    assert 0 < first < await alone.current("a")
    assert await alone.current("b") == 0
    await alone.write("k", b"x", 1000)
    assert await alone.read("k") is None
    alone.on_loss(lambda: None)
    await alone.close()


async def test_a_write_grows_the_counter_in_redis_by_one(one: RedisGenerations, client: Client):
    assert await one.current("a") == 0
    await one.grow("a")
    await one.grow("a")
    assert await client.get("mem:gen:a") == b"2"
    assert (await one.current("a"), await one.current("b")) == (2, 0)
    assert one.failures == 0


async def test_a_generation_is_asked_for_once_and_again_after_a_change_from_elsewhere(
    one: RedisGenerations, client: Client
):
    await one.current("a")
    await one.current("b")
    before = await reads(client)
    assert [await one.current("a") for _ in range(5)] == [0] * 5
    assert await reads(client) == before
    await client.incr("mem:gen:a")
    await until(lambda: "a" not in one._mirror)
    assert "b" in one._mirror
    assert await one.current("a") == 1
    assert await one.current("b") == 0
    assert await reads(client) == before + 1


async def test_an_emptied_redis_is_noticed(one: RedisGenerations, client: Client):
    await one.grow("a")
    assert await one.current("a") == 1
    await client.flushall()
    await until(lambda: not one._mirror)
    assert await one.current("a") == 0


@pytest.mark.parametrize("own", [True, False], ids=["of our own", "from elsewhere"])
async def test_what_is_read_while_a_change_comes_in_is_not_mirrored(
    one: RedisGenerations, client: Client, monkeypatch, own: bool
):
    real, told = one._redis.get, one._invalidated
    heard = asyncio.Event()

    def hear(keys: object) -> None:
        told(keys)
        heard.set()

    async def late(key: str):
        value = await real(key)
        heard.clear()
        await (one.grow("a") if own else client.incr("mem:gen:a"))
        await heard.wait()
        return value

    for number in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(one, "_invalidated", hear)
            patch.setattr(one._redis, "get", late)
            assert await one.current("a") == number
        assert "a" not in one._mirror
    assert await one.current("a") == 3


async def test_a_change_of_our_own_counts_at_once_although_its_message_is_still_on_its_way(
    one: RedisGenerations, monkeypatch
):
    monkeypatch.setattr(one, "_invalidated", lambda _: None)
    for number in range(3):
        assert await one.current("a") == number
        await one.grow("a")
    reads = one._redis.get

    async def late(key: str):
        value = await reads(key)
        await one.grow("a")
        return value

    for number in (3, 4):
        with monkeypatch.context() as patch:
            patch.setattr(one._redis, "get", late)
            assert await one.current("a") == number
    assert await one.current("a") == 5


@pytest.mark.parametrize("away", [False, True], ids=["it succeeds", "Redis is lost meanwhile"])
async def test_what_is_read_while_our_own_write_is_on_its_way_is_read_again_after_it(
    one: RedisGenerations, redis, monkeypatch, away: bool
):
    monkeypatch.setattr(one, "_invalidated", lambda _: None)
    await one.grow("a")
    real = one._redis.incr

    async def slow(key: str):
        assert await one.current("a") == 1
        assert "a" in one._mirror
        if away:
            redis.stop()
        return await real(key)

    monkeypatch.setattr(one._redis, "incr", slow)
    await one.grow("a")
    assert "a" not in one._mirror
    assert await one.current("a") == (None if away else 2)


async def test_a_redis_that_hangs_holds_nobody_up_and_is_followed_again(one: RedisGenerations, redis):
    redis.process.send_signal(signal.SIGSTOP)
    try:
        async with asyncio.timeout(30):
            assert await one.current("never asked before") is None
            assert await one.read("k") is None
            await one.grow("a")
            await until(lambda: one.failures > 2)
    finally:
        redis.process.send_signal(signal.SIGCONT)
    await until(lambda: one.shared and not one._owed)
    # Redis may have taken the one that was given up, too: a generation may be skipped, never kept.
    assert await one.current("a") >= 1


async def test_entries_are_shared_for_as_long_as_is_said(one: RedisGenerations, client: Client):
    assert await one.read("k") is None
    await one.write("k", b"\x00x", 60_000)
    assert await one.read("k") == b"\x00x"
    assert await client.get("mem:rec:k") == b"\x00x"
    assert 50_000 < await client.pttl("mem:rec:k") <= 60_000


async def test_while_redis_is_away_nothing_is_known_and_what_was_written_meanwhile_counts_when_it_is_back(
    one: RedisGenerations, redis
):
    await one.grow("a")
    assert await one.current("a") == 1
    forgotten = one.forgotten
    redis.stop()
    await one.grow("a")
    assert not one.shared
    assert (one.failures > 0, one.forgotten > forgotten) == (True, True)
    assert await one.current("a") is None
    assert await one.read("k") is None
    await one.write("k", b"x", 1000)
    await one.grow("b")
    assert one._owed == {"a", "b"}
    forgotten = one.forgotten
    redis.start()
    await until(lambda: one.shared)
    assert one.forgotten > forgotten
    assert one._owed == set()
    # The server came back empty, and both namespaces were written to.
    assert (await one.current("a"), await one.current("b"), await one.current("c")) == (1, 1, 0)


@pytest.mark.parametrize("call", ["current", "read"])
async def test_a_call_that_finds_redis_away_says_so_to_the_others(one: RedisGenerations, redis, call: str):
    redis.stop()
    await getattr(one, call)("never asked before")
    assert not one.shared
    assert one.failures > 0


async def test_a_tracking_that_ends_without_a_word_is_noticed_and_begun_again(one: RedisGenerations, client: Client):
    await one.grow("a")
    await one.current("a")
    failures = one.failures
    await client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    await until(lambda: one.failures > failures and one.shared)
    await client.incr("mem:gen:a")
    await until(lambda: "a" not in one._mirror)
    assert await one.current("a") == 2


async def test_a_pod_starts_without_redis_and_follows_it_when_it_comes(redis):
    redis.stop()
    made = RedisGenerations(redis.url)
    assert await made.current("a") is None
    await made.grow("a")
    redis.start()
    await until(lambda: made.shared)
    assert await made.current("a") == 1
    await made.close()
    assert made._task.done()


async def test_closing_leaves_no_task(redis):
    before = asyncio.all_tasks()
    made = RedisGenerations(redis.url)
    await until(lambda: made.shared)
    await made.close()
    await until(lambda: asyncio.all_tasks() == before)
