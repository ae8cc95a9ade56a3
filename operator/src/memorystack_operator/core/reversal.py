"""Moves of the watch after 100 %: an alarm, the reverse canary that follows it, and how it ends.

Knows: the status. Must not know: why a move was chosen (guards).
"""

from __future__ import annotations

import hashlib

from memorystack_operator.api.status import EventReason, Rejection
from memorystack_operator.core.canary import choose, pods_for, restarts_of
from memorystack_operator.core.change import Change, with_rollout
from memorystack_operator.core.decision import Event
from memorystack_operator.core.ending import end_stage
from memorystack_operator.core.reverse import SHARE, Reverse, between
from memorystack_operator.core.situation import Outcome, Situation
from memorystack_operator.core.stabilization import OverBudget
from memorystack_operator.core.stages import with_flag_of
from memorystack_operator.core.state import PlannedStep, RolloutState, RolloutStatus
from memorystack_operator.core.switchback import Switchback
from memorystack_runtime.contract import OPERATIONS, Operation, revision_of

__all__ = ["alarm", "calm", "compared", "keep", "reverse", "switch_all", "take_back"]


def alarm(situation: Situation, outcome: Outcome) -> Change:
    """The watched stack is over its budget: said once, and held against nobody."""
    over = OverBudget(operation=_operation(outcome), since=situation.now, message=outcome.message)
    watch = situation.status.watch.model_copy(update={"over": over})
    told = {"watch": watch, "failing": outcome.reason == "ErrorsOverBudget"}
    event = Event(EventReason.STACK_OVER_BUDGET, outcome.message, "Warning")
    return Change(situation.status.model_copy(update=told), (event,))


def calm(situation: Situation, outcome: Outcome) -> Change:
    """It is within budget again, or not watched any longer."""
    watch = situation.status.watch.model_copy(update={"over": None, "tried": ()})
    event = Event(EventReason.STACK_RECOVERED, outcome.message)
    return Change(situation.status.model_copy(update={"watch": watch, "failing": False}), (event,))


def reverse(situation: Situation, outcome: Outcome) -> Change:
    """Some pods will get the flag's older value back, to be compared with the others; calibration comes first, as ever."""
    promotion = next(p for p in situation.watched if p.stage == outcome.stage)
    target = with_flag_of(situation.stable.features, promotion.stage, promotion.before)
    seed = f"{situation.stack.metadata.uid}|{promotion.stage}|{promotion.value}|{situation.now.isoformat()}"
    identity = f"{promotion.stage}-{hashlib.sha256(seed.encode()).hexdigest()[:8]}"
    replicas = situation.replicas
    rollout = RolloutStatus(
        id=identity,
        stage=promotion.stage,
        value=promotion.value,
        target=target,
        revision=revision_of(target),
        budgets=situation.spec.rollout.wire_budgets().revision,
        plan=(PlannedStep(weight=SHARE),),
        stages=(promotion.stage,),
        pods=choose(situation.candidates, pods_for(SHARE, replicas), (), identity),
        changed_at=situation.now,
        started_at=situation.now,
        state_since=situation.now,
        reverse=Reverse(number=promotion.asked + 1, operation=_operation(outcome), promoted_at=promotion.at),
        failing=situation.status.failing,
        reason=outcome.reason,
        message=outcome.message,
    )
    watch = situation.status.watch.asking(promotion.stage)
    event = Event(EventReason.REVERSE_CANARY_STARTED, outcome.message)
    return Change(situation.status.model_copy(update={"rollout": rollout, "watch": watch}), (event,))


def compared(before: RolloutStatus, after: RolloutStatus) -> RolloutStatus:
    """The rollout after a reading, with what the reading adds to a reverse canary's own evidence."""
    test = after.reverse
    old, evidence = before.asked, after.asked
    if test is None or old is None or evidence is None:
        return after
    read = between(old, evidence)
    return after.model_copy(update={"reverse": test.after(read, evidence.effect)})


def switch_all(situation: Situation, outcome: Outcome) -> Change:
    """Both arms are over budget: every pod goes back and forth by lot, since there is no arm that never had the flag."""
    rollout = situation.rollout
    operation = _operation(outcome)
    evidence = rollout.evidence[operation]
    served = evidence.canary_requests + evidence.stable_requests
    test = Switchback(
        number=rollout.reverse.number if rollout.reverse else 1,
        seed=f"{situation.stack.metadata.uid}|{rollout.revision}|{rollout.started_at.isoformat()}|{rollout.stage}",
        operation=operation,
        pooled=True,
        rate=round(served / max(1.0, rollout.stage_seconds), 3),
        epoch=situation.seen.epoch,
        started_at=situation.now,
        since=situation.now,
        last_read=situation.now,
    )
    status = with_rollout(
        situation.status,
        rollout,
        state=RolloutState.SWITCHBACK,
        state_since=situation.now,
        pods=tuple(p.name for p in situation.seen.pods if p.ready),
        switchback=test,
        restarts=restarts_of(situation.seen.pods),
        reason=outcome.reason,
        message=outcome.message,
    )
    return Change(status, (Event(EventReason.SWITCHBACK_STARTED, outcome.message),))


def take_back(situation: Situation, outcome: Outcome) -> Change:
    """The promoted value is convicted: the older one serves everywhere, and the promoted one is not tried again."""
    rollout = situation.rollout
    status = end_stage(situation, outcome, "RolledBack")
    rejection = Rejection(
        stage=rollout.stage,
        value=rollout.value,
        template=situation.stable.template,
        reason=outcome.reason,
        message=outcome.message,
        at=situation.now,
    )
    stable = situation.stable.model_copy(
        update={"features": rollout.target, "revision": rollout.revision, "since": situation.now}
    )
    kept = tuple(r for r in status.rejected if (r.stage, r.value) != (rejection.stage, rejection.value))
    watch = status.watch.withdrawn(rollout.stage)
    status = status.model_copy(update={"stable": stable, "rejected": (*kept, rejection), "watch": watch})
    text = f"{rollout.stage} is as before its promotion again: {outcome.message}"
    return Change(status, (Event(EventReason.LATE_REGRESSION, text, "Warning"),))


def keep(situation: Situation, outcome: Outcome) -> Change:
    """The promoted value stays: all pods are alike again, and the watch goes on after a rest."""
    rollout = situation.rollout
    ended = outcome.reason if outcome.reason in ("Aborted", "Superseded") else "Kept"
    status = end_stage(situation, outcome, ended)
    if ended != "Superseded" and rollout.reverse:
        left = situation.open_to_question(rollout.reverse.operation)
        status = status.model_copy(update={"watch": status.watch.kept(rollout.stage, situation.now, left)})
    text = f"{rollout.stage} stays as promoted ({outcome.reason}): {outcome.message}"
    return Change(status, (Event(EventReason.FLAG_KEPT, text),))


def _operation(outcome: Outcome) -> Operation:
    return next(name for name in OPERATIONS if name == outcome.operation)
