"""Runs a story: a fresh folder, a stack from a copy of a file, and its traffic, all gone when it ends.

Knows: processes and folders. Must not know: what is told.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import click

from memorystack_operator.cli.screen import Screen
from memorystack_operator.cli.story.watch import Watch
from memorystack_operator.local.engines import EmbedderOptions
from memorystack_operator.local.leash import on_leash
from memorystack_operator.local.up import Stack, UpOptions
from memorystack_operator.local.up import up as run_up

__all__ = ["Stage", "play", "read_file"]

LOAD_SECONDS: Final = 3600
DEMO_KEY: Final = "memorystack-demo-key"
"""Public, and only its hash is in the examples."""


class Stage:
    """Where a story is told: its folder, its copy of the file, and its traffic."""

    def __init__(
        self,
        screen: Screen,
        content: bytes,
        home: Path,
        port: int,
        embedder: EmbedderOptions,
        load: tuple[str, ...] = (),
    ) -> None:
        self.screen = screen
        self.file = home / "stack.yaml"
        self.options = UpOptions(self.file, home, port, embedder=embedder)
        self.traffic: list[subprocess.Popen[bytes]] = []
        self._interim = home / "load.json"
        self._load = load
        # Yesterday's memories and verdicts would be part of today's story.
        if not any(home.glob("*/up.json")):
            shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True, exist_ok=True)
        self.file.write_bytes(content)

    def start_load(self) -> Watch:
        """The traffic begins."""
        argv = [sys.executable, "-m", "memorystack_operator.cli", "load"]
        argv += ["--url", f"http://127.0.0.1:{self.options.port}", "--seconds", str(LOAD_SECONDS)]
        argv += ["--api-key", DEMO_KEY, "--interim", str(self._interim), *self._load]
        with self._interim.with_suffix(".log").open("wb") as out:
            process = subprocess.Popen(  # noqa: S603
                on_leash(argv), stdin=subprocess.DEVNULL, stdout=out, stderr=out, process_group=0
            )
        self.traffic.append(process)
        return Watch(self._interim)

    async def end_load(self) -> None:
        """The traffic is gone when this returns."""
        while self.traffic:
            await asyncio.to_thread(_end, self.traffic.pop())

    def load_summary(self) -> dict[str, Any]:
        """What the traffic's own client saw."""
        with suppress(OSError, ValueError):
            return dict(json.loads(self._interim.read_text()))
        return {}


async def play(stage: Stage, tell: Callable[[Stack], Awaitable[None]]) -> None:
    """Until the story ends. Told to stop before that, it says so and leaves with 128 + the signal's number."""
    screen = stage.screen

    async def told(stack: Stack) -> None:
        try:
            await tell(stack)
        finally:
            # Before the stack goes: what a draining pod refuses is no part of the story.
            await stage.end_load()

    try:
        ended_by = await run_up(
            stage.options, say=screen.say, on_event=screen.tell, beside=lambda stack: screen.show(stack, told)
        )
    finally:
        await stage.end_load()
    if ended_by:
        screen.say(f"interrupted ({ended_by.name}): nothing of it runs any more, and there is no report")
        raise click.exceptions.Exit(128 + ended_by)


def read_file(file: Path) -> bytes:
    """Raises UsageError with the remedy."""
    try:
        return file.read_bytes()
    except OSError as error:
        msg = f"{file} cannot be read ({error.strerror}): run it in a clone of the repository, or name a file with -f"
        raise click.UsageError(msg) from None


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
