"""What a move gives: the status after it, and what is told of it. Knows shapes only."""

from __future__ import annotations

from dataclasses import dataclass

from memorystack_operator.core.decision import Event
from memorystack_operator.core.state import RolloutStatus
from memorystack_operator.core.status import Status

__all__ = ["Change", "with_rollout"]


@dataclass(frozen=True, slots=True)
class Change:
    """The status after a move, and what is told of it."""

    status: Status
    events: tuple[Event, ...] = ()


def with_rollout(status: Status, rollout: RolloutStatus, **changes: object) -> Status:
    """The status with some fields of its rollout replaced."""
    return status.model_copy(update={"rollout": rollout.model_copy(update=changes)})
