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
SHORTEST_SECONDS: Final = 0.001
"""uvloop sleeps whole milliseconds; less would be none."""


async def on_half_minutes(act: Callable[[], None], wall: Callable[[], float] = time.time) -> None:
    """Calls `act` at each whole multiple of 30 s of the wall clock, once, for ever."""
    last = wall() // RING_SECONDS
    while True:
        await asyncio.sleep(max(SHORTEST_SECONDS, RING_SECONDS - wall() % RING_SECONDS))
        # uvloop's timers fire up to a millisecond early: then the old half minute is not over, and the rest is slept, too.
        if (current := wall() // RING_SECONDS) != last:
            last = current
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
