"""Gather, decide, write the status, make the world so. The same loop on Kubernetes and on one machine.

Knows: the order and why. Must not know: how anything is decided, or what the world is made of. The status is the
write-ahead log: it is on record before anything follows from it, so a crash anywhere is healed by running again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from math import inf
from typing import Final

import structlog

from memorystack_operator.api.spec import MemoryStack
from memorystack_operator.core import Decision, Event, Status, decide
from memorystack_operator.shell.cluster import Cluster, Conflict

__all__ = ["Reconciler", "run"]

GONE: Final = timedelta(seconds=5)
FIRST_BACKOFF: Final = 0.5
LONGEST_BACKOFF: Final = 30.0
_log = structlog.get_logger(__name__)


class Reconciler:
    """One stack. Between records the newest status is held in memory, so that counts are not written each second."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._held: tuple[Status, str] | None = None
        self._untold: deque[tuple[Event, datetime]] = deque()
        self._unsure: tuple[Status, tuple[Event, ...]] | None = None
        """Of a write that failed without an answer: it may have taken effect, and then its events are due."""
        self._history = False
        self.quiet = False
        """Whether the last decision left nothing under way."""
        self._rings_read: datetime | None = None

    async def step(self) -> timedelta:
        """One round; how long the next may wait. Raises what the cluster raises, Conflict included."""
        found = await self._cluster.stack()
        if found is None:
            return GONE
        stack, recorded, version = found
        self._was_it_written(recorded)
        status = self._held[0] if self._held and self._held[1] == version else recorded
        history = self._history or self._rings_due(status)
        seen = await self._cluster.observe(stack, history=history)
        decision = decide(stack, status, seen, self._cluster.now())
        if history:
            self._rings_read = self._cluster.now()
        if decision.persist:
            version = await self._write(stack, decision, version)
        self._held, self._history = (decision.status, version), decision.history
        self.quiet = decision.quiet
        self._due(decision.events)
        await self._cluster.apply(stack, decision.children)
        await self._cluster.lend(stack, decision.pod_flags)
        # Told last: an event says what has been done, and is not lost when doing it had to be tried twice.
        while self._untold:
            await self._cluster.tell(stack, *self._untold[0])
            self._untold.popleft()
        # A decision that lacks the rings has them a moment later, and not only after its usual pause (2 s, measured).
        return timedelta() if decision.history and not history else decision.requeue_after

    async def _write(self, stack: MemoryStack, decision: Decision, version: str) -> str:
        try:
            written = await self._cluster.write_status(stack, decision.status, version)
        except Conflict:
            raise
        except Exception:
            self._unsure = self._unsure or (decision.status, decision.events)
            raise
        self._unsure = None
        return written

    def _was_it_written(self, recorded: Status) -> None:
        """Told by the moment of the record: fractions are rounded on their way."""
        if self._unsure and self._unsure[0].persisted_at == recorded.persisted_at:
            self._due(self._unsure[1])
            self._unsure = None

    def _due(self, events: tuple[Event, ...]) -> None:
        """With the moment, by which a second telling is known for what it is."""
        self._untold.extend((event, self._cluster.now()) for event in events)

    def _rings_due(self, status: Status) -> bool:
        """The rings are much larger than the current counters, so they are read only as often as they are needed."""
        every = status.rings_every(self._cluster.now())
        if every is None:
            return False
        # A look that comes a little early must not wait for the next one.
        return self._rings_read is None or self._cluster.now() - self._rings_read >= every * 0.9

    @property
    def status(self) -> Status | None:
        """The newest status, on record or not."""
        return self._held[0] if self._held else None


async def run(
    reconciler: Reconciler,
    wake: asyncio.Event,
    after: Callable[[Status], Awaitable[None]] | None = None,
    *,
    longest: float = inf,
) -> None:
    """Rounds for ever: after `requeue_after`, or `longest` seconds, or as soon as `wake` is set.

    A failing round is tried again, ever later.
    """
    backoff = FIRST_BACKOFF
    while True:
        wake.clear()
        try:
            pause = min(longest, (await reconciler.step()).total_seconds())
            backoff = FIRST_BACKOFF
            if after and reconciler.status:
                await after(reconciler.status)
        except Conflict:
            pause = 0.0
        except Exception as error:
            # The loop must outlive whatever one round meets: a full disk, an API server that is away.
            _log.exception("reconcile_failed", error=str(error), again_in_seconds=backoff)
            pause, backoff = backoff, min(LONGEST_BACKOFF, 2 * backoff)
        try:
            async with asyncio.timeout(pause):
                await wake.wait()
        except TimeoutError:
            continue
