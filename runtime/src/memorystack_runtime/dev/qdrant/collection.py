"""One collection: one shard of the engine in one folder.

Knows: the engine's calls and errors, and when a write may be acknowledged (it is in the write-ahead log, which survives the
process's death; `flush` makes it survive the machine's). Must not know: HTTP or the other collections.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import orjson
import qdrant_edge as edge

from . import checkpoint
from .body import PointId, QdrantError
from .schema import Schema, schema_of

__all__ = ["Collection", "DamagedError", "LockedError"]

Answer = TypeVar("Answer")

SHARD: Final = "shard"
SCHEMA: Final = "collection.json"
CLIENT_ERRORS: Final = (
    "Vector dimension error",
    "Not existing vector name",
    "Wrong input",
    "Validation failed",
    "No range index",
    "No appropriate index",
    "Bad request",
    "Index required",
)
"""Beginnings of the engine's messages that blame the request."""


class DamagedError(Exception):
    """A folder cannot be read; the message names it. Nothing in it was changed."""


class LockedError(Exception):
    """Another process has the folder open."""


class Collection:
    """An open shard with its schema. `changes` counts the points written since the last optimisation."""

    def __init__(self, folder: Path, schema: Schema, shard: edge.EdgeShard, reserve: int) -> None:
        self.folder = folder
        self.schema = schema
        self.changes = 0
        self.dirty = False
        self._shard = shard
        self._reserve = reserve
        self._writes = 0

    @classmethod
    def create(cls, folder: Path, schema: Schema, reserve: int) -> Collection:
        """A new collection; it appears under its name only when it is whole, so that a kill leaves none or all."""
        ensure_space(folder.parent, reserve)
        draft = folder.with_name(f".new-{folder.name}")
        shutil.rmtree(draft, ignore_errors=True)
        with _engine_errors():
            draft.mkdir(parents=True)
            edge.EdgeShard.create(str(draft / SHARD), schema.edge_config()).close()
            _write_durably(draft / SCHEMA, orjson.dumps(dict(schema.given)))
            draft.rename(folder)
            _sync_folder(folder.parent)
        return cls.open(folder, reserve)

    @classmethod
    def open(cls, folder: Path, reserve: int) -> Collection:
        """The collection in `folder`; DamagedError or LockedError, and nothing is changed, when it cannot be opened."""
        try:
            schema = schema_of(orjson.loads((folder / SCHEMA).read_bytes()))
        except (OSError, ValueError, QdrantError) as error:
            raise DamagedError(f"{folder / SCHEMA} cannot be read: {error}") from error
        if part := checkpoint.missing(folder, folder / SHARD):
            raise DamagedError(f"{folder / SHARD / part} is missing or cut off")
        try:
            shard = _call(lambda: edge.EdgeShard.load(str(folder / SHARD)))
            collection = cls(folder, schema, shard, reserve)
            collection._probe()
        except QdrantError as error:
            if "WouldBlock" in str(error):
                raise LockedError(str(folder)) from error
            raise DamagedError(f"{folder / SHARD} cannot be read: {error}") from error
        collection.flush()
        return collection

    def _probe(self) -> None:
        """Compare one vector with all of each kind: a cut-off file shows here and not in the first recall."""
        for name, spec in self.schema.dense.items():
            query = edge.Query.Nearest([1.0] * spec.size, name or None)
            self.query(edge.QueryRequest(limit=1, query=query, with_payload=True))

    def write(self, operations: Sequence[edge.UpdateOperation]) -> int:
        """Apply in order; returns the number of the last. QdrantError 507 when the disk is full: nothing was written."""
        ensure_space(self.folder, self._reserve)
        for operation in operations:
            self.dirty = True
            self._apply(operation)
        return self._writes

    def _apply(self, operation: edge.UpdateOperation) -> None:
        self._engine(lambda shard: shard.update(operation))
        self._writes += 1

    def index(self, field: str, kind: edge.PayloadSchemaType | None) -> int:
        """Create a payload index, or drop it when `kind` is None."""
        if kind is None:
            checkpoint.discard(self.folder)
            return self.write([edge.UpdateOperation.delete_field_index(field)])
        return self.write([edge.UpdateOperation.create_field_index(field, kind)])

    def query(self, request: edge.QueryRequest) -> list[edge.ScoredPoint]:
        """Points by score, best first."""
        return self._engine(lambda shard: shard.query(request))

    def scroll(self, request: edge.ScrollRequest) -> tuple[list[edge.Record], Any]:
        """Points by id, and the id of the next page or None."""
        return self._engine(lambda shard: shard.scroll(request))

    def retrieve(self, ids: list[PointId], payload: Any, vector: Any) -> list[edge.Record]:
        """Points by their ids; ids that are not there are left out."""
        return self._engine(lambda shard: shard.retrieve(list(ids), payload, vector))

    def count(self, request: edge.CountRequest) -> int:
        """Number of points that match."""
        return self._engine(lambda shard: shard.count(request))

    def facet(self, request: edge.FacetRequest) -> list[edge.FacetHit]:
        """Values of a field with their counts."""
        return self._engine(lambda shard: shard.facet(request).hits)

    def info(self) -> edge.ShardInfo:
        """Counts, segments and payload indexes."""
        return self._engine(lambda shard: shard.info())

    def flush(self) -> None:
        """Bring everything to the disk and note the parts."""
        self.dirty = False
        self._engine(lambda shard: shard.flush())
        checkpoint.record(self.folder, self.folder / SHARD)

    def optimize(self) -> None:
        """Merge segments and drop what was deleted; blocks the process (0.4 s for 20,000 points of 384 dimensions)."""
        self.changes = 0
        checkpoint.discard(self.folder)
        self._engine(lambda shard: shard.optimize())
        self.flush()

    def close(self) -> None:
        """Flush and release the folder."""
        try:
            self.flush()
        finally:
            self._shard.close()

    def delete(self) -> None:
        """Remove the collection from the disk; a kill in between leaves a folder that the next start removes."""
        self._shard.close()
        grave = self.folder.with_name(f".deleted-{self.folder.name}")
        shutil.rmtree(grave, ignore_errors=True)
        self.folder.rename(grave)
        shutil.rmtree(grave, ignore_errors=True)

    def _engine(self, call: Callable[[edge.EdgeShard], Answer]) -> Answer:
        return _call(lambda: call(self._shard))


def ensure_space(folder: Path, reserve: int) -> None:
    """QdrantError 507 when less than `reserve` bytes are free: the engine writes into memory maps, and a full disk would
    kill the process there instead of failing a request."""
    state = os.statvfs(folder)
    free = state.f_bavail * state.f_frsize
    if free < reserve:
        sentence = (
            f"Service internal error: No space left on device: {free >> 20} MB free below {folder}, "
            f"{reserve >> 20} MB are kept; free some space or start with a smaller --min-free-mb"
        )
        raise QdrantError(507, sentence)


def _call(call: Callable[[], Answer]) -> Answer:
    with _engine_errors():
        return call()


@contextmanager
def _engine_errors() -> Iterator[None]:
    """The engine's errors as Qdrant's: 400 when the request is to blame, else 500."""
    try:
        yield
    except QdrantError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise QdrantError.format(str(error).splitlines()[0]) from error
    except Exception as error:
        sentence = str(error)
        if sentence.startswith(CLIENT_ERRORS):
            raise QdrantError(400, f"Wrong input: {sentence}") from error
        raise QdrantError(500, f"Service internal error: {sentence}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # the engine's Rust panics are no Exception
            raise
        raise QdrantError(500, f"Service internal error: the engine panicked: {error}") from error


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # some file systems refuse to sync folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
