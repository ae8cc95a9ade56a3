"""A pure world for `decide`: pods that honour leases at once, count as the runtime does, and live on a clock of their own."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from functools import wraps

from support.pods import FakePod

from memorystack_operator.api.spec import MemoryStack
from memorystack_operator.core import Decision, Event, Observations, PodSeen, Status, decide
from memorystack_operator.core.observe import RELEASE_IMAGE
from memorystack_runtime.contract import (
    EvidenceReport,
    Features,
    RevisionCounters,
    Snapshot,
)

START = datetime(2026, 1, 1, tzinfo=UTC)


def stack(**spec) -> MemoryStack:
    """A valid stack of three pods with one short step; keyword arguments replace parts of the spec (JSON names)."""
    base = {
        "replicas": 3,
        "qdrant": {"url": "http://qdrant:6333"},
        "embedder": {"url": "http://embedder/v1", "model": "m", "dimensions": 384},
        "auth": {"disabled": True},
        "rollout": {"steps": [{"weight": 34, "minDuration": "10s"}], "analysis": {"interval": "1s", "timeout": "10m"}},
    }
    return MemoryStack.model_validate(
        {"metadata": {"name": "mem", "uid": "u-1", "generation": 1}, "spec": {**base, **spec}}
    )


def rollout(**fields) -> dict:
    """The rollout part of a spec, with some fields replaced."""
    return {"steps": [{"weight": 34, "minDuration": "10s"}], "analysis": {"interval": "1s", "timeout": "10m"}, **fields}


FLAG = {"parallelIngest": {"concurrency": 4}}
POOL = {"httpPool": {"enabled": True, "connections": 1}}


class World:
    """`bad` maps (operation, arm) to the probability of a bad request; the rest of the knobs are attributes."""

    def __init__(self, resource: MemoryStack, *, seed: int = 1, rate: int = 30) -> None:
        self.stack = resource
        self.status = Status()
        self.now = START
        self.rate = rate
        self.epoch = 1
        self.settled = True
        self.scaled = 0
        self.image = RELEASE_IMAGE
        self.bad = {
            ("recall", "stable"): 0.0,
            ("recall", "canary"): 0.0,
            ("store", "stable"): 0.0,
            ("store", "canary"): 0.0,
        }
        self.failed = {"stable": 0.0, "canary": 0.0}
        self.shared = 0.0
        """Least probability of a bad request on every pod while any pod holds the flags: a harmed shared part."""
        self.harmful: dict[str, float] = {}
        """Flags revision -> least probability of a bad request on a pod that serves it: a late regression."""
        self.flooding: dict[str, float] = {}
        """Flags revision -> the same on every pod, times the share of the pods that serve it."""
        self.served: Counter[tuple[str, str]] = Counter()
        """(Flags revision, operation) -> requests, whatever became of the pods that served them."""
        self.events: list[Event] = []
        self.decision: Decision | None = None
        self.decided = resource
        self.chance = random.Random(seed)
        self.serial = 0
        self.pods: list[FakePod] = []
        self.surging: list[FakePod] = []
        """Pods of the second Deployment: the one that is there, and those on their way out."""
        self.surge_starts = True
        """False: the second Deployment gets no pod."""
        self.surge_leaves_after = 0.0
        """Seconds that its pod is still seen after the Deployment has gone."""
        self.decisions = 0
        self.rings_read: datetime | None = None
        self.scale()

    # -- the world's own life -------------------------------------------------

    def scale(self) -> None:
        wanted = self.replicas
        while len(self.pods) < wanted:
            self.serial += 1
            flags = self.status.stable.revision if self.status.stable else "none"
            self.pods.append(FakePod(f"mem-{self.serial}", f"uid-{self.serial}", self.now.timestamp(), flags))
        del self.pods[wanted:]

    def make_surge(self) -> None:
        """The second Deployment as it was rendered last."""
        deployments = [c["metadata"]["name"] for c in self.decision.children if c["kind"] == "Deployment"]
        wanted, now = "mem-canary" in deployments, self.now.timestamp()
        for pod in self.surging:
            if not wanted and pod.leaves_at is None:
                pod.leaves_at = now + self.surge_leaves_after
        self.surging = [p for p in self.surging if p.leaves_at is None or now < p.leaves_at]
        if wanted and self.surge_starts and self.surge_pod is None:
            self.serial += 1
            name = f"mem-canary-{self.serial}"
            stable = self.status.stable.revision
            self.surging.append(FakePod(name, f"uid-{self.serial}", now, stable, surge=True))

    @property
    def surge_pod(self) -> FakePod | None:
        """The one that is there to stay."""
        return next((p for p in self.surging if p.leaves_at is None), None)

    @property
    def everybody(self) -> list[FakePod]:
        """Pods of both Deployments."""
        return [*self.pods, *self.surging]

    @property
    def replicas(self) -> int:
        """What the Deployment is told: by the spec, or by an autoscaler that stands at `scaled`."""
        spec = self.stack.spec
        return spec.replicas or self.scaled or spec.autoscaling.min_replicas

    def edit(self, **spec) -> None:
        """Saves the file: parts of the spec replaced (JSON names)."""
        dumped = self.stack.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        metadata = {**dumped["metadata"], "generation": self.stack.metadata.generation + 1}
        self.stack = MemoryStack.model_validate({"metadata": metadata, "spec": {**dumped["spec"], **spec}})
        self.scale()

    def act(self, action: str) -> None:
        metadata = self.stack.metadata.model_copy(update={"annotations": {"memorystack.dev/action": action}})
        self.stack = self.stack.model_copy(update={"metadata": metadata})

    def restart_operator(self) -> None:
        """The status goes through JSON, the leader's epoch grows."""
        self.status = Status.model_validate_json(self.status.model_dump_json(by_alias=True))
        self.epoch += 1
        self.rings_read = None

    def restart_pod(self, pod: FakePod) -> None:
        pod.counts, pod.ring, pod.long_ring = {}, [], []
        pod.started_at, pod.lease = self.now.timestamp(), None
        pod.restarts += 1
        pod.flags = self.status.stable.revision if self.status.stable else "none"

    def arm(self, pod: FakePod) -> str:
        return "canary" if self.status.stable and pod.flags != self.status.stable.revision else "stable"

    def traffic(self, seconds: float = 1.0) -> None:
        budgets = self.stack.spec.rollout.wire_budgets()
        harm = self.shared if any(self.arm(p) == "canary" for p in self.everybody) else 0.0
        flood = sum(self.flooding.get(p.flags, 0.0) for p in self.everybody) / max(1, len(self.everybody))
        for pod in self.everybody:
            if not pod.ready:
                continue
            for operation in budgets.p95_ms:
                n = round(self.rate * seconds / len(self.everybody))
                arm = self.arm(pod)
                p = max(harm, flood, self.bad[operation, arm], self.harmful.get(pod.flags, 0.0))
                f = self.failed[arm]
                failed = self._draw(n, f)
                bad = self._draw(n - failed, p) + failed
                pod.serve(budgets.revision, operation, n, bad, failed)
                self.served[pod.flags, operation] += n

    def _draw(self, trials: int, p: float) -> int:
        return sum(self.chance.random() < p for _ in range(trials))

    def observe(self, *, history: bool = False) -> Observations:
        """With the rings where the last decision asked for them, or `history` does."""
        rings = history or self.decision is None or self.decision.history
        seen = []
        for pod in self.everybody:
            report = None
            if pod.readable and pod.ready:
                report = EvidenceReport(
                    pod=pod.name,
                    uid=pod.uid,
                    started_at=pod.started_at,
                    flags=pod.flags,
                    source="file",
                    budgets=self.stack.spec.rollout.wire_budgets().revision,
                    counters=pod.counters(),
                    ring=self._aged(pod.ring) if rings else (),
                    long_ring=self._aged(pod.long_ring) if rings else (),
                )
            created = datetime.fromtimestamp(pod.started_at, UTC)
            who = (pod.name, pod.uid, created, pod.ready, pod.name, pod.restarts)
            seen.append(PodSeen(*who, pod.lease, report, pod.surge))
        return Observations(tuple(seen), self.epoch, self.settled, replicas=self.replicas, image=self.image)

    def _aged(self, ring: list[tuple[float, tuple[RevisionCounters, ...]]]) -> tuple[Snapshot, ...]:
        return tuple(Snapshot(age_seconds=max(0.0, self.now.timestamp() - at), counters=c) for at, c in ring)

    # -- one round ------------------------------------------------------------

    def round(self) -> Decision:
        every = self.status.rings_every(self.now)
        asked = self.decision is None or self.decision.history
        due = asked or (every is not None and (self.rings_read is None or self.now - self.rings_read >= every))
        self.rings_read = self.now if due else self.rings_read
        return self.carry_out(decide(self.stack, self.status, self.observe(history=due), self.now))

    def carry_out(self, decision: Decision) -> Decision:
        """Its status is the record, and its leases are on the pods."""
        self.decisions += 1
        self.status, self.decision, self.decided = decision.status, decision, self.stack
        self.events += decision.events
        stable = decision.status.stable
        self.make_surge()
        for pod in self.everybody:
            pod.lease = decision.pod_flags.get(pod.name)
            if pod.obedient and stable:
                pod.flags = pod.lease.revision if pod.lease else stable.revision
        return decision

    def tick(self, seconds: float = 1.0, *, traffic: bool = True) -> Decision:
        left = seconds
        while left > 0:
            self.live(min(left, 30.0), traffic=traffic)
            left -= 30.0
        return self.round()

    def live(self, seconds: float, *, traffic: bool = True) -> None:
        """Time passes, requests are served, and the rings turn; nobody decides."""
        before = self.now.timestamp()
        self.now += timedelta(seconds=seconds)
        if traffic:
            self.traffic(seconds)
        after = self.now.timestamp()
        mark = (after // 30) * 30
        if mark > before:
            for pod in self.everybody:
                pod.ring.append((mark, pod.counters()))
                del pod.ring[:-60]
                if mark % 600 == 0:
                    pod.long_ring.append(pod.ring[-1])
                    del pod.long_ring[:-144]

    def run(self, seconds: int, *, until=None, traffic: bool = True) -> bool:
        """Ticks of one second; True as soon as `until(self)` holds."""
        for _ in range(seconds):
            self.tick(traffic=traffic)
            if until and until(self):
                return True
        return False

    # -- questions ------------------------------------------------------------

    @property
    def flagged(self) -> list[str]:
        return [p.name for p in self.everybody if p.lease]

    @property
    def reasons(self) -> list[str]:
        return [str(e.reason) for e in self.events]

    @property
    def phase(self) -> str:
        return str(self.status.phase)

    @property
    def serving(self) -> Features | None:
        return self.status.stable.features if self.status.stable else None

    def condition(self, kind: str):
        return next((c for c in self.status.conditions if c.type == kind), None)


def remembered(make: Callable[..., World]) -> Callable[..., World]:
    """A world that many tests begin with is lived through once in a process; each gets a copy of its own."""
    made: dict[str, World] = {}

    @wraps(make)
    def copied(*args: object, **kwargs: object) -> World:
        key = repr((args, sorted(kwargs.items())))
        if key not in made:
            made[key] = make(*args, **kwargs)
        return deepcopy(made[key])

    return copied


@remembered
def settled_world(seconds: int = 200, **kwargs) -> World:
    """A world in which the stack has served long enough for a calibration."""
    world = World(stack(), **kwargs)
    world.run(seconds)
    return world
