"""What was seen of the world before a decision: frozen records, gathered by the shell in one place.

Knows: shapes. Must not know: where they come from (an API server, a folder of processes).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Self

from memorystack_runtime.contract import EvidenceReport, FlagLease

__all__ = ["RELEASE_IMAGE", "Observations", "PodSeen", "Trouble", "Warming"]

RELEASE_IMAGE: Final = "memorystack-runtime:0.1.0"
"""The runtime that belongs to this release of the operator."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that only a person can mend: an image that cannot be pulled, a Secret that is missing."""

    reason: str
    """One word, as a condition's reason."""
    message: str
    """Names the object, what is wrong with it, and the remedy. Deterministic: nothing that changes by itself."""
    surge: bool = False
    """It keeps the surge pod only: the stack serves without it."""


@dataclass(frozen=True, slots=True)
class Warming:
    """When a surge pod may be compared with, and how long it is waited for."""

    serving: timedelta = timedelta(seconds=10)
    """So long it must have been ready, with that many requests,"""
    requests: int = 30
    """of all operations;"""
    longest: timedelta = timedelta(seconds=30)
    """or so long with fewer."""
    timeout: timedelta = timedelta(minutes=5)
    """Then it is given up."""
    rest: timedelta = timedelta(minutes=10)
    """Then another one is asked for."""

    @classmethod
    def of(cls, serving: float, timeout: float) -> Self:
        """With other times, in seconds, in the same proportions."""
        one, all_ = timedelta(seconds=serving), timedelta(seconds=timeout)
        return cls(serving=one, longest=3 * one, timeout=all_, rest=2 * all_)


@dataclass(frozen=True, slots=True)
class PodSeen:
    """One pod of the stack: of its main Deployment, or the surge pod."""

    name: str
    uid: str
    created_at: datetime
    ready: bool
    node: str = ""
    restarts: int = 0
    """Container restarts since the pod was made (on one machine: respawns of the process)."""
    lease: FlagLease | None = None
    """The value of its flags annotation now."""
    evidence: EvidenceReport | None = None
    """The last answer of `/internal/evidence`; None: never read, or the last read failed."""
    surge: bool = False
    """Of the second Deployment."""

    @property
    def served(self) -> int:
        """Requests of all operations since its process began; 0 where nothing was read."""
        books = self.evidence.counters if self.evidence else ()
        return sum(counters.requests for book in books for counters in book.operations.values())


@dataclass(frozen=True, slots=True)
class Observations:
    """Everything that `decide` may look at besides the resource, its status and the time."""

    pods: tuple[PodSeen, ...] = ()
    epoch: int = 1
    """The leader's epoch: grows with each new leader (on one machine: with each `up`)."""
    settled: bool = True
    """The main Deployment has rolled out: every wanted pod is of its newest template and available."""
    troubles: tuple[Trouble, ...] = ()
    """What keeps pods from starting or children from being made, worst first."""
    replicas: int | None = None
    """Pods that the main Deployment is told to run now; None: not read. Counts where an autoscaler decides."""
    image: str = RELEASE_IMAGE
    """The runtime's image for stacks that name none; a stack keeps the one that it began with."""
    warming: Warming = Warming()
    """The rule for surge pods."""
    leftover: tuple[str, ...] = ()
    """Uids of surge pods that nobody asks for any more: `core.surge` tells them apart."""
