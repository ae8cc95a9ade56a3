"""The steps of an ingest, each looked at: what is asked of the embedder, what is on record when, what a failure leaves."""

from __future__ import annotations

import asyncio
import time

import pytest
from support.shelf import Shelf, Words

from memorystack_runtime import sparse
from memorystack_runtime.errors import Unavailable
from memorystack_runtime.ingest import Ingest, document_id
from memorystack_runtime.models import NewMemory

SIZE = 40


def text(chunks: int, mark: str = "p") -> str:
    """Of exactly so many chunks."""
    return "".join(f"{mark}{i:03} ".ljust(SIZE - 2, "x") + "\n\n" for i in range(chunks))


def ingest(shelf: Shelf, words: Words, concurrency: int = 0) -> Ingest:
    made = Ingest(shelf, words, SIZE)
    made.concurrency = concurrency
    return made


def note(chunks: int = 2, mark: str = "p", **metadata: object) -> NewMemory:
    return NewMemory(id="d", text=text(chunks, mark), metadata=metadata)


async def test_a_document_is_hidden_until_all_of_it_is_there_and_then_switched_on_at_once():
    seen: list[tuple[str, int]] = []
    shelf = Shelf(lambda name: seen.append((name, len(shelf.live))))
    began = time.time()
    stored = await ingest(shelf, Words()).store("a", note(2, k=1))
    assert [name for name, _ in seen] == ["document", "upsert", "set_payload", "document", "delete"]
    assert [live for _, live in seen] == [0, 0, 0, 2, 2]
    assert "".join(shelf.live) == text(2)
    written = shelf.upserts[0]
    assert [(p["namespace"], p["document"], p["live"], p["order"]) for p in written] == [("a", "d", False, 0), ("a", "d", False, 1)]  # fmt: skip
    assert all(p["metadata"] == {"k": 1} and began <= p["storedAt"] <= time.time() for p in written)
    for p in shelf.points.values():
        assert (p["version"], p["live"], p["chunks"], p["metadata"]) == (stored.version, True, 2, {"k": 1})
        assert began <= p["storedAt"] <= time.time()
    assert {p["version"] for p in written} == {stored.version}
    assert (stored.id, stored.namespace, stored.chunks, stored.unchanged) == ("d", "a", 2, False)


async def test_each_chunk_has_its_own_vectors():
    shelf = Shelf()
    await ingest(shelf, Words()).store("a", note(2))
    for identity, payload in shelf.points.items():
        assert shelf.vectors[identity] == ([len(payload["text"].strip())], sparse.of_document(payload["text"]))


async def test_ids_and_versions_are_the_same_in_every_release():
    """Else a retry after an upgrade would write a second copy beside the first."""
    shelf = Shelf()
    stored = await ingest(shelf, Words()).store("a", NewMemory(id="d", text="An owl.", metadata={"b": 1, "a": 2}))
    assert list(shelf.points) == ["c85a08d9-5433-53a9-8cc4-2ef4601d92ac"]
    assert stored.version == "d7820ccfcd7ea969"  # pragma: allowlist secret
    assert document_id(NewMemory(text="An owl.")) == "m-359b67d612d5691cb2cea76a"


async def test_order_of_metadata_keys_makes_no_new_version():
    one = ingest(Shelf(), Words())
    first = await one.store("a", note(1, x=1, y=2))
    again = await one.store("a", note(1, y=2, x=1))
    assert (again.version, again.unchanged) == (first.version, True)


@pytest.mark.parametrize(
    ("concurrency", "chunks", "batches", "most"),
    [
        (0, 3, [1, 1, 1], 1),
        (1, 3, [3], 1),
        (1, 33, [32, 1], 1),
        (2, 3, [2, 1], 2),
        (4, 10, [3, 3, 3, 1], 4),
        (4, 2, [1, 1], 2),
        (2, 100, [32, 32, 32, 4], 2),
        (64, 10, [1] * 10, 10),
    ],
)
async def test_chunks_are_embedded_in_batches_as_the_flag_says(
    concurrency: int, chunks: int, batches: list[int], most: int
):
    words = Words()
    await ingest(Shelf(), words, concurrency).store("a", note(chunks))
    assert [len(batch) for batch in words.batches] == batches
    assert words.most == most
    assert sorted(t for batch in words.batches for t in batch) == [p.strip() for p in text(chunks).split("\n\n") if p]


