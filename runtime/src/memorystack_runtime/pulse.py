"""The process's own rhythm: snapshots at whole half minutes, and how late the event loop runs.

Knows: timers. Must not know: what is counted. Pods take their snapshots at the same moments of the wall clock, so that the
operator can lay their histories side by side.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from memorystack_runtime.contract import RING_SECONDS

__all__ = ["LoopLag", "on_half_minutes"]

PROBE_SECONDS: Final = 0.25
WINDOW_SECONDS: Final = 5.0


async def on_half_minutes(act: Callable[[], None], wall: Callable[[], float] = time.time) -> None:
    """Calls `act` at each whole multiple of 30 s of the wall clock, for ever."""
    while True:
        await asyncio.sleep(RING_SECONDS - wall() % RING_SECONDS)
        act()


class LoopLag:
    """The largest delay of a timer in the last 5 s, in milliseconds: a starved machine shows here."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque()

    async def run(self) -> None:
        """Probes for ever."""
        while True:
            due = time.monotonic() + PROBE_SECONDS
            await asyncio.sleep(PROBE_SECONDS)
            now = time.monotonic()
            self._seen.append((now, now - due))
            while self._seen and now - self._seen[0][0] > WINDOW_SECONDS:
                self._seen.popleft()

    @property
    def milliseconds(self) -> float:
        """0 before the first probe."""
        return round(1000 * max((lag for _, lag in self._seen), default=0.0), 2)
