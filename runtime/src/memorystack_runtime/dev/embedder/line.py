"""A queue in front of a fixed number of places: first come, first served.

Knows: who waits, who is served, and the counts of both. Must not know: what is served.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["Line"]


class Line:
    """At most `capacity` callers are inside `place()`; the others wait in order of arrival."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.in_flight = 0
        self.max_in_flight = 0

    @property
    def waiting(self) -> int:
        """Callers that wait for a place."""
        return len(self._waiting)

    def resize(self, capacity: int) -> None:
        """More places let waiting callers in at once; fewer take effect as callers leave."""
        self._capacity = capacity
        self._admit()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a place and hold it; a caller that is cancelled while waiting leaves the line."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            self._leave(turn)
            raise
        try:
            yield
        finally:
            self._free()

    def _admit(self) -> None:
        while self._waiting and self.in_flight < self._capacity:
            turn = self._waiting.popleft()
            if turn.cancelled():  # cancelled, and not yet woken to leave the line itself
                continue
            turn.set_result(None)
            self.in_flight += 1
            self.max_in_flight = max(self.max_in_flight, self.in_flight)

    def _leave(self, turn: asyncio.Future[None]) -> None:
        if turn.cancelled():
            if turn in self._waiting:
                self._waiting.remove(turn)
        else:  # a place was given in the same moment: pass it on
            self._free()

    def _free(self) -> None:
        self.in_flight -= 1
        self._admit()
