"""The status of a stack as the engine writes it: the write-ahead log of its rollout. A restart loses nothing that is here.

Knows: shapes. Must not know: how they change; `decide.py` and `rollout.py` do.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from math import inf
from typing import Annotated, Final

from pydantic import BaseModel, Field

from memorystack_operator.api.cel import listed
from memorystack_operator.api.status import Condition, Model, Phase, Progress, Rejection, RolloutRecord, Stable
from memorystack_operator.core.calibration import Calibration
from memorystack_operator.core.evidence import Evidence
from memorystack_operator.core.proving import Proof, Proving
from memorystack_operator.core.reverse import Reverse
from memorystack_operator.core.room import Room
from memorystack_operator.core.stabilization import Watch
from memorystack_operator.core.state import Recovery, RolloutStatus
from memorystack_operator.core.surge import Surge
from memorystack_operator.core.switchback import Switchback

__all__ = ["ENGINE_RECORDS", "Settling", "Status"]

CLOSE: Final = timedelta(hours=1)
"""After a promotion the watch looks often for so long."""


class Settling(Model):
    """A stage ended; no other begins until every pod reports the stable flags."""

    record: str
    """Id of its line in the history."""
    since: datetime
    """Since when."""


class Status(Model):
    """All that is on record of one stack."""

    observed_generation: int = -1
    """Generation of the spec that this status speaks of; -1: nobody has looked yet."""
    phase: Phase = Phase.PENDING
    """Where the stack stands, in one word."""
    message: str = ""
    """The same as a sentence."""
    progress: Progress = Progress()
    """The printer columns."""
    conditions: Annotated[tuple[Condition, ...], Field(json_schema_extra=listed("map", "type"))] = ()
    """Ready, RolloutHealthy and MetricsAvailable; Reconciling and Stalled only while they are true."""
    stable: Stable | None = None
    """What serves every pod outside the canary."""
    rollout: RolloutStatus | None = None
    """The stage under way."""
    surge: Surge | None = None
    """One replica: the pod that it is compared with while a flag is tried."""
    settling: Settling | None = None
    """A stage has ended, and its flags are on their way to every pod."""
    rejected: tuple[Rejection, ...] = ()
    """Flags that are not tried again until their value leaves the spec, or memorystack retry."""
    history: tuple[RolloutRecord, ...] = ()
    """The last ten stages, oldest first."""
    calibration: Calibration | None = None
    """The last one that was frozen: its design effects serve a while after a promotion."""
    watch: Watch = Watch()
    """What was promoted, and how the stack has stood since."""
    failing: bool = False
    """`watch.over` is about failed requests of all operations; its operation is where most of them failed."""
    paused: bool = False
    """By the action `pause`."""
    last_action: str = ""
    """The last action that was acknowledged, as verb@id."""
    last_action_result: str = ""
    """What came of it."""
    wanted: str = ""
    """Revision of the flags in the spec."""
    changed_at: datetime | None = None
    """When they were first seen."""
    not_judged: str = ""
    """Why the last change was not judged."""
    persisted_at: datetime | None = None
    """When this was written."""
    replicas: int = 0
    """Pods that were seen."""
    selector: str = ""
    """Label selector of the pods, for kubectl scale and autoscalers."""

    @property
    def promoted_at(self) -> float:
        """Unix seconds of the last promotion; -inf where nothing was tried yet, so that all history counts."""
        return self.stable.since.timestamp() if self.stable and self.calibration else -inf

    def rings_every(self, now: datetime) -> timedelta | None:
        """How often the watch after a promotion must read the pods' rings (`?history=1`); None: not at all.

        A late regression is reported within ten minutes of its evidence, in the first hour and while the stack is over
        within one.
        """
        if self.rollout is not None or not self.watch.promotions:
            return None
        close = self.watch.over is not None or now - self.watch.promotions[-1].at < CLOSE
        return timedelta(minutes=1 if close else 10)


ENGINE_RECORDS: Final = frozenset[type[BaseModel]](
    {Calibration, Evidence, Proof, Proving, Recovery, Reverse, Room, Switchback}
)
"""Parts of the status that are the engine's own: the resource's definition keeps them and tells none of their fields."""
