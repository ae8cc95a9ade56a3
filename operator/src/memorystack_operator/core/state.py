"""The stage under way as the engine writes it: a restart loses nothing that is here.

Knows: shapes. Must not know: how they change; `rollout.py` and `accounting.py` do.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from memorystack_operator.api.status import Model
from memorystack_operator.core.calibration import Calibration, Prior
from memorystack_operator.core.evidence import Evidence
from memorystack_operator.core.packing import Baselines
from memorystack_operator.core.proving import Proof, Proving
from memorystack_operator.core.reverse import Reverse
from memorystack_operator.core.room import Room
from memorystack_operator.core.switchback import Switchback
from memorystack_operator.core.trial import Trial
from memorystack_runtime.contract import Features, Operation

__all__ = ["RECOVERY", "ArmsP95", "PlannedStep", "Recovery", "RolloutState", "RolloutStatus"]

RECOVERY: Final = timedelta(seconds=60)
"""So long the withdrawn operation must be within its budget, all pods together, before its flag comes back."""


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
    PROVING = "Proving"
    """The flags go on and off in windows, to prove under bursts that the budget will be kept (`promotion: Paired`)."""
    HELD = "Held"
    """Inconclusive, and `onInconclusive: Hold`: a person decides; the flags are off."""


class PlannedStep(Model):
    """One step as it was in the spec when the stage began; weight 0 is `pause: {}`."""

    weight: int
    """Percentage of the pods."""
    min_seconds: float = 0.0
    """Least time of the step in seconds."""

    @property
    def pause(self) -> bool:
        """It waits for a person."""
        return self.weight == 0


class Recovery(Model):
    """Requests of the withdrawn operation in one slice of a few seconds: has the environment recovered?"""

    at: datetime
    requests: int
    bad: int


class ArmsP95(Model):
    """95th percentiles in milliseconds, for people: no verdict depends on them."""

    canary: float | None = None
    """Of the requests under the flag."""
    stable: float | None = None
    """Of the requests under the flags that serve, as far as the pods remember."""


class RolloutStatus(Model):
    """The stage under way."""

    id: str
    """Id of the stage."""
    stage: str
    """The flag that is tried."""
    value: str
    """Its value as canonical JSON."""
    target: Features
    """All flags as the canary pods get them."""
    revision: str
    """Flags revision of `target`."""
    budgets: str
    """Budgets revision that the evidence counts by."""
    state: RolloutState = RolloutState.CALIBRATING
    """Where it stands."""
    plan: tuple[PlannedStep, ...] = ()
    """The steps, as they will be walked."""
    step: int = 0
    """Which of them is under way, from 0."""
    stages: tuple[str, ...] = ()
    """Names of this and the following stages."""
    pods: tuple[str, ...] = ()
    """Names of the canary pods."""
    restarts: dict[str, int] = {}
    """Restarts of each canary pod at the flip; left out: none."""
    crashes: int = 0
    """Restarts under the flag of pods that are no canaries any more."""
    left: dict[str, int] = {}
    """Restarts of pods that left the canary arm because they were not ready; one more, and it was a crash."""
    changed_at: datetime
    """When the change was first seen in the spec."""
    started_at: datetime
    """When the stage began."""
    state_since: datetime
    """Since when it stands there."""
    flipped_at: datetime | None = None
    """When the flag was put on the canary pods."""
    applied_at: datetime | None = None
    """Since when every canary pod has confirmed the flags; None: not now."""
    first_canary_request_at: datetime | None = None
    """When a canary pod served its first request under the flag."""
    last_traffic_at: datetime | None = None
    """When both arms served requests last."""
    last_tick: datetime | None = None
    """When the clocks below were last read."""
    step_seconds: float = 0.0
    """Seconds of the step that count: with traffic, evidence and no pause."""
    stage_seconds: float = 0.0
    """Seconds of the stage that count."""
    blind_since: datetime | None = None
    """Since when the pods cannot be read; left out: they can."""
    withdrawals: int = 0
    """How often the flag was taken back without a verdict."""
    withdrawn_reason: str = ""
    """Why it was last taken back without a verdict."""
    withdrawn_operation: str = ""
    """Operation that showed it."""
    recovery: tuple[Recovery, ...] = ()
    """Whether the environment recovers, in slices of a few seconds."""
    proving: Proving | None = None
    """The proof by pairs under way, or the last one."""
    proofs: dict[Operation, Proof] = {}
    """Where pairs may follow, their first key so far; the proof by pairs takes it over."""
    rooms: dict[Operation, Room] = {}
    """How much worse the flag may make each operation, by the stack's past; looked at again while it is too little."""
    rooms_at: datetime | None = None
    """When it was looked at last."""
    noise_at: datetime | None = None
    """When the pods' histories were last asked how noisy a young stack is; left out: at the flip."""
    switchback: Switchback | None = None
    """The one under way, or the last."""
    reverse: Reverse | None = None
    """The canary pods hold the flag's value from before its promotion, which `value` is; `target` has that older value."""
    failing: bool = False
    """The reverse canary is about failed requests of all operations; its own operation is where most of them failed."""
    calibration: Calibration | None = None
    """What was known of each operation before the flip."""
    evidence: dict[Operation, Evidence] = {}
    """Operation -> its sequential test."""
    failures: Evidence | None = None
    """The test of failed requests."""
    p95_ms: dict[Operation, ArmsP95] = {}
    """Operation -> what its arms take, when this was written."""
    over_since: dict[Operation, datetime] = {}
    """Operation -> since when its canary looks over budget."""
    baselines: Baselines = ()
    """Each pod's counters as they were last read, packed into one text."""
    reason: str = ""
    """What it waits for or does, as one word of a closed list."""
    message: str = ""
    """The same as a sentence."""
    note: str = ""
    """What was decided about the plan, as steps that were merged."""

    @property
    def flags_on(self) -> bool:
        """The canary pods are to hold the flags."""
        test = self.switchback
        if self.state is RolloutState.SWITCHBACK and test:
            # In a reverse canary it is the older value that is lent, and "on" means the promoted one.
            return not test.on and not test.waiting if self.reverse else test.on
        if self.state is RolloutState.PROVING and self.proving:
            return self.proving.on
        return self.state is RolloutState.PROGRESSING

    @property
    def priors(self) -> dict[Operation, Prior]:
        """What was known of each operation before the flip; none before that."""
        return self.calibration.operations if self.calibration else {}

    @property
    def asked(self) -> Evidence | None:
        """The test that a reverse canary is decided by; None before the flip."""
        if self.reverse is None or self.failing:
            return self.failures if self.reverse else None
        return self.evidence.get(self.reverse.operation)

    @property
    def last_trial(self) -> tuple[Trial, int] | None:
        """The last time that the flag was suspected of harming everybody, and how many pairs of it did not count."""
        test, proving = self.switchback, self.proving
        found: list[tuple[Trial, int]] = [(test, test.discarded)] if test else []
        if proving and proving.trial:
            found.append((proving.trial, proving.discarded))
        return max(found, key=lambda item: item[0].number, default=None)

    @property
    def everywhere(self) -> bool:
        """All pods switch together: after a promotion there is no arm that never had the flag."""
        return self.reverse is not None and self.state is RolloutState.SWITCHBACK
