"""How the service puts its parts together: what each is given, what each is told, and what is counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import UTC, datetime
from types import SimpleNamespace

import orjson
import pytest
from pydantic import SecretStr
from support.engines import flags
from support.script import Script, ok
from support.shelf import Shelf, Words

from memorystack_runtime.contract import Features
from memorystack_runtime.errors import Misconfigured, NotFound, Unavailable
from memorystack_runtime.generations import LocalGenerations, RedisGenerations
from memorystack_runtime.memory import MemoryService, Readiness
from memorystack_runtime.models import ChunkText, NewMemory, RecallQuery
from memorystack_runtime.settings import Settings

NOWHERE = "http://127.0.0.1:1"


def settings(**fields: object) -> Settings:
    base = {"qdrant_url": NOWHERE, "embedder_url": f"{NOWHERE}/v1", "qdrant_collection": "c", "auth_disabled": True}
    return Settings(**{**base, **fields})


class Parts:
    """A service whose store and embedder are in this process."""

    def __init__(self, service: MemoryService) -> None:
        self.service = service
        self.shelf, self.words = Shelf(), Words()
        self.shelf.delete_document = self.delete_document
        service.store_ = service._ingest._store = service._recall._store = self.shelf
        service._ingest._embedder = service._recall._embedder = self.words
        service._prepared = True

    async def delete_document(self, namespace: str, document: str) -> None:
        await self.shelf.delete([p.id for p in await self.shelf.document(namespace, document)])

    async def generation(self, namespace: str = "a") -> int | None:
        return await self.service._generations.current(namespace)


@pytest.fixture
async def parts() -> AsyncIterator[Parts]:
    service = MemoryService(settings(chunk_characters=100), Features())
    yield Parts(service)
    await service.close()


async def test_each_part_is_given_what_the_settings_say():
    features = flags(pool=True, connections=3, concurrency=5, size=7)
    one = settings(
        qdrant_api_key=SecretStr("q"),
        embedder_api_key=SecretStr("e"),
        embedder_model="m",
        embedder_dimensions=9,
        chunk_characters=123,
    )
    service = MemoryService(one, features)
    qdrant, embeddings = service._qdrant, service._embeddings
    assert (qdrant.name, qdrant._base_url, qdrant._headers) == ("qdrant", NOWHERE, {"api-key": "q"})
    assert (embeddings.name, embeddings._base_url) == ("embedder", f"{NOWHERE}/v1")
    assert embeddings._headers == {"authorization": "Bearer e"}
    assert qdrant._flags == embeddings._flags == features.http_pool
    store, embedder = service.store_, service._embedder
    assert (store.channel, store._collection, store._dimensions) == (qdrant, "c", 9)
    assert (embedder.channel, embedder._model, embedder._dimensions) == (embeddings, "m", 9)
    assert (service._ingest.concurrency, service._ingest._characters) == (5, 123)
    assert service._cache._flags == features.cache
    assert isinstance(service._generations, LocalGenerations)
    await service.close()


async def test_without_keys_none_is_sent_and_with_a_url_redis_is_used():
    service = MemoryService(settings(redis_url=SecretStr("redis://127.0.0.1:1/0")), Features())
    assert (service._qdrant._headers, service._embeddings._headers) == ({}, {})
    assert isinstance(service._generations, RedisGenerations)
    await service.close()
    empty = MemoryService(settings(redis_url=SecretStr("")), Features())
    assert isinstance(empty._generations, LocalGenerations)
    await empty.close()


async def test_new_flags_reach_every_part(parts: Parts):
    features = flags(pool=True, connections=3, concurrency=5, size=7, ttl=900)
    parts.service.apply(features)
    service = parts.service
    assert service._qdrant._flags == service._embeddings._flags == features.http_pool
    assert (service._ingest.concurrency, service._cache._flags) == (5, features.cache)


async def test_what_is_counted_is_told_under_its_own_name(parts: Parts):
    service = parts.service
    cache = service._cache.stats
    cache.lru_hits, cache.evictions, cache.redis_hits, cache.misses = 1, 2, 3, 4
    await service._cache.put("k", b"x")
    service._embedder = SimpleNamespace(requests=5, in_flight=6, max_in_flight=7)
    service._ingest.queued = 8
    service._qdrant.waits.count, service._embeddings.waits.count = 10, 20
    service._qdrant.waits.seconds, service._embeddings.waits.seconds = 0.25, 0.5
    service.store_ = SimpleNamespace(queries=11, upserts=12)
    service._recall.degraded = 13
    assert asdict(service.stats()) == {
        "lru_hits": 1,
        "lru_size": 1,
        "lru_evictions": 2,
        "redis_hits": 3,
        "cache_misses": 4,
        "redis_up": False,
        "embed_requests": 5,
        "embeds_in_flight": 6,
        "embeds_in_flight_max": 7,
        "embeds_queued": 8,
        "pool_waits": 30,
        "pool_wait_seconds": 0.75,
        "store_queries": 11,
        "store_upserts": 12,
        "degraded_recalls": 13,
    }


async def test_a_write_makes_older_answers_stale_and_the_same_again_does_not(parts: Parts):
    first = await parts.generation()
    (stored,) = await parts.service.store("a", [NewMemory(id="d", text="An owl.")])
    second = await parts.generation()
    assert second != first
    (again,) = await parts.service.store("a", [NewMemory(id="d", text="An owl.")])
    assert (again.unchanged, again.version) == (True, stored.version)
    assert await parts.generation() == second
    both = await parts.service.store("a", [NewMemory(id=i, text=t) for i, t in (("d", "An owl."), ("e", "A mouse."))])
    assert [(s.id, s.unchanged) for s in both] == [("d", True), ("e", False)]
    assert await parts.generation() != second
    assert await parts.generation("b") == 0


async def test_a_failure_amid_many_keeps_those_before_it_and_makes_older_answers_stale(parts: Parts):
    await parts.service.store("a", [NewMemory(id="d", text="An owl.")])
    before = await parts.generation()
    parts.words.fails = lambda text: Unavailable("embedder", "is away") if "bat" in text else None
    many = [NewMemory(id=i, text=t) for i, t in (("d", "An owl."), ("e", "A bat."), ("f", "A mouse."))]
    with pytest.raises(Unavailable, match="is away"):
        await parts.service.store("a", many)
    assert await parts.generation() != before
    assert {p["document"] for p in parts.shelf.points.values()} == {"d"}


async def test_a_caller_that_leaves_makes_older_answers_stale_all_the_same(parts: Parts):
    before = await parts.generation()
    stuck = asyncio.Event()

    async def hang(_: object) -> list:
        stuck.set()
        await asyncio.Event().wait()
        return []

    parts.words.embed = hang
    task = asyncio.create_task(parts.service.store("a", [NewMemory(id="d", text="An owl.")]))
    await stuck.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await parts.generation() != before


async def test_a_memory_is_read_whole_in_order_and_without_what_is_hidden(parts: Parts):
    text = "".join(
        f"Sentence {i} tells at some length what owls do at night over wet meadows.".ljust(90, "!") + "\n\n"
        for i in range(4)
    )
    (stored,) = await parts.service.store("a", [NewMemory(id="d", text=text, metadata={"k": 1})])
    hidden = {"namespace": "a", "document": "d", "version": "v", "live": False, "order": 9, "text": "x", "storedAt": 0}
    parts.shelf.points = {"h": hidden, **dict(reversed(parts.shelf.points.items()))}
    for payload in parts.shelf.points.values():
        payload["storedAt"] = 1_700_000_000
    memory = await parts.service.get("a", "d")
    assert (memory.id, memory.namespace, memory.text, memory.metadata) == ("d", "a", text, {"k": 1})
    assert (memory.version, memory.stored_at) == (stored.version, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC))
    assert memory.chunks == [ChunkText(order=i, text=c.text) for i, c in enumerate(memory.chunks)]
    assert "".join(c.text for c in memory.chunks) == text
    for payload in parts.shelf.points.values():
        payload.pop("metadata", None)
    assert (await parts.service.get("a", "d")).metadata == {}


async def test_what_is_not_there_is_named_with_its_namespace(parts: Parts):
    for call in (parts.service.get, parts.service.delete):
        with pytest.raises(NotFound) as caught:
            await call("a", "d")
        assert str(caught.value) == "no memory 'd' in namespace 'a'"
    assert await parts.generation() == 0


async def test_a_memory_goes_whole_and_older_answers_are_stale_even_when_that_fails(parts: Parts):
    await parts.service.store("a", [NewMemory(id=i, text="An owl.") for i in "de"])
    before = await parts.generation()
    await parts.service.delete("a", "d")
    assert {p["document"] for p in parts.shelf.points.values()} == {"e"}
    between = await parts.generation()
    assert between != before

    def away(name: str) -> None:
        if name == "delete":
            raise Unavailable("qdrant", "is away")

    parts.shelf.before = away
    with pytest.raises(Unavailable):
        await parts.service.delete("a", "e")
    assert await parts.generation() != between


async def test_a_recall_is_answered_by_the_parts(parts: Parts):
    answer = await parts.service.recall(RecallQuery(namespace="a", query="owl"))
    assert (orjson.loads(answer.body)["hits"], answer.source) == ([], "computed")
    assert [asked[0] for asked in parts.shelf.queries] == ["a"]


COLLECTION = ok({"config": {"params": {"vectors": {"dense": {"size": 384}}}}})


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ((COLLECTION, ok()), Readiness(True, {})),
        ((COLLECTION, Unavailable("qdrant", "is away")), Readiness(False, {"qdrant": "does not answer"})),
        ((Unavailable("qdrant", "is away"),) * 3, Readiness(False, {"qdrant": "qdrant is away"})),
    ],
    ids=["up", "silent", "never up"],
)
async def test_a_pod_is_ready_when_its_store_answers(answers: tuple, expected: Readiness):
    service = MemoryService(settings(), Features())
    service.store_.channel = Script(*answers)
    assert await service.ready() == expected
    await service.close()


async def test_the_collection_is_asked_for_until_it_was_there_once_and_by_one_call_at_a_time():
    service = MemoryService(settings(), Features())
    script = Script(*(Unavailable("qdrant", "is away"),) * 3, COLLECTION, *[ok({"points": []})] * 4)
    service.store_.channel = script
    with pytest.raises(Unavailable):
        await service.get("a", "d")
    await asyncio.gather(*(service.get("a", "d") for _ in range(3)), return_exceptions=True)
    with pytest.raises(NotFound):
        await service.get("a", "d")
    assert [a.path for a in script.asked].count("/collections/c") == 4
    await service.close()


async def test_it_opens_although_its_store_is_away_and_not_on_what_never_mends(monkeypatch: pytest.MonkeyPatch):
    service = await MemoryService.open(settings(), Features())
    assert not service._prepared
    await service.close()
    closed = []

    async def wrong(_: MemoryService) -> None:
        raise Misconfigured("another dimension")

    async def close(self: MemoryService) -> None:
        closed.append(self)

    monkeypatch.setattr(MemoryService, "_prepare", wrong)
    monkeypatch.setattr(MemoryService, "close", close)
    with pytest.raises(Misconfigured, match="another dimension"):
        await MemoryService.open(settings(), Features())
    assert len(closed) == 1


async def test_closing_ends_every_part(parts: Parts, monkeypatch: pytest.MonkeyPatch):
    ended = []
    for name in ("_recall", "_generations", "_qdrant", "_embeddings"):
        part = getattr(parts.service, name)
        real = part.close

        async def close(name: str = name, real=real) -> None:
            ended.append(name)
            await real()

        monkeypatch.setattr(part, "close", close)
    await parts.service.close()
    assert sorted(ended) == ["_embeddings", "_generations", "_qdrant", "_recall"]
