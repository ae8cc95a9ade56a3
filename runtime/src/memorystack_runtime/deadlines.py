"""How long a request may take: one timer for all requests of a process.

Knows: tasks and a duration. Must not know: requests. `asyncio.timeout` makes and cancels a timer for each, which is a third
of what a cached recall costs; with one duration for all, who came first is due first, and one timer is enough.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

__all__ = ["Deadlines"]


class Deadlines:
    """`with deadlines.turn():` raises TimeoutError in a task that is still inside after `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due: dict[_Turn, float] = {}
        """In the order of entering, which is that of their ends."""
        self._timer: asyncio.TimerHandle | None = None

    def turn(self) -> _Turn:
        """For one task, entered at once."""
        return _Turn(self)

    def enter(self, turn: _Turn) -> None:
        """From now on it is watched."""
        loop = asyncio.get_running_loop()
        due = self._due[turn] = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_at(due, self._expire)

    def leave(self, turn: _Turn) -> None:
        """It is watched no longer."""
        self._due.pop(turn, None)

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._due:
            turn, due = next(iter(self._due.items()))
            if due > now:
                self._timer = loop.call_at(due, self._expire)
                return
            del self._due[turn]
            turn.end()
        self._timer = None


class _Turn:
    """The same rules as asyncio.timeout: a cancellation that somebody else asked for stays one."""

    __slots__ = ("_cancelling", "_ended", "_owner", "_task")

    def __init__(self, owner: Deadlines) -> None:
        task = asyncio.current_task()
        if task is None:
            msg = "a deadline needs a task that it can end"
            raise RuntimeError(msg)
        self._owner = owner
        self._task = task
        self._cancelling = 0
        self._ended = False

    def end(self) -> None:
        """Its time is out."""
        self._ended = True
        self._task.cancel()

    def __enter__(self) -> Self:
        self._cancelling = self._task.cancelling()
        self._owner.enter(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._owner.leave(self)
        if self._ended and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error
