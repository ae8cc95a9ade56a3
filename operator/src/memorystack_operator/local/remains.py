"""What an `up` that was killed may have left behind, where the kernel does not clean up by itself. Knows recorded processes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

from memorystack_operator.local.state import write_atomically

__all__ = ["end_remains", "is_same_process", "record"]


def record(path: Path, pids: Iterable[int]) -> None:
    """Writes down which processes are ours, with the moment each began."""
    entries = []
    for pid in pids:
        with suppress(psutil.Error):
            entries.append({"pid": pid, "created": psutil.Process(pid).create_time()})
    write_atomically(path, json.dumps(entries))


def end_remains(path: Path) -> int:
    """Ends what is still there of the last record; how many. Only a process with the same pid *and* start is ours."""
    try:
        entries = json.loads(path.read_text())
    except (OSError, ValueError):
        return 0
    ours = [e["pid"] for e in entries if is_same_process(e["pid"], e["created"])]
    killed = []
    for pid in ours:
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            process.kill()
            killed.append(process)
    psutil.wait_procs(killed, timeout=5)
    path.unlink(missing_ok=True)
    return len(ours)


def is_same_process(pid: int, created: float) -> bool:
    """Whether the process that was recorded is still alive."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - created) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
