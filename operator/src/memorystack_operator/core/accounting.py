"""What a reading changes before anything is decided: canary pods are refilled, counts become evidence, clocks run.

Knows: the stage under way. Must not know: what the evidence leads to.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from memorystack_operator.core.arms import Baseline, Increment, PodCounts, Window, advance
from memorystack_operator.core.canary import choose, restarts_of
from memorystack_operator.core.evidence import Evidence, Tally
from memorystack_operator.core.limits import limits_of
from memorystack_operator.core.lookback import looked_back
from memorystack_operator.core.observe import PodSeen
from memorystack_operator.core.proving import Proving
from memorystack_operator.core.qualifying import proofs_of
from memorystack_operator.core.situation import Situation
from memorystack_operator.core.state import RECOVERY, Recovery, RolloutState, RolloutStatus
from memorystack_operator.core.switchback import Switchback
from memorystack_runtime.contract import Operation

__all__ = ["account", "baselines_now", "readable"]

LONGEST_TICK: Final = timedelta(seconds=10)
"""A longer gap was a restart or a jump of the clock: it is not counted as time in which anything was proved."""
TRAFFIC_MEMORY: Final = timedelta(seconds=10)


def account(situation: Situation) -> RolloutStatus:
    """The rollout after this reading."""
    rollout = _refill(situation)
    if rollout.state is RolloutState.HELD:
        return rollout
    same_pods = rollout.pods == situation.rollout.pods
    situation = _with(situation, rollout)
    rollout = _blindness(situation, _applied(situation, rollout))
    if rollout.state is RolloutState.CALIBRATING:
        looked = situation.now if situation.history_told else rollout.rooms_at
        return rollout.model_copy(update={"last_tick": situation.now, "rooms_at": looked})
    if rollout.switchback and rollout.state is RolloutState.SWITCHBACK:
        return _switch(situation, rollout, rollout.switchback, same_pods=same_pods)
    if rollout.proving and rollout.state is RolloutState.PROVING:
        return _prove(situation, rollout, rollout.proving, same_pods=same_pods)
    return looked_back(situation, _count(situation, rollout))


def readable(situation: Situation) -> bool:
    """Every canary pod answered, and at least one of the others, unless there are none by design."""
    others = situation.rollout.everywhere or any(p.evidence for p in situation.others)
    return others and all(p.evidence for p in situation.canary)


def _with(situation: Situation, rollout: RolloutStatus) -> Situation:
    status = situation.status.model_copy(update={"rollout": rollout})
    return Situation(situation.stack, status, situation.seen, situation.now, situation.template)


def _refill(situation: Situation) -> RolloutStatus:
    """Lost canary pods are replaced at once, by pods that answer; pods are kept wherever they can be."""
    rollout = _crashed_meanwhile(situation, situation.rollout)
    fit = [p for p in situation.candidates if p.evidence or p.name in rollout.pods]
    pods = choose(fit, situation.wanted_canaries, rollout.pods, rollout.id)
    if pods == rollout.pods:
        return rollout
    added = set(pods) - set(rollout.pods)
    new = restarts_of(p for p in situation.seen.pods if p.name in added)
    kept = {name: count for name, count in rollout.restarts.items() if name in pods}
    update = {"pods": pods, "restarts": kept | new, "applied_at": None, **_lost(situation, rollout, pods)}
    return rollout.model_copy(update=update)


def _lost(situation: Situation, rollout: RolloutStatus, pods: Sequence[str]) -> dict[str, object]:
    """A flag that crashes its pods must not go from one to the next, each crash counted as the first."""
    if not rollout.flags_on:
        return {}
    gone = [p for p in situation.seen.pods if p.name in rollout.pods and p.name not in pods]
    crashes = sum(max(0, p.restarts - rollout.restarts.get(p.name, 0)) for p in gone)
    left = {p.name: p.restarts for p in gone if not p.ready}
    return {"crashes": rollout.crashes + crashes, "left": rollout.left | left}


def _crashed_meanwhile(situation: Situation, rollout: RolloutStatus) -> RolloutStatus:
    """A process is down before it is started again: so the restart is counted when its pod has left the arm."""
    if not rollout.left:
        return rollout
    here = {p.name: p for p in situation.seen.pods}
    crashed = sum(name in here and here[name].restarts > count for name, count in rollout.left.items())
    waits = {n: c for n, c in rollout.left.items() if n in here and not here[n].ready and here[n].restarts == c}
    return rollout.model_copy(update={"crashes": rollout.crashes + crashed, "left": waits})


def _applied(situation: Situation, rollout: RolloutStatus) -> RolloutStatus:
    """Since when every canary pod itself reports the flags."""
    full = len(rollout.pods) == situation.wanted_canaries
    confirmed = all(p.evidence and p.evidence.flags == rollout.revision for p in situation.canary)
    if not (rollout.flags_on and full and confirmed):
        unread = any(p.evidence is None for p in situation.canary)
        return rollout if unread else rollout.model_copy(update={"applied_at": None})
    return rollout if rollout.applied_at else rollout.model_copy(update={"applied_at": situation.now})


def _blindness(situation: Situation, rollout: RolloutStatus) -> RolloutStatus:
    since = None if readable(situation) else rollout.blind_since or situation.now
    return rollout.model_copy(update={"blind_since": since})


def baselines_now(situation: Situation) -> tuple[Baseline, ...]:
    """What every pod has counted at the flip, so that the first canary request is not missed."""
    return _read(situation, situation.rollout, canary=True)[1]


def _switch(situation: Situation, rollout: RolloutStatus, test: Switchback, *, same_pods: bool) -> RolloutStatus:
    """One reading of a switchback: the canary pods' requests count under the flags in force in this window."""
    revision = rollout.revision if rollout.flags_on else situation.stable.revision
    increment, baselines = _read(situation, rollout, canary=True, revision=revision)
    read = increment.operations[test.operation]
    after = test.after(
        read,
        situation.now,
        fit=same_pods and _fit(situation, rollout),
        in_place=_in_place(situation, revision) and not read.late,
        epoch=situation.seen.epoch,
    )
    return rollout.model_copy(update={"switchback": after, "baselines": baselines, "last_tick": situation.now})