async def test_requests_that_wait_for_their_turn_are_counted():
    one = Ingest(Shelf(), Words(), SIZE)
    one.concurrency = 1
    seen = []

    class Watching(Words):
        async def embed(self, texts):
            seen.append(one.queued)
            return await super().embed(texts)

    one._embedder = Watching()
    await one.store("a", note(70))
    assert seen == [0, 1, 0]
    assert one.queued == 0


async def test_points_are_written_64_at_a_time_while_the_rest_is_still_embedded():
    words, embedded_at_upsert = Words(), []
    shelf = Shelf(lambda name: embedded_at_upsert.append(len(words.batches)) if name == "upsert" else None)
    await ingest(shelf, words).store("a", note(130))
    assert [len(points) for points in shelf.upserts] == [64, 64, 2]
    assert embedded_at_upsert[0] < 70
    assert "".join(shelf.live) == text(130)


async def test_exactly_64_chunks_are_one_write():
    shelf = Shelf()
    await ingest(shelf, Words(), 2).store("a", note(64))
    assert [len(points) for points in shelf.upserts] == [64]


async def test_a_new_version_embeds_only_what_is_new_and_drops_the_rest():
    shelf, words = Shelf(), Words()
    one = ingest(shelf, words)
    first = await one.store("a", note(3))
    words.batches.clear()
    longer = NewMemory(id="d", text=text(2) + text(1, "new"))
    second = await one.store("a", longer)
    assert [batch[0][:6] for batch in words.batches] == ["new000"]
    assert "".join(shelf.live) == longer.text
    assert len(shelf.points) == 3
    assert {p["version"] for p in shelf.points.values()} == {second.version} != {first.version}


async def test_new_metadata_alone_embeds_nothing():
    shelf, words = Shelf(), Words()
    one = ingest(shelf, words)
    await one.store("a", note(2, k=1))
    words.batches.clear()
    again = await one.store("a", note(2, k=2))
    assert not again.unchanged
    assert words.batches == []
    assert all(p["metadata"] == {"k": 2} and p["version"] == again.version for p in shelf.points.values())


async def test_unchanged_content_changes_nothing():
    shelf = Shelf()
    one = ingest(shelf, Words())
    first = await one.store("a", note(2))
    shelf.done.clear()
    again = await one.store("a", note(2))
    assert shelf.done == ["document"]
    assert again == first.model_copy(update={"unchanged": True})


@pytest.mark.parametrize(
    "spoil",
    [
        lambda points: points.popitem(),
        lambda points: next(iter(points.values())).update(live=False),
        lambda points: next(iter(points.values())).update(version="other"),
        lambda points: points.update(x={**next(iter(points.values())), "version": "old"}),
    ],
    ids=["chunk gone", "chunk hidden", "chunk of another version", "chunk too many"],
)
async def test_content_that_is_not_whole_is_stored_again(spoil):
    shelf = Shelf()
    one = ingest(shelf, Words())
    await one.store("a", note(2))
    spoil(shelf.points)
    again = await one.store("a", note(2))
    assert not again.unchanged
    assert "".join(shelf.live) == text(2)
    assert len(shelf.points) == 2


@pytest.mark.parametrize("concurrency", [0, 2, 64])
async def test_an_embedder_that_fails_leaves_the_old_version_and_nothing_of_the_new(concurrency: int):
    shelf, words = Shelf(), Words()
    one = ingest(shelf, words, concurrency)
    await one.store("a", note(2, "old"))
    words.fails = lambda t: Unavailable("embedder", "is away") if t.startswith("new090") else None
    with pytest.raises(Unavailable, match="embedder is away"):
        await one.store("a", note(100, "new"))
    assert "".join(shelf.live) == text(2, "old")
    assert len(shelf.points) == 2
    assert words.in_flight == 0
    words.fails = lambda _: None
    await one.store("a", note(100, "new"))
    assert "".join(shelf.live) == text(100, "new")


