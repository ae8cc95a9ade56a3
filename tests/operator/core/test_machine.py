"""Whatever happens, in any order: what must always hold of `decide`."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.world import World, rollout, stack

from memorystack_operator.core import decide
from memorystack_operator.core.render import render

VALUES = [0, 4, 8]


class Rollouts(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World(stack())
        self.world.run(150)
        self.rejected: set[str] = set()

    @rule(value=st.sampled_from(VALUES), size=st.sampled_from([100, 500]))
    def edit_the_flags(self, value: int, size: int) -> None:
        self.world.edit(features={"parallelIngest": {"concurrency": value}, "cache": {"maxSize": size}})

    @rule(weight=st.sampled_from([34, 60]))
    def edit_the_steps(self, weight: int) -> None:
        self.world.edit(rollout=rollout(steps=[{"weight": weight, "minDuration": "5s"}]))

    @rule(replicas=st.integers(1, 5))
    def scale(self, replicas: int) -> None:
        self.world.edit(replicas=replicas)

    @rule(seconds=st.integers(1, 40))
    def serve_well(self, seconds: int) -> None:
        for key in self.world.bad:
            self.world.bad[key] = 0.0
        self.watch(seconds)

    @rule(seconds=st.integers(1, 40))
    def serve_badly_on_the_canary(self, seconds: int) -> None:
        self.world.bad["store", "canary"] = 0.6
        for _ in range(seconds):
            before = len(self.world.flagged)
            stage = self.world.status.rollout.id if self.world.status.rollout else ""
            self.world.tick()
            after = self.world.status.rollout
            if after and after.id == stage and after.step_seconds > 2:
                assert len(self.world.flagged) <= max(before, self.world.stack.spec.replicas - 1)
        self.world.bad["store", "canary"] = 0.0

    @rule(seconds=st.integers(1, 200))
    def go_blind(self, seconds: int) -> None:
        for pod in self.world.pods:
            pod.readable = False
        before = len(self.world.flagged)
        for _ in range(min(seconds, 130)):
            self.world.tick()
            assert len(self.world.flagged) <= max(before, 0)
        for pod in self.world.pods:
            pod.readable = True

    @rule(index=st.integers(0, 4))
    def lose_a_pod(self, index: int) -> None:
        if index < len(self.world.pods) > 1:
            del self.world.pods[index]
            self.world.scale()
        self.watch(1)

    @rule()
    def restart_the_operator(self) -> None:
        self.world.restart_operator()
        self.watch(1)

    @rule(seconds=st.integers(-3600, 3600))
    def jump_the_clock(self, seconds: int) -> None:
        self.world.now += timedelta(seconds=seconds)
        self.world.round()

    @rule(verb=st.sampled_from(["promote", "abort", "pause", "resume"]), serial=st.integers(0, 999))
    def act(self, verb: str, serial: int) -> None:
        self.world.act(f"{verb}@{serial}")
        self.watch(1)

    def watch(self, seconds: int) -> None:
        for _ in range(seconds):
            self.world.tick()

    @invariant()
    def there_is_always_a_stable_arm(self) -> None:
        ready = [p for p in self.world.everybody if p.ready]
        if ready and self.world.status.stable:
            assert len(self.world.flagged) < max(2, len(ready))
            assert len(self.world.flagged) < len(ready) or not self.world.flagged
            assert not any(p.lease for p in self.world.surging)

    @invariant()
    def a_surge_pod_is_there_only_for_a_flag_that_waits_or_is_tried(self) -> None:
        if self.world.surging:
            assert self.world.status.surge

    @invariant()
    def what_was_rejected_is_not_being_tried(self) -> None:
        rollout_now = self.world.status.rollout
        if rollout_now:
            barred = {(r.stage, r.value, r.template) for r in self.world.status.rejected}
            assert (rollout_now.stage, rollout_now.value, self.world.status.stable.template) not in barred

    @invariant()
    def deciding_again_changes_nothing(self) -> None:
        seen = self.world.observe()
        first = decide(self.world.stack, self.world.status, seen, self.world.now)
        second = decide(self.world.stack, first.status, seen, self.world.now)
        again = decide(self.world.stack, first.status, seen, self.world.now)
        assert second == again

    @invariant()
    def children_are_what_the_status_says(self) -> None:
        if self.world.decision:
            assert self.world.decision.children == render(self.world.decided, self.world.decision.status)

    @precondition(lambda self: self.world.status.rollout is None)
    @invariant()
    def no_rollout_means_no_lease(self) -> None:
        assert self.world.flagged == []

    def teardown(self) -> None:
        """It terminates: with good data and nobody interfering, every stack comes to rest."""
        world = self.world
        world.edit(rollout=rollout(), replicas=3)
        world.act("resume@last")
        for key in world.bad:
            world.bad[key] = 0.0
        world.run(1500, until=lambda w: w.status.rollout is None and w.status.settling is None)
        assert world.status.rollout is None


TestRollouts = Rollouts.TestCase
TestRollouts.settings = settings(
    max_examples=12, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)
