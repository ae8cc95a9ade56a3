"""The vector store: Qdrant's REST API, in the few calls that memories need.

Knows: collections, points and filters. Must not know: chunking, embedding or caching. Our own small adapter rather than
qdrant-client, whose import alone takes 56 MB and half a second of every pod; the contract tests hold it to the same API.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import httpx
import orjson

from memorystack_runtime.embedder import Vector
from memorystack_runtime.errors import DependencyRejected, Misconfigured, StorageFull, Unavailable
from memorystack_runtime.pool import Channel
from memorystack_runtime.resilience import insist
from memorystack_runtime.sparse import SparseVector

__all__ = ["UPSERT_BATCH", "Payload", "Point", "Scored", "Store", "Stored"]

UPSERT_BATCH: Final = 64
PAGE: Final = 1000
DENSE: Final = "dense"
SPARSE: Final = "text"
Payload = dict[str, Any]
Json = dict[str, Any]
_FULL: Final = frozenset({500, 507})


@dataclass(frozen=True, slots=True)
class Point:
    """A chunk to be written, hidden until its version is switched on."""

    id: str
    dense: Vector
    sparse: SparseVector
    payload: Payload


@dataclass(frozen=True, slots=True)
class Stored:
    """A chunk as it is on record."""

    id: str
    payload: Payload


@dataclass(frozen=True, slots=True)
class Scored:
    """A chunk that a query found."""

    score: float
    payload: Payload


class Store:
    """One collection."""

    def __init__(self, channel: Channel, collection: str, dimensions: int) -> None:
        self.channel = channel
        self.upserts = 0
        self.queries = 0
        self._collection = collection
        self._path = f"/collections/{collection}"
        self._dimensions = dimensions

    async def prepare(self) -> None:
        """Makes the collection and its indexes where they are missing. Raises Misconfigured, Unavailable."""
        found = await self._send("GET", self._path, missing=True)
        if found is None:
            await self._send("PUT", self._path, self._schema(), conflict=True)
            for field, kind in (
                ("namespace", "keyword"),
                ("document", "keyword"),
                ("version", "keyword"),
                ("live", "bool"),
            ):
                await self._send("PUT", f"{self._path}/index?wait=true", {"field_name": field, "field_schema": kind})
            return
        size = found["config"]["params"]["vectors"].get(DENSE, {}).get("size")
        if size != self._dimensions:
            msg = (
                f"the collection {self._collection} holds vectors of {size} dimensions, the stack is set to "
                f"{self._dimensions}: set spec.embedder.dimensions to {size}, or name another spec.qdrant.collection"
            )
            raise Misconfigured(msg)

    async def ping(self) -> bool:
        """Whether the server answers."""
        try:
            response = await self.channel.call("GET", "/readyz", timeout=2.0)
        except Unavailable:
            return False
        return response.is_success

    async def upsert(self, points: Sequence[Point]) -> None:
        """Writes up to 64 points; they are durable when this returns."""
        self.upserts += 1
        body = {
            "points": [
                {
                    "id": p.id,
                    "vector": {DENSE: p.dense, SPARSE: {"indices": p.sparse.indices, "values": p.sparse.values}},
                    "payload": p.payload,
                }
                for p in points
            ]
        }
        await self._send("PUT", f"{self._path}/points?wait=true", body)

    async def document(self, namespace: str, document: str) -> list[Stored]:
        """Every chunk of one document on record, hidden ones too, without vectors."""
        found: list[Stored] = []
        offset: Any = None
        while True:
            body = {"filter": _of(namespace, document), "limit": PAGE, "with_payload": True, "with_vector": False}
            page = await self._send(
                "POST", f"{self._path}/points/scroll", body | ({"offset": offset} if offset else {})
            )
            found += [Stored(str(p["id"]), p["payload"]) for p in (page or {}).get("points", [])]
            offset = (page or {}).get("next_page_offset")
            if offset is None:
                return found

    async def set_payload(self, ids: Sequence[str], payload: Payload) -> None:
        """Changes these fields of these points in one operation."""
        body = {"payload": payload, "points": list(ids)}
        await self._send("POST", f"{self._path}/points/payload?wait=true", body)

    async def delete(self, ids: Sequence[str]) -> None:
        """Removes points by id."""
        if ids:
            await self._send("POST", f"{self._path}/points/delete?wait=true", {"points": list(ids)})

    async def delete_document(self, namespace: str, document: str) -> None:
        """Removes a document whole."""
        await self._send("POST", f"{self._path}/points/delete?wait=true", {"filter": _of(namespace, document)})

    async def query(
        self, namespace: str, limit: int, dense: Vector | None, sparse: SparseVector | None
    ) -> list[Scored]:
        """The best live chunks of a namespace: both vectors fused by reciprocal rank, or one of them alone."""
        self.queries += 1
        where = {"must": [_match("namespace", namespace), _match("live", value=True)]}
        branches: list[Json] = []
        if dense is not None:
            branches.append({"query": dense, "using": DENSE})
        if sparse is not None:
            branches.append({"query": {"indices": sparse.indices, "values": sparse.values}, "using": SPARSE})
        if len(branches) == 1:
            body: Json = {**branches[0], "filter": where}
        else:
            wide = [{**branch, "filter": where, "limit": 4 * limit} for branch in branches]
            body = {"prefetch": wide, "query": {"fusion": "rrf"}}
        answer = await self._send("POST", f"{self._path}/points/query", {**body, "limit": limit, "with_payload": True})
        return [Scored(p["score"], p["payload"]) for p in (answer or {}).get("points", [])]

    async def count(self) -> int:
        """Points of the collection, hidden ones too."""
        answer = await self._send("POST", f"{self._path}/points/count", {"exact": True})
        return int((answer or {}).get("count", 0))

    def _schema(self) -> Json:
        return {
            "vectors": {DENSE: {"size": self._dimensions, "distance": "Cosine"}},
            "sparse_vectors": {SPARSE: {"modifier": "idf"}},
        }

    async def _send(
        self,
        method: Literal["GET", "PUT", "POST"],
        path: str,
        body: Json | None = None,
        *,
        missing: bool = False,
        conflict: bool = False,
    ) -> Any:
        """The `result` of the answer; None for a 404 that is expected, or a 409 of somebody who was faster."""
        content = None if body is None else orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
        response = await insist("qdrant", lambda: self.channel.call(method, path, content))
        if response.is_success:
            return orjson.loads(response.content)["result"]
        if (missing and response.status_code == httpx.codes.NOT_FOUND) or (
            conflict and response.status_code in (400, 409) and b"exists" in response.content
        ):
            return None
        raise _refusal(response, self._collection)


def _refusal(response: httpx.Response, collection: str) -> Exception:
    said = response.text[:300]
    full = response.status_code in _FULL and any(word in said.lower() for word in ("no space", "disk", "storage full"))
    if full:
        return StorageFull("qdrant", f"has no room left: {said}", retry_after=30)
    if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
        return Unavailable("qdrant", f"failed with {response.status_code}: {said}")
    if response.status_code in (401, 403):
        return DependencyRejected("qdrant", "refused the key: look at spec.qdrant.apiKeySecretRef")
    return DependencyRejected("qdrant", f"refused a call on {collection} with {response.status_code}: {said}")


def _of(namespace: str, document: str) -> Json:
    return {"must": [_match("namespace", namespace), _match("document", document)]}


def _match(key: str, value: object) -> Json:
    return {"key": key, "match": {"value": value}}