async def test_a_write_that_fails_leaves_the_old_version_and_nothing_of_the_new():
    shelf = Shelf()
    one = ingest(shelf, Words(), 8)
    await one.store("a", note(2, "old"))
    writes = []

    def second_write_fails(name: str) -> None:
        if name == "upsert":
            writes.append(name)
            if len(writes) == 2:
                raise Unavailable("qdrant", "is away")

    shelf.before = second_write_fails
    with pytest.raises(Unavailable, match="qdrant is away"):
        await one.store("a", note(130, "new"))
    assert "".join(shelf.live) == text(2, "old")
    assert len(shelf.points) == 2


async def test_what_cannot_be_removed_after_a_failure_stays_hidden_and_the_failure_is_told():
    shelf = Shelf()
    words = Words(lambda t: Unavailable("embedder", "is away") if t.startswith("p099") else None)

    def away(name: str) -> None:
        if name == "delete":
            raise Unavailable("qdrant", "is away")

    shelf.before = away
    with pytest.raises(Unavailable, match="embedder is away"):
        await ingest(shelf, words).store("a", note(100))
    assert shelf.live == []
    assert len(shelf.points) == 64


async def test_a_caller_that_leaves_takes_back_what_was_written():
    shelf, reached = Shelf(), asyncio.Event()

    class Stuck(Words):
        async def embed(self, texts):
            if texts[0].startswith("p080"):
                reached.set()
                await asyncio.sleep(60)
            return await super().embed(texts)

    one = ingest(shelf, Stuck())
    task = asyncio.create_task(one.store("a", note(100)))
    await asyncio.wait_for(reached.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert shelf.points == {}


def left(version: str, *, live: bool, age: float) -> dict:
    return {
        "namespace": "a", "document": "d", "version": version, "live": live, "storedAt": time.time() - age,
        "order": 0, "text": version, "metadata": {},
    }  # fmt: skip


async def test_of_what_others_left_old_versions_and_the_abandoned_go_and_a_writer_at_work_is_spared():
    shelf = Shelf()
    shelf.points = {
        "old": left("old", live=True, age=500),
        "dead": left("dead", live=False, age=125),
        "busy": left("busy", live=False, age=115),
    }
    stored = await ingest(shelf, Words()).store("a", note(1))
    assert {p["version"] for p in shelf.points.values()} == {stored.version, "busy"}


async def test_of_two_live_versions_the_later_switched_one_stays():
    shelf = Shelf()

    def another_switches_later(name: str) -> None:
        if name == "document" and shelf.done.count("document") == 1:
            shelf.points["later"] = left("later", live=True, age=-5)

    shelf.before = another_switches_later
    await ingest(shelf, Words()).store("a", note(2))
    assert list(shelf.points) == ["later"]


async def test_two_writers_of_one_document_take_turns_and_others_do_not_wait():
    shelf = Shelf()
    one = ingest(shelf, Words(), 4)
    await asyncio.gather(*(one.store("a", note(3, mark)) for mark in ("x", "y", "z")))
    assert "".join(shelf.live) == text(3, "z")
    assert shelf.done == ["document", "upsert", "set_payload", "document", "delete"] * 3
    shelf.done.clear()
    await asyncio.gather(*(one.store(namespace, note(1)) for namespace in "ab"))
    assert shelf.done[:2] == ["document"] * 2
    assert one._locks == {}


async def test_a_chunk_of_white_space_alone_is_embedded_as_it_is():
    words = Words()
    pieces = [" " * SIZE, "owl " * 9 + "owl\n"]
    await ingest(Shelf(), words).store("a", NewMemory(id="d", text="".join(pieces)))
    sent = [t for batch in words.batches for t in batch]
    assert all(t for t in sent)
    assert any("owl" in t and t == t.strip() for t in sent)
