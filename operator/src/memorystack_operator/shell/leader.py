"""One operator writes at a time: leader election by a Lease, as client-go does it (15/10/2 s).

Knows: whose turn it is, by the monotonic clock alone. Must not know: how the Lease is stored, or what the leader does.
The turn ends by itself when renewals fail, five seconds before anybody else may take it; so a process that was stopped
and goes on finds its turn over before its next write.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Protocol

import structlog

from memorystack_operator.shell.cluster import Conflict

__all__ = ["Leader", "LeaseRecord", "LeaseStore", "Times"]

_log = structlog.get_logger(__name__)
NOBODY: Final = ""
COUNTED_FROM: Final = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """The Lease object's fields that matter."""

    holder: str
    transitions: int
    renewed: datetime
    acquired: datetime
    seconds: int = 15
    version: str = ""


class LeaseStore(Protocol):
    """Where the Lease is kept."""

    async def read(self) -> LeaseRecord | None:
        """None: there is no Lease yet."""
        ...

    async def write(self, record: LeaseRecord) -> LeaseRecord:
        """Creates it (empty version) or replaces that version. Raises Conflict when somebody was faster."""
        ...


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds. `deadline` must leave time for a write that is under way before `duration` is over."""

    duration: float = 15.0
    deadline: float = 10.0
    retry: float = 2.0


class Leader:
    """One candidate. `identity` is new with each process, so that each new leader has a higher epoch."""

    def __init__(
        self,
        store: LeaseStore,
        identity: str,
        times: Times | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.identity = identity
        self._store = store
        self._times = times or Times()
        self._clock = clock
        self._now = now
        self._mine: LeaseRecord | None = None
        self._renewed_at = float("-inf")
        self._seen: LeaseRecord | None = None
        self._seen_at = 0.0

    @property
    def leads(self) -> bool:
        """Whether a write may begin now."""
        return self._mine is not None and self._clock() - self._renewed_at < self._times.deadline

    @property
    def epoch(self) -> int:
        """The Lease's transition count when it was taken: grows with each new leader."""
        return self._mine.transitions if self._mine else 0

    async def step(self) -> bool:
        """One try to take or to keep the Lease; whether this process leads. Raises what the store raises, but Conflict."""
        began = self._clock()
        try:
            if self._mine and self.leads:
                # The version on record makes this a compare-and-swap, so nothing has to be read first.
                await self._take(self._mine, began)
            else:
                await self._try(began)
        except Conflict:
            self._mine = None
        return self.leads

    async def run(self, changed: Callable[[bool], None]) -> None:
        """Steps for ever; `changed` is called with True when the turn begins and with False when it ends."""
        led = False
        while True:
            try:
                # No request may outlive the turn that it is to prolong.
                async with asyncio.timeout(max(self._times.retry, self._times.deadline / 2)):
                    await self.step()
            except Exception as error:
                # Elections go on through whatever the network does.
                _log.warning("lease_not_renewed", error=str(error) or repr(error), leads=self.leads)
            if self.leads != led:
                led = self.leads
                _log.info("leading" if led else "not_leading", identity=self.identity, epoch=self.epoch)
                changed(led)
            await asyncio.sleep(self._times.retry)

    async def release(self) -> None:
        """Gives the turn away at once, instead of letting others wait for it to run out."""
        if self._mine is None or not self.leads:
            return
        record, self._mine = self._mine, None
        try:
            await self._store.write(replace(record, holder=NOBODY, seconds=1, renewed=self._now()))
        except Exception as error:
            _log.info("lease_not_released", error=str(error) or repr(error))  # it runs out by itself

    async def _try(self, began: float) -> None:
        found = await self._store.read()
        now = self._now()
        if found is None:
            await self._take(LeaseRecord(self.identity, _first_epoch(now), now, now), began)
        elif found.holder == self.identity:
            await self._take(found, began)
        elif self._over(found):
            await self._take(
                replace(found, holder=self.identity, transitions=found.transitions + 1, acquired=now), began
            )
        else:
            self._mine = None

    def _over(self, found: LeaseRecord) -> bool:
        """Nobody holds it, or nobody has renewed it for its duration by *our* clock: clocks of others are not believed."""
        if found.holder == NOBODY:
            return True
        if self._seen is None or (found.holder, found.version) != (self._seen.holder, self._seen.version):
            self._seen, self._seen_at = found, self._clock()
        return self._clock() - self._seen_at > max(self._times.duration, found.seconds)

    async def _take(self, record: LeaseRecord, began: float) -> None:
        seconds = max(1, round(self._times.duration))
        self._mine = await self._store.write(replace(record, renewed=self._now(), seconds=seconds))
        self._renewed_at = began


def _first_epoch(now: datetime) -> int:
    """Seconds since 2026, of a new Lease. Pods ignore a lower epoch than one they have seen, and they outlive a Lease.

    An operator that is installed again in another namespace begins a Lease of its own: counted from 1, every flag that it
    lends would be taken for an old leader's. The API's field holds 68 years of seconds.
    """
    return 1 + max(0, int((now - COUNTED_FROM).total_seconds()))
