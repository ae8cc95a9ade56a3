"""Which flags are in force: a leased override, else the flags file, else the environment, else the defaults.

Knows: three small files and a monotonic clock. Must not know: what a flag does. The lease is a dead man's switch: whoever lent
the flags must keep renewing it, and a process trusts only a lease that it has seen appear or change since its own start,
else a pod that crashes and restarts would arm a dead operator's canary for ever.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeVar

import structlog
from pydantic import BaseModel, ValidationError

from memorystack_runtime.contract import (
    BUDGETS_FILE,
    FLAGS_FILE,
    LEASE_FILE,
    Budgets,
    Features,
    FlagLease,
    FlagsFile,
    revision_of,
)

__all__ = ["POLL_SECONDS", "Effective", "FlagBoard"]

POLL_SECONDS: Final = 0.05
Source = Literal["default", "environment", "file", "lease"]
M = TypeVar("M", bound=BaseModel)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Effective:
    """What is in force, and where it came from."""

    features: Features
    revision: str
    source: Source
    budgets: Budgets
    epoch: int = 0


class _Watched:
    """The text of one file, read again only when its stat changes; absent and unreadable count as empty."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mark: tuple[int, int, int] | None = None
        self.text = ""

    def changed(self) -> bool:
        """Whether the text is another one than at the last call."""
        try:
            stat = self._path.stat()
            mark = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if mark == self._mark:
                return False
            text = self._path.read_text()
        except (OSError, UnicodeDecodeError):
            mark, text = None, ""
        self._mark = mark
        before, self.text = self.text, text
        return text != before


class FlagBoard:
    """Polls the files and tells `on_change` what is in force, at the start and at each change."""

    def __init__(
        self,
        folder: Path | None,
        environment: Features | None,
        on_change: Callable[[Effective], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._on_change = on_change
        self._base = environment or Features()
        self._base_source: Source = "environment" if environment else "default"
        folder = folder or Path("/nonexistent")
        self._files = {name: _Watched(folder / name) for name in (FLAGS_FILE, BUDGETS_FILE, LEASE_FILE)}
        self._stable: FlagsFile | None = None
        self._budgets = Budgets()
        self._lease: FlagLease | None = None
        self._renewed_at = 0.0
        self._epoch = 0
        self.current: Effective | None = None
        self._files[LEASE_FILE].changed()  # what lay there before the start does not count
        self.poll()

    async def run(self) -> None:
        """Polls for ever."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            self.poll()

    def poll(self) -> None:
        """Reads what changed; a file that makes no sense leaves the last good value in force."""
        if self._files[FLAGS_FILE].changed():
            self._stable = self._parse(FLAGS_FILE, FlagsFile) or self._stable
        if self._files[BUDGETS_FILE].changed():
            self._budgets = self._parse(BUDGETS_FILE, Budgets) or self._budgets
        if self._files[LEASE_FILE].changed():
            self._take_lease()
        if self._lease and self._clock() - self._renewed_at > self._lease.ttl_seconds:
            _log.warning("lease_expired", revision=self._lease.revision, epoch=self._lease.epoch)
            self._lease = None
        now = self._effective()
        if now != self.current:
            self.current = now
            self._on_change(now)

    def _take_lease(self) -> None:
        if not self._files[LEASE_FILE].text.strip():
            self._lease = None
            return
        lease = self._parse(LEASE_FILE, FlagLease)
        if lease is None:
            return
        if lease.epoch < self._epoch:
            _log.warning("lease_of_an_old_leader_ignored", epoch=lease.epoch, known=self._epoch)
            return
        self._lease, self._epoch, self._renewed_at = lease, lease.epoch, self._clock()

    def _parse(self, name: str, model: type[M]) -> M | None:
        text = self._files[name].text
        if not text.strip():
            return None
        try:
            return model.model_validate_json(text)
        except ValidationError as error:
            _log.error("file_ignored", file=name, why=str(error).splitlines()[0], remedy="the last good value stays")
            return None

    def _effective(self) -> Effective:
        if self._lease:
            return Effective(self._lease.features, self._lease.revision, "lease", self._budgets, self._epoch)
        if self._stable:
            return Effective(self._stable.features, self._stable.revision, "file", self._budgets, self._epoch)
        return Effective(self._base, revision_of(self._base), self._base_source, self._budgets, self._epoch)
