"""Phase and conditions: what kubectl, GitOps tools and people read. Follows kstatus: abnormal ones exist only while true.

Knows: the status after a move and the guard's answer. Must not know: how either came about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final, Literal

from pydantic import ValidationError

from memorystack_operator.api.status import Condition, Phase
from memorystack_operator.core.situation import Outcome, Situation
from memorystack_operator.core.stages import differing
from memorystack_operator.core.state import RolloutState
from memorystack_operator.core.status import Status

__all__ = ["conditions_of", "phase_of", "refused"]

WAITING: Final = frozenset(
    {
        "NoControlArm",
        "SurgePod",
        "PodsNotReady",
        "DeploymentNotSettled",
        "NoTraffic",
        "CanaryPodsMissing",
        "MetricsUnavailable",
    }
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
    if status.watch.over:
        return Phase.OVER_BUDGET
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
        RolloutState.PROGRESSING: Phase.REVERSE_CANARY if status.rollout.reverse else Phase.PROGRESSING,
        RolloutState.WITHDRAWN: Phase.WITHDRAWN,
        RolloutState.SWITCHBACK: Phase.SWITCHBACK,
        RolloutState.PROVING: Phase.PROVING,
        RolloutState.HELD: Phase.HELD,
    }[status.rollout.state]


def conditions_of(status: Status, outcome: Outcome, situation: Situation) -> tuple[Condition, ...]:
    """All conditions in force; a transition time moves only when its status does."""
    generation = situation.stack.metadata.generation
    facts = _facts(status, outcome, situation)
    return _made(facts, situation.status.conditions, generation, situation.now)


def refused(old: object, generation: int, message: str, now: datetime) -> tuple[Condition, ...]:
    """Of a resource that this operator cannot understand: a person must act, and all that is served stays as it is."""
    before = tuple(_lenient(old))
    facts: list[tuple[Kind, State, str, str]] = [
        (c.type, c.status, c.reason, c.message) for c in before if c.type not in ("Reconciling", "Stalled")
    ]
    if not any(kind == "Ready" for kind, *_ in facts):
        facts.insert(0, ("Ready", "False", "InvalidSpec", "nothing serves yet"))
    facts.insert(1, ("Stalled", "True", "InvalidSpec", message))
    return _made(facts, before, generation, now)


def _lenient(conditions: object) -> Iterator[Condition]:
    """Those that can be read, of a status that may be a newer operator's."""
    for item in conditions if isinstance(conditions, list) else ():
        try:
            yield Condition.model_validate(item)
        except ValidationError:
            continue


def _made(
    facts: Iterable[tuple[Kind, State, str, str]], before: Sequence[Condition], generation: int, now: datetime
) -> tuple[Condition, ...]:
    old = {c.type: c for c in before}
    made = []
    for kind, state, reason, message in facts:
        known = old.get(kind)
        moved = now if known is None or known.status != state else known.last_transition_time
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
    wanted = situation.replicas
    serving = status.stable is not None and ready >= max(1, wanted - 1)
    counted = f"{ready} of {wanted} pods are ready"
    waits = f"Waiting{outcome.reason.removeprefix('Waiting')}" if outcome.reason in BY_A_PERSON else "Serving"
    yield ("Ready", "True", waits, counted) if serving else ("Ready", "False", "PodsNotReady", counted)
    surging = status.surge is not None and status.surge.runs
    busy = surging or status.rollout is not None or status.settling is not None
    stalled = _stalled(outcome, situation)
    if stalled:
        yield stalled
    elif not serving or (busy and outcome.reason not in BY_A_PERSON):
        yield "Reconciling", "True", outcome.reason, outcome.message
    yield _health(status, situation)
    yield _metrics(situation)


def _stalled(outcome: Outcome, situation: Situation) -> tuple[Kind, State, str, str] | None:
    """Something that only a person can mend; it ends by itself once it is mended."""
    if outcome.reason == "FlagsNotApplied":
        return "Stalled", "True", outcome.reason, f"{outcome.message}: look at the pod's log"
    for trouble in (t for t in situation.seen.troubles if not t.surge):
        return "Stalled", "True", trouble.reason, trouble.message
    return None


def _health(status: Status, situation: Situation) -> tuple[Kind, State, str, str]:
    if _rejected(status, situation):
        last = status.rejected[-1]
        return "RolloutHealthy", "False", last.reason, f"{last.stage}: {last.message}"
    if status.rollout and status.rollout.state is RolloutState.HELD:
        return "RolloutHealthy", "False", "Inconclusive", status.rollout.message
    if status.not_judged:
        return "RolloutHealthy", "Unknown", "NotJudged", status.not_judged
    if status.watch.over:
        reason = "ErrorsOverBudget" if status.failing else "StackOverBudget"
        return "RolloutHealthy", "Unknown", reason, status.watch.over.message
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
