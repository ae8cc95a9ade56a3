"""One rollout of one flag, driven by the shipped statistics alone: evidence, verdict table, switchback, error levels.

Knows: what `decide` does between two readings, in the fewest steps; `whole.py` runs `decide` itself on the same traffic,
and a test holds the two together. Must not know: noise, or what the flag does.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Final

from simulation.noise import PODS
from simulation.priors import START
from simulation.traffic import BUDGET_MS, TICK, Traffic

from memorystack_operator.api.spec import MemoryStack
from memorystack_operator.core.calibration import Prior
from memorystack_operator.core.canary import plan_of, pods_for
from memorystack_operator.core.evidence import P0, DesignEffect, Evidence, Read, Tally
from memorystack_operator.core.limits import limits_of, switchback_level
from memorystack_operator.core.state import RECOVERY
from memorystack_operator.core.switchback import Answer, Switchback
from memorystack_operator.core.verdict import Case, Judged, Outcome, Verdict, judge

__all__ = ["Course", "Story"]

EAGER: Final = 500
STABLE, FLAGGED = "stable", "flagged"


@dataclass(frozen=True, slots=True)
class Story:
    """How a rollout ended. Times in seconds since the flip."""

    outcome: str
    reason: str
    seconds: float
    canary_bad: int
    canary_requests: int
    withdrawals: int = 0
    withdrawn_at: float | None = None
    switchback_seconds: float = 0.0
    """Of the last switchback."""
    proving: bool = False


class Course:
    """State of one rollout under simulation."""

    def __init__(
        self,
        stack: MemoryStack,
        traffic: Traffic,
        prior: Prior,
        *,
        phi_rel: float | None = None,
        seed: str = "",
    ) -> None:
        """`phi_rel` replaces the measured design effect between pods; `seed` is of the switchbacks' lots."""
        self.stack, self.traffic, self.prior = stack, traffic, prior
        self.seed = seed or traffic.name
        self.base_effect = prior.effect if phi_rel is None else prior.effect.model_copy(update={"phi_rel": phi_rel})
        self.plan, _ = plan_of(stack.spec.rollout.steps, PODS)
        self.alpha, self.beta = limits_of(stack.spec)
        self.timeout = stack.spec.rollout.analysis.timeout
        self.interval = stack.spec.rollout.analysis.interval.total_seconds()
        self.tick, self.step = 0, 0
        self.carrying = self.canaries
        self.evidence = Evidence(effect=self._effect(), strict=stack.spec.rollout.analysis.sensitivity == "Strict")
        self.step_seconds = self.stage_seconds = 0.0
        self.over_since: int | None = None
        self.served, self.withdrawals, self.withdrawn_at = False, 0, None
        self.number, self.switchback_seconds, self.proved = 0, 0.0, False
        self.canary_bad = 0
        self.seen: dict[tuple[int, str], tuple[int, int]] = {}
        self.totals: dict[tuple[int, str], tuple[int, int]] = {}
        traffic.switch(0, on=True)
        for pod in range(PODS):
            self.seen[pod, FLAGGED if pod < self.carrying else STABLE] = (0, 0)

    @property
    def canaries(self) -> int:
        """Pods that this step wants."""
        return pods_for(self.plan[self.step].weight, PODS)

    @property
    def now(self) -> datetime:
        """On the engine's clock."""
        return START + timedelta(seconds=self.tick * TICK)

    def run(self) -> Story:
        """Until promoted everywhere, rolled back, or out of time."""
        while True:
            verdict = self._read_and_judge()
            if verdict.outcome is Outcome.PROMOTE:
                if self.step + 1 == len(self.plan):
                    return self._story("Promoted", verdict.reason.value)
                self._advance()
            elif verdict.outcome is Outcome.WITHDRAW:
                ended = self._withdrawn(pooled=verdict.reason == "EnvironmentOverBudget")
                if ended:
                    return ended
            elif verdict.outcome in (Outcome.ROLLBACK, Outcome.INCONCLUSIVE):
                return self._story("RolledBack", verdict.reason.value)

    def switchback_alone(self, rate: float = 100.0) -> Story:
        """Only the question whether the flag harms everybody, as if it had just been withdrawn and all were well again."""
        self._serve(TICK, on=False)
        for pod in range(PODS):
            self.seen.setdefault((pod, STABLE), (0, 0))
        self._counted(0, STABLE)
        return self._switchback(rate, pooled=True) or self._story("Cleared", "EnvironmentCleared")

    # -- the canary is judged -------------------------------------------------

    def _read_and_judge(self) -> Verdict:
        seconds = self._serve(self._pause(), on=True)
        self.evidence = self.evidence.add(self._counted(self.carrying, FLAGGED))
        self.served = self.served or self.evidence.canary_requests > 0
        self.step_seconds += seconds
        self.stage_seconds += seconds
        return self._judge()

    def _pause(self) -> float:
        """Seconds to the next reading, as `decide` asks for it while the flags are on."""
        if not self.served:
            return 0.2
        eager = self.evidence.canary_requests < EAGER
        return min(1.0 if eager else self.interval, 5.0)

    def _judge(self) -> Verdict:
        findings = self.evidence.findings(self.alpha, self.beta)
        if not findings.over.holds:
            self.over_since = None
        elif self.over_since is None:
            self.over_since = self.tick
        over_for = 0.0 if self.over_since is None else (self.tick - self.over_since) * TICK
        judged = Judged(
            "recall",
            "250ms",
            findings,
            self.evidence.canary,
            self.evidence.stable,
            self.prior.over_budget_before,
            timedelta(seconds=over_for),
        )
        analysis = self.stack.spec.rollout.analysis
        return judge(
            Case(
                (judged,),
                require_better=analysis.require == "Better",
                early=self.step_seconds < self.plan[self.step].min_seconds,
                timed_out=self.stage_seconds >= self.timeout.total_seconds(),
            )
        )

    def _advance(self) -> None:
        """The next step; its new pod gets the flags after one more reading, which judges nothing."""
        self.step += 1
        self.evidence = self.evidence.next_step(self._effect())
        self.step_seconds = 0.0
        if self.canaries == self.carrying:
            return
        self._serve(self._pause(), on=True)
        for pod in range(self.carrying, self.canaries):
            self._since(pod, FLAGGED)
        self.evidence = self.evidence.add(self._counted(self.carrying, FLAGGED, skip=self.canaries))
        self._judge()
        self.carrying = self.canaries

    def _effect(self) -> DesignEffect:
        return self.base_effect.for_share(self.canaries / PODS)

    # -- the flags are taken back without a verdict ---------------------------

    def _withdrawn(self, *, pooled: bool) -> Story | None:
        """Wait for recovery, then the switchback; None: cleared, the step goes on."""
        self.withdrawals += 1
        self.withdrawn_at = self.tick * TICK if self.withdrawn_at is None else self.withdrawn_at
        since, recent = self.tick, list[tuple[int, Tally]]()
        while True:
            self._serve(min(5.0, self.interval), on=False)
            waited = (self.tick - since) * TICK
            recent = self._recent(recent, self._counted(0, STABLE).stable)
            total = sum((tally for _, tally in recent), Tally())
            if waited >= RECOVERY.total_seconds() and total.requests and total.bad <= P0 * total.requests:
                return self._switchback(total.requests / RECOVERY.total_seconds(), pooled=pooled)
            if waited > self.timeout.total_seconds():
                return self._story("RolledBack", "Inconclusive")

    def _recent(self, recent: list[tuple[int, Tally]], read: Tally) -> list[tuple[int, Tally]]:
        """The last minute, in slices of at least five seconds."""
        kept = [item for item in recent if (self.tick - item[0]) * TICK <= RECOVERY.total_seconds()]
        if kept and (self.tick - kept[-1][0]) * TICK < 5.0:
            return [*kept[:-1], (kept[-1][0], kept[-1][1] + read)]
        return [*kept, (self.tick, read)]

    def _switchback(self, rate: float, *, pooled: bool) -> Story | None:
        self.number += 1
        test = Switchback(
            number=self.number,
            seed=self.seed,
            operation="recall",
            pooled=pooled,
            rate=round(rate, 3),
            settle_floor=BUDGET_MS / 1000,
            epoch=1,
            started_at=self.now,
            since=self.now,
            last_read=self.now,
        )
        level = switchback_level(self.stack.spec, self.number)
        while True:
            on = test.on
            pause = min(1.0, max(0.05, test.due(self.now).total_seconds()))
            self._serve(pause, on=on)
            read = self._counted(self.carrying, FLAGGED if on else STABLE)
            test = test.after(read, self.now, fit=True, in_place=True, epoch=1)
            self.switchback_seconds = (self.now - test.started_at).total_seconds()
            answer = test.answer(level)
            if answer is Answer.HARMS:
                return self._story("RolledBack", "HarmsSharedDependency")
            if answer is Answer.CLEARED:
                self.evidence, self.over_since = self.evidence.environment_cleared(), None
                return None
            if self.now - test.started_at > self.timeout:
                return self._story("RolledBack", "Inconclusive")

    # -- counting, as core/arms.py does ---------------------------------------

    def _serve(self, seconds: float, *, on: bool) -> float:
        """Traffic until the next reading, which falls on the grid; the seconds that passed."""
        ticks = max(1, ceil(round(seconds / TICK, 6)))
        self.traffic.switch(self.tick, on=on)
        served = self.traffic.serve(self.tick, self.tick + ticks, range(self.carrying if on else 0))
        for pod in range(PODS):
            key = (pod, FLAGGED if on and pod < self.carrying else STABLE)
            before = self.totals.get(key, (0, 0))
            self.totals[key] = (before[0] + int(served[0, pod]), before[1] + int(served[1, pod]))
        if on:
            self.canary_bad += int(served[1, : self.carrying].sum())
        self.tick += ticks
        return ticks * TICK

    def _counted(self, canaries: int, flags: str, skip: int = 0) -> Read:
        """What the reading adds to both arms; pods from `canaries` up to `skip` are in neither."""
        arms = [Tally(), Tally()]
        for pod in range(PODS):
            if canaries <= pod < skip:
                continue
            arm = 0 if pod < canaries else 1
            arms[arm] = arms[arm] + self._since(pod, flags if arm == 0 else STABLE)
        return Read(*arms)

    def _since(self, pod: int, flags: str) -> Tally:
        """Since the pod was last read under these flags; nothing at the first time."""
        now = self.totals.get((pod, flags), (0, 0))
        before = self.seen.get((pod, flags))
        self.seen[pod, flags] = now
        return Tally() if before is None else Tally(now[0] - before[0], now[1] - before[1])

    def _story(self, outcome: str, reason: str) -> Story:
        return Story(
            outcome,
            "Inconclusive" if reason == "TimedOut" else reason,
            self.tick * TICK,
            self.canary_bad,
            self.evidence.canary_requests,
            self.withdrawals,
            self.withdrawn_at,
            self.switchback_seconds,
            self.proved,
        )
