"""When the engine flushes and optimises: decisions with collections that only count, effects in test_qdrant_durability."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from memorystack_runtime.dev.qdrant.body import QdrantError
from memorystack_runtime.dev.qdrant.upkeep import CHANGES_AT_MOST, CHANGES_WHEN_IDLE, Upkeep


class Counting:
    """A collection that says what was asked of it."""

    def __init__(self, *, changes: int = 0, dirty: bool = False, broken: bool = False) -> None:
        self.folder = Path("c")
        self.changes = changes
        self.dirty = dirty
        self.broken = broken
        self.asked: list[str] = []

    def flush(self) -> None:
        self.asked.append("flush")
        self.dirty = False
        if self.broken:
            raise QdrantError(500, "no space")

    def optimize(self) -> None:
        self.asked.append("optimize")
        self.changes = 0
        self.dirty = False


class Shelves:
    def __init__(self, *collections: Counting) -> None:
        self.collections = list(collections)

    def all(self) -> list[Counting]:
        return self.collections


async def look(*collections: Counting, idle: float, rounds: int = 1) -> None:
    """Run the upkeep for exactly `rounds` looks at the collections."""
    looked = asyncio.Event()
    shelves: Any = Shelves(*collections)
    upkeep = Upkeep(shelves, interval=0, idle=idle)
    if idle:
        upkeep.request_came()
    seen = 0
    real = shelves.all

    def counted() -> list[Counting]:
        nonlocal seen
        seen += 1
        if seen > rounds:
            looked.set()
            return []
        return list(real())

    shelves.all = counted
    task = asyncio.create_task(upkeep.run())
    await asyncio.wait_for(looked.wait(), 5)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("collection", "idle", "asked"),
    [
        (Counting(), 0.0, []),
        (Counting(changes=1, dirty=True), 0.0, ["flush"]),
        (Counting(changes=CHANGES_WHEN_IDLE - 1), 0.0, []),
        (Counting(changes=CHANGES_WHEN_IDLE, dirty=True), 0.0, ["optimize"]),
        (Counting(changes=CHANGES_WHEN_IDLE, dirty=True), 3600.0, ["flush"]),
        (Counting(changes=CHANGES_AT_MOST), 3600.0, ["optimize"]),
    ],
    ids=["nothing", "written", "few changes", "many and idle", "many and busy", "too many"],
)
async def test_upkeep_does_what_is_due(collection: Counting, idle: float, asked: list[str]) -> None:
    await look(collection, idle=idle)
    assert collection.asked == asked


async def test_failed_flush_is_logged_and_tried_again_and_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    broken, whole = Counting(dirty=True, broken=True), Counting(dirty=True)
    with caplog.at_level(logging.WARNING):
        await look(broken, whole, idle=0, rounds=2)
    assert broken.asked == ["flush", "flush"]
    assert whole.asked == ["flush"]
    assert "upkeep of c failed: no space" in caplog.text
