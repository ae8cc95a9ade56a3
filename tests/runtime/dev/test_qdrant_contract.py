"""The calls of a memory runtime through qdrant-client, the same against the local engine and against a real Qdrant.

qdrant-client parses every answer with the models generated from Qdrant's OpenAPI, so these also prove the answers' shapes.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

UUID_POINT = "7a3d9c1e-0000-4000-8000-000000000008"
DENSE = [1.0, 0.1, 0.0, 0.0]  # nearest to point 1, then 2, 3 ...


def match(field: str, **kind: Any) -> models.FieldCondition:
    if "value" in kind:
        return models.FieldCondition(key=field, match=models.MatchValue(**kind))
    if "any" in kind:
        return models.FieldCondition(key=field, match=models.MatchAny(**kind))
    return models.FieldCondition(key=field, match=models.MatchExcept(**{"except": kind["but"]}))


def ids(points: list[Any]) -> list[Any]:
    return [point.id for point in points]


def day(number: int) -> datetime:
    return datetime(2026, 1, number, tzinfo=UTC)


FILTERS = [
    ("no clause", models.Filter(), {1, 2, 3, 4, 5, 6, 7, 8}),
    ("keyword", models.Filter(must=[match("namespace", value="odd")]), {1, 3, 5, 7}),
    ("one condition, no list", models.Filter(must=match("namespace", value="odd")), {1, 3, 5, 7}),
    ("integer", models.Filter(must=[match("number", value=3)]), {3}),
    ("bool", models.Filter(must=[match("live", value=False)]), {5, 6, 7, 8}),
    ("in a list", models.Filter(must=[match("tags", value="tag4")]), {4}),
    ("any", models.Filter(must=[match("number", any=[1, 8, 99])]), {1, 8}),
    ("any of nothing", models.Filter(must=[match("namespace", any=[])]), set()),
    ("except", models.Filter(must=[match("number", but=[1, 2, 3, 4])]), {5, 6, 7, 8}),
    ("both musts", models.Filter(must=[match("namespace", value="odd"), match("live", value=True)]), {1, 3}),
    ("should", models.Filter(should=[match("number", value=1), match("number", value=2)]), {1, 2}),
    ("must not", models.Filter(must_not=[match("namespace", value="odd")]), {2, 4, 6, 8}),
    (
        "min should",
        models.Filter(
            min_should=models.MinShould(
                conditions=[match("live", value=True), match("namespace", value="odd"), match("number", value=1)],
                min_count=2,
            )
        ),
        {1, 3},
    ),
    ("range", models.Filter(must=[models.FieldCondition(key="number", range=models.Range(gte=3, lt=5))]), {3, 4}),
    ("float range", models.Filter(must=[models.FieldCondition(key="weight", range=models.Range(gt=7.5))]), {8}),
    (
        "datetime range",
        models.Filter(must=[models.FieldCondition(key="at", range=models.DatetimeRange(gt=day(2), lte=day(4)))]),
        {3, 4},
    ),
    ("has id", models.Filter(must=[models.HasIdCondition(has_id=[2, UUID_POINT])]), {2, 8}),
    (
        "is empty",
        models.Filter(must=[models.IsEmptyCondition(is_empty=models.PayloadField(key="note"))]),
        {1, 3, 4, 5, 6, 7, 8},
    ),
    ("is null", models.Filter(must=[models.IsNullCondition(is_null=models.PayloadField(key="note"))]), {1}),
    ("field is empty", models.Filter(must=[models.FieldCondition(key="note", is_empty=False)]), {2}),
    ("field is null", models.Filter(must=[models.FieldCondition(key="note", is_null=True)]), {1}),
    (
        "values count",
        models.Filter(must=[models.FieldCondition(key="tags", values_count=models.ValuesCount(gte=3))]),
        set(),
    ),
    ("has vector", models.Filter(must=[models.HasVectorCondition(has_vector="terms")]), {1, 2, 3, 4, 5, 6, 7, 8}),
    ("filter in a filter", models.Filter(must=[models.Filter(should=[match("number", value=7)])]), {7}),
]


@pytest.mark.parametrize(("condition", "numbers"), [row[1:] for row in FILTERS], ids=[row[0] for row in FILTERS])
async def test_filter_selects_the_points_that_qdrant_would(
    shelf: Any, condition: models.Filter, numbers: set[int]
) -> None:
    found, _ = await shelf.client.scroll(shelf.name, scroll_filter=condition, limit=100)
    assert {point.payload["number"] for point in found} == numbers
    counted = await shelf.client.count(shelf.name, count_filter=condition, exact=True)
    assert counted.count == len(numbers)


async def test_dense_query_orders_by_nearness(shelf: Any) -> None:
    answer = await shelf.client.query_points(shelf.name, query=DENSE, using="dense", limit=3, with_payload=True)
    assert ids(answer.points) == [1, 2, 3]
    assert answer.points[0].score == pytest.approx(1.0, abs=1e-5)
    assert answer.points[0].payload["namespace"] == "odd"
    assert answer.points[0].vector is None


async def test_dense_query_honours_filter_offset_and_threshold(shelf: Any) -> None:
    even = models.Filter(must=[match("namespace", value="even")])
    answer = await shelf.client.query_points(
        shelf.name, query=DENSE, using="dense", query_filter=even, offset=1, limit=2, with_payload=False
    )
    assert ids(answer.points) == [4, 6]
    assert answer.points[0].payload is None
    near = await shelf.client.query_points(shelf.name, query=DENSE, using="dense", score_threshold=0.99)
    assert ids(near.points) == [1, 2]


async def test_sparse_query_weighs_rare_terms_more(shelf: Any) -> None:
    query = models.SparseVector(indices=[1, 15], values=[1.0, 1.0])
    answer = await shelf.client.query_points(shelf.name, query=query, using="terms", limit=8)
    assert answer.points[0].id == 5
    # IDF: term 1 is in all eight points, term 15 in one; without it the ratio would be (1 + 2) : 1.
    assert answer.points[0].score > 10 * answer.points[1].score
    assert len(answer.points) == 8


def hybrid(namespace: str) -> list[models.Prefetch]:
    only = models.Filter(must=[match("namespace", value=namespace)])
    terms = models.SparseVector(indices=[15], values=[1.0])
    return [
        models.Prefetch(query=DENSE, using="dense", filter=only, limit=4),
        models.Prefetch(query=terms, using="terms", filter=only, limit=4),
    ]


async def test_hybrid_query_fuses_by_reciprocal_ranks(shelf: Any) -> None:
    rrf = models.FusionQuery(fusion=models.Fusion.RRF)
    answer = await shelf.client.query_points(
        shelf.name, prefetch=hybrid("odd"), query=rrf, limit=4, with_payload=["number"]
    )
    assert answer.points[0].id == 5  # third by meaning, first by its term
    assert {point.id for point in answer.points} == {1, 3, 5, 7}
    assert answer.points[0].score == pytest.approx(1 / 4 + 1 / 2)
    assert answer.points[0].payload == {"number": 5}


async def test_hybrid_query_takes_weights_and_dbsf(shelf: Any) -> None:
    weighed = models.RrfQuery(rrf=models.Rrf(k=60, weights=[1.0, 0.0]))
    by_meaning = await shelf.client.query_points(shelf.name, prefetch=hybrid("odd"), query=weighed, limit=1)
    assert ids(by_meaning.points) == [1]
    plain = models.RrfQuery(rrf=models.Rrf(k=1))
    ranked = await shelf.client.query_points(shelf.name, prefetch=hybrid("odd"), query=plain, limit=1)
    assert ids(ranked.points) == [5]
    dbsf = models.FusionQuery(fusion=models.Fusion.DBSF)
    answer = await shelf.client.query_points(shelf.name, prefetch=hybrid("odd"), query=dbsf, limit=10)
    assert {point.id for point in answer.points} == {1, 3, 5, 7}


async def test_query_batch_answers_in_order(shelf: Any) -> None:
    requests = [
        models.QueryRequest(query=[1.0, 0.8, 0.0, 0.0], using="dense", limit=1),
        models.QueryRequest(query=DENSE, using="dense", limit=1, with_vector=["terms"]),
    ]
    first, second = await shelf.client.query_batch_points(shelf.name, requests)
    assert ids(first.points) == [UUID_POINT]
    assert second.points[0].vector == {"terms": models.SparseVector(indices=[1, 11], values=[1.0, 2.0])}


async def test_query_without_a_query_pages_by_id(shelf: Any) -> None:
    answer = await shelf.client.query_points(
        shelf.name, limit=2, with_payload=models.PayloadSelectorExclude(exclude=["tags"])
    )
    assert ids(answer.points) == [1, 2]
    assert "tags" not in answer.points[0].payload
    assert answer.points[0].payload["number"] == 1


async def test_order_by_sorts_by_an_indexed_field(shelf: Any) -> None:
    newest = models.OrderBy(key="at", direction=models.Direction.DESC)
    found, following = await shelf.client.scroll(shelf.name, order_by=newest, limit=2)
    assert ids(found) == [UUID_POINT, 7]
    assert following is None
    answer = await shelf.client.query_points(shelf.name, query=models.OrderByQuery(order_by="number"), limit=2)
    assert ids(answer.points) == [1, 2]


async def test_retrieve_gives_known_points_and_leaves_out_others(shelf: Any) -> None:
    found = await shelf.client.retrieve(shelf.name, [3, UUID_POINT, 99], with_vectors=True)
    by_id = {point.id: point for point in found}
    assert by_id.keys() == {3, UUID_POINT}
    assert by_id[3].payload["weight"] == 3.5
    assert len(by_id[3].vector["dense"]) == 4
    bare = await shelf.client.retrieve(shelf.name, [3], with_payload=False)
    assert bare[0].payload in (None, {})


async def test_scroll_pages_through_all_points_once(shelf: Any) -> None:
    seen: list[Any] = []
    offset = None
    for _ in range(4):
        found, offset = await shelf.client.scroll(shelf.name, limit=3, offset=offset)
        seen += ids(found)
        if offset is None:
            break
    assert offset is None
    assert sorted(map(str, seen)) == sorted(["1", "2", "3", "4", "5", "6", "7", UUID_POINT])


async def test_upsert_again_replaces_the_point(shelf: Any) -> None:
    changed = models.PointStruct(id=2, vector={"dense": [0.0, 0.0, 0.0, 1.0]}, payload={"namespace": "new"})
    result = await shelf.client.upsert(shelf.name, [changed], wait=True)
    assert result.status == models.UpdateStatus.COMPLETED
    (point,) = await shelf.client.retrieve(shelf.name, [2], with_vectors=True)
    assert point.payload == {"namespace": "new"}
    assert "terms" not in point.vector
    assert (await shelf.client.count(shelf.name)).count == 8


async def test_upsert_of_columns_and_without_waiting_is_accepted(shelf: Any) -> None:
    batch = models.Batch(ids=[20, 21], vectors={"dense": [DENSE, DENSE]}, payloads=[{"n": 1}, {"n": 2}])
    result = await shelf.client.upsert(shelf.name, batch, wait=False)
    assert result.status == models.UpdateStatus.ACKNOWLEDGED


async def test_delete_by_ids_and_by_filter(shelf: Any) -> None:
    await shelf.client.delete(shelf.name, models.PointIdsList(points=[1, UUID_POINT]), wait=True)
    odd = models.Filter(must=[match("namespace", value="odd")])
    await shelf.client.delete(shelf.name, models.FilterSelector(filter=odd), wait=True)
    found, _ = await shelf.client.scroll(shelf.name)
    assert ids(found) == [2, 4, 6]


async def test_payload_is_set_overwritten_and_cleared(shelf: Any) -> None:
    client, name = shelf.client, shelf.name
    even = models.Filter(must=[match("namespace", value="even")])

    async def payload(point: int) -> dict[str, Any]:
        return dict((await client.retrieve(name, [point]))[0].payload or {})

    await client.set_payload(name, {"state": "current"}, points=[1], wait=True)
    await client.set_payload(name, {"state": "old"}, points=even, wait=True)
    assert (await payload(1))["state"] == "current"
    assert (await payload(1))["number"] == 1
    assert (await payload(2))["state"] == "old"
    await client.overwrite_payload(name, {"only": 1}, points=[1], wait=True)
    assert await payload(1) == {"only": 1}
    await client.overwrite_payload(name, {"namespace": "even", "only": 2}, points=even, wait=True)
    assert await payload(4) == {"namespace": "even", "only": 2}
    await client.delete_payload(name, ["only"], points=[1], wait=True)
    await client.delete_payload(name, ["only"], points=even, wait=True)
    assert await payload(1) == {}
    assert await payload(4) == {"namespace": "even"}
    await client.clear_payload(name, points_selector=[3], wait=True)
    await client.clear_payload(name, points_selector=even, wait=True)
    assert await payload(3) == {}
    assert await payload(4) == {}


async def test_batch_update_applies_in_order(shelf: Any) -> None:
    await shelf.client.batch_update_points(
        shelf.name,
        [
            models.SetPayloadOperation(set_payload=models.SetPayload(payload={"state": "new"}, points=[7])),
            models.DeleteOperation(delete=models.PointIdsList(points=[1])),
            models.UpsertOperation(
                upsert=models.PointsList(points=[models.PointStruct(id=30, vector={"dense": DENSE}, payload={})])
            ),
        ],
        wait=True,
    )
    found = {point.id: point for point in await shelf.client.retrieve(shelf.name, [1, 7, 30])}
    assert found.keys() == {7, 30}
    assert found[7].payload["state"] == "new"


async def test_facet_counts_values(shelf: Any) -> None:
    answer = await shelf.client.facet(shelf.name, "namespace", exact=True)
    assert {hit.value: hit.count for hit in answer.hits} == {"even": 4, "odd": 4}


async def test_collection_info_shows_vectors_modifier_and_indexes(shelf: Any) -> None:
    info = await shelf.client.get_collection(shelf.name)
    assert info.points_count == 8
    assert info.status == models.CollectionStatus.GREEN
    assert info.config.params.vectors["dense"].size == 4
    assert info.config.params.vectors["dense"].distance == models.Distance.COSINE
    assert info.config.params.sparse_vectors["terms"].modifier == models.Modifier.IDF
    kinds = {field: index.data_type.value for field, index in info.payload_schema.items()}
    expected = {"namespace": "keyword", "number": "integer", "weight": "float", "live": "bool", "at": "datetime"}
    assert kinds == expected
    assert info.payload_schema["namespace"].points == 8


async def test_payload_index_can_be_dropped(shelf: Any) -> None:
    await shelf.client.delete_payload_index(shelf.name, "weight", wait=True)
    info = await shelf.client.get_collection(shelf.name)
    assert "weight" not in info.payload_schema


async def test_collections_are_listed_found_and_deleted_once(qdrant: AsyncQdrantClient) -> None:
    name = f"test-{uuid4().hex}"
    unnamed = models.VectorParams(size=3, distance=models.Distance.DOT)
    assert not await qdrant.collection_exists(name)
    assert await qdrant.create_collection(name, vectors_config=unnamed)
    assert await qdrant.collection_exists(name)
    assert name in {each.name for each in (await qdrant.get_collections()).collections}
    await qdrant.upsert(name, [models.PointStruct(id=1, vector=[1.0, 2.0, 3.0], payload={})], wait=True)
    answer = await qdrant.query_points(name, query=[1.0, 0.0, 1.0], with_vectors=True)
    assert answer.points[0].score == pytest.approx(4.0)
    assert answer.points[0].vector == [1.0, 2.0, 3.0]
    assert await qdrant.delete_collection(name)
    assert not await qdrant.delete_collection(name)
    assert not await qdrant.collection_exists(name)


async def refused(call: Any) -> tuple[int, str]:
    with pytest.raises(UnexpectedResponse) as caught:
        await call
    structured = caught.value.structured()
    assert isinstance(structured["time"], float)
    return int(caught.value.status_code or 0), str(structured["status"]["error"])


async def test_unknown_collection_is_404_and_named(qdrant: AsyncQdrantClient) -> None:
    for call in (
        qdrant.get_collection("nowhere"),
        qdrant.count("nowhere"),
        qdrant.query_points("nowhere", query=[1.0]),
        qdrant.upsert("nowhere", [models.PointStruct(id=1, vector=[1.0])]),
    ):
        status, error = await refused(call)
        assert status == 404
        assert "Collection `nowhere` doesn't exist" in error


async def test_wrong_dimension_is_400_with_expected_and_got(shelf: Any) -> None:
    good = models.PointStruct(id=50, vector={"dense": DENSE})
    bad = models.PointStruct(id=51, vector={"dense": [1.0, 2.0]})
    status, error = await refused(shelf.client.upsert(shelf.name, [good, bad], wait=True))
    assert status == 400
    assert "expected dim: 4, got 2" in error
    assert await shelf.client.retrieve(shelf.name, [50]) == []  # no half of a batch
    status, error = await refused(shelf.client.query_points(shelf.name, query=[1.0], using="dense"))
    assert (status, "expected dim: 4, got 1" in error) == (400, True)


async def test_unknown_vector_is_400_and_named(shelf: Any) -> None:
    status, error = await refused(shelf.client.query_points(shelf.name, query=DENSE, using="colour"))
    assert status == 400
    assert "colour" in error


async def test_existing_collection_is_409(shelf: Any) -> None:
    config = {"dense": models.VectorParams(size=4, distance=models.Distance.COSINE)}
    status, error = await refused(shelf.client.create_collection(shelf.name, vectors_config=config))
    assert status == 409
    assert f"`{shelf.name}` already exists" in error


async def test_point_id_that_is_no_uuid_is_400(shelf: Any) -> None:
    point = models.PointStruct(id="not-a-uuid", vector={"dense": DENSE})
    status, error = await refused(shelf.client.upsert(shelf.name, [point], wait=True))
    assert status == 400
    assert "not-a-uuid" in error


async def test_sparse_statistics_can_be_those_of_one_tenant(shelf: Any) -> None:
    """Term 15 is in one point of eight, but in one of four of its namespace: rarer is heavier."""
    odd = models.Filter(must=[match("namespace", value="odd")])
    query = models.SparseVector(indices=[15], values=[1.0])
    scores = []
    for params in (None, models.SearchParams(idf=models.IdfCorpusParams(corpus=odd))):
        answer = await shelf.client.query_points(
            shelf.name, query=query, using="terms", query_filter=odd, search_params=params
        )
        scores.append(answer.points[0].score)
    assert scores[0] > scores[1]
