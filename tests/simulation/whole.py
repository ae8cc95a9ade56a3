"""The same rollout by the whole `decide`: pods with counters and rings, leases honoured at once, readings when it asks.

Knows: what a pod reports. Must not know: how anything is decided.
"""

from __future__ import annotations

from datetime import timedelta
from math import ceil
from typing import Final

from simulation.course import Story
from simulation.noise import PODS
from simulation.priors import START
from simulation.traffic import TICK, Past, Traffic, revision

from memorystack_operator.api.spec import MemoryStack
from memorystack_operator.core import Decision, Observations, PodSeen, Status, decide
from memorystack_operator.core.canary import choose
from memorystack_operator.core.state import RolloutState
from memorystack_runtime.contract import (
    LADDER_MS,
    RING_LENGTH,
    RING_SECONDS,
    Counters,
    EvidenceReport,
    FlagLease,
    RevisionCounters,
    Snapshot,
)

__all__ = ["Whole"]

MARK: Final = round(RING_SECONDS / TICK)
NOTHING: Final = Counters.model_construct(requests=0, bad=0, failed=0, over=(0,) * len(LADDER_MS))


class Whole:
    """One stack in a world of its own; `flagged` is `plain` with other flags in its spec."""

    def __init__(self, plain: MemoryStack, flagged: MemoryStack, traffic: Traffic, past: Past) -> None:
        self.stack, self.traffic, self.past = plain, traffic, past
        self.status, self.now, self.tick, self.carrying = Status(), START, 0, 0
        self.names = [f"mem-{i}" for i in range(PODS)]
        self.leases: dict[str, FlagLease] = {}
        self.asked, self.rings_read = False, START
        self.budgets = plain.spec.rollout.wire_budgets().revision
        self.stable = self.past_flags = ""
        self.counts: dict[tuple[str, str], Counters] = {}
        self.ring: list[tuple[int, dict[str, tuple[RevisionCounters, ...]]]] = []
        self.canary_bad = self.decisions = 0
        self._decide()
        assert self.status.stable is not None
        self.stable = self.status.stable.revision
        self.past_flags = self.stable
        self.counts = {(name, self.stable): past.totals[i] for i, name in enumerate(self.names)}
        self.stack = flagged
        self._decide()
        self._deal()
        self._decide()
        assert self.status.rollout is not None
        assert self.status.rollout.state is RolloutState.PROGRESSING
        traffic.switch(0, on=True)

    @property
    def seed(self) -> str:
        """Of the switchbacks' lots."""
        rollout = self.status.rollout
        assert rollout is not None
        return f"{self.stack.metadata.uid}|{rollout.revision}|{rollout.started_at.isoformat()}|{rollout.stage}"

    def run(self, longest: float = 4 * 3600.0) -> Story:
        """Until every stage has ended, or one was taken back."""
        decision = self._decide()  # at the flip itself: only the moment of the next reading is news
        while not self._ended and self.tick * TICK < longest:
            self._pass(decision.requeue_after.total_seconds())
            decision = self._decide()
        if not self._ended:
            return Story("Open", "OutOfTime", self.tick * TICK, self.canary_bad, 0)
        last = self.status.history[-1]
        outcome = "Promoted" if last.outcome == "Promoted" else "RolledBack"
        requests = last.judged["recall"].canary_requests
        return Story(outcome, last.reason, self.tick * TICK, self.canary_bad, requests, last.withdrawals)

    def run_on(self, turned: float, longest: float) -> Story:
        """Past the promotion, to `longest` seconds after all `turned` bad, or until the flag is taken back after all."""
        if self.run(longest=turned).outcome != "Promoted":
            return Story("NotPromoted", "NotPromoted", 0.0, self.canary_bad, 0)
        decision, noticed = self._decide(), False
        while self.tick * TICK < turned + longest and not self._taken_back:
            self._pass(decision.requeue_after.total_seconds())
            decision = self._decide()
            noticed = noticed or self.status.watch.over is not None
        last = self.status.history[-1]
        kept = last.reason if last.outcome == "Kept" else "NotAsked" if noticed else "NotNoticed"
        reason = last.reason if self._taken_back else kept
        return Story("TakenBack" if self._taken_back else "Kept", reason, self.tick * TICK - turned, self.canary_bad, 0)

    @property
    def _taken_back(self) -> bool:
        history = self.status.history
        return bool(history) and history[-1].reason == "LateRegression"

    @property
    def _ended(self) -> bool:
        history = self.status.history
        return bool(history) and (
            history[-1].outcome != "Promoted" or (self.status.rollout is None and not self._pending)
        )

    @property
    def _pending(self) -> bool:
        stable = self.status.stable
        return stable is None or stable.features != self.stack.spec.features.flags()

    def _deal(self) -> None:
        """The traffic's first pods are those that the engine takes first."""
        rollout = self.status.rollout
        assert rollout is not None
        order = choose(self._seen().pods, PODS - 1, (), rollout.id)
        self.names = [*order, *(name for name in self.names if name not in order)]
        self.counts = {(name, self.stable): self.past.totals[i] for i, name in enumerate(self.names)}

    def _decide(self) -> Decision:
        # The rings are read when `decide` asks for them, and now and then while a promotion is watched, as the shell does.
        every = self.status.rings_every(self.now)
        rings = self.asked or (every is not None and self.now - self.rings_read >= every)
        self.rings_read = self.now if rings else self.rings_read
        decision = decide(self.stack, self.status, self._seen(history=rings), self.now)
        self.decisions += 1
        self.status, self.leases, self.asked = decision.status, dict(decision.pod_flags), decision.history
        self.stable = decision.status.stable.revision if decision.status.stable else ""
        return decision

    def _pass(self, seconds: float) -> None:
        """Time goes on to the reading that was asked for; on the way the pods take their snapshots."""
        end = self.tick + max(1, ceil(round(seconds / TICK, 6)))
        # Whoever does not serve the flags of before the flip carries the new ones: leased, or for good.
        carrying = [i for i, name in enumerate(self.names) if self._in_force(name) != self.past_flags]
        self.traffic.switch(self.tick, on=bool(carrying))
        while self.tick < end:
            upto = min(end, (self.tick // MARK + 1) * MARK)
            self._serve(upto, carrying)
            if upto % MARK == 0 and self.traffic.ladder:
                taken = {name: self._counters(name) for name in self.names}
                self.ring = [*self.ring, (self.tick, taken)][-RING_LENGTH:]

    def _serve(self, upto: int, carrying: list[int]) -> None:
        served = self.traffic.serve(self.tick, upto, carrying)
        for pod, name in enumerate(self.names):
            flags = self._in_force(name)
            self.counts[name, flags] = _plus(self.counts.get((name, flags), NOTHING), served[:, pod].tolist())
            self.canary_bad += int(served[1, pod]) * (pod in carrying)
        self.now += timedelta(seconds=(upto - self.tick) * TICK)
        self.tick = upto

    def _in_force(self, name: str) -> str:
        lease = self.leases.get(name)
        return lease.revision if lease else self.stable

    def _seen(self, *, history: bool = False) -> Observations:
        return Observations(
            tuple(
                PodSeen(
                    name,
                    f"uid-{name}",
                    START - timedelta(days=1),
                    ready=True,
                    node=name,
                    lease=self.leases.get(name),
                    evidence=self._report(pod, name, history=history),
                )
                for pod, name in enumerate(self.names)
            )
        )

    def _report(self, pod: int, name: str, *, history: bool) -> EvidenceReport:
        return EvidenceReport.model_construct(
            pod=name,
            uid=f"uid-{name}",
            started_at=START.timestamp() - 86_400,
            flags=self._in_force(name),
            source="file",
            budgets=self.budgets,
            counters=self._counters(name),
            ring=self._ring(pod, name) if history else (),
            long_ring=self._past(pod, long=True) if history else (),
        )

    def _ring(self, pod: int, name: str) -> tuple[Snapshot, ...]:
        if not self.ring:
            return self._past(pod)
        return tuple(
            Snapshot.model_construct(age_seconds=(self.tick - tick) * TICK, counters=taken[name])
            for tick, taken in self.ring
        )

    def _past(self, pod: int, *, long: bool = False) -> tuple[Snapshot, ...]:
        """What the pod remembers of the time before the flip, as old as it is by now."""
        passed = self.tick * TICK
        return tuple(
            Snapshot.model_construct(age_seconds=s.age_seconds + passed, counters=s.counters)
            for s in self.past.snapshots(pod, self.past_flags, self.budgets, long=long)
        )

    def _counters(self, name: str) -> tuple[RevisionCounters, ...]:
        return tuple(revision(flags, self.budgets, c) for (who, flags), c in self.counts.items() if who == name)


def _plus(before: Counters, row: list[int]) -> Counters:
    """`row`: requests, bad ones, and where it was counted those over each edge."""
    over = tuple(a + b for a, b in zip(before.over, row[2:], strict=True)) if row[2:] else before.over
    return Counters.model_construct(requests=before.requests + row[0], bad=before.bad + row[1], failed=0, over=over)
