"""Phase and conditions: what kubectl, GitOps tools and people read. Follows kstatus: abnormal ones exist only while true.

Knows: the status after a move and the guard's answer. Must not know: how either came about.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from memorystack_operator.api.status import Condition, Phase
from memorystack_operator.core.situation import Outcome, Situation
from memorystack_operator.core.stages import differing
from memorystack_operator.core.state import RolloutState, Status

__all__ = ["conditions_of", "phase_of"]

WAITING: Final = frozenset(
    {"NoControlArm", "PodsNotReady", "DeploymentNotSettled", "NoTraffic", "CanaryPodsMissing", "MetricsUnavailable"}
)
"""Reasons that are a wait for the world."""
BY_A_PERSON: Final = frozenset({"Paused", "WaitingForPerson", "NoControlArm", "NoTraffic"})
"""Reasons that the operator cannot end by itself: `Reconciling` would make GitOps tools time out."""


def phase_of(status: Status, outcome: Outcome, situation: Situation) -> Phase:
    """The printer column."""
    if status.stable is None or (status.rollout is None and not any(p.ready for p in situation.seen.pods)):
        return Phase.PENDING
    if outcome.reason in ("Paused", "WaitingForPerson") and not (
        status.rollout and status.rollout.state is RolloutState.HELD
    ):
        return Phase.PAUSED
    if status.rollout:
        return _of_rollout(status, outcome)
    if status.settling:
        return Phase.SETTLING
    if outcome.reason in WAITING:
        return Phase.WAITING
    if _rejected(status, situation):
        return Phase.INCONCLUSIVE if status.rejected[-1].reason == "Inconclusive" else Phase.REJECTED
    return Phase.IDLE


def _of_rollout(status: Status, outcome: Outcome) -> Phase:
    if status.rollout is None:
        return Phase.IDLE
    if status.rollout.state is RolloutState.PROGRESSING and outcome.reason in WAITING:
        return Phase.WAITING
    return {
        RolloutState.CALIBRATING: Phase.CALIBRATING,
        RolloutState.PROGRESSING: Phase.PROGRESSING,
        RolloutState.WITHDRAWN: Phase.WITHDRAWN,
        RolloutState.SWITCHBACK: Phase.SWITCHBACK,
        RolloutState.PROVING: Phase.PROVING,
        RolloutState.HELD: Phase.HELD,
    }[status.rollout.state]


def conditions_of(status: Status, outcome: Outcome, situation: Situation) -> tuple[Condition, ...]:
    """All conditions in force; a transition time moves only when its status does."""
    old = {c.type: c for c in situation.status.conditions}
    generation = situation.stack.metadata.generation
    made = []
    for kind, state, reason, message in _facts(status, outcome, situation):
        before = old.get(kind)
        moved = situation.now if before is None or before.status != state else before.last_transition_time
        made.append(
            Condition(
                type=kind,
                status=state,
                reason=reason,
                message=message,
                last_transition_time=moved,
                observed_generation=generation,
            )
        )
    return tuple(made)


Kind = Literal["Ready", "Reconciling", "Stalled", "RolloutHealthy", "MetricsAvailable"]
State = Literal["True", "False", "Unknown"]


def _facts(status: Status, outcome: Outcome, situation: Situation) -> Iterator[tuple[Kind, State, str, str]]:
    ready = sum(p.ready for p in situation.seen.pods)
    wanted = situation.spec.replicas
    serving = status.stable is not None and ready >= max(1, wanted - 1)
    counted = f"{ready} of {wanted} pods are ready"
    waits = f"Waiting{outcome.reason}" if outcome.reason in BY_A_PERSON else "Serving"
    yield ("Ready", "True", waits, counted) if serving else ("Ready", "False", "PodsNotReady", counted)
    busy = status.rollout is not None or status.settling is not None
    if not serving or (busy and outcome.reason not in BY_A_PERSON):
        yield "Reconciling", "True", outcome.reason, outcome.message
    if outcome.reason == "FlagsNotApplied":
        yield "Stalled", "True", outcome.reason, f"{outcome.message}: look at the pod's log"
    yield _health(status, situation)
    yield _metrics(situation)


def _health(status: Status, situation: Situation) -> tuple[Kind, State, str, str]:
    if _rejected(status, situation):
        last = status.rejected[-1]
        return "RolloutHealthy", "False", last.reason, f"{last.stage}: {last.message}"
    if status.rollout and status.rollout.state is RolloutState.HELD:
        return "RolloutHealthy", "False", "Inconclusive", status.rollout.message
    if status.not_judged:
        return "RolloutHealthy", "Unknown", "NotJudged", status.not_judged
    worse = next((r for r in reversed(status.history) if r.outcome == "Promoted"), None)
    if worse and worse.worse_than_stable:
        return "RolloutHealthy", "True", "WorseThanStable", worse.message
    return "RolloutHealthy", "True", "NothingRejected", "no flag of the spec was rejected"


def _metrics(situation: Situation) -> tuple[Kind, State, str, str]:
    ready = [p for p in situation.seen.pods if p.ready]
    unread = [p.name for p in ready if p.evidence is None]
    if not ready:
        return "MetricsAvailable", "Unknown", "NoPods", "no pod is ready"
    if unread:
        return "MetricsAvailable", "False", "MetricsUnavailable", f"evidence of {', '.join(unread)} cannot be read"
    return "MetricsAvailable", "True", "Read", "the evidence of every ready pod was read"


def _rejected(status: Status, situation: Situation) -> bool:
    if status.stable is None or not status.rejected:
        return False
    return bool(differing(situation.spec, status.stable.features))
