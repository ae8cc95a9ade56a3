"""What people read in a stack's status: phases, conditions, what was rejected, how stages ended.

Knows: shapes and closed lists. Must not know: the engine's own state, which `core.state` adds to these.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from memorystack_runtime.contract import Features

__all__ = [
    "Condition",
    "EventReason",
    "Phase",
    "Rejection",
    "RolloutRecord",
    "Stable",
    "SwitchbackResult",
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
    SWITCHBACK = "Switchback"
    SETTLING = "Settling"
    REJECTED = "Rejected"
    HELD = "Held"
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
    SWITCHBACK_STARTED = "SwitchbackStarted"
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
    template: str
    """Revision of the pod template."""
    render_version: str = "r1"
    since: datetime


class Rejection(Model):
    """Quarantine: this value of this stage is not tried again on this template until it leaves the spec, or `retry`."""

    stage: str
    value: str
    """Canonical JSON of the flag."""
    template: str
    reason: str
    message: str
    at: datetime


class ArmCounts(Model):
    """What one operation's arms served while the stage was judged, and how much evidence that gave."""

    canary_requests: int = 0
    canary_bad: int = 0
    stable_requests: int = 0
    stable_bad: int = 0
    log_e: dict[str, float] = {}
    """Question (over, worse, within, better) -> natural logarithm of its evidence at the end."""
    needed: dict[str, float] = {}
    """Question -> natural logarithm of the evidence that decides it."""
    phi_rel: float = 1.0
    phi_abs: float = 1.0
    over_budget_before: bool = False
    share_before: float = 0.0


class SwitchbackResult(Model):
    """What the pairs of on and off windows showed."""

    number: int
    operation: str
    worse: int
    """Pairs in which the window with the flags was the worse one."""
    better: int
    tied: int
    discarded: int
    log_e: float
    needed: float
    """Natural logarithms, as in ArmCounts."""


class RolloutRecord(Model):
    """One line of the history: how a stage ended, and when what happened."""

    id: str
    stage: str
    outcome: Literal["Promoted", "RolledBack", "Aborted", "Superseded", "Inconclusive"]
    reason: str
    message: str
    value: str
    """Canonical JSON of the flag that was tried."""
    changed_at: datetime
    """When the operator first saw the change."""
    started_at: datetime
    flipped_at: datetime | None = None
    first_canary_request_at: datetime | None = None
    ended_at: datetime
    everywhere_at: datetime | None = None
    """When every pod reported the stable flags (after a promotion: the new ones)."""
    judged: dict[str, ArmCounts] = {}
    withdrawals: int = 0
    switchback: SwitchbackResult | None = None
    """The last one, where there was any."""
    worse_than_stable: bool = False
