"""One supervised process: started on a leash, watched, started again when it dies, ended in order.

Knows: a command and its log file. Must not know: whether it is a pod or an engine.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from memorystack_operator.local.inherited import inherited
from memorystack_operator.local.leash import on_leash

__all__ = ["Daemon"]

BACKOFF_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
CALM_SECONDS: Final = 30.0
"""A process that lived so long did not die of its start: the backoff begins again."""
LOG_BYTES: Final = 5 << 20
_log = structlog.get_logger(__name__)


class Daemon:
    """`restarts` counts how often it died by itself. Without an `env` it gets what `inherited` lets through."""

    def __init__(self, name: str, argv: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.restarts = 0
        self.started_at = 0.0
        self.exit_code: int | None = None
        """How it ended last; negative: the signal's number. None: it never did."""
        self._argv = list(argv)
        self._env = inherited() if env is None else dict(env)
        self.log = log
        self._process: asyncio.subprocess.Process | None = None
        self._ending = False
        self._quick_deaths = 0
        self._watch: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """None while it is not running."""
        process = self._process
        return process.pid if process and process.returncode is None else None

    @property
    def failing(self) -> bool:
        """Whether it died more than once without living half a minute in between."""
        return self._quick_deaths > 1

    async def start(self) -> None:
        """Starts it and keeps it alive."""
        await self._spawn()
        self._watch = asyncio.create_task(self._keep_alive())

    async def stop(self, grace: float) -> None:
        """SIGTERM, and SIGKILL after `grace` seconds."""
        self._ending = True
        process = self._process
        if process and process.returncode is None:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(grace):
                    await process.wait()
            except TimeoutError:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if self._watch:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)

    def last_line(self) -> str:
        """What it said last, for an error message."""
        with suppress(OSError):
            lines = self.log.read_text(errors="replace").splitlines()
            return next((line for line in reversed(lines) if line.strip()), "")
        return ""

    async def _spawn(self) -> None:
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.replace(self.log.with_suffix(".old.log"))
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *on_leash(self._argv),
                env=self._env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,  # a terminal sends Ctrl-C to its whole group, and these end in order
            )
        self.started_at = time.time()

    async def _keep_alive(self) -> None:
        while self._process is not None:
            self.exit_code = await self._process.wait()
            if self._ending:
                return
            calm = time.time() - self.started_at > CALM_SECONDS
            self._quick_deaths = 0 if calm else self._quick_deaths + 1
            pause = BACKOFF_SECONDS[min(self._quick_deaths, len(BACKOFF_SECONDS) - 1)]
            _log.warning(
                "process_died", name=self.name, code=self.exit_code, said=self.last_line(), again_in_seconds=pause
            )
            await asyncio.sleep(pause)
            self.restarts += 1
            await self._respawn()

    async def _respawn(self) -> None:
        """Tries until it is started: a full disk or a full process table passes."""
        while True:
            try:
                return await self._spawn()
            except OSError as error:
                _log.error("process_not_started", name=self.name, why=str(error))
                await asyncio.sleep(BACKOFF_SECONDS[-1])
