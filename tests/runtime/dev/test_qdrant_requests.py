"""Bodies that qdrant-client would not send: each is refused by name and changes nothing. Raw HTTP, local engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

VECTOR = {"dense": [1.0, 0.0], "terms": {"indices": [1, 2], "values": [1.0, 0.5]}}


@pytest.fixture
def collection(local_qdrant: str) -> Iterator[httpx.Client]:
    """A client below a collection with a dense vector of two numbers, a sparse one, and the points 1 and 2."""
    url = f"{local_qdrant}/collections/test-{uuid4().hex}"
    with httpx.Client(base_url=url) as client:
        schema = {"vectors": {"dense": {"size": 2, "distance": "Cosine"}}, "sparse_vectors": {"terms": None}}
        client.put(url, json=schema).raise_for_status()
        points = [{"id": number, "vector": VECTOR, "payload": {"n": number}} for number in (1, 2)]
        client.put("/points", json={"points": points}).raise_for_status()
        yield client
        client.delete(url).raise_for_status()


def upsert_of(**changes: Any) -> dict[str, Any]:
    return {"points": [{"id": 7, "vector": VECTOR, "payload": {}} | changes]}


def filtered(condition: Any) -> dict[str, Any]:
    return {"filter": {"must": [condition]}}


WRITES = [
    ("a list", "/points", [], 400, "the body must be an object"),
    ("no points", "/points", {}, 400, "points must be a list"),
    ("empty points", "/points", {"points": []}, 400, "Empty update request"),
    ("no id", "/points", upsert_of(id=None), 400, "not a valid point ID"),
    ("negative id", "/points", upsert_of(id=-1), 400, "value -1 is not a valid point ID"),
    ("id too large", "/points", upsert_of(id=2**64), 400, "is not a valid point ID"),
    ("bool id", "/points", upsert_of(id=True), 400, "value True is not a valid point ID"),
    ("no vector", "/points", upsert_of(vector=None), 400, "vector must be an object"),
    ("unnamed vector", "/points", upsert_of(vector=[1.0, 0.0]), 400, "Not existing vector name error"),
    ("text in vector", "/points", upsert_of(vector={"dense": [1.0, "x"]}), 400, "'dense' must be a list of numbers"),
    ("server inference", "/points", upsert_of(vector={"dense": {"text": "x", "model": "m"}}), 400, "embeds no text"),
    ("sparse as list", "/points", upsert_of(vector={"terms": [1.0]}), 400, "the sparse vector terms must be an object"),
    (
        "sparse of two lengths",
        "/points",
        upsert_of(vector={"terms": {"indices": [1], "values": []}}),
        422,
        "same length",
    ),
    (
        "sparse index twice",
        "/points",
        upsert_of(vector={"terms": {"indices": [1, 1], "values": [1, 1]}}),
        422,
        "must be unique",
    ),
    (
        "sparse index negative",
        "/points",
        upsert_of(vector={"terms": {"indices": [-1], "values": [1]}}),
        422,
        "unsigned 32-bit",
    ),
    (
        "sparse value text",
        "/points",
        upsert_of(vector={"terms": {"indices": [1], "values": ["x"]}}),
        400,
        "must be numbers",
    ),
    ("payload a list", "/points", upsert_of(payload=[]), 400, "payload must be an object"),
    (
        "columns of two lengths",
        "/points",
        {"batch": {"ids": [1, 2], "vectors": [VECTOR]}},
        400,
        "must have the same length",
    ),
    ("payload without points", "/points/payload", {"payload": {}}, 400, "either `points` or `filter`"),
    ("index without type", "/index", {"field_name": "n"}, 400, "field_schema must be a string"),
    ("index of unknown type", "/index", {"field_name": "n", "field_schema": "colour"}, 400, "unknown field_schema"),
    ("index without field", "/index", {"field_schema": "keyword"}, 400, "field_name must be a string"),
]

READS = [
    ("delete of everything", "/points/delete", {}, 400, "either `points` or `filter`"),
    ("delete without keys", "/points/payload/delete", {"points": [1]}, 400, "keys must be a list"),
    ("batch of nothing", "/points/batch", {"operations": []}, 400, "Empty update request"),
    ("batch of unknown", "/points/batch", {"operations": [{"explode": {}}]}, 400, "unknown operation `explode`"),
    ("batch of two names", "/points/batch", {"operations": [{"upsert": {}, "delete": {}}]}, 400, "must have one name"),
    ("ids not a list", "/points", {"ids": 1}, 400, "ids must be a list"),
    ("limit zero", "/points/query", {"limit": 0}, 400, "limit must be an integer of at least 1"),
    ("limit text", "/points/scroll", {"limit": "x"}, 400, "limit must be an integer"),
    ("offset negative", "/points/query", {"offset": -1}, 400, "offset must be an integer"),
    ("threshold text", "/points/query", {"score_threshold": "x"}, 400, "score_threshold must be a number"),
    ("query by id", "/points/query", {"query": 1, "using": "dense"}, 400, "a query by point ID is not known"),
    ("unknown query", "/points/query", {"query": {"recommend": {}}}, 400, "the query ['recommend'] is not known"),
    ("mmr", "/points/query", {"query": {"nearest": [1, 0], "mmr": {}}, "using": "dense"}, 400, "mmr is not known"),
    ("unknown fusion", "/points/query", {"query": {"fusion": "mean"}}, 400, "unknown fusion 'mean'"),
    ("fusion of nothing", "/points/query", {"query": {"fusion": "rrf"}}, 400, "cannot apply Fusion without prefetches"),
    ("rrf k zero", "/points/query", {"query": {"rrf": {"k": 0}}}, 400, "query.rrf.k"),
    ("order without index", "/points/scroll", {"order_by": "n"}, 400, "No range index"),
    ("order sideways", "/points/scroll", {"order_by": {"key": "n", "direction": "left"}}, 400, "asc or desc"),
    ("payload selector", "/points/query", {"with_payload": {"only": ["n"]}}, 400, "with_payload must be"),
    ("vector selector", "/points/query", {"with_vector": {"x": 1}}, 400, "with_vector must be a list"),
    ("exact text", "/points/count", {"exact": "yes"}, 400, "exact must be true or false"),
    ("unknown clause", "/points/count", {"filter": {"may": []}}, 400, "unknown field `may` in filter"),
    ("unknown condition", "/points/count", filtered({"colour": 1}), 400, "unknown condition ['colour']"),
    ("no condition", "/points/count", filtered({"key": "n"}), 400, "must have one of match, range"),
    ("geo", "/points/count", filtered({"key": "n", "geo_radius": {}}), 400, "`geo_radius` on `n` is not known"),
    ("unknown match", "/points/count", filtered({"key": "n", "match": {"like": 1}}), 400, "match on `n` must have one"),
    ("match a float", "/points/count", filtered({"key": "n", "match": {"value": 1.5}}), 400, "cannot compare with 1.5"),
    ("unknown bound", "/points/count", filtered({"key": "n", "range": {"above": 1}}), 400, "unknown bound `above`"),
    ("range of a list", "/points/count", filtered({"key": "n", "range": {"gt": []}}), 400, "n.gt must be a number"),
    ("range no date", "/points/count", filtered({"key": "n", "range": {"gt": "soon"}}), 400, "range on `n`"),
    ("has_id no id", "/points/count", filtered({"has_id": ["x"]}), 400, "value x is not a valid point ID"),
    ("facet without index", "/facet", {"key": "n"}, 400, "n"),
    ("batch query no list", "/points/query/batch", {}, 400, "searches must be a list"),
]
CASES = [("PUT", *row[1:]) for row in WRITES] + [("POST", *row[1:]) for row in READS]


@pytest.mark.parametrize(("method", "path", "body", "status", "said"), CASES, ids=[row[0] for row in [*WRITES, *READS]])
def test_wrong_body_is_refused_by_name_and_changes_nothing(
    collection: httpx.Client, method: str, path: str, body: Any, status: int, said: str
) -> None:
    answer = collection.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert said in answer.json()["status"]["error"]
    assert collection.post("/points/count", json={}).json()["result"] == {"count": 2}


ACCEPTED = [
    ("nested", filtered({"nested": {"key": "list", "filter": {"must": {"key": "a", "match": {"value": 1}}}}}), 0),
    ("text", filtered({"key": "n", "match": {"text": "word"}}), 0),
    ("empty clauses", {"filter": {"must": None, "should": []}}, 2),
    ("open range", filtered({"key": "n", "range": {"gte": 2, "lt": None}}), 1),
]


@pytest.mark.parametrize(("body", "count"), [row[1:] for row in ACCEPTED], ids=[row[0] for row in ACCEPTED])
def test_rarer_conditions_are_understood(collection: httpx.Client, body: Any, count: int) -> None:
    assert collection.post("/points/count", json=body).json()["result"] == {"count": count}


def test_search_parameters_are_understood(collection: httpx.Client) -> None:
    body = {
        "query": {"nearest": {"indices": [2], "values": [1.0]}},
        "using": "terms",
        "params": {"exact": True, "hnsw_ef": 10, "indexed_only": False, "idf": "global"},
        "with_payload": {"include": ["n"]},
        "with_vector": True,
    }
    found = collection.post("/points/query", json=body).json()["result"]["points"]
    assert {point["id"]: point["payload"] for point in found} == {1: {"n": 1}, 2: {"n": 2}}
    assert found[0]["vector"]["terms"] == {"indices": [1, 2], "values": [1.0, 0.5]}


SCHEMAS = [
    ("nothing", {}, 400, "needs `vectors` or `sparse_vectors`"),
    ("no distance", {"vectors": {"size": 2}}, 400, "distance must be one of"),
    ("size zero", {"vectors": {"d": {"size": 0, "distance": "Dot"}}}, 400, "vectors.d.size must be an integer"),
    ("size huge", {"vectors": {"d": {"size": 10**6, "distance": "Dot"}}}, 422, "must be from 1 to 65536"),
    (
        "several vectors a point",
        {"vectors": {"d": {"size": 2, "distance": "Dot", "multivector_config": {"comparator": "max_sim"}}}},
        400,
        "multivector_config is not known",
    ),
    ("unknown modifier", {"sparse_vectors": {"s": {"modifier": "tf"}}}, 400, "modifier must be none or idf"),
    ("on_disk text", {"sparse_vectors": {"s": {"index": {"on_disk": "x"}}}}, 400, "on_disk must be true or false"),
    (
        "threshold text",
        {"vectors": {"size": 2, "distance": "Dot"}, "optimizers_config": {"indexing_threshold": "x"}},
        400,
        "indexing_threshold must be an integer",
    ),
]


@pytest.mark.parametrize(("schema", "status", "said"), [row[1:] for row in SCHEMAS], ids=[row[0] for row in SCHEMAS])
def test_wrong_schema_creates_nothing(local_qdrant: str, schema: Any, status: int, said: str) -> None:
    url = f"{local_qdrant}/collections/test-{uuid4().hex}"
    answer = httpx.put(url, json=schema)
    assert answer.status_code == status
    assert said in answer.json()["status"]["error"]
    assert httpx.get(url).status_code == 404


@pytest.mark.parametrize("name", ["a%3Ab", "x" * 256])
def test_wrong_name_is_422(local_qdrant: str, name: str) -> None:
    answer = httpx.put(f"{local_qdrant}/collections/{name}", json={"vectors": {"size": 2, "distance": "Dot"}})
    assert answer.status_code == 422
    assert "bad character" in answer.json()["status"]["error"]


def test_settings_that_tune_speed_are_kept_and_shown(local_qdrant: str) -> None:
    url = f"{local_qdrant}/collections/test-{uuid4().hex}"
    schema = {
        "vectors": {"d": {"size": 2, "distance": "Euclid", "on_disk": True}},
        "sparse_vectors": {"s": {"modifier": "none", "index": {"on_disk": False}}},
        "hnsw_config": {"m": 8, "ef_construct": None},
        "optimizers_config": {"indexing_threshold": 1000},
    }
    httpx.put(url, json=schema).raise_for_status()
    shown = httpx.get(url).json()["result"]["config"]
    httpx.delete(url).raise_for_status()
    assert shown["params"]["vectors"]["d"]["on_disk"] is True
    assert (shown["hnsw_config"]["m"], shown["hnsw_config"]["ef_construct"]) == (8, 100)
    assert shown["optimizer_config"]["indexing_threshold"] == 1000


def test_unknown_path_and_method_say_so(local_qdrant: str) -> None:
    for method, path in (("GET", "/aliases"), ("PATCH", "/collections/c"), ("POST", "/collections/c/points/search")):
        answer = httpx.request(method, f"{local_qdrant}{path}")
        assert answer.status_code == 404
        assert answer.json()["status"]["error"] == f"Not found: this engine does not know {method} {path}"


def test_service_paths_answer(local_qdrant: str) -> None:
    assert httpx.get(local_qdrant).json()["version"].split(".")[0] == "1"
    for path in ("/healthz", "/readyz", "/livez"):
        assert httpx.get(f"{local_qdrant}{path}").status_code == 200


def test_body_that_is_not_json_is_400(collection: httpx.Client) -> None:
    answer = collection.post("/points/query", content=b"{")
    assert answer.status_code == 400
    assert answer.json()["status"]["error"].startswith("Format error in JSON body: ")
