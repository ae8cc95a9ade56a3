"""Guards that ask whether the world is fit to be judged."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from memorystack_operator.core.situation import Move, Outcome, Situation
from memorystack_operator.core.stages import canonical
from memorystack_operator.core.state import RolloutState

__all__ = [
    "blind",
    "calibrating",
    "canaries_missing",
    "not_applied_yet",
    "pods_crashing",
    "superseded_by_new_budgets",
    "superseded_by_new_spec",
]

BLIND: Final = timedelta(minutes=2)
UNAPPLIED: Final = timedelta(seconds=15)
"""Three touches of 5 s each."""
SILENT: Final = "no traffic yet: send some (on one machine: memorystack load), or promote by hand"
WAIT: Final = ": two minutes of traffic are needed, ten at most; the flag is not flipped yet"
CRASHES: Final = 2
"""One restart may be chance (a node, an OOM of the neighbour); the second is the flag's."""


def superseded_by_new_spec(situation: Situation) -> Outcome | None:
    """The flag under trial has another value in the spec now."""
    rollout = situation.rollout
    wanted = canonical(situation.spec.features.flags(), rollout.stage)
    if wanted == rollout.value:
        return None
    return Outcome(Move.REVERT, "Superseded", f"{rollout.stage} changed in the spec while it was tried")


def superseded_by_new_budgets(situation: Situation) -> Outcome | None:
    """An edited budget starts the evidence again."""
    if situation.spec.rollout.wire_budgets().revision == situation.rollout.budgets:
        return None
    return Outcome(Move.REVERT, "Superseded", "the budgets changed, so evidence starts again")


def pods_crashing(situation: Situation) -> Outcome | None:
    """Canary processes die, the others do not."""
    rollout = situation.rollout
    if not rollout.flags_on:
        return None
    here = sum(max(0, p.restarts - rollout.restarts.get(p.name, 0)) for p in situation.canary)
    crashes = rollout.crashes + here
    if crashes < CRASHES:
        return None
    return Outcome(Move.REVERT, "PodsCrashing", f"the canary pods restarted {crashes} times since they got the flag")


def blind(situation: Situation) -> Outcome | None:
    """Evidence cannot be read; two minutes of it withdraw the flags, and never reject them."""
    rollout = situation.rollout
    if rollout.blind_since is None or rollout.state is RolloutState.WITHDRAWN:
        return None
    unread = [p.name for p in situation.seen.pods if p.ready and p.evidence is None]
    seconds = int(situation.since(rollout.blind_since).total_seconds())
    text = (
        f"evidence unreadable for {seconds} s ({', '.join(unread) or 'no pod of one arm is ready'}); this is no verdict"
    )
    if rollout.flags_on and situation.since(rollout.blind_since) > BLIND:
        return Outcome(Move.WITHDRAW, "MetricsUnavailable", text)
    return Outcome(Move.HOLD, "MetricsUnavailable", text)


def calibrating(situation: Situation) -> Outcome | None:
    """Design effects come before the flip."""
    if situation.rollout.state is not RolloutState.CALIBRATING:
        return None
    told, said = situation.history_told, situation.rollout.message
    if told and situation.calibration.ready:
        return Outcome(Move.FLIP, "Calibrated", situation.calibration.message)
    if not any(p.served for p in situation.seen.pods):
        return Outcome(Move.HOLD, "Calibrating", SILENT)
    if told:
        return Outcome(Move.HOLD, "Calibrating", f"{situation.calibration.message}{WAIT}")
    # Between two readings of the histories nothing is known that was not known before.
    return Outcome(Move.HOLD, "Calibrating", said if said.endswith(WAIT) else f"not enough history yet{WAIT}")


def canaries_missing(situation: Situation) -> Outcome | None:
    """Below k the step waits."""
    wanted, here = situation.wanted_canaries, len(situation.canary)
    if here >= wanted:
        return None
    return Outcome(
        Move.HOLD, "CanaryPodsMissing", f"{here} of {wanted} canary pods are ready; the step's clock stands still"
    )


def not_applied_yet(situation: Situation) -> Outcome | None:
    """Only pods that report the flags themselves are judged."""
    rollout = situation.rollout
    if rollout.applied_at is not None or not situation.canary:
        return None
    late = [p.name for p in situation.canary if p.evidence and p.evidence.flags != rollout.revision]
    waited = situation.since(rollout.state_since)
    reason = "FlagsNotApplied" if waited > UNAPPLIED else "FlagsSettling"
    return Outcome(Move.HOLD, reason, f"{', '.join(late) or 'the canary'} does not report the flags yet")
