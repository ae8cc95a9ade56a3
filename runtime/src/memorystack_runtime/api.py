"""The REST routes. Knows paths and shapes; what surrounds each request is `serving.py`, what it does is `memory.py`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import orjson
from pydantic import TypeAdapter
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from memorystack_runtime.errors import InvalidRequest
from memorystack_runtime.flags import FlagBoard
from memorystack_runtime.memory import MemoryService
from memorystack_runtime.models import Namespace, RecallQuery, StoreRequest, StoreResult
from memorystack_runtime.openapi import document
from memorystack_runtime.problems import Problem, problem_of, respond
from memorystack_runtime.serving import Serving, read_json, request_id_of
from memorystack_runtime.settings import Settings

__all__ = ["api_app"]

_NAMESPACE: TypeAdapter[str] = TypeAdapter(Namespace)


def api_app(settings: Settings, memory: MemoryService, board: FlagBoard, serving: Serving) -> Starlette:
    """The application of the API port."""
    routes = _Routes(settings, memory, board)
    return Starlette(
        routes=[
            Route("/v1/memories", serving.counted("store", routes.store), methods=["POST"]),
            Route("/v1/memories/{id}", _by_method(serving, routes), methods=["GET", "DELETE"]),
            Route("/v1/recall", serving.counted("recall", routes.recall), methods=["POST"]),
            Route("/v1/config", serving.plain(routes.config), methods=["GET"]),
            Route("/v1/stats", serving.plain(routes.stats), methods=["GET"]),
            Route("/openapi.json", _openapi, methods=["GET"]),
            Route("/healthz", _alive, methods=["GET"]),
        ],
        exception_handlers={HTTPException: _http_problem, Exception: _any_problem},
    )


class _Routes:
    def __init__(self, settings: Settings, memory: MemoryService, board: FlagBoard) -> None:
        self._limit = settings.max_body_bytes
        self._memory = memory
        self._board = board

    async def store(self, request: Request) -> Response:
        """201 with ids: the memories are durable and recallable."""
        asked = StoreRequest.model_validate(await read_json(request, self._limit))
        stored = await self._memory.store(asked.namespace, asked.documents())
        return _json(StoreResult(memories=stored).model_dump(by_alias=True), 201)

    async def recall(self, request: Request) -> Response:
        """The best chunks; `x-memorystack-cache` says which tier answered."""
        query = RecallQuery.model_validate(await read_json(request, self._limit))
        answer = await self._memory.recall(query)
        response = Response(answer.body, media_type="application/json")
        response.raw_headers.append((b"x-memorystack-cache", answer.source.encode()))
        return response

    async def get(self, request: Request) -> Response:
        """The memory whole."""
        memory = await self._memory.get(_namespace(request), request.path_params["id"])
        return _json(memory.model_dump(by_alias=True, mode="json"))

    async def delete(self, request: Request) -> Response:
        """204 when it is gone from every recall."""
        await self._memory.delete(_namespace(request), request.path_params["id"])
        return Response(status_code=204)

    async def config(self, request: Request) -> Response:
        """The flags in force and where they came from."""
        del request
        current = self._board.current
        if current is None:
            return _json({})
        return _json(
            {
                "revision": current.revision,
                "source": current.source,
                "epoch": current.epoch,
                "features": current.features.model_dump(by_alias=True),
                "budgets": current.budgets.model_dump(by_alias=True),
            }
        )

    async def stats(self, request: Request) -> Response:
        """Counts since the start."""
        del request
        return _json(asdict(self._memory.stats()))


def _by_method(serving: Serving, routes: _Routes) -> Any:
    """One path, two operations: Starlette tells methods apart only by route, and then answers 405 for the other."""
    handlers = {"GET": serving.counted("get", routes.get), "DELETE": serving.counted("delete", routes.delete)}
    handlers["HEAD"] = handlers["GET"]

    async def endpoint(request: Request) -> Response:
        return await handlers[request.method](request)

    return endpoint


def _namespace(request: Request) -> str:
    """Mandatory: a missing one must never mean all of them."""
    given = request.query_params.get("namespace")
    if given is None:
        raise InvalidRequest("namespace", "is missing: add ?namespace=NAME")
    return _NAMESPACE.validate_python(given)


def _json(value: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status_code=status, media_type="application/json")


async def _openapi(request: Request) -> Response:
    del request
    return _json(document())


async def _alive(request: Request) -> Response:
    del request
    return _json({"status": "ok"})


async def _http_problem(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    detail = {404: f"no such path: {request.url.path}", 405: f"{request.method} is not served here"}.get(
        status, "refused"
    )
    headers = getattr(error, "headers", None) or {}
    return respond(Problem(status, detail, headers=headers), request_id_of(request))


async def _any_problem(request: Request, error: Exception) -> Response:
    return respond(problem_of(error), request_id_of(request))
