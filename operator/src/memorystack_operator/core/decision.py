"""What a decision is: a value that the shell carries out, never an effect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from memorystack_operator.core.status import Status
from memorystack_runtime.contract import FlagLease

__all__ = ["Child", "Decision", "Event"]

Child = Mapping[str, Any]
"""A Kubernetes manifest (apiVersion, kind, metadata, ...) as plain data, ready for server-side apply."""


@dataclass(frozen=True, slots=True)
class Event:
    """One state change, told once; `reason` is from the closed list `api.status.EventReason`."""

    reason: str
    message: str
    kind: Literal["Normal", "Warning"] = "Normal"


@dataclass(frozen=True, slots=True)
class Decision:
    """The shell writes `status` first, then makes the world equal `children` and `pod_flags`, then tells `events`."""

    status: Status
    children: tuple[Child, ...]
    pod_flags: Mapping[str, FlagLease] = field(default_factory=dict)
    """Pod name -> the lease its annotation must hold; a pod that is not named must hold none."""
    events: tuple[Event, ...] = ()
    requeue_after: timedelta = timedelta(seconds=5)
    history: bool = False
    """The next reading of the pods must bring their rings (`?history=1`)."""
    persist: bool = True
    """False: the status changed only in running counts and may stay in memory until the next transition or 15 s."""
    quiet: bool = False
    """Nothing is under way: only a change of the resource or of its pods gives anything to decide, or the watch's slow look."""
