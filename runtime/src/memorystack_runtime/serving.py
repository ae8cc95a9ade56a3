"""What every counted request goes through: key, admission, deadline, evidence, and errors as problems.

Knows: the order of these, once for all routes. Must not know: what a route does.
"""

from __future__ import annotations

import itertools
import random
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from memorystack_runtime.admission import Admission
from memorystack_runtime.auth import ApiKeys, OpenDoor
from memorystack_runtime.contract import Operation
from memorystack_runtime.deadlines import Deadlines
from memorystack_runtime.errors import BodyTooLarge, Fault, InvalidRequest, Overloaded
from memorystack_runtime.evidence import Ledger, Ticket
from memorystack_runtime.problems import Problem, problem_of, respond
from memorystack_runtime.settings import Settings

__all__ = ["Handler", "Serving", "read_json", "request_id_of"]

Handler = Callable[[Request], Awaitable[Response]]
CONNECTIONS_KNOWN: Final = 20_000
_SANE_ID: Final = re.compile(r"^[A-Za-z0-9._-]{1,64}$")
# A random prefix and a number: unique across pods and starts, without a system call for each request.
_PREFIX: Final = secrets.token_hex(12)
_numbers: Final = itertools.count(1)
_log = structlog.get_logger(__name__)
_UNAUTHORIZED: Final = Problem(
    401,
    "a valid API key is needed, as `Authorization: Bearer KEY` or `X-API-Key: KEY`",
    headers={"www-authenticate": 'Bearer realm="memorystack"'},
)


class Serving:
    """Wraps route handlers."""

    def __init__(self, settings: Settings, door: ApiKeys | OpenDoor, ledger: Ledger, admission: Admission) -> None:
        self._settings = settings
        self._door = door
        self._ledger = ledger
        self._admission = admission
        self._deadlines = Deadlines(settings.request_timeout_ms / 1000)
        self._age = settings.max_connection_age_seconds
        self._ends: dict[Any, float] = {}
        """When each client's connection is to end, by the monotonic clock."""

    def counted(self, operation: Operation, handler: Handler) -> Handler:
        """A route whose requests are evidence."""

        async def endpoint(request: Request) -> Response:
            refusal = self._refusal(request)
            if refusal is not None:
                return refusal
            ticket = self._ledger.admit(operation)
            identity = request_id_of(request)
            try:
                # The deadline starts after admission: waiting in a queue must not eat a request's time.
                with self._admission.enter(), self._deadlines.turn():
                    response = await handler(request)
            except ClientDisconnect:
                ticket.drop()
                return Response(status_code=499)
            except Exception as error:
                return self._failed(error, ticket, identity, request)
            except BaseException:
                ticket.done(failed=True)
                raise
            ticket.done()
            return self._finished(request, response, identity)

        return endpoint

    def plain(self, handler: Handler) -> Handler:
        """A route with a key but without evidence."""

        async def endpoint(request: Request) -> Response:
            refusal = self._refusal(request)
            if refusal is not None:
                return refusal
            return self._finished(request, await handler(request), request_id_of(request))

        return endpoint

    def _refusal(self, request: Request) -> Response | None:
        if self._door.admits(_presented(request)):
            return None
        return respond(_UNAUTHORIZED, request_id_of(request))

    def _failed(self, error: Exception, ticket: Ticket, identity: str, request: Request) -> Response:
        problem = problem_of(error)
        counted = problem.status >= 500 or isinstance(error, Overloaded)
        if counted:
            ticket.done(failed=True)
        else:
            ticket.drop()
        if not isinstance(error, (Fault, TimeoutError, ValueError)):
            _log.error("request_failed", request_id=identity, path=request.url.path, exc_info=error)
        return self._aged(request, respond(problem, identity))

    def _finished(self, request: Request, response: Response, identity: str) -> Response:
        response.raw_headers.append((b"x-request-id", identity.encode()))
        return self._aged(request, response)

    def _aged(self, request: Request, response: Response) -> Response:
        if self._is_old(request.scope.get("client")):
            response.raw_headers.append((b"connection", b"close"))
        return response

    def _is_old(self, client: Any) -> bool:
        """Clients with keep-alive pin their pod; a connection ends after its age so that new pods get their share."""
        now = time.monotonic()
        end = self._ends.get(client)
        if end is None:
            self._forget_ended(now)
            # Jitter, so that connections made together do not end together.
            self._ends[client] = now + self._age * random.uniform(0.5, 1.0)  # noqa: S311 -- spreads load, guards nothing
            return False
        if now < end:
            return False
        del self._ends[client]
        return True

    def _forget_ended(self, now: float) -> None:
        """Clients leave without a word, so what is past its end goes; all of it if that is not enough."""
        if len(self._ends) < CONNECTIONS_KNOWN:
            return
        kept = {client: end for client, end in self._ends.items() if now < end}
        self._ends = kept if len(kept) < CONNECTIONS_KNOWN else {}


async def read_json(request: Request, limit: int) -> Any:
    """The body as JSON. Raises InvalidRequest, or BodyTooLarge past `limit` bytes however they are sent."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise BodyTooLarge(limit)
        parts.append(part)
    try:
        return orjson.loads(b"".join(parts))
    except orjson.JSONDecodeError as error:
        raise InvalidRequest("body", f"is not JSON: {error}") from None


def request_id_of(request: Request) -> str:
    """The caller's X-Request-ID where it is sane, else a new one; the same for the whole request."""
    known = request.scope.get("memorystack.request_id")
    if known is None:
        given = request.headers.get("x-request-id", "")
        known = given if _SANE_ID.match(given) else f"{_PREFIX}{next(_numbers):08x}"
        request.scope["memorystack.request_id"] = known
    return str(known)


def _presented(request: Request) -> str | None:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key:
        return key.strip()
    return request.headers.get("x-api-key")