def _prove(situation: Situation, rollout: RolloutStatus, test: Proving, *, same_pods: bool) -> RolloutStatus:
    """One reading of a proof: what the canary pods serve with the flags on is evidence as ever, the rest is the pairs'."""
    revision = rollout.revision if test.on else situation.stable.revision
    increment, baselines = _read(situation, rollout, canary=True, revision=revision)
    late = any(read.late for read in increment.operations.values())
    after = test.after(
        increment.operations,
        situation.now,
        fit=same_pods and _fit(situation, rollout),
        in_place=_in_place(situation, revision) and not late,
        epoch=situation.seen.epoch,
    )
    rollout = rollout.model_copy(update={"proving": after, "baselines": baselines})
    return _judge_counts(situation, rollout, increment) if test.on else _clocks(situation, rollout, increment)


def _fit(situation: Situation, rollout: RolloutStatus) -> bool:
    """The world can be measured in windows at all."""
    complete = len(rollout.pods) == situation.wanted_canaries and readable(situation)
    return complete and situation.seen.settled and not situation.paused


def _in_place(situation: Situation, revision: str) -> bool:
    return all(p.evidence and p.evidence.flags == revision for p in situation.canary)


def _read(
    situation: Situation, rollout: RolloutStatus, *, canary: bool, revision: str = ""
) -> tuple[Increment, tuple[Baseline, ...]]:
    window = Window(
        canary=revision or rollout.revision,
        stable=situation.stable.revision,
        budgets=rollout.budgets,
        since=(rollout.flipped_at or situation.now).timestamp(),
        present={uid for p in situation.seen.pods for uid in (p.uid, p.evidence.uid if p.evidence else p.uid)},
    )
    counts = [
        *(_counts(p, canary=canary) for p in situation.canary if p.evidence),
        *(_counts(p, canary=False) for p in situation.others if p.evidence),
    ]
    return advance(rollout.baselines, counts, window)


def _count(situation: Situation, rollout: RolloutStatus) -> RolloutStatus:
    increment, baselines = _read(situation, rollout, canary=rollout.flags_on)
    rollout = rollout.model_copy(update={"baselines": baselines})
    if rollout.state is RolloutState.WITHDRAWN:
        return _recover(situation, rollout, increment)
    return _judge_counts(situation, _first_key(situation, rollout, increment), increment)


