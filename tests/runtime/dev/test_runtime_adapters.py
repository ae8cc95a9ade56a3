"""The runtime's own adapters against the engines: the same calls against the local engine and against a real Qdrant."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import numpy as np
import pytest

from memorystack_runtime.contract import HttpPool
from memorystack_runtime.embedder import Embedder
from memorystack_runtime.errors import DependencyRejected, Misconfigured, Unavailable
from memorystack_runtime.pool import Channel
from memorystack_runtime.sparse import SparseVector
from memorystack_runtime.store import Point, Store

POOLED = HttpPool(enabled=True, connections=4)


@pytest.fixture
async def channel(qdrant_url: str) -> AsyncIterator[Channel]:
    channel = Channel("qdrant", qdrant_url, POOLED)
    yield channel
    await channel.close()


@pytest.fixture
async def store(channel: Channel) -> AsyncIterator[Store]:
    name = f"test-{uuid4().hex}"
    store = Store(channel, name, 4)
    await store.prepare()
    await store.prepare()  # a second pod finds it there
    yield store
    await channel.call("DELETE", f"/collections/{name}")


def chunk(namespace: str, document: str, number: int, *, live: bool = True) -> Point:
    payload = {"namespace": namespace, "document": document, "version": "v1", "live": live, "number": number}
    dense = np.array([1.0, number / 10, 0.0, 0.0], dtype=np.float32)
    return Point(str(uuid4()), dense, SparseVector([1, 10 + number], [1.0, 2.0]), payload)


async def test_store_finds_live_chunks_of_one_namespace_by_both_vectors_or_one(store: Store) -> None:
    await store.upsert([chunk("a", "one", number) for number in range(4)])
    await store.upsert([chunk("a", "two", 4, live=False), chunk("b", "one", 5)])
    dense = np.array([1.0, 0.0, 0.0, 0.0], dtype=np.float32)
    sparse = SparseVector([13], [1.0])
    by_meaning = await store.query("a", 10, dense, None)
    assert [hit.payload["number"] for hit in by_meaning] == [0, 1, 2, 3]
    by_words = await store.query("a", 10, None, sparse)
    assert [hit.payload["number"] for hit in by_words] == [3]
    assert by_words[0].score > 0
    fused = await store.query("a", 2, dense, sparse)
    assert {hit.payload["number"] for hit in fused} == {0, 3}
    assert await store.count() == 6


async def test_store_switches_and_deletes_documents(store: Store) -> None:
    await store.upsert([chunk("a", "one", number, live=False) for number in range(3)])
    await store.upsert([chunk("a", "two", 9)])
    found = await store.document("a", "one")
    assert len(found) == 3
    await store.set_payload([each.id for each in found], {"live": True})
    dense = np.array([1.0, 0.0, 0.0, 0.0], dtype=np.float32)
    assert len(await store.query("a", 10, dense, None)) == 4
    await store.delete([found[0].id])
    await store.delete_document("a", "two")
    assert sorted(each.id for each in await store.document("a", "one")) == sorted(each.id for each in found[1:])
    assert await store.count() == 2


async def test_store_of_another_dimension_is_a_misconfiguration(store: Store, channel: Channel) -> None:
    path = store._path.removeprefix("/collections/")
    with pytest.raises(Misconfigured, match="vectors of 4 dimensions"):
        await Store(channel, path, 8).prepare()
    wrong = Point(str(uuid4()), np.zeros(3, dtype=np.float32), SparseVector([1], [1.0]), {"namespace": "a"})
    with pytest.raises(DependencyRejected, match="expected dim: 4, got 3"):
        await store.upsert([wrong])


async def test_embedder_adapter_reads_vectors_and_failures(embedder: httpx.AsyncClient) -> None:
    channel = Channel("embedder", str(embedder.base_url.join("/v1")), POOLED)
    client = Embedder(channel, "memorystack-hash", 384)
    try:
        near, text, far = await client.embed(["likes green tea", "green tea is liked", "the bus was late"])
        assert float(near @ text) > float(near @ far) + 0.2
        await embedder.put("/control", json={"failure": {"mode": "wrong_dimension"}})
        with pytest.raises((DependencyRejected, Misconfigured), match="385"):
            await client.embed(["a"])
        await embedder.put("/control", json={"failure": {"mode": "error"}})
        with pytest.raises(Unavailable):
            await client.embed(["a"])
    finally:
        await channel.close()
