"""What `spec.rollout.analysis` says is what is done, and readings that are missing, torn or late mislead nobody."""

from __future__ import annotations

import pytest
from support.proving import burst_over_time
from support.world import FLAG, World, rollout, stack

from memorystack_runtime.contract import Operation

BAKE = [{"weight": 34, "minDuration": "100s"}]


def trying(steps: list | None = None, **analysis: str) -> World:
    """Three pods that have served well for ten minutes; the flag is on one of them."""
    fields = {"interval": "1s", "timeout": "10m", **analysis}
    world = World(stack(rollout=rollout(steps=steps or BAKE, analysis=fields)))
    world.run(600)
    world.edit(features=FLAG)
    assert world.run(10, until=lambda w: bool(w.flagged))
    return world


def ended(world: World) -> bool:
    return bool(world.status.history)


def served(world: World, operation: Operation = "store") -> int:
    return world.served[world.status.rollout.revision, operation]


@pytest.mark.parametrize(
    ("require", "outcome", "reason"), [("WithinBudget", "Promoted", "WithinBudget"), ("Better", "RolledBack", "Worse")]
)
def test_within_budget_but_worse_than_stable_passes_unless_better_is_required(require: str, outcome: str, reason: str):
    """Row 9 of the table"""
    world = trying(require=require)
    world.bad["store", "canary"] = 0.025
    assert world.run(300, until=ended)
    record = world.status.history[-1]
    assert (record.outcome, record.reason) == (outcome, reason)
    assert record.worse_than_stable is (outcome == "Promoted")
    world.run(3)
    condition = world.condition("RolloutHealthy")
    assert (condition.status, condition.reason) == (
        ("True", "WorseThanStable") if record.worse_than_stable else ("False", "Worse")
    )


@pytest.mark.parametrize(("sensitivity", "gone"), [("Standard", True), ("Strict", False)])
def test_under_bursts_strict_needs_more_to_convict_than_standard(sensitivity: str, gone: bool):
    world = trying(sensitivity=sensitivity)
    burst_over_time(world)
    world.bad["store", "canary"] = 0.5
    assert world.run(20, until=ended) is gone
    assert gone or world.flagged


def test_a_process_that_starts_again_is_counted_from_zero_and_nothing_is_counted_twice():
    world = trying()
    world.run(5)
    stable = next(p for p in world.pods if not p.lease)
    before = world.status.rollout.evidence["store"]
    world.restart_pod(stable)
    world.run(5)
    after = world.status.rollout.evidence["store"]
    assert after.stable_requests - before.stable_requests == 5 * 20
    assert after.canary_requests == served(world)


@pytest.mark.parametrize("arm", ["canary", "stable"])
def test_what_a_pod_served_while_it_was_not_read_is_counted_when_it_is(arm: str):
    world = trying()
    world.run(5)
    pod = next(p for p in world.pods if bool(p.lease) is (arm == "canary"))
    pod.readable = False
    world.run(20)
    pod.readable = True
    world.run(2)
    evidence = world.status.rollout.evidence["store"]
    assert evidence.canary_requests == served(world)
    assert evidence.stable_requests == 2 * served(world)


def test_an_outage_of_everybody_that_one_arm_tells_of_late_is_not_taken_for_a_difference():
    """R6: the canary pod was not read while all were slow, and the others were"""
    world = trying()
    world.run(30)
    canary = next(p for p in world.pods if p.lease)
    canary.readable = False
    for key in world.bad:
        world.bad[key] = 0.5
    world.run(20)
    for key in world.bad:
        world.bad[key] = 0.0
    canary.readable = True
    world.run(20)
    assert not world.status.rejected
    assert not world.status.rollout.evidence["store"].findings(0.01, 0.05).worse.holds


def test_a_flag_is_judged_alike_while_the_stack_grows_and_shrinks():
    """R12: arms of other sizes at each reading"""
    world = trying()
    for replicas in (6, 4, 8, 3):
        world.edit(replicas=replicas)
        world.run(10)
        assert world.flagged
    world.bad["store", "canary"] = 0.5
    assert world.run(60, until=ended)
    assert world.status.history[-1].reason == "P95OverBudget"
