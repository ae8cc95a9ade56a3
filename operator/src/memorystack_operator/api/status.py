"""The status of a stack: the write-ahead log of its rollout, and what people read. Seam draft; core refines it.

Knows: shapes and closed lists. Must not know: how a decision is made.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from memorystack_runtime.contract import Features

__all__ = [
    "Condition",
    "EventReason",
    "Phase",
    "Rejection",
    "RolloutRecord",
    "RolloutStatus",
    "Stable",
    "Status",
]


class Model(BaseModel):
    """Frozen, camelCase; read leniently, since an older operator may meet a newer record."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


class Phase(StrEnum):
    """The printer column."""

    PENDING = "Pending"
    IDLE = "Idle"
    CALIBRATING = "Calibrating"
    PROGRESSING = "Progressing"
    PAUSED = "Paused"
    WAITING = "Waiting"
    WITHDRAWN = "Withdrawn"
    REVERTING = "Reverting"
    REJECTED = "Rejected"
    INCONCLUSIVE = "Inconclusive"


class EventReason(StrEnum):
    """Everything that may be told."""

    ROLLOUT_STARTED = "RolloutStarted"
    CALIBRATED = "Calibrated"
    STAGE_STARTED = "StageStarted"
    STEP_STARTED = "StepStarted"
    STAGE_PROMOTED = "StagePromoted"
    ROLLOUT_COMPLETED = "RolloutCompleted"
    ROLLED_BACK = "RolledBack"
    WITHDRAWN = "FlagsWithdrawn"
    RESUMED = "Resumed"
    PAUSED = "Paused"
    ABORTED = "Aborted"
    PROMOTED_BY_HAND = "PromotedByHand"
    RETRIED = "Retried"
    SUPERSEDED = "Superseded"
    INCONCLUSIVE = "Inconclusive"
    WAITING = "Waiting"
    ACTION_REFUSED = "ActionRefused"
    NOT_JUDGED = "NotJudged"


class Condition(Model):
    type: Literal["Ready", "Reconciling", "Stalled", "RolloutHealthy", "MetricsAvailable"]
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str
    last_transition_time: datetime
    observed_generation: int


class Stable(Model):
    """What serves every pod outside the canary."""

    revision: str
    features: Features
    since: datetime


class Rejection(Model):
    """Quarantine: this value of this stage is not tried again on this template until it leaves the spec, or `retry`."""

    stage: str
    value: str
    reason: str
    message: str
    at: datetime


class RolloutRecord(Model):
    """One line of the history: how a stage ended."""

    id: str
    stage: str
    outcome: str
    reason: str
    message: str
    started_at: datetime
    ended_at: datetime
    first_canary_request_at: datetime | None = None
    verdict_at: datetime | None = None
    evidence: dict[str, Any] = {}


class RolloutStatus(Model):
    """The rollout under way."""

    id: str
    target: Features
    stage: str
    step: int
    started_at: datetime
    message: str = ""


class Status(Model):
    observed_generation: int = -1
    phase: Phase = Phase.PENDING
    message: str = ""
    conditions: tuple[Condition, ...] = ()
    stable: Stable | None = None
    rollout: RolloutStatus | None = None
    rejected: tuple[Rejection, ...] = ()
    history: tuple[RolloutRecord, ...] = ()
    last_action: str = ""
    replicas: int = 0
    selector: str = ""
