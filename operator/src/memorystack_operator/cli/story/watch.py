"""Measures whether the machine had CPU to spare while a change was judged. Knows samples; nothing of verdicts."""

from __future__ import annotations

import json
import time
from pathlib import Path

from memorystack_operator.cli.story.report import Starvation
from memorystack_operator.local.machine import STARVED_IDLE_PERCENT
from memorystack_operator.local.up import Stack

__all__ = ["Watch"]


class Watch:
    """`interim` is the file into which the load generator writes its counts every few seconds."""

    def __init__(self, interim: Path) -> None:
        self._interim = interim
        self._idle: list[float] = []
        self._lag = 0.0
        self._looked_at = 0.0
        self._before = (0, 0)

    def begin(self) -> None:
        """A change is about to be saved."""
        self._idle, self._lag, self._looked_at = [], 0.0, time.monotonic()
        self._before = self._load()

    def look(self, stack: Stack) -> None:
        """At most once a second is counted."""
        self._lag = max(self._lag, *(p.lag_ms for p in stack.report().pods), 0.0)
        if time.monotonic() - self._looked_at >= 1.0:
            self._looked_at = time.monotonic()
            self._idle.append(stack.machine.last_idle)

    def end(self) -> Starvation:
        """What was seen since `begin`."""
        sent, dropped = (now - then for now, then in zip(self._load(), self._before, strict=True))
        if not self._idle:
            return Starvation()
        return Starvation(
            samples=len(self._idle),
            mean_idle_percent=round(sum(self._idle) / len(self._idle), 1),
            starved_share=round(sum(i < STARVED_IDLE_PERCENT for i in self._idle) / len(self._idle), 3),
            largest_lag_ms=round(self._lag, 1),
            dropped_share=round(dropped / (sent + dropped), 4) if sent + dropped else 0.0,
        )

    def _load(self) -> tuple[int, int]:
        try:
            found = json.loads(self._interim.read_text())
            return found["recall"]["sent"] + found["store"]["sent"], found["dropped"]
        except (OSError, ValueError, KeyError):
            return 0, 0
