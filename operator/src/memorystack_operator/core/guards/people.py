"""What people ask for outranks what is measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from memorystack_operator.core.situation import Move, Outcome, Situation
from memorystack_operator.core.stages import differing
from memorystack_operator.core.state import RolloutState

__all__ = ["action_requested", "held_for_a_person", "paused_by_a_person"]


def action_requested(situation: Situation) -> Outcome | None:
    """`memorystack.dev/action: <verb>@<id>` that was not acknowledged yet."""
    if situation.action is None:
        return None
    verb, text = situation.action
    answer = VERBS.get(verb, _unknown)(situation)
    return Outcome(answer.move, answer.reason, answer.message, acknowledge=text)


def held_for_a_person(situation: Situation) -> Outcome | None:
    """Inconclusive with `onInconclusive: Hold`."""
    rollout = situation.rollout
    if rollout.state is not RolloutState.HELD:
        return None
    return Outcome(Move.HOLD, "WaitingForPerson", rollout.message)


def paused_by_a_person(situation: Situation) -> Outcome | None:
    """The step stays where it is, flags included; its clock stands still."""
    if not situation.paused:
        return None
    where = (
        "spec.rollout.paused is true" if situation.spec.rollout.paused else "paused by hand; memorystack resume goes on"
    )
    kept = (
        f"{len(situation.canary)} {'pod keeps' if len(situation.canary) == 1 else 'pods keep'} the flags of this step"
        if situation.rollout.flags_on
        else "the flags are off"
    )
    return Outcome(Move.HOLD, "Paused", f"{where}; {kept}")


def _promote(situation: Situation) -> Outcome:
    if situation.status.stable is None or not differing(situation.spec, situation.stable.features):
        return _refused("nothing to promote: every flag of the spec already serves everywhere")
    return Outcome(Move.PROMOTE_ALL, "PromotedByHand", "promoted by hand, without a verdict")


def _abort(situation: Situation) -> Outcome:
    if situation.status.rollout is None:
        return _refused("nothing to abort: no rollout is under way")
    text = "aborted by hand; memorystack retry, or another value, tries again"
    return Outcome(Move.REVERT, "Aborted", text)


def _retry(situation: Situation) -> Outcome:
    rollout = situation.status.rollout
    held = rollout is not None and rollout.state is RolloutState.HELD
    if not situation.status.rejected and not held:
        return _refused("nothing to retry: no flag of the spec was rejected")
    return Outcome(Move.ACKNOWLEDGE, "Retried", "the rejected flags are tried again")


def _pause(situation: Situation) -> Outcome:
    if situation.paused:
        return _refused("already paused")
    return Outcome(Move.ACKNOWLEDGE, "Paused", "paused by hand; flags stay where they are")


def _resume(situation: Situation) -> Outcome:
    if situation.spec.rollout.paused:
        return _refused("spec.rollout.paused is true and outranks resume: set it to false in the file")
    if situation.status.paused:
        return Outcome(Move.ACKNOWLEDGE, "Resumed", "resumed by hand")
    rollout = situation.status.rollout
    if rollout and rollout.flags_on and situation.planned.pause:
        if rollout.step + 1 < len(rollout.plan):
            return Outcome(Move.ADVANCE, "Resumed", "resumed by hand past the pause")
        return Outcome(Move.PROMOTE, "PromotedByHand", "resumed by hand past the last pause, so it serves everywhere")
    return _refused("nothing to resume: neither paused nor waiting at a pause step")


def _unknown(situation: Situation) -> Outcome:
    verb = situation.action[0] if situation.action else ""
    return _refused(f"unknown action {verb!r}: use promote, abort, retry, pause or resume")


def _refused(message: str) -> Outcome:
    return Outcome(Move.ACKNOWLEDGE, "ActionRefused", message)


VERBS: Final[dict[str, Callable[[Situation], Outcome]]] = {
    "promote": _promote,
    "abort": _abort,
    "retry": _retry,
    "pause": _pause,
    "resume": _resume,
}
