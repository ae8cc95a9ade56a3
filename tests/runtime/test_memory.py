"""The data path on the real engines: ingest, recall, caches, connections, and what happens when a part is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import orjson
import pytest
from support.engines import control, flags, stats

from memorystack_runtime.contract import Features
from memorystack_runtime.dev import start
from memorystack_runtime.errors import DependencyRejected, Misconfigured, NotFound, Unavailable
from memorystack_runtime.ingest import document_id
from memorystack_runtime.memory import MemoryService
from memorystack_runtime.models import NewMemory, RecallQuery
from memorystack_runtime.settings import Settings

Make = Callable[..., Settings]


@asynccontextmanager
async def serving(settings: Settings, features: Features | None = None) -> AsyncIterator[MemoryService]:
    service = await MemoryService.open(settings, features or flags())
    try:
        yield service
    finally:
        await service.close()


def text(chunks: int, mark: str = "") -> str:
    """A text of exactly so many chunks of a little under 800 characters."""
    return "".join(f"{mark} part {i} of a long story. " + "word " * 152 + "end.\n\n" for i in range(chunks))


def note(words: str, identity: str | None = None) -> NewMemory:
    return NewMemory(id=identity, text=words)


async def recalled(service: MemoryService, words: str, namespace: str = "a", **fields) -> list[dict]:
    answer = await service.recall(RecallQuery(namespace=namespace, query=words, **fields))
    return orjson.loads(answer.body)["hits"]


async def test_what_was_stored_is_recalled_read_whole_and_deleted(settings: Make):
    async with serving(settings()) as service:
        long = text(3)
        (stored,) = await service.store("a", [NewMemory(id="d", text=long, metadata={"k": 1})])
        assert stored.chunks == 3
        memory = await service.get("a", "d")
        assert memory.text == long
        assert memory.metadata == {"k": 1}
        assert [c.order for c in memory.chunks] == [0, 1, 2]
        assert (await recalled(service, "long story"))[0]["id"] == "d"
        await service.delete("a", "d")
        assert await recalled(service, "long story") == []
        with pytest.raises(NotFound, match="'d' in namespace 'a'"):
            await service.get("a", "d")
        with pytest.raises(NotFound):
            await service.delete("a", "d")


@pytest.mark.parametrize("mode", ["hybrid", "dense", "sparse"])
async def test_near_texts_come_first_in_every_mode(settings: Make, mode: str):
    async with serving(settings()) as service:
        await service.store("a", [note("The cat sleeps on the warm sofa."), note("Interest rates rose by two points.")])
        hits = await recalled(service, "a sleeping cat on a sofa", mode=mode, limit=2)
        assert "cat" in hits[0]["text"]


async def test_a_question_of_stop_words_alone_finds_nothing_in_sparse_mode(settings: Make):
    async with serving(settings()) as service:
        await service.store("a", [note("Something.")])
        assert await recalled(service, "the of and", mode="sparse") == []
        assert await recalled(service, "the of and", mode="hybrid")


@pytest.mark.parametrize(("pool", "connections"), [(True, 1), (False, 100)])
async def test_100_calls_open_one_connection_with_the_pool_and_100_without(
    settings: Make, embedder, pool: bool, connections: int
):
    """M1"""
    async with serving(settings(), flags(pool=pool, size=0)) as service:
        before = stats(embedder)["connections_accepted"]
        for i in range(100):
            await service.recall(RecallQuery(namespace="a", query=f"question {i}"))
        # Asking for the statistics opened one more connection itself.
        assert stats(embedder)["connections_accepted"] - before - 1 == connections


async def test_of_15_calls_on_a_pool_of_10_five_wait_and_none_fails(settings: Make, new_embedder):
    """M2"""
    control(new_embedder, latency_ms=300)  # on a busy machine, too, all that may be in flight is so at once
    one = settings(embedder_url=f"{new_embedder.url}/v1")
    async with serving(one, flags(pool=True, connections=10, size=0)) as service:
        recalls = (service.recall(RecallQuery(namespace="a", query=f"q{i}", mode="dense")) for i in range(15))
        answers = await asyncio.gather(*recalls)
        assert len(answers) == 15
        found, seen = service.stats(), stats(new_embedder)
        assert (seen["requests"], seen["max_in_flight"], seen["in_flight"]) == (15, 10, 0)
        assert found.pool_waits >= 5
        assert found.pool_wait_seconds > 0.1


@pytest.mark.parametrize(("concurrency", "most"), [(4, 4), (0, 1)])
async def test_embeds_in_flight_are_bounded_by_the_flag(settings: Make, new_embedder, concurrency: int, most: int):
    """M3"""
    # On a busy machine, too, all that may be in flight is so at once.
    control(new_embedder, latency_ms=300 if concurrency else 20)
    async with serving(settings(embedder_url=f"{new_embedder.url}/v1"), flags(concurrency=concurrency)) as service:
        await service.store("a", [note(text(10))])
        assert stats(new_embedder)["max_in_flight"] == most
        assert service.stats().embeds_in_flight_max == most


@pytest.mark.parametrize("concurrency", [0, 4])
async def test_a_chunk_that_fails_for_good_leaves_the_old_version_whole(settings: Make, embedder, concurrency: int):
    """M4"""
    async with serving(settings(), flags(concurrency=concurrency)) as service:
        await service.store("a", [note(text(3, "old"), "d")])
        control(embedder, failure={"mode": "error", "marker": "part 5"})
        with pytest.raises(Unavailable, match="embedder"):
            await service.store("a", [note(text(8, "new"), "d")])
        assert (await service.get("a", "d")).text == text(3, "old")
        assert all("old" in hit["text"] for hit in await recalled(service, "part of a long story", limit=50))
        assert await service.store_.count() == 3
        control(embedder, failure=None)
        await service.store("a", [note(text(8, "new"), "d")])
        assert (await service.get("a", "d")).text == text(8, "new")
        assert await service.store_.count() == 8


async def test_100_chunks_take_two_upserts_and_no_embed_above_32_inputs(settings: Make, new_embedder):
    """M5"""
    control(new_embedder, latency_ms=1, max_batch=1000)
    async with serving(settings(embedder_url=f"{new_embedder.url}/v1"), flags(concurrency=2)) as service:
        (stored,) = await service.store("a", [note(text(100))])
        assert stored.chunks == 100
        assert service.stats().store_upserts == 2
        assert (stats(new_embedder)["requests"], stats(new_embedder)["max_items"]) == (4, 32)


async def test_an_embedder_that_takes_fewer_inputs_is_asked_for_fewer(settings: Make, embedder):
    control(embedder, max_batch=5)
    async with serving(settings(), flags(concurrency=1)) as service:
        (stored,) = await service.store("a", [note(text(12))])
        assert stored.chunks == 12


async def test_the_same_document_twice_at_once_and_again_has_no_moment_without_hits(settings: Make):
    """M6"""
    one = settings()
    async with (
        serving(one, flags(concurrency=4, size=0)) as first,
        serving(one, flags(concurrency=4, size=0)) as second,
    ):
        await first.store("a", [note(text(6), "d")])
        before = await first.store_.document("a", "d")
        done = asyncio.Event()

        async def read() -> int:
            rounds = 0
            while not done.is_set() or rounds < 5:
                assert len(await recalled(second, "long story", limit=20)) >= 6
                rounds += 1
            return rounds

        reader = asyncio.create_task(read())
        for _ in range(3):
            await asyncio.gather(first.store("a", [note(text(6), "d")]), second.store("a", [note(text(6), "d")]))
        again = await first.store_.document("a", "d")
        assert sorted(p.id for p in again) == sorted(p.id for p in before)
        await first.store("a", [note(text(7), "d")])
        done.set()
        assert await reader >= 5
        after = await first.store_.document("a", "d")
        assert {p.id for p in before} < {p.id for p in after}
        assert len(after) == 7


async def test_two_writers_of_one_document_agree_on_one_version(settings: Make):
    one = settings()
    async with serving(one) as first, serving(one) as second:
        for i in range(4):
            await asyncio.gather(
                first.store("a", [note(text(2, f"left{i}"), "d")]), second.store("a", [note(text(3, f"right{i}"), "d")])
            )
            found = (await first.get("a", "d")).text
            assert found in (text(2, f"left{i}"), text(3, f"right{i}"))


async def test_unchanged_content_is_not_embedded_again(settings: Make):
    async with serving(settings()) as service:
        await service.store("a", [note(text(3), "d")])
        before = service.stats().embed_requests
        (again,) = await service.store("a", [note(text(3), "d")])
        assert again.unchanged
        assert service.stats().embed_requests == before


async def test_an_id_is_made_from_the_text_where_none_is_given():
    assert document_id(note("x")) == document_id(note("x"))
    assert document_id(note("x")) != document_id(note("y"))
    assert document_id(note("x", "mine")) == "mine"


async def test_the_lru_keeps_what_was_touched_and_drops_the_oldest(settings: Make):
    """M7"""
    async with serving(settings(), flags(size=100)) as service:
        for i in range(100):
            await service.recall(RecallQuery(namespace="a", query=f"q{i}", mode="sparse"))
        await service.recall(RecallQuery(namespace="a", query="q0", mode="sparse"))
        await service.recall(RecallQuery(namespace="a", query="q100", mode="sparse"))
        found = service.stats()
        assert (found.lru_size, found.lru_evictions) == (100, 1)
        answer = await service.recall(RecallQuery(namespace="a", query="q0", mode="sparse"))
        assert answer.source == "lru"


async def test_an_entry_ends_with_its_ttl_and_a_size_of_zero_keeps_nothing(settings: Make):
    async with serving(settings(), flags(ttl=100)) as service:
        query = RecallQuery(namespace="a", query="q")
        await service.recall(query)
        await asyncio.sleep(0.15)
        assert (await service.recall(query)).source == "computed"
        service.apply(flags(size=0))
        await service.recall(query)
        assert (await service.recall(query)).source == "computed"


async def test_a_resized_lru_keeps_the_newest(settings: Make):
    async with serving(settings(), flags(size=10)) as service:
        for i in range(10):
            await service.recall(RecallQuery(namespace="a", query=f"q{i}", mode="sparse"))
        service.apply(flags(size=3))
        assert service.stats().lru_size == 3
        assert (await service.recall(RecallQuery(namespace="a", query="q9", mode="sparse"))).source == "lru"


async def test_20_identical_recalls_at_once_are_one_embed_and_one_query(settings: Make, embedder):
    """M8"""
    control(embedder, latency_ms=50)
    async with serving(settings()) as service:
        await service.store("a", [note("Something to find.")])
        before = service.stats()
        answers = await asyncio.gather(
            *(service.recall(RecallQuery(namespace="a", query="something")) for _ in range(20))
        )
        after = service.stats()
        assert after.embed_requests - before.embed_requests == 1
        assert after.store_queries - before.store_queries == 1
        assert len({a.body for a in answers}) == 1


async def test_a_caller_that_leaves_does_not_fail_the_others(settings: Make, embedder):
    control(embedder, latency_ms=100)
    async with serving(settings()) as service:
        query = RecallQuery(namespace="a", query="something")
        leaver = asyncio.create_task(service.recall(query))
        stayer = asyncio.create_task(service.recall(query))
        await asyncio.sleep(0.03)
        leaver.cancel()
        assert (await stayer).source == "computed"


async def test_a_write_on_one_pod_is_seen_on_another_within_50_ms_and_only_in_its_namespace(settings: Make, redis):
    """M9"""
    shared = settings(redis_url=redis.url)
    async with serving(shared) as first, serving(shared) as second:
        await asyncio.wait_for(_both_follow(first, second), 5)
        await first.store("a", [note("The first fact about owls.")])
        await first.store("b", [note("Another fact about owls.")])
        for namespace in ("a", "b"):
            await recalled(second, "owls", namespace)
        delays = []
        for known in range(2, 7):
            await first.store("a", [note(f"Fact {known} about owls.")])
            began = time.monotonic()
            async with asyncio.timeout(5):
                while len(await recalled(second, "owls", "a")) < known:
                    await asyncio.sleep(0.002)
            delays.append(time.monotonic() - began)
        assert sorted(delays)[-2] < 0.05, "more than one of five was late"
        again = await second.recall(RecallQuery(namespace="b", query="owls"))
        assert again.source == "lru"
        shared_hit = await first.recall(RecallQuery(namespace="b", query="owls"))
        assert shared_hit.source == "redis"


async def test_redis_may_go_and_come_back_without_a_restart_or_a_stale_answer(settings: Make, redis):
    """M15"""
    shared = settings(redis_url=redis.url)
    async with serving(shared) as first, serving(shared) as second:
        await asyncio.wait_for(_both_follow(first, second), 5)
        await first.store("a", [note("One owl.")])
        assert len(await recalled(second, "owl")) == 1
        redis.stop()
        await first.store("a", [note("Two owls.")])
        assert len(await recalled(first, "owl")) == 2
        assert len(await recalled(second, "owl")) == 2
        assert not first.stats().redis_up
        redis.start()
        await asyncio.wait_for(_both_follow(first, second), 10)
        assert len(await recalled(second, "owl")) == 2
        assert (await second.recall(RecallQuery(namespace="a", query="owl"))).source in ("lru", "redis")


async def _both_follow(*services: MemoryService) -> None:
    while not all(s.stats().redis_up for s in services):
        await asyncio.sleep(0.02)


async def test_a_namespace_never_sees_another_ones_memories(settings: Make):
    """M10"""
    async with serving(settings()) as service:
        await service.store("a", [note("A secret of a.", "d")])
        assert await recalled(service, "secret", "b") == []
        for call in (service.get, service.delete):
            with pytest.raises(NotFound):
                await call("b", "d")
        assert (await service.get("a", "d")).text == "A secret of a."


async def test_without_the_embedder_words_alone_are_matched_and_that_is_said(settings: Make, embedder):
    """M14"""
    async with serving(settings()) as service:
        await service.store("a", [note("A heron by the lake.")])
        control(embedder, failure={"mode": "error"})
        answer = orjson.loads((await service.recall(RecallQuery(namespace="a", query="heron"))).body)
        assert answer["degraded"]
        assert answer["hits"]
        with pytest.raises(Unavailable):
            await service.recall(RecallQuery(namespace="a", query="heron", mode="dense"))
        with pytest.raises(Unavailable):
            await service.store("a", [note("Never half stored.", "x")])
        control(embedder, failure=None)
        again = orjson.loads((await service.recall(RecallQuery(namespace="a", query="heron"))).body)
        assert not again["degraded"]
        with pytest.raises(NotFound):
            await service.get("a", "x")
        assert service.stats().degraded_recalls == 1


async def test_an_embedder_of_the_wrong_dimension_is_refused_with_both_numbers(settings: Make, embedder):
    control(embedder, failure={"mode": "wrong_dimension"})
    async with serving(settings()) as service:
        with pytest.raises(DependencyRejected, match=r"385 dimensions, the stack expects 384"):
            await service.store("a", [note("x y z")])


async def test_429_is_waited_out_as_long_as_it_says(settings: Make, embedder):
    control(embedder, failure={"mode": "rate_limit", "requests": 2, "retry_after_seconds": 1})
    async with serving(settings()) as service:
        began = time.monotonic()
        await service.store("a", [note("patience")])
        assert time.monotonic() - began >= 2


async def test_429_that_asks_for_too_long_is_passed_on(settings: Make, embedder):
    control(embedder, failure={"mode": "rate_limit", "retry_after_seconds": 30})
    async with serving(settings()) as service:
        with pytest.raises(Unavailable) as caught:
            await service.store("a", [note("patience")])
        assert caught.value.retry_after == 30


async def test_a_collection_of_another_dimension_cannot_be_used(settings: Make):
    async with serving(settings()):
        pass
    with pytest.raises(Misconfigured, match=r"384 dimensions.*set to 8"):
        await MemoryService.open(settings(embedder_dimensions=8), flags())


async def test_a_pod_starts_without_its_store_and_is_ready_when_it_comes(settings: Make, tmp_path):
    with start("qdrant", path=tmp_path / "q") as engine:
        url, port = engine.url, int(engine.url.rpartition(":")[2])
    async with serving(settings(qdrant_url=url)) as service:
        state = await service.ready()
        assert not state.ready
        assert "qdrant" in state.problems
        with pytest.raises(Unavailable, match="qdrant"):
            await service.recall(RecallQuery(namespace="a", query="x"))
        with start("qdrant", port=port, path=tmp_path / "q"):
            assert (await service.ready()).ready
            await service.store("a", [note("back again")])
        assert not (await service.ready()).ready


async def test_flags_change_50_times_under_load_without_a_failed_call_or_a_leaked_task(settings: Make):
    """M19"""
    async with serving(settings(), flags(pool=True)) as service:
        before = asyncio.all_tasks()
        await service.store("a", [note(f"Fact number {i}.") for i in range(5)])
        done = asyncio.Event()
        served = 0

        async def work(k: int) -> None:
            nonlocal served
            i = 0
            while not done.is_set():
                i += 1
                await service.recall(RecallQuery(namespace="a", query=f"fact {k} {i % 7}"))
                if i % 5 == 0:
                    await service.store("a", [note(f"Fact {k} of round {i}. " * 60)])
                served += 1

        workers = [asyncio.create_task(work(k)) for k in range(6)]
        changes = 0
        async with asyncio.timeout(60):
            while changes < 50 or served <= 50:  # a busy machine serves less in the time of fifty changes
                i, changes = changes, changes + 1
                service.apply(flags(pool=i % 2 == 0, connections=1 + i % 8, concurrency=i % 5, size=(i % 4) * 10))
                await asyncio.sleep(0.02)
        done.set()
        await asyncio.gather(*workers)
        async with asyncio.timeout(5):
            while asyncio.all_tasks() != before:
                await asyncio.sleep(0.01)


async def test_closing_leaves_no_task_behind(settings: Make, redis):
    before = asyncio.all_tasks()
    async with serving(settings(redis_url=redis.url), flags(pool=True)) as service:
        await service.store("a", [note("x y")])
        service.apply(flags(pool=False))
    assert asyncio.all_tasks() == before
