"""Errors as RFC 9457 problem details. Knows statuses and titles; nothing of how an error came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import orjson
from pydantic import ValidationError
from starlette.responses import Response

from memorystack_runtime.errors import (
    BodyTooLarge,
    DependencyRejected,
    Fault,
    InvalidRequest,
    NotFound,
    Overloaded,
    StorageFull,
    Unavailable,
)

__all__ = ["Problem", "problem_of", "respond"]

MEDIA_TYPE: Final = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Problem:
    """One error as the caller sees it."""

    status: int
    detail: str
    errors: Sequence[Mapping[str, str]] = ()
    """Field and message of each wrong field."""
    headers: Mapping[str, str] = field(default_factory=dict)


def problem_of(error: Exception) -> Problem:
    """The HTTP form of an error; what is not ours says nothing of its inside."""
    if isinstance(error, ValidationError):
        return _invalid(error)
    if isinstance(error, InvalidRequest):
        return Problem(HTTPStatus.BAD_REQUEST, str(error), ({"field": error.field, "message": str(error)},))
    if isinstance(error, TimeoutError):
        return Problem(HTTPStatus.GATEWAY_TIMEOUT, "the request ran past its deadline and was cut off")
    for kind, status in _STATUS:
        if isinstance(error, kind):
            wait = getattr(error, "retry_after", None)
            return Problem(status, str(error), headers={"retry-after": str(wait)} if wait else {})
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "an error of ours; the log has it under this request id")


def respond(problem: Problem, request_id: str) -> Response:
    """`application/problem+json` with the request's id."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": int(problem.status),
        "detail": problem.detail,
        "requestId": request_id,
    }
    if problem.errors:
        body["errors"] = list(problem.errors)
    headers = {"x-request-id": request_id, **problem.headers}
    return Response(orjson.dumps(body), status_code=problem.status, headers=headers, media_type=MEDIA_TYPE)


_STATUS: Final[tuple[tuple[type[Fault], int], ...]] = (
    (NotFound, HTTPStatus.NOT_FOUND),
    (BodyTooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (Overloaded, HTTPStatus.TOO_MANY_REQUESTS),
    (StorageFull, HTTPStatus.INSUFFICIENT_STORAGE),
    (Unavailable, HTTPStatus.SERVICE_UNAVAILABLE),
    (DependencyRejected, HTTPStatus.BAD_GATEWAY),
)


def _invalid(error: ValidationError) -> Problem:
    errors = [
        {"field": ".".join(str(part) for part in e["loc"]) or "body", "message": e["msg"].removeprefix("Value error, ")}
        for e in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    detail = "; ".join(f"{e['field']}: {e['message']}" for e in errors)
    return Problem(HTTPStatus.BAD_REQUEST, detail, errors)
