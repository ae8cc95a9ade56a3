"""What each move does to the status: one small function a move, each a value in and a value out.

Knows: the status and its events. Must not know: why a move was chosen (guards) or how it is carried out (shell).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from memorystack_operator.api.status import EventReason, Rejection, Stable
from memorystack_operator.core.accounting import baselines_now
from memorystack_operator.core.canary import choose, plan_of, pods_for, restarts_of
from memorystack_operator.core.change import Change, with_rollout
from memorystack_operator.core.decision import Event
from memorystack_operator.core.ending import end_stage
from memorystack_operator.core.evidence import P0, DesignEffect, Evidence
from memorystack_operator.core.interruption import resume, switch, withdraw
from memorystack_operator.core.pairing import clear, prove, suspect
from memorystack_operator.core.reversal import alarm, calm, keep, reverse, switch_all, take_back
from memorystack_operator.core.situation import Move, Outcome, Situation
from memorystack_operator.core.stabilization import Promotion
from memorystack_operator.core.stages import differing
from memorystack_operator.core.state import PlannedStep, RolloutState, RolloutStatus
from memorystack_operator.core.surging import HALVES, give_up, release, surge, without
from memorystack_runtime.contract import Operation, revision_of

__all__ = ["Change", "carry_out"]


def carry_out(situation: Situation, outcome: Outcome) -> Change:
    """The move's function, and the acknowledgement of the action that asked for it."""
    change = MOVES[outcome.move](situation, outcome)
    if not outcome.acknowledge:
        return change
    told = {"last_action": outcome.acknowledge, "last_action_result": f"{outcome.reason}: {outcome.message}"}
    return Change(change.status.model_copy(update=told), change.events)


def _hold(situation: Situation, outcome: Outcome) -> Change:
    rollout = situation.status.rollout
    if rollout is None:
        return Change(situation.status)
    return Change(with_rollout(situation.status, rollout, reason=outcome.reason, message=outcome.message))


def _adopt(situation: Situation, outcome: Outcome) -> Change:
    features = situation.spec.features.flags()
    stable = Stable(
        revision=revision_of(features),
        features=features,
        template=situation.template,
        image=situation.image,
        since=situation.now,
    )
    return Change(situation.status.model_copy(update={"stable": stable}))


def _acknowledge(situation: Situation, outcome: Outcome) -> Change:
    status = situation.status
    if outcome.reason == "ActionRefused":
        return Change(status, (Event(EventReason.ACTION_REFUSED, outcome.message, "Warning"),))
    if outcome.reason == "Retried":
        held = status.rollout if status.rollout and status.rollout.state is RolloutState.HELD else None
        status = end_stage(situation, outcome, "Inconclusive") if held else status
        return Change(status.model_copy(update={"rejected": ()}), (Event(EventReason.RETRIED, outcome.message),))
    reason = EventReason.PAUSED if outcome.reason == "Paused" else EventReason.RESUMED
    return Change(status.model_copy(update={"paused": outcome.reason == "Paused"}), (Event(reason, outcome.message),))


def _retemplate(situation: Situation, outcome: Outcome) -> Change:
    status = end_stage(situation, outcome, "Superseded") if situation.status.rollout else situation.status
    moved = {"template": situation.template, "image": situation.image, "since": situation.now}
    stable = situation.stable.model_copy(update=moved)
    told = {"stable": stable, "not_judged": outcome.message, "watch": status.watch.anew()}
    status = status.model_copy(update=told)
    return without(Change(status, (Event(EventReason.NOT_JUDGED, outcome.message),)), outcome.message)


def _settled(situation: Situation, outcome: Outcome) -> Change:
    settling = situation.status.settling
    history = tuple(
        r.model_copy(update={"everywhere_at": situation.now}) if settling and r.id == settling.record else r
        for r in situation.status.history
    )
    return Change(situation.status.model_copy(update={"settling": None, "history": history}))


