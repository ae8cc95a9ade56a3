"""The surge pod: whom a single replica is compared with. What is on record of it, and when it is warm.

Knows: pods as they were seen. Must not know: flags, or why a surge pod is wanted. A pod that is not warm yet, or was
left by an earlier trial, is kept from the arms here, so that nothing else has to tell such pods apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from memorystack_operator.api.status import Model
from memorystack_operator.core.observe import Observations, PodSeen, Warming

__all__ = ["Surge", "missing", "received"]


class Surge(Model):
    """The second Deployment of a stack with one replica."""

    since: datetime
    """Since when its pod is waited for: since it was asked for, or was lost."""
    before: tuple[str, ...] = ()
    """Uids of pods that an earlier one had left; they are on their way out."""
    uid: str = ""
    """Of the pod."""
    ready_since: datetime | None = None
    """Since when that pod is ready."""
    warm: bool = False
    """It may be compared with."""
    failed_at: datetime | None = None
    """When it was given up; its Deployment is gone, and the flag waits."""
    failure: str = ""
    """Why."""

    @property
    def runs(self) -> bool:
        """The second Deployment is there."""
        return self.failed_at is None


def received(surge: Surge | None, seen: Observations, now: datetime) -> tuple[Surge | None, Observations]:
    """The record after this reading, and the pods as guards are to see them: until it is warm, it is not ready."""
    ours = [p for p in seen.pods if not p.surge]
    if surge is None or not surge.runs:
        return surge, replace(seen, pods=tuple(ours), leftover=tuple(p.uid for p in seen.pods if p.surge))
    pod = _pod(surge, seen.pods)
    surge = _looked_at(surge, pod, seen.warming, now)
    if pod is not None:
        ours.append(replace(pod, ready=surge.warm))
    return surge, replace(seen, pods=tuple(ours))


def missing(surge: Surge, seen: Observations, now: datetime) -> str:
    """What a surge pod that is not warm still lacks; `seen` as `received` gave it."""
    pod = next((p for p in seen.pods if p.surge), None)
    trouble = next((t for t in seen.troubles if t.surge), None)
    if surge.ready_since is None or pod is None:
        return trouble.message if trouble else f"{pod.name} is not ready" if pod else "it has not been made yet"
    if pod.evidence is None:
        return f"the evidence of {pod.name} cannot be read"
    served, rule = (now - surge.ready_since).total_seconds(), seen.warming
    return (
        f"{pod.name} has served {served:.0f} s and {pod.served} requests; {rule.serving.total_seconds():.0f} s and "
        f"{rule.requests}, or {rule.longest.total_seconds():.0f} s with fewer, are needed"
    )


def _pod(surge: Surge, pods: Sequence[PodSeen]) -> PodSeen | None:
    """The one that is known, while it is there; else a ready one, else any."""
    found = [p for p in pods if p.surge and p.uid not in surge.before]
    return min(found, key=lambda p: (p.uid != surge.uid, not p.ready, p.name), default=None)


def _looked_at(surge: Surge, pod: PodSeen | None, rule: Warming, now: datetime) -> Surge:
    ready = pod is not None and pod.ready
    same = pod is not None and pod.uid == surge.uid
    if surge.warm and ready and same:
        return surge
    since = now if surge.warm else min(surge.since, now)  # lost: the wait for it begins anew; and clocks jump back
    known = surge.ready_since if same and surge.ready_since else now
    ready_since = min(known, now) if ready else None
    changed = {"since": since, "uid": pod.uid if pod else "", "ready_since": ready_since, "warm": False}
    after = surge.model_copy(update=changed)
    return after.model_copy(update={"warm": pod is not None and _warm(after, pod, rule, now)})


def _warm(surge: Surge, pod: PodSeen, rule: Warming, now: datetime) -> bool:
    """It has filled its caches and pools by serving, or there was little to serve."""
    if surge.ready_since is None or pod.evidence is None:
        return False
    served = max(timedelta(), now - surge.ready_since)
    return served >= rule.longest or (served >= rule.serving and pod.served >= rule.requests)
