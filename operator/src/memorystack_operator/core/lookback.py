"""What the pods' histories say once they are read again within a stage: they know more by then than at the flip.

Knows: the stage under way and the rings. Must not know: what follows from the evidence.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from memorystack_operator.api.spec import Spec
from memorystack_operator.core.calibration import Calibration, Prior, room_of
from memorystack_operator.core.dispersion import MANY_BLOCKS, column, disperse, edge_of, merge
from memorystack_operator.core.history import Scope, cut
from memorystack_operator.core.qualifying import rooms_wanted
from memorystack_operator.core.situation import Situation
from memorystack_operator.core.state import RolloutState, RolloutStatus
from memorystack_runtime.contract import RING_SECONDS, Operation

__all__ = ["doubled", "lookback_due", "looked_back"]

BLOCK: Final = timedelta(seconds=RING_SECONDS)


def lookback_due(rollout: RolloutStatus, spec: Spec, now: datetime) -> bool:
    """The rings are wanted with the next reading of a stage whose flags are under test."""
    return rooms_wanted(rollout, spec, now) or _grown(rollout, now)


def looked_back(situation: Situation, rollout: RolloutStatus) -> RolloutStatus:
    """The stage by what the rings say now, where they came with this reading and something was to be learned from them."""
    grown, wanted = _grown(rollout, situation.now), rooms_wanted(rollout, situation.spec, situation.now)
    if rollout.calibration is None or not situation.history_told:
        return rollout
    if grown:
        rollout = _measured_again(situation, rollout, rollout.calibration)
    return _with_rooms(situation, rollout) if wanted else rollout


def doubled(rollout: RolloutStatus) -> str:
    """What a waiting step says of a young stack."""
    young = any(map(_short, rollout.priors.values()))
    return "; noise counts twofold until there are ten half minutes of history" if young else ""


def _grown(rollout: RolloutStatus, now: datetime) -> bool:
    """Since the last look a short history may have come to its ten blocks."""
    lacking = [MANY_BLOCKS - prior.blocks for prior in rollout.priors.values() if _short(prior)]
    looked = rollout.noise_at or rollout.flipped_at
    if not lacking or looked is None or rollout.state is not RolloutState.PROGRESSING:
        return False
    return not timedelta() <= now - looked < min(lacking) * BLOCK


def _short(prior: Prior) -> bool:
    """Its design effect over time is still that of a young stack: twice the limit."""
    return prior.effect.source == "Short"


def _measured_again(situation: Situation, rollout: RolloutStatus, calibration: Calibration) -> RolloutStatus:
    """Design effects over time from ten blocks in place of four, for all that "within" has counted and will count.

    One that was doubled for want of history lets a calm stack wait for many times the requests that it needs. What is
    between pods stays: the pods with the flags would be missing from it.
    """
    priors = {n: _again(situation, n, prior) if _short(prior) else prior for n, prior in calibration.operations.items()}
    evidence = {
        name: e.model_copy(update={"effect": priors[name].effect.for_share(situation.wanted_share)})
        for name, e in rollout.evidence.items()
    }
    calibration = calibration.model_copy(update={"operations": priors})
    return rollout.model_copy(update={"calibration": calibration, "evidence": evidence, "noise_at": situation.now})


def _again(situation: Situation, operation: Operation, prior: Prior) -> Prior:
    """By the pods without the flags; `phi_abs - 1` goes with the rate, so it is brought to that of all pods."""
    others = [p.evidence for p in situation.others if p.evidence]
    scope = _scope(situation, operation)
    history = cut(others, scope)
    edge = edge_of(history.total(), scope.budget)
    blocks = [column(block, edge) for block in history.blocks]
    found = disperse(blocks)
    if found is None or found.short:
        return prior.model_copy(update={"blocks": len(merge(blocks))})
    share = len(others) / (len(others) + len(situation.canary))
    effect = {
        "phi_abs": round(1 + (found.phi_abs - 1) / share, 4),
        "rate": round(history.rate / share, 3),
        "source": "Measured",
        "message": f"{found.message}; between pods as before the flip",
    }
    return prior.model_copy(update={"blocks": found.blocks, "effect": prior.effect.model_copy(update=effect)})


def _with_rooms(situation: Situation, rollout: RolloutStatus) -> RolloutStatus:
    """What the pods' histories leave for the flag to spoil."""
    rooms = {
        name: room_of(situation.reports, _scope(situation, name), prior.effect.phi_abs)
        for name, prior in rollout.priors.items()
    }
    return rollout.model_copy(update={"rooms": rooms, "rooms_at": situation.now})


def _scope(situation: Situation, operation: Operation) -> Scope:
    """What was served by the stable flags since the last promotion."""
    budget = situation.spec.rollout.wire_budgets().p95_ms[operation]
    return Scope(operation, situation.stable.revision, situation.now.timestamp(), budget, situation.status.promoted_at)
