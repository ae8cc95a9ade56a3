"""One document's way into the store: chunk, embed, upsert hidden, switch versions, drop the old.

Knows: the order of the steps and why. Must not know: HTTP or caching. Until the switch nothing of the new version can be
recalled, and the old one whole; a failure anywhere leaves it so.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Final

import orjson

from memorystack_runtime import sparse
from memorystack_runtime.chunking import chunk
from memorystack_runtime.embedder import MAX_BATCH, Embedder, Vector
from memorystack_runtime.errors import Fault
from memorystack_runtime.models import NewMemory, StoredMemory
from memorystack_runtime.store import UPSERT_BATCH, Payload, Point, Store, Stored

__all__ = ["Ingest", "document_id"]

_SPACE: Final = uuid.UUID("6d656d6f-7279-5374-8163-6b0000000001")
ABANDONED: Final = timedelta(minutes=2)
"""Hidden chunks older than this were left by a writer that died; younger ones may still be switched on."""


@dataclass(frozen=True, slots=True)
class _Piece:
    id: str
    order: int
    text: str


def document_id(memory: NewMemory) -> str:
    """The id that was given, or the hash of the text."""
    return memory.id or f"m-{hashlib.sha256(memory.text.encode()).hexdigest()[:24]}"


class Ingest:
    """Stores documents with the concurrency in force when each of them begins."""

    def __init__(self, store: Store, embedder: Embedder, characters: int) -> None:
        self.concurrency = 0
        self.queued = 0
        """Embed requests that wait for their turn."""
        self._store = store
        self._embedder = embedder
        self._characters = characters
        self._locks: dict[tuple[str, str], asyncio.Lock] = {}

    async def store(self, namespace: str, memory: NewMemory) -> StoredMemory:
        """Durable and recallable when this returns. Two writers of one document on this pod take turns."""
        key = (namespace, document_id(memory))
        lock = self._locks.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                return await self._store_one(namespace, key[1], memory)
        finally:
            if not lock.locked() and self._locks.get(key) is lock:
                del self._locks[key]

    async def _store_one(self, namespace: str, document: str, memory: NewMemory) -> StoredMemory:
        pieces = _pieces(namespace, document, chunk(memory.text, self._characters))
        version = _version(memory)
        known = await self._store.document(namespace, document)
        live = {p.id for p in known if p.payload.get("live")}
        answer = StoredMemory(id=document, namespace=namespace, chunks=len(pieces), version=version)
        if _is_complete(known, version, pieces):
            return answer.model_copy(update={"unchanged": True})
        fresh = [piece for piece in pieces if piece.id not in live]
        base: Payload = {"namespace": namespace, "document": document, "version": version, "live": False}
        await self._write(fresh, {**base, "storedAt": time.time(), "metadata": memory.metadata})
        switched = {"version": version, "live": True, "storedAt": time.time(), "metadata": memory.metadata}
        await self._store.set_payload([p.id for p in pieces], switched | {"chunks": len(pieces)})
        await self._drop_others(namespace, document, version)
        return answer

    async def _write(self, pieces: Sequence[_Piece], base: Payload) -> None:
        """Upserts of 64 while the rest is still being embedded; what was written is removed again on a failure."""
        written: list[str] = []
        waiting: list[Point] = []
        uploads: list[asyncio.Task[None]] = []
        try:
            async for batch, vectors in self._embedded(pieces):
                for piece, vector in zip(batch, vectors, strict=True):
                    payload = {**base, "order": piece.order, "text": piece.text}
                    waiting.append(Point(piece.id, vector, sparse.of_document(piece.text), payload))
                while len(waiting) >= UPSERT_BATCH:
                    part, waiting = waiting[:UPSERT_BATCH], waiting[UPSERT_BATCH:]
                    written += [p.id for p in part]
                    uploads.append(asyncio.create_task(self._store.upsert(part)))
            if waiting:
                written += [p.id for p in waiting]
                uploads.append(asyncio.create_task(self._store.upsert(waiting)))
            await asyncio.gather(*uploads)
        except BaseException:
            await self._undo(uploads, written)
            raise

    async def _undo(self, uploads: Sequence[asyncio.Task[None]], written: Sequence[str]) -> None:
        for task in uploads:
            task.cancel()
        await asyncio.gather(*uploads, return_exceptions=True)
        try:
            await self._store.delete(written)
        except Fault:
            # They are hidden, so nobody recalls them; the next store of the document drops what was abandoned.
            return

    async def _embedded(self, pieces: Sequence[_Piece]) -> AsyncIterator[tuple[Sequence[_Piece], list[Vector]]]:
        """Batches with their vectors, as they come back. At most `concurrency` requests are in flight."""
        limit = self.concurrency
        size = 1 if limit == 0 else min(MAX_BATCH, max(1, ceil(len(pieces) / limit)))
        batches = [pieces[i : i + size] for i in range(0, len(pieces), size)]
        turn = asyncio.Semaphore(max(1, limit))

        async def embed(batch: Sequence[_Piece]) -> tuple[Sequence[_Piece], list[Vector]]:
            self.queued += 1
            async with turn:
                self.queued -= 1
                return batch, await self._embedder.embed([piece.text.strip() or piece.text for piece in batch])

        if limit == 0:
            for batch in batches:
                yield await embed(batch)
            return
        tasks = [asyncio.create_task(embed(batch)) for batch in batches]
        try:
            for done in asyncio.as_completed(tasks):
                yield await done
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _drop_others(self, namespace: str, document: str, version: str) -> None:
        """Removes older versions and what dead writers left. Of two live versions the later switched one stays, so
        writers of one document on two pods agree, whichever looks last.
        """
        known = await self._store.document(namespace, document)
        live = [p for p in known if p.payload.get("live")]
        newest = max(live, key=_switched_at, default=None)
        keep = newest.payload["version"] if newest else version
        horizon = (datetime.now(UTC) - ABANDONED).timestamp()
        gone = [
            p.id
            for p in known
            if p.payload["version"] != keep and (p.payload.get("live") or p.payload["storedAt"] < horizon)
        ]
        await self._store.delete(gone)


def _pieces(namespace: str, document: str, texts: Sequence[str]) -> list[_Piece]:
    """Ids are made from content, so a retry writes the same points again."""
    return [
        _Piece(str(uuid.uuid5(_SPACE, orjson.dumps([namespace, document, text, order]).decode())), order, text)
        for order, text in enumerate(texts)
    ]


def _version(memory: NewMemory) -> str:
    content = orjson.dumps([memory.text, memory.metadata], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(content).hexdigest()[:16]


def _is_complete(known: Sequence[Stored], version: str, pieces: Sequence[_Piece]) -> bool:
    """Exactly these chunks are live, and nothing else is on record."""
    here = {p.id for p in known if p.payload.get("live") and p.payload["version"] == version}
    return len(known) == len(pieces) and here == {piece.id for piece in pieces}


def _switched_at(point: Stored) -> tuple[float, str]:
    return point.payload["storedAt"], point.payload["version"]
