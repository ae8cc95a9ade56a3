"""A world that looks like a running `Stack` to a story told beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

from support.world import World

really = asyncio.sleep


class Machine:
    headroom = SimpleNamespace(cores=2)
    last_idle = 60.0


class RunningWorld:
    """Lives on the world's clock: a quarter of a second of waiting is a second there. `saved` applies a changed file."""

    def __init__(self, world: World, file: Path, saved: Callable[[World, str], None]) -> None:
        self.world = world
        self.file = file
        self.machine = Machine()
        self.engines = SimpleNamespace(urls={"embedder": "http://embedder"})
        self.supervisor = SimpleNamespace(pods=[SimpleNamespace(ready=True)], problem="")
        self.source = SimpleNamespace(stack=world.stack)
        self.folder = SimpleNamespace(events=file.with_suffix(".jsonl"))
        self.heard: list[float] = []
        self._saved = saved
        self._text = file.read_text()

    @property
    def status(self):
        return self.world.status

    def report(self):
        arm = SimpleNamespace(operation="recall", arm="stable", requests=1000, bad=1, p95_ms=80.0)
        return SimpleNamespace(arms=(arm,), pods=(SimpleNamespace(lag_ms=3.0),))

    async def sleep(self, seconds: float) -> None:
        if seconds == 0.25:
            text = self.file.read_text()
            if text != self._text:
                self._text = text
                self._saved(self.world, text)
            self.world.tick()
            await really(0)
            return
        until = self.world.now + timedelta(seconds=seconds)
        while self.world.now < until:
            await really(0)
