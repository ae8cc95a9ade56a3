"""The engine's HTTP face: Qdrant's routes, envelopes and errors.

Knows: paths, status codes and JSON. Calls of the engine run on the event loop's own thread: they take under a millisecond
(a batch of 64 points: 3 ms) and hold the interpreter's lock anyway, so threads would only add switches.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import orjson
import qdrant_edge as edge
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from . import reads, writes
from .body import Json, QdrantError, items, load, mapping, text
from .collection import Collection
from .schema import index_type, schema_of
from .store import Store
from .upkeep import Upkeep

__all__ = ["create_app"]

VERSION: Final = "1.20.0"
"""The API that this subset follows; qdrant-client compares it with its own version."""

Call = Callable[[Collection, Json, Request], Any]
Handler = Callable[[Request], Awaitable[Response]]


def create_app(store: Store, *, flush_seconds: float = 5.0, idle_seconds: float = 5.0) -> Starlette:
    """The ASGI application over an open store; closes the store when it ends."""
    upkeep = Upkeep(store, flush_seconds, idle_seconds)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(upkeep.run())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        store.close()

    return Starlette(
        routes=[*_service_routes(), *_collection_routes(store), *_point_routes(store, upkeep)],
        lifespan=lifespan,
        exception_handlers={404: _unknown_path, 405: _unknown_path},
    )


def _service_routes() -> list[Route]:
    async def version(_request: Request) -> Response:
        return _json({"title": "qdrant engine (qdrant-edge) of MemoryStack", "version": VERSION})

    async def alive(_request: Request) -> Response:
        return PlainTextResponse("healthz check passed")

    return [Route("/", version), *(Route(path, alive) for path in ("/healthz", "/readyz", "/livez"))]


def _collection_routes(store: Store) -> list[Route]:
    def answering(call: Callable[[str, Json], Any]) -> Handler:
        return _handler(lambda request, body: call(request.path_params.get("name", ""), body))

    def listing(_name: str, _body: Json) -> Json:
        return {"collections": [{"name": name} for name in store.names()]}

    def creating(name: str, body: Json) -> bool:
        store.create(name, schema_of(body))
        return True

    path = "/collections/{name}"
    return [
        Route("/collections", answering(listing), methods=["GET"]),
        Route(path, answering(lambda name, _body: _info(store.get(name))), methods=["GET"]),
        Route(path, answering(creating), methods=["PUT"]),
        Route(path, answering(lambda name, _body: store.delete(name)), methods=["DELETE"]),
        Route(f"{path}/exists", answering(lambda name, _body: {"exists": name in store.names()}), methods=["GET"]),
    ]


def _point_routes(store: Store, upkeep: Upkeep) -> list[Route]:
    def route(method: str, path: str, call: Call) -> Route:
        def answer(request: Request, body: Json) -> Any:
            upkeep.request_came()
            return call(store.get(request.path_params["name"]), body, request)

        return Route(f"/collections/{{name}}{path}", _handler(answer), methods=[method])

    return [route(method, path, call) for method, path, call in POINT_CALLS]


def _handler(answer: Callable[[Request, Json], Any]) -> Handler:
    async def handle(request: Request) -> Response:
        start = time.perf_counter()
        try:
            content = await request.body()
            result = answer(request, load(content))
        except QdrantError as error:
            return _failure(error, time.perf_counter() - start)
        return _json({"result": result, "status": "ok", "time": time.perf_counter() - start})

    return handle


def _writing(name: str) -> Call:
    def call(collection: Collection, body: Json, request: Request) -> Json:
        return _written(collection, [writes.operation(name, body, collection.schema)], _size(body), request)

    return call


def _batch(collection: Collection, body: Json, request: Request) -> list[Json]:
    operations = writes.batch(body, collection.schema)
    if not operations:
        raise QdrantError(400, "Wrong input: Empty update request")
    return [_written(collection, [operation], 1, request) for operation in operations]


def _written(collection: Collection, operations: list[edge.UpdateOperation], size: int, request: Request) -> Json:
    number = collection.write(operations)
    collection.changes += size
    return _acknowledged(number, request)


def _acknowledged(number: int, request: Request) -> Json:
    waited = request.query_params.get("wait", "false") == "true"
    return {"operation_id": number, "status": "completed" if waited else "acknowledged"}


def _size(body: Json) -> int:
    points = body.get("points") or mapping(body.get("batch") or {}, "batch").get("ids")
    return len(points) if isinstance(points, list) else 1


def _create_index(collection: Collection, body: Json, request: Request) -> Json:
    field = text(body.get("field_name"), "field_name")
    return _acknowledged(collection.index(field, index_type(body.get("field_schema"))), request)


def _drop_index(collection: Collection, _body: Json, request: Request) -> Json:
    return _acknowledged(collection.index(request.path_params["field"], None), request)


def _query(collection: Collection, body: Json, _request: Request) -> Json:
    return {"points": [_scored(each) for each in collection.query(reads.query_request(body, collection.schema))]}


def _query_batch(collection: Collection, body: Json, request: Request) -> list[Json]:
    searches = [mapping(each, "a search") for each in items(body.get("searches"), "searches")]
    return [_query(collection, each, request) for each in searches]


def _retrieve(collection: Collection, body: Json, _request: Request) -> list[Json]:
    return [_record(each) for each in collection.retrieve(*reads.retrieve_request(body))]


def _scroll(collection: Collection, body: Json, _request: Request) -> Json:
    records, following = collection.scroll(reads.scroll_request(body))
    return {"points": [_record(each) for each in records], "next_page_offset": following}


def _count(collection: Collection, body: Json, _request: Request) -> Json:
    return {"count": collection.count(reads.count_request(body))}


def _facet(collection: Collection, body: Json, _request: Request) -> Json:
    hits = collection.facet(reads.facet_request(body))
    return {"hits": [{"value": hit.value, "count": hit.count} for hit in hits]}


POINT_CALLS: Final[tuple[tuple[str, str, Call], ...]] = (
    ("PUT", "/index", _create_index),
    ("DELETE", "/index/{field}", _drop_index),
    ("PUT", "/points", _writing("upsert")),
    ("POST", "/points", _retrieve),
    ("POST", "/points/delete", _writing("delete")),
    ("POST", "/points/payload", _writing("set_payload")),
    ("PUT", "/points/payload", _writing("overwrite_payload")),
    ("POST", "/points/payload/delete", _writing("delete_payload")),
    ("POST", "/points/payload/clear", _writing("clear_payload")),
    ("POST", "/points/batch", _batch),
    ("POST", "/points/query", _query),
    ("POST", "/points/query/batch", _query_batch),
    ("POST", "/points/scroll", _scroll),
    ("POST", "/points/count", _count),
    ("POST", "/facet", _facet),
)


def _info(collection: Collection) -> Json:
    info = collection.info()
    return {
        "status": "green",
        "optimizer_status": "ok",
        "points_count": info.points_count,
        "indexed_vectors_count": info.indexed_vectors_count,
        "segments_count": info.segments_count,
        "config": collection.schema.shown(),
        "payload_schema": {
            field: {"data_type": str(index.data_type).rpartition(".")[2].lower(), "points": index.points}
            for field, index in info.payload_schema.items()
        },
    }


def _record(record: edge.Record) -> Json:
    return {"id": record.id, "payload": record.payload, "vector": record.vector, "order_value": record.order_value}


def _scored(point: edge.ScoredPoint) -> Json:
    return {
        "id": point.id,
        "version": point.version,
        "score": point.score,
        "payload": point.payload,
        "vector": point.vector,
        "order_value": point.order_value,
    }


async def _unknown_path(request: Request, _error: Exception) -> Response:
    sentence = f"Not found: this engine does not know {request.method} {request.url.path}"
    return _failure(QdrantError(404, sentence), 0.0)


def _failure(error: QdrantError, seconds: float) -> Response:
    return _json({"status": {"error": str(error)}, "time": seconds}, error.status)


def _json(value: object, status: int = 200) -> Response:
    return Response(orjson.dumps(value, default=_plain), status, media_type="application/json")


def _plain(value: edge.SparseVector) -> Json:
    """The only thing that the engine answers and JSON does not know."""
    return {"indices": value.indices, "values": value.values}
