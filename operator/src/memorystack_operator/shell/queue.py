"""The keyed queue: due keys to a bounded number of workers, each key serially, failures ever later.

Knows: when to call the work. Must not know: what the work is. Every method belongs to the loop's own thread.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from memorystack_operator.shell.api_server import Refused
from memorystack_operator.shell.cluster import Conflict
from memorystack_operator.shell.schedule import Due, Key, Schedule
from memorystack_operator.shell.telemetry import Telemetry

__all__ = ["Backoff", "KeyedQueue", "Work"]

Work = Callable[[Key], Awaitable[timedelta | None]]
"""One round for a key: how long the next may wait, or None when it is not to come back."""
LOST_RACE_SECONDS: Final = 0.05
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds to wait after the n-th failure in a row, spread so that many keys do not return at once."""

    first: float = 0.5
    longest: float = 30.0
    spread: float = 0.2

    def after(self, failures: int) -> float:
        """`failures` counts from 1."""
        plain = min(self.longest, self.first * 2.0 ** min(30, failures - 1))
        return plain * (1 + random.uniform(-self.spread, self.spread))  # noqa: S311 -- jitter is no secret


class KeyedQueue:
    """Works while it is let (`open`), and finishes what it began when it is closed."""

    def __init__(
        self,
        work: Work,
        telemetry: Telemetry,
        *,
        workers: int = 16,
        backoff: Backoff | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.open = False
        self._work = work
        self._telemetry = telemetry
        self._workers = workers
        self._backoff = backoff or Backoff()
        self._clock = clock
        self._schedule = Schedule()
        self._failures: dict[Key, int] = {}
        self._not_before: dict[Key, float] = {}
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, key: Key, after: float = 0.0) -> None:
        """Due in so many seconds, or earlier where it already was, but not while a server wants to be left alone."""
        self._schedule.add(key, max(self._clock() + after, self._not_before.get(key, 0.0)))
        self._wake.set()

    def let(self, is_open: bool) -> None:
        """Whether new work may begin."""
        self.open = is_open
        self._wake.set()

    async def run(self) -> None:
        """For ever; cancelled, it leaves running work to `drain`."""
        while True:
            self._wake.clear()
            if self.open:
                for due in self._schedule.take(self._clock(), self._workers - self._schedule.running):
                    self._begin(due)
            self._measure()
            await self._rest()

    async def drain(self, seconds: float) -> None:
        """Nothing new begins; what runs may end within the time, then it is cancelled."""
        self.open = False
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    @property
    def stuck_seconds(self) -> float:
        """How long the worst key waits or runs already; only what is due counts, and only while work may begin."""
        now = self._clock()
        waits = self._schedule.oldest(now) if self.open else 0.0
        return max(waits, self._schedule.longest(now))

    def _begin(self, due: Due) -> None:
        self._telemetry.queued(due.late)
        task = asyncio.create_task(self._one(due.key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _one(self, key: Key) -> None:
        began = self._clock()
        result = "success"
        try:
            pause = await self._work(key)
        except Conflict:
            result, again = "requeue", LOST_RACE_SECONDS
            self._schedule.add(key, self._clock() + again)
        except Exception as error:
            result, again = "error", self._failed(key, error)
            # The queue must outlive whatever one round meets.
            _log.warning("reconcile_failed", stack=str(key), error=str(error) or repr(error), again_in_seconds=again)
        else:
            self._failures.pop(key, None)
            self._not_before.pop(key, None)
            if pause is not None:
                result = "requeue_after"
                self._schedule.add(key, self._clock() + pause.total_seconds())
        finally:
            self._schedule.done(key)
            self._telemetry.reconciled(result, self._clock() - began)
            self._wake.set()

    def _failed(self, key: Key, error: Exception) -> float:
        self._failures[key] = self._failures.get(key, 0) + 1
        again = self._backoff.after(self._failures[key])
        if isinstance(error, Refused):
            again = max(again, error.wait)  # a server with too much to do says when to come back
            self._not_before[key] = self._clock() + error.wait
        self._schedule.add(key, self._clock() + again)
        return round(again, 3)

    def _measure(self) -> None:
        now = self._clock()
        self._telemetry.queue_is(self._schedule.depth(now), self._schedule.running, self._schedule.longest(now))

    async def _rest(self) -> None:
        """Until the next key is due, or something happened."""
        full = not self.open or self._schedule.running >= self._workers
        at = None if full else self._schedule.next_at()
        try:
            async with asyncio.timeout(None if at is None else max(0.0, at - self._clock())):
                await self._wake.wait()
        except TimeoutError:
            return
