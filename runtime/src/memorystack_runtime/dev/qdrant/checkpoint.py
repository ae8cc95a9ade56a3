"""Remembers which files make up a collection, so that damage is seen instead of being taken for emptiness.

The engine opens a folder whose segments are missing as an empty collection. Here the list of segments, of their parts and of
the sizes of the files that only grow is written after each flush; before a restart opens the folder, all must still be there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import orjson

__all__ = ["discard", "missing", "record"]

NAME: Final = "checkpoint.json"
SEGMENTS: Final = "segments"
GROWING: Final = ("vector_storage*/**/chunk_*", "vector_storage*/**/page_*", "payload_storage/page_*")


def record(collection: Path, shard: Path) -> None:
    """Write down the parts of every segment of `shard`; atomic, durable when it returns."""
    parts = {segment.name: _parts(segment) | _growing(segment) for segment in _segments(shard)}
    draft = collection / f"{NAME}.new"
    with draft.open("wb") as file:
        file.write(orjson.dumps({"segments": parts}))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(collection / NAME)


def discard(collection: Path) -> None:
    """Forget, before the engine replaces segments by others."""
    (collection / NAME).unlink(missing_ok=True)


def missing(collection: Path, shard: Path) -> str | None:
    """The first part that has gone, relative to the shard; None when all are there or nothing was recorded."""
    try:
        recorded = orjson.loads((collection / NAME).read_bytes())["segments"]
    except FileNotFoundError:
        return None
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return NAME
    for segment, parts in recorded.items():
        folder = shard / SEGMENTS / segment
        found = _parts(folder) | _growing(folder)
        for part, size in parts.items():
            if found.get(part, -1) < size:
                return f"{SEGMENTS}/{segment}/{part}"
    return None


def _segments(shard: Path) -> list[Path]:
    folder = shard / SEGMENTS
    return sorted(each for each in folder.iterdir() if each.is_dir()) if folder.is_dir() else []


def _parts(segment: Path) -> dict[str, int]:
    """Names directly below the segment, without sizes; an empty folder counts as gone."""
    if not segment.is_dir():
        return {}
    return {each.name: 0 for each in segment.iterdir() if each.is_file() or any(each.iterdir())}


def _growing(segment: Path) -> dict[str, int]:
    """Bytes of the files with vectors and payloads; most others come and go as the engine writes."""
    files = (file for pattern in GROWING for file in segment.glob(pattern))
    return {file.relative_to(segment).as_posix(): file.stat().st_size for file in files}