def _first_key(situation: Situation, rollout: RolloutStatus, increment: Increment) -> RolloutStatus:
    """While Plain has the step for itself, both arms are compared as in the windows with the flags on.

    The bets of key 1 and the room are fixed since the step began, so what they win before the first pair is evidence.
    """
    wanted = situation.spec.rollout.analysis.promotion == "Paired" and rollout.stage != "cache"
    if not wanted or rollout.reverse or not rollout.flags_on:
        return rollout
    proofs = proofs_of(_with(situation, rollout))
    counted = {name: proof.counted(increment.operations[name], on=True).cleared() for name, proof in proofs.items()}
    return rollout.model_copy(update={"proofs": counted})


def _counts(pod: PodSeen, *, canary: bool) -> PodCounts:
    report = pod.evidence
    if report is None:
        msg = f"pod {pod.name} has not answered"
        raise LookupError(msg)
    return PodCounts(report.uid, report.started_at, "canary" if canary else "stable", report.counters)


def _recover(situation: Situation, rollout: RolloutStatus, increment: Increment) -> RolloutStatus:
    """The last minute of the withdrawn operation, all pods together."""
    recent = tuple(r for r in rollout.recovery if situation.since(r.at) <= RECOVERY)
    read = next((r for name, r in increment.operations.items() if name == rollout.withdrawn_operation), None)
    served = read.stable + read.late_stable if read else Tally()
    if served.requests:
        recent = (*recent, Recovery(at=situation.now, requests=served.requests, bad=served.bad))
    return rollout.model_copy(update={"recovery": _thin(recent), "last_tick": situation.now})


def _thin(recent: tuple[Recovery, ...]) -> tuple[Recovery, ...]:
    """Slices of at least 5 s, so that the status stays small."""
    joined: list[Recovery] = []
    for item in recent:
        last = joined[-1] if joined else None
        if last and item.at - last.at < timedelta(seconds=5):
            joined[-1] = Recovery(at=last.at, requests=last.requests + item.requests, bad=last.bad + item.bad)
        else:
            joined.append(item)
    return tuple(joined)


def _judge_counts(situation: Situation, rollout: RolloutStatus, increment: Increment) -> RolloutStatus:
    evidence = {name: e.add(increment.operations[name]) for name, e in rollout.evidence.items()}
    failures = rollout.failures.add(increment.failures) if rollout.failures else None
    served = _served(increment)
    judged = {
        "evidence": evidence,
        "failures": failures,
        "first_canary_request_at": rollout.first_canary_request_at or (situation.now if served else None),
        "over_since": _over_since(situation, rollout, evidence),
    }
    return _clocks(situation, rollout.model_copy(update=judged), increment)


def _clocks(situation: Situation, rollout: RolloutStatus, increment: Increment) -> RolloutStatus:
    traffic = situation.now if _served(increment) else rollout.last_traffic_at
    tick = _tick(situation, rollout, traffic)
    return rollout.model_copy(
        update={
            "last_traffic_at": traffic,
            "last_tick": situation.now,
            "step_seconds": rollout.step_seconds + tick,
            "stage_seconds": rollout.stage_seconds + (0.0 if situation.planned.pause else tick),
        }
    )


def _served(increment: Increment) -> int:
    return increment.failures.canary.requests + increment.failures.late_canary.requests


def _tick(situation: Situation, rollout: RolloutStatus, traffic: datetime | None) -> float:
    """Seconds to add to the clocks: they run only with traffic, readable pods, all canaries in place and no pause."""
    in_windows = rollout.state is RolloutState.PROVING and rollout.proving is not None and not rollout.proving.waiting
    runs = (
        rollout.last_tick is not None
        and (rollout.applied_at is not None or in_windows)
        and rollout.blind_since is None
        and not situation.paused
        and traffic is not None
        and situation.since(traffic) <= TRAFFIC_MEMORY
    )
    return min(LONGEST_TICK, situation.since(rollout.last_tick)).total_seconds() if runs else 0.0


def _over_since(
    situation: Situation, rollout: RolloutStatus, evidence: dict[Operation, Evidence]
) -> dict[Operation, datetime]:
    alpha, beta = limits_of(situation.spec)
    return {
        name: rollout.over_since.get(name, situation.now)
        for name, e in evidence.items()
        if e.findings(alpha, beta).over.holds
    }
