"""The status of a stack as the engine writes it: the write-ahead log of its rollout. A restart loses nothing that is here.

Knows: shapes. Must not know: how they change; `rollout.py` and `accounting.py` do.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from memorystack_operator.api.status import (
    Condition,
    Model,
    Phase,
    Rejection,
    RolloutRecord,
    Stable,
)
from memorystack_operator.core.arms import Baseline
from memorystack_operator.core.calibration import Calibration
from memorystack_operator.core.evidence import Evidence
from memorystack_operator.core.switchback import Switchback
from memorystack_runtime.contract import Features, Operation

__all__ = ["PlannedStep", "Recovery", "RolloutState", "RolloutStatus", "Settling", "Status"]


class RolloutState(StrEnum):
    """Where a rollout stands."""

    CALIBRATING = "Calibrating"
    """Pods are chosen, flags are not flipped yet."""
    PROGRESSING = "Progressing"
    """The canary pods hold the flags."""
    WITHDRAWN = "Withdrawn"
    """The flags were taken back without a verdict: a slow environment, or nothing could be read."""
    SWITCHBACK = "Switchback"
    """The flags go on and off in windows, to find out whether they or the environment made everybody slow."""
    HELD = "Held"
    """Inconclusive, and `onInconclusive: Hold`: a person decides; the flags are off."""


class PlannedStep(Model):
    """One step as it was in the spec when the stage began; weight 0 is `pause: {}`."""

    weight: int
    min_seconds: float = 0.0

    @property
    def pause(self) -> bool:
        """It waits for a person."""
        return self.weight == 0


class Recovery(Model):
    """Requests of the withdrawn operation in one slice of a few seconds: has the environment recovered?"""

    at: datetime
    requests: int
    bad: int


class RolloutStatus(Model):
    """The stage under way."""

    id: str
    stage: str
    value: str
    target: Features
    revision: str
    """Flags revision of `target`."""
    budgets: str
    """Budgets revision that the evidence counts by."""
    state: RolloutState = RolloutState.CALIBRATING
    plan: tuple[PlannedStep, ...] = ()
    step: int = 0
    stages: tuple[str, ...] = ()
    """Names of this and the following stages."""
    pods: tuple[str, ...] = ()
    """Names of the canary pods."""
    restarts: dict[str, int] = {}
    """Restarts of each pod at the flip."""
    changed_at: datetime
    started_at: datetime
    state_since: datetime
    flipped_at: datetime | None = None
    applied_at: datetime | None = None
    """Since when every canary pod has confirmed the flags; None: not now."""
    first_canary_request_at: datetime | None = None
    last_traffic_at: datetime | None = None
    last_tick: datetime | None = None
    step_seconds: float = 0.0
    stage_seconds: float = 0.0
    blind_since: datetime | None = None
    withdrawals: int = 0
    withdrawn_reason: str = ""
    withdrawn_operation: str = ""
    recovery: tuple[Recovery, ...] = ()
    switchback: Switchback | None = None
    """The one under way, or the last."""
    calibration: Calibration | None = None
    evidence: dict[Operation, Evidence] = {}
    failures: Evidence | None = None
    over_since: dict[Operation, datetime] = {}
    baselines: tuple[Baseline, ...] = ()
    reason: str = ""
    message: str = ""
    note: str = ""
    """What was decided about the plan, as steps that were merged."""

    @property
    def flags_on(self) -> bool:
        """The canary pods are to hold the flags."""
        if self.state is RolloutState.SWITCHBACK and self.switchback:
            return self.switchback.on
        return self.state is RolloutState.PROGRESSING


class Settling(Model):
    """A stage ended; no other begins until every pod reports the stable flags."""

    record: str
    """Id of its line in the history."""
    since: datetime


class Status(Model):
    """All that is on record of one stack."""

    observed_generation: int = -1
    phase: Phase = Phase.PENDING
    message: str = ""
    conditions: tuple[Condition, ...] = ()
    stable: Stable | None = None
    rollout: RolloutStatus | None = None
    settling: Settling | None = None
    rejected: tuple[Rejection, ...] = ()
    history: tuple[RolloutRecord, ...] = ()
    calibration: Calibration | None = None
    """The last one that was frozen: its design effects serve a while after a promotion."""
    paused: bool = False
    """By the action `pause`."""
    last_action: str = ""
    last_action_result: str = ""
    wanted: str = ""
    """Revision of the flags in the spec."""
    changed_at: datetime | None = None
    """When they were first seen."""
    not_judged: str = ""
    """Why the last change was not judged."""
    persisted_at: datetime | None = None
    replicas: int = 0
    selector: str = ""
