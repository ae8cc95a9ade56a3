"""What people read in a stack's status: phases, conditions, what was rejected, how stages ended.

Knows: shapes and closed lists. Must not know: the engine's own state, which `core.status` adds to these.
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
    "Progress",
    "ProofResult",
    "ProvingResult",
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
    PROVING = "Proving"
    REVERSE_CANARY = "ReverseCanary"
    OVER_BUDGET = "OverBudget"
    SETTLING = "Settling"
    REJECTED = "Rejected"
    HELD = "Held"
    INCONCLUSIVE = "Inconclusive"


class EventReason(StrEnum):
    """Everything that may be told."""

    ROLLOUT_STARTED = "RolloutStarted"
    STAGE_STARTED = "StageStarted"
    STEP_STARTED = "StepStarted"
    STAGE_PROMOTED = "StagePromoted"
    ROLLOUT_COMPLETED = "RolloutCompleted"
    ROLLED_BACK = "RolledBack"
    WITHDRAWN = "FlagsWithdrawn"
    SWITCHBACK_STARTED = "SwitchbackStarted"
    PROVING_STARTED = "ProvingStarted"
    RESUMED = "Resumed"
    PAUSED = "Paused"
    ABORTED = "Aborted"
    PROMOTED_BY_HAND = "PromotedByHand"
    RETRIED = "Retried"
    SUPERSEDED = "Superseded"
    INCONCLUSIVE = "Inconclusive"
    ACTION_REFUSED = "ActionRefused"
    NOT_JUDGED = "NotJudged"
    STACK_OVER_BUDGET = "StackOverBudget"
    STACK_RECOVERED = "StackRecovered"
    REVERSE_CANARY_STARTED = "ReverseCanaryStarted"
    LATE_REGRESSION = "LateRegression"
    FLAG_KEPT = "FlagKept"
    SURGE_POD_STARTED = "SurgePodStarted"
    SURGE_POD_REMOVED = "SurgePodRemoved"
    SURGE_POD_NOT_READY = "SurgePodNotReady"


class Condition(Model):
    """One answer about the stack, as kstatus and kubectl wait read it."""

    type: Literal["Ready", "Reconciling", "Stalled", "RolloutHealthy", "MetricsAvailable"]
    """Which question it answers."""
    status: Literal["True", "False", "Unknown"]
    """True, False or Unknown."""
    reason: str
    """One word of a closed list."""
    message: str
    """A sentence for people."""
    last_transition_time: datetime
    """When the status changed last."""
    observed_generation: int
    """Generation of the spec that it speaks of."""


class Progress(Model):
    """The printer columns: nothing in it moves while the stack is idle."""

    step: str = ""
    """Flag and step under way, as httpPool 1/2; empty: none."""
    weight: str = ""
    """Percentage of the pods that the step gives to the canary."""
    p95: str = ""
    """The canary's p95 of each budgeted operation when it was last judged, by the ladder of edges."""


class Stable(Model):
    """What serves every pod outside the canary."""

    revision: str
    """Revision of the flags."""
    features: Features
    """The flags, times in milliseconds."""
    template: str
    """Revision of the pod template."""
    image: str = ""
    """The runtime's image where the spec names none: that of the operator that began it, until the template changes."""
    render_version: str = "r1"
    """Rules by which the children are rendered."""
    since: datetime
    """Since when."""


class Rejection(Model):
    """Quarantine: this value of this stage is not tried again on this template until it leaves the spec, or `retry`."""

    stage: str
    """The flag."""
    value: str
    """Canonical JSON of the flag."""
    template: str
    """Revision of the pod template on which it was tried."""
    reason: str
    """Why, as one word of a closed list."""
    message: str
    """Why, with the evidence."""
    at: datetime
    """When."""


