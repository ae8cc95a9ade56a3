"""The folder `.memorystack/`: what is where, written so that a crash leaves the old or the new, never a half.

Knows: paths, locks and atomic writes. Must not know: what the records mean.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ValidationError

from memorystack_operator.local.errors import AlreadyRunning, CannotStart

__all__ = ["Running", "StateFolder", "write_atomically"]

EVENTS_KEPT: Final = 500


class Running(BaseModel):
    """Who holds the folder now."""

    pid: int
    created: float
    """The process's start in Unix seconds: a pid alone may be somebody else's by now."""
    name: str
    file: str
    gateway: str


class StateFolder:
    """One stack's records."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.status = self.root / "status.json"
        self.report = self.root / "report.json"
        self.events = self.root / "events.jsonl"
        self.action = self.root / "action.json"
        self.running = self.root / "up.json"
        self.counters = self.root / "counters.json"
        self.remains = self.root / "processes.json"
        self.backends = self.root / "backends"
        self.logs = self.root / "logs"
        self.pods = self.root / "pods"
        self.qdrant = self.root / "qdrant"
        self.secrets = self.root / "secrets"

    def make(self) -> None:
        """Raises CannotStart when it cannot be written."""
        try:
            for folder in (self.root, self.logs, self.pods, self.qdrant):
                folder.mkdir(parents=True, exist_ok=True)
            # Written each time: a folder that cannot be written is found here, not in the middle of the start.
            write_atomically(self.root / ".gitignore", "*\n")
        except OSError as error:
            raise CannotStart(_not_written(self.root, error)) from None

    @contextmanager
    def held(self) -> Iterator[None]:
        """This process is the only one to run the stack. Raises AlreadyRunning. The kernel frees it when we die."""
        try:
            handle = (self.root / "lock").open("a")
        except OSError as error:
            raise CannotStart(_not_written(self.root, error)) from None
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise AlreadyRunning(_who(self.read_running())) from None
            try:
                yield
            finally:
                self.running.unlink(missing_ok=True)

    def read_running(self) -> Running | None:
        """Who said to hold the folder; it may have died since."""
        try:
            return Running.model_validate_json(self.running.read_text())
        except (OSError, ValidationError):
            return None

    def keep_events(self, lines: list[str]) -> None:
        """Appends; the file is cut to its last 500 lines now and then."""
        with self.events.open("a") as handle:
            handle.writelines(line + "\n" for line in lines)
        if self.events.stat().st_size > 512 * EVENTS_KEPT:
            kept = self.events.read_text().splitlines()[-EVENTS_KEPT:]
            write_atomically(self.events, "\n".join(kept) + "\n")


def write_atomically(path: Path, text: str, *, durable: bool = False, mode: int = 0o644) -> None:
    """Replaces the file whole; with `durable` it survives a power cut once this returns."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            os.fchmod(handle, mode)
            if durable:
                file.flush()
                os.fsync(handle)
        Path(name).replace(path)
        if durable:
            _sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _not_written(folder: Path, error: OSError) -> str:
    return f"the state folder {folder} cannot be written ({error.strerror}): free space there or set --state-dir"


def _sync_folder(folder: Path) -> None:
    """The new name itself is durable only when its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _who(running: Running | None) -> str:
    if running is None:
        return "another memorystack up is just starting in this folder: wait, or use another --state-dir"
    return (
        f"{running.name} is already running here (pid {running.pid}, {running.gateway}): "
        "look with memorystack status, end it with memorystack down"
    )
