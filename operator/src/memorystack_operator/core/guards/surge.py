"""Guards of the surge pod, with which a single replica is compared while a flag is tried.

Knows: when one is wanted, and for how long it is waited for. Must not know: how it is made.
"""

from __future__ import annotations

from typing import Final

from memorystack_operator.core.situation import Move, Outcome, Situation
from memorystack_operator.core.state import RolloutState
from memorystack_operator.core.surge import Surge, missing

__all__ = ["left_alone", "surge_pod", "surge_pod_lost", "surge_pod_not_needed", "surge_pod_not_needed_any_more"]

ENOUGH: Final = "the stack has pods of its own to compare"


def surge_pod_not_needed(situation: Situation) -> Outcome | None:
    """No flag is to be tried now, or the stack has pods of its own to compare."""
    surge = situation.status.surge
    if surge is None:
        return None
    if not situation.pending:
        return _release("no flag waits to be tried")
    if situation.paused:
        return _release("paused before the flag was tried")
    return _release(ENOUGH) if _enough(situation) or (not surge.runs and situation.mains > 1) else None


def surge_pod_not_needed_any_more(situation: Situation) -> Outcome | None:
    """The stack was scaled up in the middle of a stage: its own pods are compared from now on."""
    if situation.status.surge is None or not _enough(situation):
        return None
    return _release(ENOUGH)


def surge_pod(situation: Situation) -> Outcome | None:
    """One replica has nobody to be compared with, so a second pod is asked for, and warmed before any flag is lent."""
    surge = situation.status.surge
    if surge is None and situation.mains > 1:
        return None
    flag, rule = situation.pending[0].name, situation.seen.warming
    if surge is None or (surge.failed_at and situation.since(surge.failed_at) >= rule.rest):
        return Outcome(Move.SURGE, "SurgePod", f"{flag} waits: one replica, so a second pod is started to compare with")
    if surge.failed_at:
        again = f"tried again after {rule.rest.total_seconds() / 60:.0f} minutes; or set spec.replicas to 2, or promote"
        return Outcome(Move.HOLD, "NoControlArm", f"{flag} waits: {surge.failure}; {again}")
    if surge.warm:
        return None
    lack = missing(surge, situation.seen, situation.now)
    if _overdue(situation, surge):
        text = f"one replica has no control arm, and its surge pod was not warm in time: {lack}"
        return Outcome(Move.GIVE_UP, "NoControlArm", text)
    return Outcome(Move.HOLD, "SurgePod", f"{flag} waits for the surge pod: {lack}")


def surge_pod_lost(situation: Situation) -> Outcome | None:
    """The one that is compared with has gone: the flag leaves at once, and the trial ends if no other comes in time."""
    surge = situation.status.surge
    if surge is None or surge.warm or situation.others:
        return None
    text = f"the surge pod is lost, and nobody is left to compare with: {missing(surge, situation.seen, situation.now)}"
    if _overdue(situation, surge):
        return Outcome(Move.REVERT, "Superseded", text)
    if situation.rollout.state is RolloutState.PROGRESSING:
        return Outcome(Move.WITHDRAW, "MetricsUnavailable", text)
    return None


def left_alone(situation: Situation) -> Outcome | None:
    """Scaled down to one pod in the middle of a stage: the flag is tried again, with a surge pod."""
    if situation.status.surge is not None or situation.mains > 1:
        return None
    text = f"one replica is left, so {situation.rollout.stage} is tried again with a surge pod to compare with"
    return Outcome(Move.REVERT, "Superseded", text)


def _enough(situation: Situation) -> bool:
    """By the spec itself: an autoscaler may change its mind, so with one the surge pod stays until the stage ends."""
    ready = sum(p.ready and not p.surge for p in situation.seen.pods)
    return situation.spec.least_replicas > 1 and ready > 1


def _overdue(situation: Situation, surge: Surge) -> bool:
    return situation.since(surge.since) >= situation.seen.warming.timeout


def _release(why: str) -> Outcome:
    return Outcome(Move.RELEASE, "SurgePodRemoved", f"the surge pod is removed: {why}")
