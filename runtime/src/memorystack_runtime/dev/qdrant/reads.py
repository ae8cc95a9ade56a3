"""Translates Qdrant's JSON queries, scrolls and counts into the engine's requests.

Knows: nearest (dense and sparse), prefetch with fusion, order_by, payload and vector selectors. Other queries are refused
by name.
"""

from __future__ import annotations

from typing import Any

import qdrant_edge as edge

from .body import Json, PointId, QdrantError, flag, items, mapping, number, point_id, text, whole
from .filters import optional_filter
from .schema import Schema
from .vectors import query_vector

__all__ = ["count_request", "facet_request", "query_request", "retrieve_request", "scroll_request"]

DEFAULT_LIMIT = 10


def query_request(body: Json, schema: Schema) -> edge.QueryRequest:
    """Body of `POST /points/query`; Qdrant's defaults: limit 10, no payload, no vectors."""
    return edge.QueryRequest(
        limit=_limit(body, DEFAULT_LIMIT),
        offset=whole(body.get("offset") or 0, "offset"),
        query=_query(body, schema),
        prefetches=_prefetches(body, schema),
        with_vector=_with_vector(_first(body, "with_vector", "with_vectors"), default=False),
        with_payload=_with_payload(body.get("with_payload"), default=False),
        filter=optional_filter(body.get("filter")),
        score_threshold=_threshold(body),
        params=_params(body.get("params")),
    )


def scroll_request(body: Json) -> edge.ScrollRequest:
    """Body of `POST /points/scroll`; Qdrant's defaults: limit 10, with payload, no vectors."""
    offset, order = body.get("offset"), body.get("order_by")
    return edge.ScrollRequest(
        offset=None if offset is None else point_id(offset),
        limit=whole(body.get("limit") or DEFAULT_LIMIT, "limit", at_least=1),
        filter=optional_filter(body.get("filter")),
        with_payload=_with_payload(body.get("with_payload"), default=True),
        with_vector=_with_vector(body.get("with_vector"), default=False),
        order_by=None if order is None else _order(order),
    )


def retrieve_request(body: Json) -> tuple[list[PointId], Any, Any]:
    """Body of `POST /points`: ids, payload selector (default: all) and vector selector (default: none)."""
    ids = [point_id(each) for each in items(body.get("ids"), "ids")]
    payload = _with_payload(body.get("with_payload"), default=True)
    return ids, payload, _with_vector(body.get("with_vector"), default=False)


def count_request(body: Json) -> edge.CountRequest:
    """Body of `POST /points/count`; exact unless said otherwise."""
    exact = body.get("exact")
    return edge.CountRequest(
        exact=True if exact is None else flag(exact, "exact"), filter=optional_filter(body.get("filter"))
    )


def facet_request(body: Json) -> edge.FacetRequest:
    """Body of `POST /facet`; the field needs a payload index."""
    return edge.FacetRequest(
        key=text(body.get("key"), "key"),
        limit=_limit(body, DEFAULT_LIMIT),
        exact=bool(body.get("exact")),
        filter=optional_filter(body.get("filter")),
    )


def _prefetches(body: Json, schema: Schema) -> list[edge.Prefetch]:
    given = body.get("prefetch") or []
    listed = given if isinstance(given, list) else [given]
    return [_prefetch(mapping(each, "prefetch"), schema) for each in listed]


def _prefetch(body: Json, schema: Schema) -> edge.Prefetch:
    return edge.Prefetch(
        limit=_limit(body, DEFAULT_LIMIT),
        query=_query(body, schema),
        prefetches=_prefetches(body, schema),
        params=_params(body.get("params")),
        filter=optional_filter(body.get("filter")),
        score_threshold=_threshold(body),
    )


def _query(body: Json, schema: Schema) -> Any:
    value, using = body.get("query"), text(body.get("using") or "", "using")
    if value is None:
        return None
    if not isinstance(value, dict) or "indices" in value:
        return _nearest(value, using, schema)
    if "nearest" in value:
        if value.get("mmr") is not None:
            raise QdrantError.format("query.mmr is not known to this engine")
        return _nearest(value["nearest"], using, schema)
    if "fusion" in value:
        return _fusion(value["fusion"])
    if "rrf" in value:
        return _rrf(mapping(value["rrf"], "query.rrf"))
    if "order_by" in value:
        return _order(value["order_by"])
    raise QdrantError.format(f"the query {sorted(value)} is not known to this engine")


def _nearest(value: object, using: str, schema: Schema) -> Any:
    if isinstance(value, str | int):
        raise QdrantError.format("a query by point ID is not known to this engine; send the vector")
    return edge.Query.Nearest(query_vector(value, using, schema), using or None)


def _fusion(value: object) -> Any:
    if value == "rrf":
        return edge.Fusion.Rrf(2)
    if value == "dbsf":
        return edge.Fusion.Dbsf()
    raise QdrantError.format(f"unknown fusion {value!r}, expected rrf or dbsf")


def _rrf(value: Json) -> Any:
    weights = value.get("weights")
    k = 2 if value.get("k") is None else whole(value["k"], "query.rrf.k", at_least=1)
    if weights is None:
        return edge.Fusion.Rrf(k)
    return edge.Fusion.Rrf(k, [number(each, "query.rrf.weights") for each in items(weights, "query.rrf.weights")])


def _order(value: object) -> edge.OrderBy:
    if isinstance(value, str):
        return edge.OrderBy(value)
    order = mapping(value, "order_by")
    direction = {None: None, "asc": edge.Direction.Asc, "desc": edge.Direction.Desc}
    if order.get("direction") not in direction:
        raise QdrantError.format("order_by.direction must be asc or desc")
    key = text(order.get("key"), "order_by.key")
    return edge.OrderBy(key, direction[order.get("direction")], order.get("start_from"))


def _params(value: object) -> edge.SearchParams | None:
    if value is None:
        return None
    params = mapping(value, "params")
    effort = params.get("hnsw_ef")
    return edge.SearchParams(
        hnsw_ef=None if effort is None else whole(effort, "params.hnsw_ef"),
        exact=bool(params.get("exact")),
        indexed_only=bool(params.get("indexed_only")),
        idf=_idf(params.get("idf")),
    )


def _idf(value: object) -> edge.IdfParams | None:
    if value is None or isinstance(value, str):  # a name means: of the whole collection
        return None
    return edge.IdfParams(optional_filter(mapping(value, "params.idf").get("corpus")))


def _limit(body: Json, default: int) -> int:
    value = body.get("limit")
    return default if value is None else whole(value, "limit", at_least=1)


def _threshold(body: Json) -> float | None:
    value = body.get("score_threshold")
    return None if value is None else number(value, "score_threshold")


def _first(body: Json, *names: str) -> object:
    return next((body[name] for name in names if body.get(name) is not None), None)


def _with_vector(value: object, *, default: bool) -> Any:
    if value is None:
        return default
    return value if isinstance(value, bool) else [text(each, "with_vector") for each in items(value, "with_vector")]


def _with_payload(value: object, *, default: bool) -> Any:
    if value is None or isinstance(value, bool):
        return default if value is None else value
    if isinstance(value, list):
        return edge.PayloadSelector.Include(_keys(value))
    selector = mapping(value, "with_payload")
    if "include" in selector:
        return edge.PayloadSelector.Include(_keys(selector["include"]))
    if "exclude" in selector:
        return edge.PayloadSelector.Exclude(_keys(selector["exclude"]))
    raise QdrantError.format("with_payload must be true, false, a list of keys, or have include or exclude")


def _keys(value: object) -> list[str]:
    return [text(key, "with_payload") for key in items(value, "with_payload")]