class ArmCounts(Model):
    """What one operation's arms served while the stage was judged, and how much evidence that gave."""

    canary_requests: int = 0
    """Requests that the canary pods served."""
    canary_bad: int = 0
    """Of these, over budget or failed."""
    stable_requests: int = 0
    """Requests that the other pods served meanwhile."""
    stable_bad: int = 0
    """Of these, over budget or failed."""
    log_e: dict[str, float] = {}
    """Question (over, worse, within, better; same: no difference that matters) -> natural logarithm of its evidence at the end."""
    needed: dict[str, float] = {}
    """Question -> natural logarithm of the evidence that decides it."""
    phi_rel: float = 1.0
    """Design effect of the comparison of the arms: how much less a request tells than an independent one."""
    phi_abs: float = 1.0
    """Design effect of the canary alone."""
    over_budget_before: bool = False
    """More than 5 % of the requests were bad before the flip."""
    canary_p95_ms: float | None = None
    """Its 95th percentile in milliseconds since the flag is on, by the ladder of edges; left out: none was read."""
    share_before: float = 0.0
    """Share of bad requests before the flip."""


class SwitchbackResult(Model):
    """What the pairs of on and off windows showed."""

    number: int
    """Which one of the stage, from 1."""
    operation: str
    """The operation that was compared."""
    worse: int
    """Pairs in which the window with the flags was the worse one."""
    better: int
    """Pairs in which it was the better one."""
    tied: int
    """Pairs without a difference."""
    discarded: int
    """Pairs that did not count, as a reading came late."""
    log_e: float
    """Evidence that the flag harms."""
    needed: float
    """Natural logarithms, as in ArmCounts."""


class ProofResult(Model):
    """What pairs of on and off windows showed of one operation (`promotion: Paired`)."""

    limit: float
    """U: upper 95 % limit of the stack's long-run share of bad requests, without the flag."""
    hours: float
    """Of history that it comes from."""
    room: float
    """g: what the odds of a bad request may be multiplied by before the budget is broken."""
    own_log_e: float
    """Evidence that the canary's own harm is smaller than that."""
    shared_log_e: float
    """Evidence that the harm to both arms is."""
    log_e: float
    """Both keys together with Plain's evidence."""
    needed: float
    """Natural logarithms, as in ArmCounts."""


class ProvingResult(Model):
    """How far a step was proved in pairs."""

    decided: bool
    """The promotion rests on it: some operation was not proved within its budget by its own counts."""
    step: int
    """Which one, from 1."""
    pairs: int
    """Whole ones."""
    discarded: int
    """Pairs that did not count, as a reading came late or the operator restarted."""
    operations: dict[str, ProofResult] = {}
    """Operation -> its keys."""


class RolloutRecord(Model):
    """One line of the history: how a stage ended, and when what happened."""

    id: str
    """Id of the stage."""
    stage: str
    """The flag."""
    outcome: Literal["Promoted", "RolledBack", "Aborted", "Superseded", "Inconclusive", "Kept"]
    """How it ended."""
    reason: str
    """Why, as one word of a closed list."""
    message: str
    """Why, with the evidence."""
    value: str
    """Canonical JSON of the flag that was tried."""
    changed_at: datetime
    """When the operator first saw the change."""
    started_at: datetime
    """When the stage began."""
    flipped_at: datetime | None = None
    """When the flag was put on the canary pods."""
    first_canary_request_at: datetime | None = None
    """When a canary pod served its first request under the flag."""
    ended_at: datetime
    """When the verdict fell."""
    everywhere_at: datetime | None = None
    """When every pod reported the stable flags (after a promotion: the new ones)."""
    judged: dict[str, ArmCounts] = {}
    """Operation -> what its arms served."""
    withdrawals: int = 0
    """How often the flag was taken back without a verdict."""
    switchback: SwitchbackResult | None = None
    """The last one, where there was any."""
    proving: ProvingResult | None = None
    """The last step's, where there was any."""
    reverse: bool = False
    """The canary pods had the older value back: a promoted flag was asked about."""
    worse_than_stable: bool = False
    """It was promoted within its budget, and is proved worse than what it replaced."""
