"""The whole operator in one pure function: what is known in, what is to be done out.

Knows: guards, moves, rendering. Must not know: the clock, the network, Kubernetes. Same input, same output.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from memorystack_operator.api.spec import MemoryStack
from memorystack_operator.api.status import Phase
from memorystack_operator.core.accounting import account
from memorystack_operator.core.conditions import conditions_of, phase_of
from memorystack_operator.core.decision import Decision
from memorystack_operator.core.guards import next_move
from memorystack_operator.core.latency import quantile_ms, served_under, sum_of
from memorystack_operator.core.lookback import lookback_due
from memorystack_operator.core.observe import Observations
from memorystack_operator.core.progress import progress_of
from memorystack_operator.core.render import render, template_revision
from memorystack_operator.core.render.names import pod_selector
from memorystack_operator.core.reversal import compared
from memorystack_operator.core.rollout import carry_out
from memorystack_operator.core.situation import Move, Outcome, Situation
from memorystack_operator.core.stages import in_spec
from memorystack_operator.core.state import ArmsP95, RolloutState, RolloutStatus
from memorystack_operator.core.status import Status
from memorystack_operator.core.surge import received
from memorystack_runtime.contract import RING_SECONDS, FlagLease, revision_of

__all__ = ["LEASE_SECONDS", "RENEWAL_SECONDS", "decide"]

LEASE_SECONDS: Final = 30
RENEWAL_SECONDS: Final = 10
PERSIST_EVERY: Final = timedelta(seconds=15)
EAGER_REQUESTS: Final = 500
"""Until the canary has served so many, pods are read every second (verdict.md 9)."""
SHORTLY: Final = timedelta(seconds=0.2)
IDLE: Final = timedelta(seconds=60)
CALIBRATING: Final = timedelta(seconds=2)
"""Between two looks at a stack that waits for its design effects."""
SLACK_SECONDS: Final = 4


def decide(stack: MemoryStack, status: Status, seen: Observations, now: datetime) -> Decision:
    """The next status, the children, the leases and the events. Pure, total and idempotent."""
    surge, seen = received(status.surge, seen, now)
    known = _noticed(stack, status, now)
    known = known if surge == known.surge else known.model_copy(update={"surge": surge})
    situation = Situation(stack, known, seen, now, _template(stack, status, seen))
    if situation.status.rollout is not None:
        counted = situation.status.model_copy(update={"rollout": compared(situation.rollout, account(situation))})
        situation = Situation(stack, counted, seen, now, situation.template)
    outcome = next_move(situation)
    change = carry_out(situation, outcome)
    described = _described(situation, change.status, outcome)
    quiet = outcome.move is Move.HOLD and _quiet(described, now)
    landed = bool(change.events) or _landmarks(described) != _landmarks(status)
    # At rest nobody looks again for a long time: the last word must be on record.
    persist = landed or _overdue(described, status, now) or (quiet and described != status)
    final = _recorded(situation, described) if persist else described
    return Decision(
        status=final,
        children=render(stack, final),
        pod_flags=_leases(final.rollout, seen.epoch, now),
        events=change.events,
        requeue_after=_requeue(stack, final, outcome, now),
        history=_history_wanted(stack, final.rollout, now),
        persist=persist,
        quiet=quiet,
    )


def _template(stack: MemoryStack, status: Status, seen: Observations) -> str:
    """With the image that the stack began with, where nothing else of the template has changed."""
    stable = status.stable
    kept = template_revision(stack, stable.image or seen.image) if stable else ""
    return kept if stable and kept == stable.template else template_revision(stack, seen.image)


def _noticed(stack: MemoryStack, status: Status, now: datetime) -> Status:
    """What the spec alone changes: when its flags were first seen, and which rejections still apply."""
    wanted = revision_of(stack.spec.features.flags())
    rejected = in_spec(stack.spec, status.rejected)
    if wanted == status.wanted and rejected == status.rejected:
        return status
    changed = status.changed_at if wanted == status.wanted else now
    return status.model_copy(update={"wanted": wanted, "changed_at": changed, "rejected": rejected})


def _described(situation: Situation, status: Status, outcome: Outcome) -> Status:
    # An autoscaler that follows the stack's own count must not see the surge pod among its pods.
    labels = pod_selector(situation.stack)
    return status.model_copy(
        update={
            "observed_generation": situation.stack.metadata.generation,
            "phase": phase_of(status, outcome, situation),
            "message": outcome.message,
            "progress": progress_of(status),
            "conditions": conditions_of(status, outcome, situation),
            "replicas": len(situation.candidates),
            "selector": ",".join(f"{key}={value}" for key, value in labels.items()),
        }
    )


def _recorded(situation: Situation, status: Status) -> Status:
    """With what only people read: it changes with each request, so it goes along when there is something to write."""
    rollout = status.rollout
    if rollout and status.stable:
        chosen = frozenset(rollout.pods)
        pods = situation.seen.pods
        canary = served_under((p.evidence for p in pods if p.name in chosen), rollout.revision)
        others = served_under((p.evidence for p in pods if p.name not in chosen), status.stable.revision)
        arms = {
            operation: ArmsP95(
                canary=quantile_ms(sum_of(canary, operation)), stable=quantile_ms(sum_of(others, operation))
            )
            for operation in rollout.evidence
        }
        rollout = rollout.model_copy(update={"p95_ms": arms})
    return status.model_copy(update={"persisted_at": situation.now, "rollout": rollout})


def _landmarks(status: Status) -> tuple[object, ...]:
    """What must be on record before anything is done; running counts and messages are not among it."""
    rollout = status.rollout
    test = rollout.switchback if rollout else None
    proof = rollout.proving if rollout else None
    window = (test and test.mark, proof and proof.mark)
    stage = (rollout.id, rollout.state, rollout.step, rollout.pods, rollout.applied_at is None) if rollout else ()
    return (
        status.observed_generation,
        status.phase,
        status.stable,
        status.settling,
        status.rejected,
        status.watch,
        status.history,
        status.last_action,
        status.paused,
        status.surge and (status.surge.since, status.surge.warm, status.surge.failed_at),
        status.replicas,
        tuple((c.type, c.status, c.reason) for c in status.conditions),
        stage,
        window,
    )


def _overdue(described: Status, before: Status, now: datetime) -> bool:
    last = before.persisted_at
    return described != before and (last is None or now - last >= PERSIST_EVERY or now < last)


def _leases(rollout: RolloutStatus | None, epoch: int, now: datetime) -> Mapping[str, FlagLease]:
    """A lease for each canary pod; its renewal number follows the clock, so renewing needs no record."""
    if rollout is None or not rollout.flags_on:
        return {}
    lease = FlagLease(
        epoch=epoch,
        revision=rollout.revision,
        features=rollout.target,
        ttl_seconds=LEASE_SECONDS,
        renewal=max(0, int(now.timestamp() // RENEWAL_SECONDS)),
    )
    return dict.fromkeys(rollout.pods, lease)


def _history_wanted(stack: MemoryStack, rollout: RolloutStatus | None, now: datetime) -> bool:
    """The rings are by far the largest answer of a pod, so they are read only where something follows from them."""
    if rollout is None:
        return False
    if rollout.state is not RolloutState.CALIBRATING:
        return lookback_due(rollout, stack.spec, now)
    # A ring grows each half minute only: it is read then, until clocks that differ a little have all passed that mark.
    mark = (now + CALIBRATING).timestamp() // RING_SECONDS * RING_SECONDS
    return rollout.rooms_at is None or rollout.rooms_at.timestamp() < mark + SLACK_SECONDS or rollout.rooms_at > now


def _idle(status: Status) -> timedelta:
    if status.settling:
        return SHORTLY
    if status.phase == "Pending" or (status.surge and status.surge.runs):
        return timedelta(seconds=1)
    return IDLE if status.phase in (Phase.IDLE, Phase.REJECTED, Phase.OVER_BUDGET) else timedelta(seconds=5)


def _quiet(status: Status, now: datetime) -> bool:
    watched = status.rings_every(now)
    busy = status.rollout or status.settling or status.surge or status.phase is Phase.PENDING
    return not busy and (watched is None or watched > IDLE)


def _requeue(stack: MemoryStack, status: Status, outcome: Outcome, now: datetime) -> timedelta:
    rollout = status.rollout
    if rollout is None:
        return _idle(status) if outcome.move is Move.HOLD else SHORTLY
    if rollout.state is RolloutState.CALIBRATING:
        return CALIBRATING
    if windows := {RolloutState.SWITCHBACK: rollout.switchback, RolloutState.PROVING: rollout.proving}.get(
        rollout.state
    ):
        # Both windows of a pair are equally long only if the readings fall on their ends.
        return min(timedelta(seconds=1), max(timedelta(seconds=0.05), windows.due(now)))
    if rollout.flags_on and rollout.first_canary_request_at is None:
        return SHORTLY
    served = max((e.canary_requests for e in rollout.evidence.values()), default=0)
    interval = stack.spec.rollout.analysis.interval
    eager = rollout.flags_on and served < EAGER_REQUESTS
    return min(timedelta(seconds=1) if eager else interval, timedelta(seconds=RENEWAL_SECONDS / 2))
