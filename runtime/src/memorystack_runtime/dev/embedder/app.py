"""The embedder's HTTP face: embeddings, models, health, statistics and control.

Knows: routes and answers. Latency is waiting by the event loop's timers: it stands for a GPU and costs no CPU here.
A client that leaves while it waits keeps its turn, as with a server that does not look back.
"""

from __future__ import annotations

import asyncio
import base64
from random import Random

import orjson
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..serving import CountingProtocol
from .faults import Faults
from .line import Line
from .request import EmbeddingsRequest, RefusedError, parse
from .settings import Failure, Settings
from .vectors import Vector, count_tokens, embed

__all__ = ["MODEL", "Embedder", "create_app"]

MODEL = "memorystack-hash"


class Embedder:
    """The server's state: settings in force, the line of requests, and counts since the start."""

    def __init__(self, settings: Settings, dimensions: int) -> None:
        self.settings = settings
        self.dimensions = dimensions
        self.line = Line(settings.capacity)
        self.faults = Faults(settings.failure)
        self.changed = asyncio.Event()
        self.chance = Random()  # noqa: S311 -- latencies are no secret
        self.requests = 0
        self.served = 0
        self.items = 0
        self.largest = 0

    def change(self, body: bytes) -> None:
        """Put new settings in force; requests that hang are let go. ValidationError leaves all as it was."""
        before, self.settings = self.settings, self.settings.changed_by(body)
        self.line.resize(self.settings.capacity)
        if self.settings.failure != before.failure or b'"failure"' in body:
            self.faults.set(self.settings.failure)
        self.changed.set()
        self.changed = asyncio.Event()

    async def embeddings(self, request: Request) -> Response:
        """`POST /v1/embeddings`."""
        self.requests += 1
        try:
            asked = parse(await request.body(), dimensions=self.dimensions, max_batch=self.settings.max_batch)
        except RefusedError as refused:
            return _refusal(refused)
        failure = self.faults.strike(asked.texts)
        if failure is not None and failure.mode != "wrong_dimension":
            return await self._fail(failure, request)
        async with self.line.place():
            return await self._serve(asked, longer=int(failure is not None))

    async def _serve(self, asked: EmbeddingsRequest, *, longer: int) -> Response:
        loop = asyncio.get_running_loop()
        count = len(asked.texts)
        self.served += 1
        turn = {"x-request-id": str(self.served)}
        until = loop.time() + self.settings.seconds(count, self.chance.gauss())
        vectors = [embed(text, asked.dimensions + longer) for text in asked.texts]
        answer = _answer(asked, vectors, turn)
        self.items += count
        self.largest = max(self.largest, count)
        await asyncio.sleep(max(0.0, until - loop.time()))
        return answer

    async def _fail(self, failure: Failure, request: Request) -> Response:
        if failure.mode == "rate_limit":
            refused = RefusedError(429, f"rate limit reached; try again in {failure.retry_after_seconds} s")
            return _refusal(refused, {"Retry-After": str(failure.retry_after_seconds)})
        if failure.mode == "hang":
            await _first_of(self.changed.wait(), request.receive())
        return _refusal(RefusedError(500, "the embedder failed, as set by /control"))

    async def models(self, _request: Request) -> Response:
        """`GET /v1/models`."""
        model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "memorystack"}
        return _json({"object": "list", "data": [model]})

    async def health(self, _request: Request) -> Response:
        """`GET /healthz`."""
        return _json({"status": "ok"})

    async def stats(self, _request: Request) -> Response:
        """`GET /stats`: counts since the start, and the line now."""
        return _json(
            {
                "requests": self.requests,
                "items": self.items,
                "max_items": self.largest,
                "in_flight": self.line.in_flight,
                "max_in_flight": self.line.max_in_flight,
                "queue_length": self.line.waiting,
                "connections_accepted": CountingProtocol.accepted,
            }
        )

    async def control(self, request: Request) -> Response:
        """`GET /control` shows the settings; `PUT` or `POST` changes those that are named."""
        if request.method != "GET":
            try:
                self.change(await request.body())
            except ValidationError as error:
                return _refusal(RefusedError(422, _sentence(error)))
        return _json(self.settings.model_dump())


def create_app(settings: Settings, dimensions: int) -> Starlette:
    """The ASGI application; `dimensions` is the length of its vectors unless a request asks for another."""
    embedder = Embedder(settings, dimensions)
    return Starlette(
        routes=[
            Route("/v1/embeddings", embedder.embeddings, methods=["POST"]),
            Route("/v1/models", embedder.models),
            Route("/healthz", embedder.health),
            Route("/stats", embedder.stats),
            Route("/control", embedder.control, methods=["GET", "PUT", "POST"]),
        ]
    )


def _answer(asked: EmbeddingsRequest, vectors: list[Vector], headers: dict[str, str]) -> Response:
    """`x-request-id` is the turn in which the request was let in: it shows the order of the queue."""
    data = [
        {"object": "embedding", "index": index, "embedding": _base64(vector) if asked.base64 else vector}
        for index, vector in enumerate(vectors)
    ]
    tokens = sum(count_tokens(text) for text in asked.texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return _json({"object": "list", "data": data, "model": asked.model, "usage": usage}, 200, headers)


def _base64(vector: Vector) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def _refusal(refused: RefusedError, headers: dict[str, str] | None = None) -> Response:
    kind = "server_error" if refused.status >= 500 else "invalid_request_error"
    error = {"message": str(refused), "type": kind, "param": refused.field, "code": refused.status}
    return _json({"error": error}, refused.status, headers)


def _sentence(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in error.errors())


def _json(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    body = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, status, headers, media_type="application/json")


async def _first_of(*waits: object) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]  # type: ignore[call-overload]  # coroutines of any result
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
