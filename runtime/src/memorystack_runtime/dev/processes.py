"""Starts the engines as processes, waits until they answer, and ends them.

Knows: command lines, readiness and signals. Must not know: what the engines do. Imports no server library, so that the
local mode and the tests can use it cheaply.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import IO, Final, Literal

__all__ = [
    "Engine",
    "EngineFailedError",
    "RunningEngine",
    "end",
    "engine_command",
    "start",
    "start_async",
    "start_command",
    "wait_until_ready",
]

Engine = Literal["qdrant", "embedder"]
Option = str | int | float | os.PathLike[str]

READY_SECONDS: Final = 20.0
"""Longest start that is waited for; both engines take under one second on an idle machine."""
END_SECONDS: Final = 5.0
"""Time between SIGTERM and SIGKILL."""


class EngineFailedError(Exception):
    """An engine ended, or did not answer in time; the message holds what it said last and its exit code."""


@dataclass(frozen=True)
class RunningEngine:
    """A started engine: where it answers, its process id, and the process itself."""

    url: str
    pid: int
    process: subprocess.Popen[bytes]


def engine_command(engine: Engine, host: str = "127.0.0.1", port: int = 0, /, **options: Option) -> list[str]:
    """The argv of an engine; `latency_ms=5` becomes `--latency-ms 5`. Port 0 takes a free one (printed on stdout)."""
    argv = [sys.executable, "-m", f"memorystack_runtime.dev.{engine}", "--host", host, "--port", str(port)]
    for name, value in options.items():
        argv += [f"--{name.replace('_', '-')}", os.fspath(value) if isinstance(value, os.PathLike) else str(value)]
    return argv


def wait_until_ready(url: str, timeout: float = READY_SECONDS) -> None:
    """Return as soon as `url`/healthz answers 200; EngineFailedError after `timeout` seconds."""
    until = time.monotonic() + timeout
    while True:
        try:
            with urllib.request.urlopen(f"{url}/healthz", timeout=max(0.1, until - time.monotonic())):  # noqa: S310  # our own loopback
                return
        except (OSError, http.client.HTTPException) as error:  # urllib's own errors are OSErrors
            reason = str(error)
        if time.monotonic() >= until:
            raise EngineFailedError(f"{url} did not answer within {timeout:g} s: {reason}")
        time.sleep(0.02)


@contextmanager
def start(engine: Engine, *, port: int = 0, **options: Option) -> Iterator[RunningEngine]:
    """Run an engine on the loopback (a free port unless one is given) for the length of the block.

    It also ends when this process is killed. EngineFailedError holds what it said when it does not start.
    """
    with start_command(engine_command(engine, "127.0.0.1", port, parent=os.getpid(), **options)) as running:
        yield running


@asynccontextmanager
async def start_async(engine: Engine, *, port: int = 0, **options: Option) -> AsyncIterator[RunningEngine]:
    """As `start`, for asynchronous code; the waiting happens in a thread."""
    block = start(engine, port=port, **options)
    running = await asyncio.to_thread(block.__enter__)
    try:
        yield running
    finally:
        await asyncio.to_thread(block.__exit__, None, None, None)


@contextmanager
def start_command(argv: list[str], *, timeout: float = READY_SECONDS) -> Iterator[RunningEngine]:
    """Run `argv`, which prints its URL as its first line; EngineFailedError when it does not within `timeout`."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(  # noqa: S603  # our own argv
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
        )
        try:
            url = _first_line(process, errors, timeout)
            wait_until_ready(url, timeout)
            yield RunningEngine(url, process.pid, process)
        finally:
            end(process)


def end(process: subprocess.Popen[bytes], grace: float = END_SECONDS) -> int:
    """SIGTERM, and SIGKILL after `grace` seconds; returns the exit code and leaves nothing open."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        code = process.wait(grace)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    if process.stdout is not None:
        process.stdout.close()
    return code


def _first_line(process: subprocess.Popen[bytes], errors: IO[bytes], timeout: float) -> str:
    output = process.stdout
    assert output is not None  # noqa: S101  # started with a pipe
    ready, _, _ = select.select([output], [], [], timeout)
    line = output.readline().decode().strip() if ready else ""
    if line:
        return line
    code = end(process, grace=0.5)
    errors.seek(0)
    said = errors.read().decode(errors="replace").strip()
    raise EngineFailedError(f"{said or 'it said nothing'} (exit code {code})")