def _begin(situation: Situation, outcome: Outcome) -> Change:
    stage, spec, status = situation.pending[0], situation.spec, situation.status
    plan, note = plan_of(spec.rollout.steps, situation.replicas)
    note = HALVES if status.surge else note
    seed = f"{situation.stack.metadata.uid}|{stage.name}|{stage.value}|{situation.now.isoformat()}"
    identity = f"{stage.name}-{hashlib.sha256(seed.encode()).hexdigest()[:8]}"
    rollout = RolloutStatus(
        id=identity,
        stage=stage.name,
        value=stage.value,
        target=stage.target,
        revision=revision_of(stage.target),
        budgets=spec.rollout.wire_budgets().revision,
        plan=plan,
        stages=tuple(s.name for s in situation.pending),
        pods=choose(situation.candidates, pods_for(plan[0].weight, situation.replicas), (), identity),
        changed_at=status.changed_at or situation.now,
        started_at=situation.now,
        state_since=situation.now,
        reason="Calibrating",
        message=outcome.message,
        note=note,
    )
    text = f"{outcome.message}{f' (steps {note})' if note else ''}"
    return Change(
        status.model_copy(update={"rollout": rollout, "not_judged": ""}), (Event(EventReason.ROLLOUT_STARTED, text),)
    )


def _flip(situation: Situation, outcome: Outcome) -> Change:
    rollout = situation.rollout
    calibration = situation.calibration
    share = situation.wanted_share
    strict = situation.spec.rollout.analysis.sensitivity == "Strict"
    evidence = {
        name: Evidence(effect=prior.effect.for_share(share), strict=strict)
        for name, prior in calibration.operations.items()
    }
    failures = Evidence(p0=situation.spec.rollout.max_error_percent / 100, effect=calibration.failures)
    status = with_rollout(
        situation.status,
        rollout,
        state=RolloutState.PROGRESSING,
        state_since=situation.now,
        flipped_at=situation.now,
        last_tick=situation.now,
        restarts=restarts_of(situation.canary),
        baselines=baselines_now(situation),
        calibration=calibration,
        evidence=evidence,
        failures=failures,
        rooms={name: prior.room for name, prior in calibration.operations.items()},
        rooms_at=situation.now,
        reason=outcome.reason,
        message=outcome.message,
    )
    text = f"{rollout.stage} on {', '.join(rollout.pods) or 'no pod yet'}; {outcome.message}"
    return Change(status, (Event(EventReason.STAGE_STARTED, text),))


def _advance(situation: Situation, outcome: Outcome) -> Change:
    rollout = situation.rollout
    step = rollout.step + 1
    planned = rollout.plan[step]
    status = with_rollout(
        situation.status,
        rollout,
        step=step,
        step_seconds=0.0,
        proofs={},
        state=RolloutState.PROGRESSING,
        state_since=situation.now,
        evidence={name: e.next_step(_effect(situation, name, planned)) for name, e in rollout.evidence.items()},
        reason=outcome.reason,
        message=outcome.message,
    )
    where = "waits for a person" if planned.pause else f"{planned.weight} % of the pods"
    return Change(status, (Event(EventReason.STEP_STARTED, f"step {step + 1}: {where}; {outcome.message}"),))


def _effect(situation: Situation, operation: Operation, planned: PlannedStep) -> DesignEffect:
    """Of the step that begins; a pause keeps the share of the step before it."""
    rollout, replicas = situation.rollout, situation.replicas
    if planned.pause or rollout.calibration is None:
        return rollout.evidence[operation].effect
    return rollout.calibration.operations[operation].effect.for_share(pods_for(planned.weight, replicas) / replicas)


def _promote(situation: Situation, outcome: Outcome) -> Change:
    rollout = situation.rollout
    status = end_stage(situation, outcome, "Promoted")
    stable = situation.stable.model_copy(
        update={"features": rollout.target, "revision": rollout.revision, "since": situation.now}
    )
    rejected = tuple(r for r in status.rejected if r.stage != rollout.stage)
    watch = status.watch.promoted(_promotion(situation))
    status = status.model_copy(update={"stable": stable, "rejected": rejected, "watch": watch})
    events = [
        Event(EventReason.STAGE_PROMOTED, f"{rollout.stage} serves everywhere ({outcome.reason}): {outcome.message}")
    ]
    if len(rollout.stages) == 1:
        events.append(Event(EventReason.ROLLOUT_COMPLETED, "every flag of the spec serves everywhere"))
    return Change(status, tuple(events))


