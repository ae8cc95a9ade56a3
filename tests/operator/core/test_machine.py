"""Whatever happens, in any order: what must always hold of `decide`.

Each run begins in a phase of its own, the deep ones among them. A usual run repeats the same few;
`MACHINE_EXAMPLES=2000` asks for more, and for other ones.
"""

from __future__ import annotations

import os
from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.starts import STARTS, start
from support.world import rollout

from memorystack_operator.core import Decision, Status, decide
from memorystack_operator.core.render import render

VALUES = [0, 4, 8]
STEPS = [
    [{"weight": 34, "minDuration": "5s"}],
    [{"weight": 25, "minDuration": "5s"}, {"weight": 60, "minDuration": "5s"}],
    [{"weight": 25, "minDuration": "5s"}, {"pause": {}}, {"weight": 50, "minDuration": "5s"}],
]
GIVES_FLAGS_TO_ALL = {"StagePromoted", "PromotedByHand", "LateRegression", "NotJudged"}
"""Without one of these events nothing that serves everywhere may change."""
AT_REST = 8
"""Decisions on the same observations after which nothing more may happen: begin, flip, and what follows at once."""


class Rollouts(RuleBasedStateMachine):
    @initialize(name=st.sampled_from(sorted(STARTS)))
    def begin(self, name: str) -> None:
        self.world = start(name)
        self.replicas = 1 if self.world.stack.spec.replicas == 1 else 3

    # -- what people do ---------------------------------------------------------

    @rule(value=st.sampled_from(VALUES), size=st.sampled_from([100, 500]), pooled=st.booleans())
    def edit_the_flags(self, value: int, size: int, pooled: bool) -> None:
        flags = {"parallelIngest": {"concurrency": value}, "cache": {"maxSize": size}, "httpPool": {"enabled": pooled}}
        self.world.edit(features=flags)

    @rule(
        steps=st.sampled_from(STEPS),
        promotion=st.sampled_from(["Plain", "Paired"]),
        require=st.sampled_from(["WithinBudget", "Better"]),
        undecided=st.sampled_from(["Rollback", "Hold"]),
        on_reject=st.sampled_from(["Stop", "Continue"]),
        budget=st.sampled_from(["250ms", "320ms"]),
    )
    def edit_the_rollout(
        self, steps: list, promotion: str, require: str, undecided: str, on_reject: str, budget: str
    ) -> None:
        analysis = {
            "interval": "1s",
            "timeout": "5m",
            "promotion": promotion,
            "require": require,
            "onInconclusive": undecided,
        }
        budgets = [{"operation": "recall", "p95": "250ms"}, {"operation": "store", "p95": budget}]
        self.world.edit(rollout=rollout(steps=steps, analysis=analysis, onReject=on_reject, budgets=budgets))

    @rule(value=st.sampled_from(["1", "2"]))
    def edit_the_template(self, value: str) -> None:
        self.world.edit(template={"env": [{"name": "A", "value": value}]})
        self.world.tick()

    @rule(replicas=st.integers(1, 6))
    def scale(self, replicas: int) -> None:
        self.world.edit(replicas=replicas)
        self.watch(1)

    @rule(verb=st.sampled_from(["promote", "abort", "pause", "resume", "retry", "dance"]), serial=st.integers(0, 999))
    def act(self, verb: str, serial: int) -> None:
        self.world.act(f"{verb}@{serial}")
        self.watch(1)

    # -- what the world does ----------------------------------------------------

    @rule(seconds=st.integers(1, 60))
    def serve_well(self, seconds: int) -> None:
        self.recover()
        self.watch(seconds)

    @rule(seconds=st.integers(1, 60), p=st.sampled_from([0.07, 0.2, 0.6]))
    def serve_slowly_everywhere(self, seconds: int, p: float) -> None:
        for key in self.world.bad:
            self.world.bad[key] = p
        self.watch(seconds)

    @rule(seconds=st.integers(1, 60), p=st.sampled_from([0.1, 0.4]))
    def harm_a_shared_part(self, seconds: int, p: float) -> None:
        self.world.shared = p
        self.watch(seconds)

    @rule(p=st.sampled_from([0.08, 0.4]))
    def spoil_what_serves(self, p: float) -> None:
        if self.world.status.stable:
            self.world.harmful = {self.world.status.stable.revision: p}
        for _ in range(20):
            self.world.tick(15 if self.world.status.rollout is None else 1)
        self.world.harmful = {}

    @rule(share=st.sampled_from([0.03, 0.5]))
    def fail_where_the_promoted_value_serves(self, share: float) -> None:
        self.world.failed["stable"] = share
        for _ in range(20):
            self.world.tick(15 if self.world.status.rollout is None else 1)
        self.world.failed["stable"] = 0.0

    @rule()
    def serve_badly_on_the_canary_until_it_is_gone(self) -> None:
        """Bad p95 ends at weight 0 within a bound, unless a person or the world holds everything back."""
        world = self.world
        self.recover()
        world.bad["store", "canary"] = world.bad["recall", "canary"] = 0.6
        for second in range(240):
            step = self.step
            world.tick()
            # What it served well before may bring it one step on while the first bad answers arrive.
            assert second < 10 or not self.forward(step), "a step forward on bad data"
        world.bad["store", "canary"] = world.bad["recall", "canary"] = 0.0
        current = world.status.rollout
        held = world.status.paused or world.stack.spec.rollout.paused
        # In windows a flag is on half of the time, until they have decided or time is out.
        asked = current is not None and current.state in ("Switchback", "Proving")
        assert held or current is None or not world.flagged or current.reverse or asked

    @rule(seconds=st.integers(1, 20), share=st.sampled_from([0.05, 0.5]))
    def fail_on_the_canary(self, seconds: int, share: float) -> None:
        self.world.failed["canary"] = share
        self.watch(seconds)
        self.world.failed["canary"] = 0.0

    @rule(seconds=st.integers(1, 200))
    def go_blind(self, seconds: int) -> None:
        for pod in self.world.pods:
            pod.readable = False
        for _ in range(min(seconds, 130)):
            # What is on record and not yet done, as after a death in between, is done all the same.
            recorded = self.world.status.rollout
            flagged = {*self.world.flagged, *(recorded.pods if recorded and recorded.flags_on else ())}
            step = self.step
            self.world.tick()
            assert set(self.world.flagged) <= flagged, "a flag was lent while nothing could be read"
            assert not self.forward(step)
        for pod in self.world.pods:
            pod.readable = True

    @rule(index=st.integers(0, 5), seconds=st.integers(1, 30))
    def miss_one_pod(self, index: int, seconds: int) -> None:
        pod = self.world.pods[index % len(self.world.pods)]
        pod.readable = False
        self.watch(seconds)
        pod.readable = True

    @rule(seconds=st.integers(1, 30))
    def send_nothing(self, seconds: int) -> None:
        for _ in range(seconds):
            self.world.tick(traffic=False)

    @rule(index=st.integers(0, 5))
    def lose_a_pod(self, index: int) -> None:
        if index < len(self.world.pods):
            del self.world.pods[index]
            self.world.scale()
        self.watch(1)

    @rule(index=st.integers(0, 5), away=st.integers(0, 10))
    def restart_a_pod(self, index: int, away: int) -> None:
        pod = self.world.pods[index % len(self.world.pods)]
        pod.ready = False
        self.watch(away)
        pod.ready = True
        self.world.restart_pod(pod)
        self.watch(1)

    @rule(index=st.integers(0, 5), seconds=st.integers(1, 30))
    def disobey(self, index: int, seconds: int) -> None:
        pod = self.world.pods[index % len(self.world.pods)]
        pod.obedient = False
        self.watch(seconds)
        pod.obedient = True

    @rule(seconds=st.integers(1, 20))
    def roll_the_deployment(self, seconds: int) -> None:
        self.world.settled = False
        self.watch(seconds)
        self.world.settled = True

    # -- what befalls the surge pod of a single replica ----------------------------

    @precondition(lambda self: self.world.surging)
    @rule(away=st.sampled_from([0, 5, 60, 400]))
    def lose_the_surge_pod(self, away: int) -> None:
        """Its node dies, and another comes at once, late, or after it was given up."""
        self.world.surge_starts, self.world.surging = away == 0, []
        self.watch(1 + away)
        self.world.surge_starts = True

    @precondition(lambda self: self.world.surge_pod)
    @rule(seconds=st.sampled_from([1, 20, 90, 400]))
    def make_the_surge_pod_ready_late(self, seconds: int) -> None:
        pod = self.world.surge_pod
        pod.ready = False
        self.watch(seconds)
        pod.ready = True

    @precondition(lambda self: self.world.surge_pod)
    @rule(away=st.integers(0, 10))
    def restart_the_surge_pod(self, away: int) -> None:
        pod = self.world.surge_pod
        pod.ready = away == 0
        self.watch(away)
        pod.ready = True
        self.world.restart_pod(pod)
        self.watch(1)

    @precondition(lambda self: self.world.surge_pod)
    @rule(seconds=st.sampled_from([5, 40, 150]))
    def miss_the_surge_pod(self, seconds: int) -> None:
        pod = self.world.surge_pod
        pod.readable = False
        self.watch(seconds)
        pod.readable = True

    @rule(seconds=st.sampled_from([0.0, 5.0, 60.0]))
    def removed_surge_pods_take_their_time(self, seconds: float) -> None:
        self.world.surge_leaves_after = seconds

    # -- what befalls the operator ----------------------------------------------

    @rule(away=st.sampled_from([0, 5, 90, 4000]))
    def restart_the_operator(self, away: int) -> None:
        self.world.restart_operator()
        self.world.live(float(away))
        self.watch(1)

    @rule()
    def die_before_the_record(self) -> None:
        """Decided, and never written: the next operator decides again from the older record."""
        self.world.live(1.0)
        decide(self.world.stack, self.world.status, self.world.observe(), self.world.now)
        self.world.restart_operator()
        self.watch(1)

    @rule()
    def die_after_the_record(self) -> None:
        """Written, and nothing of it done: the pods still have the leases of before."""
        self.world.live(1.0)
        decision = decide(self.world.stack, self.world.status, self.world.observe(), self.world.now)
        self.world.status = decision.status
        self.world.events += decision.events
        self.world.restart_operator()
        self.watch(1)

    @rule(seconds=st.integers(-3600, 3600))
    def jump_the_clock(self, seconds: int) -> None:
        self.world.now += timedelta(seconds=seconds)
        self.world.round()

    # -- how time passes --------------------------------------------------------

    @property
    def step(self) -> tuple[str, int]:
        """Which step of which stage; between stages there is none."""
        current = self.world.status.rollout
        return (current.id, current.step) if current else ("", 0)

    def forward(self, before: tuple[str, int]) -> bool:
        """The same stage is at a later step."""
        return self.step[0] == before[0] and self.step[1] > before[1]

    def recover(self) -> None:
        self.world.shared = 0.0
        for key in self.world.bad:
            self.world.bad[key] = 0.0

    def watch(self, seconds: int) -> None:
        for _ in range(seconds):
            before, events = self.world.status, len(self.world.events)
            self.world.tick()
            self.compare(before, self.world.status, {str(e.reason) for e in self.world.events[events:]})
            self.half_of_a_single_replica_is_compared_with()

    def half_of_a_single_replica_is_compared_with(self) -> None:
        """Asked when it was just decided, as pods may go in the second after."""
        world = self.world
        if world.status.surge and world.flagged:
            assert any(p.ready and not p.lease and p.leaves_at is None for p in world.everybody)

    @staticmethod
    def compare(before: Status, after: Status, told: set[str]) -> None:
        if before.stable and after.stable and before.stable.features != after.stable.features:
            assert told & GIVES_FLAGS_TO_ALL
        one, two = before.rollout, after.rollout
        if one and two and one.id == two.id:
            for name, evidence in two.evidence.items():
                if name in one.evidence:
                    assert evidence.canary_requests >= one.evidence[name].canary_requests
                    assert evidence.stable_requests >= one.evidence[name].stable_requests

    # -- what always holds ------------------------------------------------------

    @invariant()
    def there_is_always_a_stable_arm(self) -> None:
        world = self.world
        everywhere = world.status.rollout and world.status.rollout.everywhere
        if world.status.stable and world.flagged and not everywhere:
            assert len(world.flagged) < len(world.pods) + (world.surge_pod is not None)

    @invariant()
    def there_is_one_surge_pod_at_most_and_it_never_gets_a_flag(self) -> None:
        world = self.world
        second = [
            c for c in world.decision.children if c["kind"] == "Deployment" and c["metadata"]["name"] == "mem-canary"
        ]
        surge = world.status.surge
        assert len(second) == (surge is not None and surge.runs)
        assert all(c["spec"]["replicas"] == 1 for c in second)
        assert not {p.name for p in world.surging} & set(world.decision.pod_flags)
        assert surge is None or surge.uid not in {p.uid for p in world.surging if p.leaves_at is not None}

    @invariant()
    def a_share_of_zero_is_told(self) -> None:
        decision = self.world.decision
        current = decision.status.rollout
        if current and current.flags_on and not decision.pod_flags:
            assert decision.status.phase in ("Waiting", "Paused")

    @invariant()
    def a_lease_is_of_the_stage_under_way_and_on_its_pods_only(self) -> None:
        decision = self.world.decision
        current = decision.status.rollout
        if current is None or not current.flags_on:
            assert decision.pod_flags == {}
            return
        assert set(decision.pod_flags) == set(current.pods)
        for lease in decision.pod_flags.values():
            assert (lease.revision, lease.features, lease.epoch) == (
                current.revision,
                current.target,
                self.world.epoch,
            )

    @invariant()
    def what_was_rejected_is_not_being_tried(self) -> None:
        current = self.world.status.rollout
        if current:
            barred = {(r.stage, r.value, r.template) for r in self.world.status.rejected}
            assert (current.stage, current.value, self.world.status.stable.template) not in barred

    @invariant()
    def deciding_again_comes_to_rest(self) -> None:
        seen = self.world.observe()
        decision = self.again(self.world.status, seen)
        for _ in range(AT_REST):
            before, decision = decision, self.again(decision.status, seen)
            self.compare(before.status, decision.status, {str(e.reason) for e in decision.events})
        assert decision.events == ()
        assert self.again(decision.status, seen) == decision

    def again(self, status: Status, seen: object) -> Decision:
        return decide(self.world.stack, status, seen, self.world.now)

    @invariant()
    def no_request_is_counted_twice(self) -> None:
        current = self.world.status.rollout
        for name, evidence in current.evidence.items() if current else ():
            assert evidence.canary_requests <= self.world.served[current.revision, name]

    @invariant()
    def a_record_that_went_through_json_decides_the_same(self) -> None:
        world = self.world
        seen = world.observe()
        read = Status.model_validate_json(world.status.model_dump_json(by_alias=True))
        one, two = self.again(world.status, seen), self.again(read, seen)
        assert one.pod_flags == two.pod_flags
        assert one.events == two.events
        assert one.requeue_after == two.requeue_after
        assert (one.status.phase, one.status.message) == (two.status.phase, two.status.message)

    @invariant()
    def children_are_what_the_status_says(self) -> None:
        assert self.world.decision.children == render(self.world.decided, self.world.decision.status)

    @invariant()
    def the_status_is_well_formed(self) -> None:
        status = self.world.status
        kinds = [c.type for c in status.conditions]
        assert len(kinds) == len(set(kinds))
        assert {"Ready", "RolloutHealthy", "MetricsAvailable"} <= set(kinds)
        assert not {"Reconciling", "Stalled"} <= set(kinds)
        assert all(c.reason and c.message for c in status.conditions)
        assert len(status.history) <= 10
        assert len(status.rejected) <= 3
        assert timedelta() < self.world.decision.requeue_after <= timedelta(seconds=60)
        assert not {"nan", "inf", "None"} & set(status.message.replace("(", " ").split())

    @precondition(lambda self: self.world.status.rollout is None)
    @invariant()
    def no_rollout_means_no_lease(self) -> None:
        assert self.world.flagged == []

    def teardown(self) -> None:
        """It terminates: with good data, and a person who answers where one is waited for, every stack comes to rest."""
        if not hasattr(self, "world"):
            return
        world = self.world
        world.edit(rollout=rollout(), replicas=self.replicas)
        self.recover()
        world.settled = world.surge_starts = True
        for pod in world.everybody:
            pod.ready = pod.readable = pod.obedient = True
        for answer in range(8):
            if world.run(1500, until=lambda w: self.at_rest or w.phase in ("Paused", "Held")) and self.at_rest:
                return
            world.act(f"{'abort' if world.phase == 'Held' else 'resume'}@last{answer}")
        assert self.at_rest, (world.phase, world.status.message)

    @property
    def at_rest(self) -> bool:
        """Nothing is tried, no pod has to follow, and none is there for a trial."""
        status = self.world.status
        tried = status.rollout or status.settling or status.surge or self.world.surge_pod
        return not tried and self.world.phase != "Paused"


TestRollouts = Rollouts.TestCase
TestRollouts.settings = settings(
    max_examples=int(os.environ.get("MACHINE_EXAMPLES", "12")),
    stateful_step_count=12,
    derandomize="MACHINE_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
