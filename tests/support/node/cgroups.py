"""The cgroup that holds all of a node's pods, in each hierarchy of the machine. Made before the node, removed after it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["make", "name_for", "remove"]

ROOT: Final = Path("/sys/fs/cgroup")
REMOVE_SECONDS: Final = 10.0


def name_for(folder: Path) -> str:
    """Of the cluster in that folder."""
    return f"memorystack-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"


def make(name: str) -> None:
    """With all CPUs and memory nodes of its parent, which version 1 leaves empty; with its parent's controllers in version 2."""
    for hierarchy in _hierarchies():
        own = hierarchy / name
        own.mkdir(exist_ok=True)
        for file in ("cpuset.mems", "cpuset.cpus"):
            if (own / file).exists() and not (own / file).read_text().strip():
                (own / file).write_text((hierarchy / file).read_text())
        controllers = own / "cgroup.controllers"
        if controllers.exists() and hierarchy == ROOT:
            (own / "cgroup.subtree_control").write_text(" ".join(f"+{c}" for c in controllers.read_text().split()))


def remove(name: str) -> None:
    """With all that is below, innermost first; the kernel may still be ending its processes."""
    end = time.monotonic() + REMOVE_SECONDS
    for hierarchy in _hierarchies():
        own = hierarchy / name
        while own.exists() and time.monotonic() < end:
            for folder in sorted(own.rglob("*"), key=lambda path: len(path.parts), reverse=True):
                if folder.is_dir():
                    with suppress(OSError):
                        folder.rmdir()
            with suppress(OSError):
                own.rmdir()
                break
            time.sleep(0.1)


def _hierarchies() -> Iterator[Path]:
    """The one of version 2, or those of version 1."""
    if (ROOT / "cgroup.controllers").exists():
        yield ROOT
        return
    yield from sorted({path.resolve() for path in ROOT.iterdir() if (path / "cgroup.procs").exists()})
