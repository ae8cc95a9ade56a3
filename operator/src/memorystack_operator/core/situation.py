"""All that a guard may look at, in one frozen value with the questions that several guards ask.

Knows: the resource, its status, what was seen, and the time. Must not know: what follows from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property

from memorystack_operator.api.spec import MemoryStack, Spec
from memorystack_operator.api.status import Stable
from memorystack_operator.core.calibration import Calibration, calibrate
from memorystack_operator.core.canary import compared_pods, pods_for, weight_at
from memorystack_operator.core.observe import Observations, PodSeen
from memorystack_operator.core.stabilization import Promotion
from memorystack_operator.core.stages import Stage, in_spec, pending
from memorystack_operator.core.state import PlannedStep, RolloutStatus
from memorystack_operator.core.status import Status
from memorystack_runtime.contract import EvidenceReport, Operation

__all__ = ["Move", "Outcome", "Situation"]


class Move(StrEnum):
    """What can happen to a stack; `rollout.py` has one function for each."""

    HOLD = "Hold"
    ADOPT = "Adopt"
    ACKNOWLEDGE = "Acknowledge"
    RETEMPLATE = "Retemplate"
    SETTLED = "Settled"
    BEGIN = "Begin"
    FLIP = "Flip"
    ADVANCE = "Advance"
    PROMOTE = "Promote"
    PROMOTE_ALL = "PromoteAll"
    WITHDRAW = "Withdraw"
    SWITCH = "Switch"
    PROVE = "Prove"
    SUSPECT = "Suspect"
    CLEAR = "Clear"
    RESUME = "Resume"
    REVERT = "Revert"
    ALARM = "Alarm"
    CALM = "Calm"
    REVERSE = "Reverse"
    SWITCH_ALL = "SwitchAll"
    TAKE_BACK = "TakeBack"
    KEEP = "Keep"
    SURGE = "Surge"
    RELEASE = "Release"
    GIVE_UP = "GiveUp"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A guard's answer: a value, never an effect."""

    move: Move
    reason: str
    message: str
    operation: str = ""
    stage: str = ""
    """The flag, where the move chooses one."""
    worse_than_stable: bool = False
    paired: bool = False
    """A promotion that rests on pairs of windows."""
    acknowledge: str = ""
    """The action `verb@id` that this answers."""


@dataclass(frozen=True)
class Situation:
    """One moment of one stack."""

    stack: MemoryStack
    status: Status
    seen: Observations
    now: datetime
    template: str
    """Revision of the pod template that the spec asks for."""

    @property
    def spec(self) -> Spec:
        """What people want."""
        return self.stack.spec

    @property
    def image(self) -> str:
        """The runtime's image where the spec names none: kept until the template changes, so a newer operator moves no pod."""
        stable = self.status.stable
        kept = stable.image if stable and stable.template == self.template else ""
        return kept or self.seen.image

    @property
    def mains(self) -> int:
        """Pods that the main Deployment should have now: as the spec says, or else as the autoscaler does."""
        if self.spec.replicas is not None:
            return self.spec.replicas
        return self.seen.replicas or max(self.spec.least_replicas, len(self.candidates))

    @property
    def replicas(self) -> int:
        """Pods that should be there now; the surge pod makes two of one."""
        surge = self.status.surge
        return compared_pods(self.mains) if surge and surge.runs else self.mains

    @cached_property
    def candidates(self) -> tuple[PodSeen, ...]:
        """Pods that a flag may be lent to: a surge pod is there to be compared with."""
        return tuple(p for p in self.seen.pods if not p.surge)

    @property
    def rollout(self) -> RolloutStatus:
        """The stage under way; only asked where there is one."""
        if self.status.rollout is None:
            msg = "no rollout is under way"
            raise LookupError(msg)
        return self.status.rollout

    @property
    def stable(self) -> Stable:
        """What serves now; only asked once something was adopted."""
        if self.status.stable is None:
            msg = "nothing was adopted yet"
            raise LookupError(msg)
        return self.status.stable

    @cached_property
    def canary(self) -> tuple[PodSeen, ...]:
        """The pods that carry, or will carry, the flags."""
        return tuple(p for p in self.seen.pods if p.name in self._names)

    @cached_property
    def others(self) -> tuple[PodSeen, ...]:
        """The ready pods that serve the stable flags."""
        return tuple(p for p in self.seen.pods if p.name not in self._names and p.ready)

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(self.status.rollout.pods if self.status.rollout else ())

    @cached_property
    def reports(self) -> tuple[EvidenceReport, ...]:
        """What the ready pods told, as far as it could be read."""
        return tuple(p.evidence for p in self.seen.pods if p.evidence and p.ready)

    @cached_property
    def calibration(self) -> Calibration:
        """From the rings that were just read: the priors of the stage under way."""
        return calibrate(
            self.reports,
            self.spec.rollout.wire_budgets().p95_ms,
            flags=self.stable.revision,
            chosen={p.uid for p in self.canary},
            now=self.now.timestamp(),
            waited=self.since(self.rollout.started_at),
            previous=self.status.calibration,
            since=self.status.promoted_at,
        )

    @property
    def history_told(self) -> bool:
        """Some pod's rings came with this reading."""
        return any(r.ring or r.long_ring for r in self.reports)

    @property
    def planned(self) -> PlannedStep:
        """The step under way."""
        return self.rollout.plan[self.rollout.step]

    @property
    def wanted_canaries(self) -> int:
        """k, for the replicas that should be there now; a reverse canary's switchback takes every pod that is ready."""
        if self.rollout.everywhere:
            return sum(p.ready for p in self.seen.pods)
        return pods_for(weight_at(self.rollout.plan, self.rollout.step), self.replicas)

    @property
    def wanted_share(self) -> float:
        """Of the pods, and so of the requests, that the step gives to the canary."""
        return self.wanted_canaries / self.replicas

    @cached_property
    def pending(self) -> Sequence[Stage]:
        """Stages that may be tried, first one next."""
        rejected = in_spec(self.spec, self.status.rejected)
        return pending(self.spec, self.stable.features, rejected, self.stable.template)

    @cached_property
    def watched(self) -> tuple[Promotion, ...]:
        """Promotions whose stabilization is not over."""
        return self.status.watch.watched(self.spec, self.stable.features, self.now)

    def open_to_question(self, operation: Operation) -> tuple[Promotion, ...]:
        """Of these, the flags that a reverse canary may be about, newest first."""
        return self.status.watch.open_to_question(self.watched, operation)

    @property
    def paused(self) -> bool:
        """A person said so, in the spec or by an action."""
        return self.spec.rollout.paused or self.status.paused

    @property
    def action(self) -> tuple[str, str] | None:
        """The verb and the whole text of an action that was not acknowledged yet."""
        text = self.stack.metadata.annotations.get("memorystack.dev/action", "")
        if not text or text == self.status.last_action:
            return None
        return text.partition("@")[0], text

    def since(self, moment: datetime | None) -> timedelta:
        """How long ago; never negative, since clocks jump."""
        return timedelta() if moment is None else max(timedelta(), self.now - moment)
