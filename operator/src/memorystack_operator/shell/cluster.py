"""The port between the reconciler and the world: Kubernetes is one side of it, this machine the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from memorystack_operator.api.spec import MemoryStack
from memorystack_operator.core.decision import Child, Event
from memorystack_operator.core.observe import Observations
from memorystack_operator.core.status import Status
from memorystack_runtime.contract import FlagLease

__all__ = ["Cluster", "Conflict"]


class Conflict(Exception):  # noqa: N818 -- Kubernetes' own word for a lost race
    """The status on record is newer than the one the decision was made from: decide again, never merge."""


class Cluster(Protocol):
    """What the reconciler needs of the world, and nothing more."""

    def now(self) -> datetime:
        """The aware wall clock that decisions are made by."""
        ...

    async def stack(self) -> tuple[MemoryStack, Status, str] | None:
        """The resource, its status on record and the version of that record; None when it was deleted."""
        ...

    async def observe(self, stack: MemoryStack, *, history: bool) -> Observations:
        """Pods with their leases and evidence, read concurrently, each read bounded to 2 s."""
        ...

    async def write_status(self, stack: MemoryStack, status: Status, version: str) -> str:
        """Write the status if the record still has `version`; the new version. Raises `Conflict`."""
        ...

    async def apply(self, stack: MemoryStack, children: Sequence[Child]) -> None:
        """Make the children so (server-side apply); equal ones are not written."""
        ...

    async def lend(self, stack: MemoryStack, flags: Mapping[str, FlagLease]) -> None:
        """Make each pod's flags annotation so: named pods hold that lease, all others none."""
        ...

    async def tell(self, stack: MemoryStack, event: Event, at: datetime) -> None:
        """Record an event of that moment; again, when nobody knows whether it arrived, it stays one."""
        ...
