"""The data folder: a lock, and one subfolder per collection.

Knows: names, the lock and what is found at a start. Must not know: HTTP.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from ..serving import EXIT_DAMAGED, EXIT_LOCKED, CannotStartError
from .body import QdrantError
from .collection import Collection, DamagedError, LockedError
from .schema import Schema

__all__ = ["Store"]

COLLECTIONS: Final = "collections"
LOCK: Final = ".lock"
FORBIDDEN: Final = frozenset('<>:"/\\|?*\0')


class Store:
    """All collections of a folder, open. CannotStartError when the folder is locked, damaged or cannot be written."""

    def __init__(self, folder: Path, reserve: int) -> None:
        self.folder = folder
        self._reserve = reserve
        self._lock = _lock(folder)
        self._base = folder / COLLECTIONS
        self._collections = self._open_all()

    def get(self, name: str) -> Collection:
        """The collection, or QdrantError 404."""
        found = self._collections.get(name)
        if found is None:
            raise QdrantError(404, f"Not found: Collection `{name}` doesn't exist!")
        return found

    def names(self) -> list[str]:
        """Names of the collections, sorted."""
        return sorted(self._collections)

    def all(self) -> list[Collection]:
        """The collections, in no order."""
        return list(self._collections.values())

    def create(self, name: str, schema: Schema) -> None:
        """A new collection; QdrantError 409 when there is one of this name."""
        if not name or len(name) > 255 or FORBIDDEN & set(name):
            raise QdrantError(
                422, f"Validation error: collection name {name!r} is empty, too long or has a bad character"
            )
        if name in self._collections:
            raise QdrantError(409, f"Wrong input: Collection `{name}` already exists!")
        self._collections[name] = Collection.create(self._base / _folder_name(name), schema, self._reserve)

    def delete(self, name: str) -> bool:
        """Remove a collection; false when there is none of this name."""
        found = self._collections.pop(name, None)
        if found is None:
            return False
        found.delete()
        return True

    def close(self) -> None:
        """Flush and close every collection, then give up the folder."""
        for collection in self.all():
            collection.close()
        self._collections.clear()
        os.close(self._lock)

    def _open_all(self) -> dict[str, Collection]:
        try:
            self._base.mkdir(exist_ok=True)
            for leftover in self._base.glob(".*-*"):  # half-made or half-deleted at a kill; never acknowledged as there
                shutil.rmtree(leftover)
            folders = sorted(each for each in self._base.iterdir() if each.is_dir())
            return {unquote(each.name): Collection.open(each, self._reserve) for each in folders}
        except LockedError as error:
            raise _locked(self.folder) from error
        except (DamagedError, OSError, QdrantError) as error:
            raise CannotStartError(
                EXIT_DAMAGED,
                f"qdrant: the folder {self.folder} is damaged ({_one_line(error)}); nothing in it was changed: "
                "restore it from a copy, or start with another --path",
            ) from error


def _lock(folder: Path) -> int:
    """Take the folder for this process; the kernel frees the lock when the process dies."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotStartError(
            EXIT_LOCKED, f"qdrant: cannot write to the folder {folder} ({error.strerror}); choose another --path"
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise _locked(folder) from error
    return handle


def _locked(folder: Path) -> CannotStartError:
    return CannotStartError(
        EXIT_LOCKED,
        f"qdrant: the folder {folder} is in use by another process; end that process or choose another --path",
    )


def _folder_name(name: str) -> str:
    """A name that is one path component and never starts with a dot."""
    quoted = quote(name, safe="")
    return f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
