"""How many pods carry a step, which ones, and the plan of steps. Knows weights and pods; nothing of evidence."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence

from memorystack_operator.api.spec import Step
from memorystack_operator.core.observe import PodSeen
from memorystack_operator.core.state import PlannedStep

__all__ = ["choose", "compared_pods", "plan_of", "pods_for", "restarts_of", "weight_at"]


def pods_for(weight: int, replicas: int) -> int:
    """k of design.md 5: the nearest whole number of pods, at least one, and never all."""
    if weight == 0:
        return 0
    return min(replicas - 1, max(1, int(weight * replicas / 100 + 0.5)))


def compared_pods(replicas: int) -> int:
    """Pods among which a flag is tried: one replica is compared with a surge pod."""
    return max(2, replicas)


def plan_of(steps: Sequence[Step], replicas: int) -> tuple[tuple[PlannedStep, ...], str]:
    """The steps as they will be walked, and a note: a step that needs as many pods as the one before is merged with it."""
    planned: list[PlannedStep] = []
    merged: list[str] = []
    for step in steps:
        if step.weight is None:
            planned.append(PlannedStep(weight=0))
            continue
        new = PlannedStep(weight=step.weight, min_seconds=step.min_duration.total_seconds())
        last = planned[-1] if planned else None
        if last and not last.pause and pods_for(last.weight, replicas) == pods_for(new.weight, replicas):
            merged.append(f"{last.weight} % and {new.weight} %")
            new = new.model_copy(update={"min_seconds": max(last.min_seconds, new.min_seconds)})
            planned[-1] = new
        else:
            planned.append(new)
    note = f"merged, as they take the same number of {replicas} pods: {', '.join(merged)}" if merged else ""
    return tuple(planned), note


def weight_at(plan: Sequence[PlannedStep], step: int) -> int:
    """In force at this step, from 0: a pause keeps the weight of the step before it."""
    return next((planned.weight for planned in reversed(plan[: step + 1]) if not planned.pause), 0)


def choose(pods: Sequence[PodSeen], count: int, keep: Sequence[str], seed: str) -> tuple[str, ...]:
    """Names of `count` ready pods: those of `keep` that are still there, then spread over nodes, by a hash of `seed`.

    The hash sees to it that no pod is always the one; among equals the oldest would be, so age only breaks ties.
    """
    ready = {p.name: p for p in pods if p.ready}
    chosen = [name for name in keep if name in ready][:count]
    if len(chosen) == count:
        return tuple(chosen)
    used = Counter(ready[name].node for name in chosen)
    rest = sorted((p for p in ready.values() if p.name not in chosen), key=lambda p: (_lot(seed, p), p.created_at))
    while len(chosen) < count and rest:
        best = min(rest, key=lambda p: used[p.node])
        rest.remove(best)
        used[best.node] += 1
        chosen.append(best.name)
    return tuple(chosen)


def restarts_of(pods: Iterable[PodSeen]) -> dict[str, int]:
    """Those that had any, by name: in a large stack hardly one has."""
    return {p.name: p.restarts for p in pods if p.restarts}


def _lot(seed: str, pod: PodSeen) -> str:
    return hashlib.sha256(f"{seed}|{pod.uid}".encode()).hexdigest()
