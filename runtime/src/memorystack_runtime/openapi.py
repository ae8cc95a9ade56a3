"""The OpenAPI 3.1 document, made from the models. Knows routes in words; `test_openapi` holds it to the real ones."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from memorystack_runtime import __version__
from memorystack_runtime.models import Memory, RecallQuery, RecallResult, StoreRequest, StoreResult

__all__ = ["document"]

_REF: Final = "#/components/schemas/{model}"
_MODELS: Final[tuple[type[BaseModel], ...]] = (StoreRequest, StoreResult, Memory, RecallQuery, RecallResult)
_NAMESPACE: Final = {"name": "namespace", "in": "query", "required": True, "schema": {"type": "string"}}
_ID: Final = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
_PROBLEMS: Final = {
    "400": "Not JSON, or a field is wrong (named in `errors`)",
    "401": "No valid API key",
    "429": "Too much at once; see Retry-After",
    "502": "A dependency refused what a person must mend",
    "503": "A dependency is away; see Retry-After",
    "504": "Past the deadline",
}
_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "requestId"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "requestId": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    """The whole document."""
    _, schemas = models_json_schema([(m, "validation") for m in _MODELS], by_alias=True, ref_template=_REF)
    return {
        "openapi": "3.1.0",
        "info": {"title": "MemoryStack runtime", "version": __version__},
        "paths": _paths(),
        "components": {
            "schemas": {**schemas.get("$defs", {}), "Problem": _PROBLEM},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
        "security": [{"bearer": []}, {"apiKey": []}],
    }


def _paths() -> dict[str, Any]:
    store = _operation("store", "Store one memory or many; recallable when answered", "201", "StoreResult")
    recall = _operation("recall", "Recall the best chunks of a namespace", "200", "RecallResult")
    full = {"413": _problem("The body is too large"), "507": _problem("The vector store is full")}
    gone = {"404": _problem("No such memory in this namespace")}
    get = _operation("get", "Read a memory", "200", "Memory")
    delete = _operation("delete", "Delete a memory", "204", None)
    for operation in (get, delete):
        operation["parameters"] = [_ID, _NAMESPACE]
        operation["responses"] |= gone
    store["responses"] |= full
    return {
        "/v1/memories": {"post": store | _body("StoreRequest")},
        "/v1/memories/{id}": {"get": get, "delete": delete},
        "/v1/recall": {"post": recall | _body("RecallQuery")},
        "/v1/config": {"get": _operation("config", "The flags in force and their source", "200", None)},
        "/v1/stats": {"get": _operation("stats", "Counts since the start", "200", None)},
        "/openapi.json": {"get": _open("openapi", "This document")},
        "/healthz": {"get": _open("health", "The process is alive")},
    }


def _operation(name: str, summary: str, status: str, model: str | None) -> dict[str, Any]:
    done: dict[str, Any] = {"description": "Done"}
    if model:
        done["content"] = {"application/json": {"schema": {"$ref": _REF.format(model=model)}}}
    responses = {status: done} | {code: _problem(text) for code, text in _PROBLEMS.items()}
    return {"operationId": name, "summary": summary, "responses": responses}


def _open(name: str, summary: str) -> dict[str, Any]:
    return {"operationId": name, "summary": summary, "security": [], "responses": {"200": {"description": "Done"}}}


def _problem(description: str) -> dict[str, Any]:
    schema = {"$ref": _REF.format(model="Problem")}
    return {"description": description, "content": {"application/problem+json": {"schema": schema}}}


def _body(model: str) -> dict[str, Any]:
    schema = {"$ref": _REF.format(model=model)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