def _promotion(situation: Situation) -> Promotion:
    """What the watch must know of a flag that passed."""
    rollout = situation.rollout
    priors = rollout.priors
    left_over = [
        name
        for name, evidence in rollout.evidence.items()
        if name in priors and priors[name].over_budget_before and evidence.canary.share > P0
    ]
    return Promotion(
        stage=rollout.stage,
        value=rollout.value,
        before=situation.stable.features,
        at=situation.now,
        paired=rollout.proving is not None,
        still_over=tuple(left_over),
    )


def _by_hand(situation: Situation) -> list[Promotion]:
    """A person decided: the stack is watched, and no verdict is asked for later."""
    before = situation.stable.features
    return [
        Promotion(stage=stage.name, value=stage.value, before=before, at=situation.now, by_hand=True)
        for stage in differing(situation.spec, before)
    ]


def _promote_all(situation: Situation, outcome: Outcome) -> Change:
    rollout = situation.status.rollout
    ended = "Superseded" if rollout and rollout.reverse else "Promoted"
    status = end_stage(situation, outcome, ended) if rollout else situation.status
    features = situation.spec.features.flags()
    stable = situation.stable.model_copy(
        update={"features": features, "revision": revision_of(features), "since": situation.now}
    )
    return Change(
        status.model_copy(
            update={"stable": stable, "rejected": (), "watch": status.watch.promoted(*_by_hand(situation))}
        ),
        (Event(EventReason.PROMOTED_BY_HAND, outcome.message, "Warning"),),
    )


def _revert(situation: Situation, outcome: Outcome) -> Change:
    rollout, spec = situation.rollout, situation.spec
    if rollout.reverse:
        return keep(situation, outcome)
    if outcome.reason == "Superseded":
        return Change(end_stage(situation, outcome, "Superseded"), (Event(EventReason.SUPERSEDED, outcome.message),))
    if outcome.reason == "Inconclusive" and spec.rollout.analysis.on_inconclusive == "Hold":
        text = f"inconclusive, held for a person (promote, abort or retry): {outcome.message}"
        held = {"state": RolloutState.HELD, "state_since": situation.now, "applied_at": None}
        status = with_rollout(situation.status, rollout, **held, reason="Inconclusive", message=text)
        # A person may take days.
        return without(Change(status, (Event(EventReason.INCONCLUSIVE, text, "Warning"),)), "a person decides")
    ended, event = {
        "Aborted": ("Aborted", EventReason.ABORTED),
        "Inconclusive": ("Inconclusive", EventReason.INCONCLUSIVE),
    }.get(outcome.reason, ("RolledBack", EventReason.ROLLED_BACK))
    rejection = Rejection(
        stage=rollout.stage,
        value=rollout.value,
        template=situation.stable.template,
        reason=outcome.reason,
        message=outcome.message,
        at=situation.now,
    )
    status = end_stage(situation, outcome, ended)
    kept = tuple(r for r in status.rejected if (r.stage, r.value) != (rejection.stage, rejection.value))
    text = f"{rollout.stage} taken back ({outcome.reason}): {outcome.message}"
    return Change(status.model_copy(update={"rejected": (*kept, rejection)}), (Event(event, text, "Warning"),))


MOVES: Final[dict[Move, Callable[[Situation, Outcome], Change]]] = {
    Move.HOLD: _hold,
    Move.ADOPT: _adopt,
    Move.ACKNOWLEDGE: _acknowledge,
    Move.RETEMPLATE: _retemplate,
    Move.SETTLED: _settled,
    Move.BEGIN: _begin,
    Move.FLIP: _flip,
    Move.ADVANCE: _advance,
    Move.PROMOTE: _promote,
    Move.PROMOTE_ALL: _promote_all,
    Move.WITHDRAW: withdraw,
    Move.SWITCH: switch,
    Move.PROVE: prove,
    Move.SUSPECT: suspect,
    Move.CLEAR: clear,
    Move.RESUME: resume,
    Move.REVERT: _revert,
    Move.ALARM: alarm,
    Move.CALM: calm,
    Move.REVERSE: reverse,
    Move.SWITCH_ALL: switch_all,
    Move.TAKE_BACK: take_back,
    Move.KEEP: keep,
    Move.SURGE: surge,
    Move.RELEASE: release,
    Move.GIVE_UP: give_up,
}
