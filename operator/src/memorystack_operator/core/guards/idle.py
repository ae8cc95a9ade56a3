"""Guards that decide whether a stage may begin."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from memorystack_operator.core.canary import pods_for
from memorystack_operator.core.situation import Move, Outcome, Situation
from memorystack_operator.core.stages import differing

__all__ = [
    "deployment_settling",
    "first_deployment",
    "flags_still_leaving",
    "new_template",
    "nothing_to_do",
    "paused_before_start",
    "pods_missing",
    "ready_to_begin",
]

LEASE_GONE: Final = timedelta(seconds=40)
"""A pod that could not be read for longer than a lease lasts has fallen back by itself."""


def first_deployment(situation: Situation) -> Outcome | None:
    """Nothing serves yet, so the spec is adopted as it is."""
    if situation.status.stable is not None:
        return None
    return Outcome(Move.ADOPT, "Adopted", "first deployment: all flags as in the spec, nothing to compare with")


def new_template(situation: Situation) -> Outcome | None:
    """Image, resources, env, ...: pods are replaced one by one, and nobody judges that yet."""
    if situation.template == situation.stable.template:
        return None
    text = "the pod template changed: an ordinary rolling update, not judged"
    return Outcome(Move.RETEMPLATE, "NotJudged", text)


def flags_still_leaving(situation: Situation) -> Outcome | None:
    """After a stage every pod must say itself that it serves the stable flags."""
    settling = situation.status.settling
    if settling is None:
        return None
    revision = situation.stable.revision
    late = situation.since(settling.since) > LEASE_GONE
    lagging = [
        p.name
        for p in situation.seen.pods
        if (p.evidence is None and p.ready and not late) or (p.evidence is not None and p.evidence.flags != revision)
    ]
    if lagging:
        return Outcome(Move.HOLD, "FlagsSettling", f"waiting for {', '.join(lagging)} to serve the stable flags")
    return Outcome(Move.SETTLED, "Settled", "every pod serves the stable flags")


def nothing_to_do(situation: Situation) -> Outcome | None:
    """No flag differs, or those that do were rejected."""
    if situation.pending:
        return None
    rejected = [r for r in situation.status.rejected if r.template == situation.stable.template]
    open_stages = differing(situation.spec, situation.stable.features)
    if rejected and open_stages:
        last = rejected[-1]
        names = ", ".join(s.name for s in open_stages)
        return Outcome(Move.HOLD, last.reason, f"{last.stage} rejected: {last.message} (not serving: {names})")
    return Outcome(Move.HOLD, "AsInSpec", "every flag of the spec serves everywhere")


def paused_before_start(situation: Situation) -> Outcome | None:
    """A pause also holds back the first step."""
    if not situation.paused:
        return None
    return Outcome(Move.HOLD, "Paused", f"paused; {situation.pending[0].name} waits to be tried")


def deployment_settling(situation: Situation) -> Outcome | None:
    """Flags are flipped in warm pods only."""
    if situation.seen.settled:
        return None
    return Outcome(
        Move.HOLD, "DeploymentNotSettled", "the Deployment is still rolling out; the step's clock stands still"
    )


def pods_missing(situation: Situation) -> Outcome | None:
    """The first step needs its pods, and at least one other."""
    ready = sum(p.ready for p in situation.seen.pods)
    weights = [s.weight for s in situation.spec.rollout.steps if s.weight]
    needed = pods_for(weights[0] if weights else 1, situation.replicas) + 1
    if ready >= needed:
        return None
    return Outcome(Move.HOLD, "PodsNotReady", f"{ready} of the {needed} pods that the first step needs are ready")


def ready_to_begin(situation: Situation) -> Outcome | None:
    """The next flag's turn."""
    stage = situation.pending[0]
    return Outcome(Move.BEGIN, "RolloutStarted", f"{stage.name} is staged: {stage.value}")
