"""What the store asks of Qdrant, word by word, and what each refusal means to a caller."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest
from support.script import Script, ok

from memorystack_runtime.errors import DependencyRejected, Misconfigured, StorageFull, Unavailable
from memorystack_runtime.sparse import SparseVector
from memorystack_runtime.store import Point, Scored, Store, Stored

DENSE = np.array([0.5, 0.25], dtype=np.float32)
SPARSE = SparseVector([3, 7], [1.0, 2.0])
ON_DOCUMENT = {
    "must": [{"key": "namespace", "match": {"value": "a"}}, {"key": "document", "match": {"value": "d"}}],
}
LIVE = {"must": [{"key": "namespace", "match": {"value": "a"}}, {"key": "live", "match": {"value": True}}]}


def store(script: Script) -> Store:
    return Store(script, "c", 2)


def collection(size: int, name: str = "dense") -> httpx.Response:
    return ok({"config": {"params": {"vectors": {name: {"size": size}}}}})


def said(status: int, text: str = "") -> httpx.Response:
    return httpx.Response(status, text=text)


async def test_a_missing_collection_is_made_with_its_indexes():
    script = Script(said(404), *[ok(True)] * 5)
    await store(script).prepare()
    assert script.lines[:2] == [
        ("GET", "/collections/c", None),
        (
            "PUT",
            "/collections/c",
            {
                "vectors": {"dense": {"size": 2, "distance": "Cosine"}},
                "sparse_vectors": {"text": {"modifier": "idf"}},
            },
        ),
    ]
    indexes = [("namespace", "keyword"), ("document", "keyword"), ("version", "keyword"), ("live", "bool")]
    assert script.lines[2:] == [
        ("PUT", "/collections/c/index?wait=true", {"field_name": field, "field_schema": kind})
        for field, kind in indexes
    ]


@pytest.mark.parametrize("status", [400, 409])
async def test_a_collection_that_another_pod_has_just_made_is_as_good(status: int):
    script = Script(said(404), said(status, "Collection `c` already exists!"), *[ok(True)] * 4)
    await store(script).prepare()
    assert len(script.asked) == 6


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([said(404), said(409, "busy")], "refused a call on c with 409: busy"),
        ([said(404), said(422, "it exists")], "refused a call on c with 422: it exists"),
        ([said(404), said(404)], "refused a call on c with 404"),
        ([said(409, "exists")], "refused a call on c with 409"),
    ],
)
async def test_any_other_refusal_of_the_collection_is_an_error(answers: list[httpx.Response], expected: str):
    with pytest.raises(DependencyRejected, match=expected):
        await store(Script(*answers)).prepare()


async def test_a_collection_that_fits_is_left_alone():
    script = Script(collection(2))
    await store(script).prepare()
    assert script.lines == [("GET", "/collections/c", None)]


@pytest.mark.parametrize(("found", "size"), [(collection(3), 3), (collection(2, "other"), None)])
async def test_a_collection_of_another_size_is_named_with_both_numbers_and_the_remedy(
    found: httpx.Response, size: int | None
):
    with pytest.raises(Misconfigured) as caught:
        await store(Script(found)).prepare()
    assert str(caught.value) == (
        f"the collection c holds vectors of {size} dimensions, the stack is set to 2: "
        f"set spec.embedder.dimensions to {size}, or name another spec.qdrant.collection"
    )


@pytest.mark.parametrize(
    ("answer", "up"), [(said(200), True), (said(503), False), (Unavailable("q", "is away"), False)]
)
async def test_a_ping_asks_briefly_whether_it_answers(answer: Any, up: bool):
    script = Script(answer)
    assert await store(script).ping() is up
    assert [(a.method, a.path, a.timeout) for a in script.asked] == [("GET", "/readyz", 2.0)]


async def test_points_are_written_with_both_vectors_and_waited_for():
    script = Script(ok())
    one = store(script)
    await one.upsert([Point("p", DENSE, SPARSE, {"k": 1})])
    point = {"id": "p", "vector": {"dense": [0.5, 0.25], "text": {"indices": [3, 7], "values": [1.0, 2.0]}}}
    body = {"points": [{**point, "payload": {"k": 1}}]}
    assert script.lines == [("PUT", "/collections/c/points?wait=true", body)]
    assert (one.upserts, one.queries) == (1, 0)


async def test_a_document_is_read_page_by_page_without_its_vectors():
    pages = [
        ok({"points": [{"id": 1, "payload": {"n": 1}}], "next_page_offset": "next"}),
        ok({"points": [{"id": "x", "payload": {"n": 2}}], "next_page_offset": None}),
    ]
    script = Script(*pages)
    assert await store(script).document("a", "d") == [Stored("1", {"n": 1}), Stored("x", {"n": 2})]
    body = {"filter": ON_DOCUMENT, "limit": 1000, "with_payload": True, "with_vector": False}
    assert script.lines == [
        ("POST", "/collections/c/points/scroll", body),
        ("POST", "/collections/c/points/scroll", {**body, "offset": "next"}),
    ]


async def test_points_are_changed_and_removed_by_id_and_documents_whole():
    script = Script(*[ok()] * 3)
    one = store(script)
    await one.set_payload(("p", "q"), {"live": True})
    await one.delete(("p",))
    await one.delete([])
    await one.delete_document("a", "d")
    assert script.lines == [
        ("POST", "/collections/c/points/payload?wait=true", {"payload": {"live": True}, "points": ["p", "q"]}),
        ("POST", "/collections/c/points/delete?wait=true", {"points": ["p"]}),
        ("POST", "/collections/c/points/delete?wait=true", {"filter": ON_DOCUMENT}),
    ]


BY_MEANING = {"query": [0.5, 0.25], "using": "dense"}
BY_WORDS = {"query": {"indices": [3, 7], "values": [1.0, 2.0]}, "using": "text"}
FUSED = {
    "prefetch": [{**branch, "filter": LIVE, "limit": 20} for branch in (BY_MEANING, BY_WORDS)],
    "query": {"fusion": "rrf"},
}


@pytest.mark.parametrize(
    ("dense", "sparse", "body"),
    [
        (DENSE, None, {**BY_MEANING, "filter": LIVE}),
        (None, SPARSE, {**BY_WORDS, "filter": LIVE}),
        (DENSE, SPARSE, FUSED),
    ],
    ids=["dense", "sparse", "hybrid"],
)
async def test_only_live_chunks_of_one_namespace_are_asked_for(dense: Any, sparse: Any, body: dict):
    script = Script(ok({"points": [{"id": 1, "score": 0.7, "payload": {"n": 1}}]}))
    one = store(script)
    assert await one.query("a", 5, dense, sparse) == [Scored(0.7, {"n": 1})]
    assert script.lines == [("POST", "/collections/c/points/query", {**body, "limit": 5, "with_payload": True})]
    assert (one.upserts, one.queries) == (0, 1)


async def test_points_are_counted_exactly():
    script = Script(ok({"count": 7}))
    assert await store(script).count() == 7
    assert script.lines == [("POST", "/collections/c/points/count", {"exact": True})]


async def test_an_empty_answer_is_nothing_found():
    one = store(Script(ok(), ok(), ok()))
    assert await one.document("a", "d") == []
    assert await one.query("a", 5, DENSE, None) == []
    assert await one.count() == 0


@pytest.mark.parametrize(
    ("status", "text", "kind", "expected"),
    [
        (500, "No space left on device", StorageFull, "qdrant has no room left: No space left on device"),
        (507, "DISK is full", StorageFull, "qdrant has no room left: DISK is full"),
        (500, "Storage Full", StorageFull, "qdrant has no room left: Storage Full"),
        (500, "out of memory", Unavailable, "qdrant failed with 500: out of memory"),
        (501, "no space", Unavailable, "qdrant failed with 501: no space"),
        (400, "disk?", DependencyRejected, "qdrant refused a call on c with 400: disk?"),
        (401, "x", DependencyRejected, "qdrant refused the key: look at spec.qdrant.apiKeySecretRef"),
        (403, "x", DependencyRejected, "qdrant refused the key: look at spec.qdrant.apiKeySecretRef"),
        (400, "y" * 999, DependencyRejected, "qdrant refused a call on c with 400: " + "y" * 300),
    ],
)
async def test_each_refusal_says_what_it_means(status: int, text: str, kind: type[Exception], expected: str):
    with pytest.raises(kind) as caught:
        await store(Script(said(status, text))).count()
    assert type(caught.value) is kind
    assert str(caught.value) == expected
    if isinstance(caught.value, Unavailable):
        assert (caught.value.dependency, caught.value.retry_after) == ("qdrant", 30 if kind is StorageFull else 1)


async def test_a_call_that_is_told_to_come_again_later_is_made_again():
    script = Script(httpx.Response(429, headers={"retry-after": "0"}), ok({"count": 1}))
    assert await store(script).count() == 1
    away = Script(*[Unavailable("qdrant", "is away")] * 3)
    with pytest.raises(Unavailable, match="qdrant is away"):
        await store(away).count()
    assert len(away.asked) == 3
    busy = Script(*[httpx.Response(429, headers={"retry-after": "0"})] * 3)
    with pytest.raises(Unavailable) as caught:
        await store(busy).count()
    assert (str(caught.value), caught.value.dependency) == ("qdrant answered 429", "qdrant")
