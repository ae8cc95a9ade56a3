"""May the step under way be proved in pairs of windows, and if not, why? (`analysis.promotion: Paired`, verdict.md 10)

Knows: the situation. Must not know: the table, or how pairs are played.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from memorystack_operator.api.spec import Spec
from memorystack_operator.core.limits import limits_of
from memorystack_operator.core.proving import Proof
from memorystack_operator.core.room import LEAST
from memorystack_operator.core.situation import Situation
from memorystack_operator.core.state import RECOVERY, RolloutState, RolloutStatus
from memorystack_runtime.contract import Operation

__all__ = [
    "ASSUMPTION",
    "PLAIN_SECONDS",
    "in_pairs",
    "note",
    "plain_alone",
    "pooled_rate",
    "proofs_of",
    "refusal",
    "rooms_wanted",
    "undecided",
]

PLAIN_SECONDS: Final = 180.0
"""Of a step that Plain has for itself: windows without the flag cost it half of its evidence."""
LOOK_AGAIN: Final = timedelta(minutes=5)
"""Between two looks at the pods' long histories; each is the largest answer that they give."""
ASSUMPTION: Final = "it assumes that the flag's effect on shared parts ends with the request"


def plain_alone(rollout: RolloutStatus) -> bool:
    """Plain still has its time; it gets none where an earlier step of the stage has shown that it cannot decide."""
    return rollout.proving is None and rollout.step_seconds < PLAIN_SECONDS


def in_pairs(situation: Situation) -> bool:
    """The step is to be proved in pairs, as soon as Plain alone cannot go on: `promotion: Paired`, and they can prove it."""
    wanted = situation.spec.rollout.analysis.promotion == "Paired" and not situation.planned.pause
    return wanted and not refusal(situation)


def refusal(situation: Situation) -> str:
    """Why pairs cannot prove this stage; empty: they can."""
    if situation.rollout.stage == "cache":
        return "cache sizes never qualify, as what a cache holds outlasts a window"
    proofs = proofs_of(situation)
    lacking = next((name for name in undecided(situation) if name not in proofs), None)
    if lacking is None:
        return ""
    room = situation.rollout.rooms.get(lacking)
    if room is None or not room.requests:
        return f"{lacking} has no history yet"
    if room.usable:
        return f"{lacking}: the canary pods were better than the others before, by more than the room that is left"
    return (
        f"{lacking}: up to {100 * room.limit:.1f} % may be bad in the long run by {room.hours:.1f} h of history, so its odds "
        f"may grow by {room.ratio:.2f} only ({LEAST} is needed); a longer history may tell more"
    )


def note(situation: Situation) -> str:
    """What a waiting step says of pairs, from the moment on at which they could begin."""
    rollout, analysis = situation.rollout, situation.spec.rollout.analysis
    if plain_alone(rollout) or rollout.state is not RolloutState.PROGRESSING:
        return ""
    why = refusal(situation)
    if analysis.promotion == "Paired":
        return f"; promotion: Paired cannot be used: {why}" if why else ""
    if why:
        return ""
    return f"; analysis.promotion: Paired would decide sooner under bursts, and {ASSUMPTION}"


def proofs_of(situation: Situation) -> dict[Operation, Proof]:
    """Of the operations whose past leaves room: as far as the step has brought them, else with nothing bet yet."""
    rollout = situation.rollout
    made = {
        name: rollout.proofs.get(name)
        or Proof.begin(room, rollout.evidence[name].effect.phi_rel, rollout.evidence[name].effect.mirrored_margin)
        for name, room in rollout.rooms.items()
        if room.usable and name in rollout.evidence
    }
    return {name: proof for name, proof in made.items() if proof.usable}


def undecided(situation: Situation) -> tuple[Operation, ...]:
    """The operations with traffic that Plain would not let pass now."""
    alpha, beta = limits_of(situation.spec)
    rollout = situation.rollout
    before = (
        {name for name, prior in rollout.calibration.operations.items() if prior.over_budget_before}
        if (rollout.calibration)
        else set()
    )
    found = []
    for name, evidence in rollout.evidence.items():
        findings = evidence.findings(alpha, beta)
        passed = findings.within.holds or (name in before and findings.better.holds)
        if evidence.canary_requests and not passed:
            found.append(name)
    return tuple(found)


def pooled_rate(situation: Situation) -> float:
    """Requests per second of both arms together, of the slowest operation that is not decided, or was over budget."""
    rollout = situation.rollout
    recovery = sum(r.requests for r in rollout.recovery) / RECOVERY.total_seconds()
    rates = [recovery] if rollout.state is RolloutState.WITHDRAWN and recovery else []
    rates += [
        e.step_requests / rollout.step_seconds * (e.canary_requests + e.stable_requests) / e.canary_requests
        for name, e in rollout.evidence.items()
        if name in undecided(situation) and rollout.step_seconds
    ]
    return round(min(rates, default=0.0), 3)


def rooms_wanted(rollout: RolloutStatus, spec: Spec, now: datetime) -> bool:
    """The pods' long histories should be read again: pairs could begin, but the room was too small when last looked at."""
    if spec.rollout.analysis.promotion != "Paired" or rollout.stage == "cache":
        return False
    if rollout.state is not RolloutState.PROGRESSING or plain_alone(rollout):
        return False
    looked = rollout.rooms_at
    if looked is not None and timedelta() <= now - looked < LOOK_AGAIN:
        return False
    return not all(name in rollout.rooms and rollout.rooms[name].usable for name in rollout.evidence)
