"""R20: one replica is compared with a surge pod, which is warm before any flag is lent, and removed afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from support.world import FLAG, POOL, World, rollout, stack

from memorystack_operator.core import Trouble, decide


def second(world: World) -> list[dict]:
    """The rendered second Deployment."""
    return [c for c in world.decision.children if c["kind"] == "Deployment" and c["metadata"]["name"] == "mem-canary"]


def alone(**spec) -> World:
    """One replica that has served for a while."""
    world = World(stack(replicas=1, **spec))
    world.run(150)
    return world


def surging(**spec) -> World:
    """A flag was edited, and the surge pod is there."""
    world = alone(**spec)
    world.edit(features=FLAG)
    assert world.run(5, until=lambda w: w.surging)
    return world


def trying(**spec) -> World:
    """The flag is on the original pod."""
    world = surging(**spec)
    assert world.run(300, until=lambda w: w.flagged)
    return world


def rest(world: World) -> bool:
    return world.status.rollout is None and world.status.settling is None and world.status.surge is None


def ended(world: World) -> bool:
    return bool(world.status.history) and rest(world)


def test_a_good_flag_on_one_replica_is_promoted_by_comparison_with_a_surge_pod_that_then_goes():
    world = trying()
    original, surge = world.pods[0].name, world.surging[0].name
    assert world.flagged == [original] != [surge]
    assert world.run(400, until=ended)
    record = world.status.history[-1]
    assert (record.outcome, record.reason) == ("Promoted", "WithinBudget")
    assert record.judged["store"].stable_requests > 0
    assert world.serving.parallel_ingest.concurrency == 4
    assert (second(world), world.surging, [p.name for p in world.pods]) == ([], [], [original])
    assert world.reasons.count("SurgePodStarted") == world.reasons.count("SurgePodRemoved") == 1


def test_a_bad_flag_on_one_replica_is_taken_back_and_the_surge_pod_goes():
    world = surging()
    world.bad["store", "canary"] = 0.6
    assert world.run(400, until=ended)
    assert (world.status.history[-1].outcome, world.status.history[-1].reason) == ("RolledBack", "P95OverBudget")
    assert (world.surging, world.flagged, world.phase) == ([], [], "Rejected")


def test_the_surge_pod_is_the_same_template_in_the_same_service_under_a_selector_of_its_own():
    world = surging()
    children = {(c["kind"], c["metadata"]["name"]): c for c in world.decision.children}
    main, extra = children["Deployment", "mem"]["spec"], children["Deployment", "mem-canary"]["spec"]
    assert extra["replicas"] == 1
    assert extra["template"]["spec"]["containers"] == main["template"]["spec"]["containers"]
    assert extra["selector"] != main["selector"]
    service = children["Service", "mem"]["spec"]["selector"]
    assert service.items() <= extra["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize(("rate", "seconds"), [(30, 10), (2, 10), (1, 15), (0, 30)])
def test_a_surge_pod_is_warm_after_ten_seconds_and_thirty_requests_or_thirty_seconds(rate: int, seconds: int):
    world = alone()
    world.rate = 2 * rate  # for two pods
    world.edit(features=FLAG)
    world.run(5, until=lambda w: w.surging)
    began = world.now
    world.run(60, until=lambda w: w.status.rollout is not None)
    # Two operations are budgeted, so the pod serves twice that rate.
    assert (world.now - began).total_seconds() == pytest.approx(seconds + 1, abs=1)


def test_when_the_clock_jumps_back_an_hour_the_surge_pod_is_warm_as_soon_as_ever():
    world = surging()
    world.run(3)
    world.now -= timedelta(hours=1)
    assert world.run(14, until=lambda w: w.status.surge.warm)


def test_while_the_surge_pod_warms_up_the_status_says_so_and_no_flag_is_lent():
    world = surging()
    world.run(4)
    assert (world.phase, world.flagged) == ("Waiting", [])
    assert "waits for the surge pod" in world.status.message
    assert "30, or 30 s with fewer" in world.status.message
    assert world.condition("Reconciling").reason == "SurgePod"
    assert world.condition("Ready").status == "True"


def test_half_of_the_requests_are_reported_whatever_weight_the_step_has():
    world = trying(rollout=rollout(steps=[{"weight": 10, "minDuration": "10s"}, {"weight": 50, "minDuration": "10s"}]))
    assert len(world.status.rollout.plan) == 1
    assert world.status.progress.weight == "50%"
    assert "half" in world.status.rollout.note
    started = next(e for e in world.events if e.reason == "RolloutStarted")
    assert "half" in started.message


def test_the_stacks_own_count_leaves_the_surge_pod_out_so_that_no_autoscaler_counts_it():
    world = trying()
    assert world.status.replicas == 1
    assert "memorystack.dev/deployment=main" in world.status.selector


def test_two_flags_in_one_edit_share_the_surge_pod():
    world = alone()
    world.edit(features={**FLAG, **POOL})
    assert world.run(900, until=lambda w: len(w.status.history) == 2 and rest(w))
    assert [r.outcome for r in world.status.history] == ["Promoted", "Promoted"]
    assert world.reasons.count("SurgePodStarted") == 1


@pytest.mark.parametrize("verb", ["abort", "promote"])
def test_when_a_person_ends_the_trial_the_surge_pod_goes(verb: str):
    world = trying()
    world.act(f"{verb}@1")
    assert world.run(20, until=ended)
    assert (world.surging, world.flagged) == ([], [])


def test_when_the_flag_leaves_the_spec_the_surge_pod_goes():
    world = trying()
    world.edit(features={})
    assert world.run(20, until=ended)
    assert world.status.history[-1].outcome == "Superseded"
    assert (world.surging, world.flagged) == ([], [])


def test_when_another_value_is_wanted_the_surge_pod_stays_for_it():
    world = trying()
    surge = world.surging[0].name
    world.edit(features={"parallelIngest": {"concurrency": 8}})
    assert world.run(300, until=lambda w: len(w.status.history) == 1 and w.flagged)
    assert [p.name for p in world.surging] == [surge]
    assert world.reasons.count("SurgePodStarted") == 1


def test_a_pause_before_the_trial_removes_the_surge_pod_and_resume_brings_another():
    world = surging()
    world.act("pause@1")
    assert world.run(5, until=lambda w: not w.surging)
    world.run(30)
    assert (world.surging, world.phase) == ([], "Paused")
    world.act("resume@2")
    assert world.run(5, until=lambda w: w.surging)


def test_a_pause_during_the_trial_keeps_both_pods_as_they_are():
    world = trying()
    pods = [p.name for p in world.everybody]
    world.act("pause@1")
    world.run(60)
    assert (world.phase, [p.name for p in world.everybody], world.flagged) == ("Paused", pods, pods[:1])


def test_a_trial_that_is_held_for_a_person_needs_no_surge_pod():
    analysis = {"interval": "1s", "timeout": "2m", "onInconclusive": "Hold"}
    world = surging(rollout=rollout(analysis=analysis))
    world.bad |= {("store", "canary"): 0.05, ("store", "stable"): 0.05}
    assert world.run(900, until=lambda w: w.phase == "Held")
    world.run(3)
    assert (world.surging, world.flagged) == ([], [])
    world.act("retry@1")
    assert world.run(20, until=lambda w: w.surging)


def test_out_of_time_the_flag_is_inconclusive_and_the_surge_pod_goes():
    world = surging(rollout=rollout(analysis={"interval": "1s", "timeout": "1m"}))
    world.bad |= {("store", "canary"): 0.05, ("store", "stable"): 0.05}
    assert world.run(900, until=ended)
    assert world.status.history[-1].outcome == "Inconclusive"
    assert world.surging == []


def test_a_new_template_removes_the_surge_pod_with_the_flags():
    world = trying()
    world.edit(template={"env": [{"name": "A", "value": "1"}]})
    world.tick()
    assert (world.surging, world.flagged) == ([], [])


def test_scaled_up_before_the_trial_it_goes_on_with_the_stacks_own_pods():
    world = surging()
    world.edit(replicas=3)
    assert world.run(5, until=lambda w: not w.surging)
    assert world.run(400, until=lambda w: w.flagged)
    assert world.surging == []
    assert world.run(400, until=ended)


def test_scaled_up_during_the_trial_the_surge_pod_goes_only_when_another_takes_its_place():
    world = trying()
    world.edit(replicas=3)
    for pod in world.pods[1:]:
        pod.ready = False
    world.run(5)
    assert len(world.surging) == 1
    world.pods[1].ready = True
    world.run(2)
    assert (world.surging, len(world.flagged)) == ([], 1)
    world.pods[2].ready = True
    assert world.run(400, until=ended)
    assert world.status.history[-1].outcome == "Promoted"


def test_scaled_down_to_one_during_the_trial_it_begins_again_with_a_surge_pod():
    world = World(stack())
    world.run(150)
    world.edit(features=FLAG)
    assert world.run(60, until=lambda w: w.flagged)
    world.edit(replicas=1)
    world.tick()
    assert (world.status.history[-1].outcome, world.flagged) == ("Superseded", [])
    assert world.run(600, until=lambda w: rest(w) and len(w.status.history) == 2)
    assert world.status.history[-1].outcome == "Promoted"


def test_an_autoscaler_at_one_pod_gets_a_surge_pod_until_the_stage_ends():
    world = World(stack(replicas=None, autoscaling={"minReplicas": 1, "maxReplicas": 4}))
    world.run(150)
    world.edit(features=FLAG)
    assert world.run(300, until=lambda w: w.flagged)
    world.scaled = 3
    world.scale()
    world.run(5)
    assert len(world.surging) == 1  # it may scale down again at any time
    assert world.run(400, until=ended)
    assert world.surging == []


def test_an_operator_that_restarts_at_any_moment_ends_where_it_would_have():
    world = alone()
    world.edit(features=FLAG)
    for _ in range(500):
        world.tick()
        world.restart_operator()
        if ended(world):
            break
    assert [r.outcome for r in world.status.history] == ["Promoted"]
    assert world.surging == []
    assert world.reasons.count("SurgePodStarted") == 1


def test_the_surge_pod_is_on_record_before_its_deployment_is_made():
    world = alone()
    world.edit(features=FLAG)
    while not second(world):
        decision = world.tick()
        assert bool(second(world)) == (decision.status.surge is not None)
    assert decision.persist


# -- what goes wrong --------------------------------------------------------------


def test_a_surge_pod_that_never_starts_is_given_up_and_the_stack_serves_on():
    world = alone()
    world.surge_starts = False
    world.edit(features=FLAG)
    assert not world.run(295, until=lambda w: w.status.surge and w.status.surge.failed_at)
    assert world.run(20, until=lambda w: w.status.surge.failed_at)
    world.run(3)
    assert (second(world), world.phase) == ([], "Waiting")
    assert "it has not been made yet" in world.status.message
    assert "spec.replicas to 2" in world.status.message
    assert (world.condition("Ready").status, world.condition("Ready").reason) == ("True", "WaitingNoControlArm")
    assert world.condition("Reconciling") is None
    assert world.reasons.count("SurgePodNotReady") == 1


def test_after_a_rest_another_surge_pod_is_tried():
    world = alone()
    world.surge_starts = False
    world.edit(features=FLAG)
    assert world.run(400, until=lambda w: w.status.surge and w.status.surge.failed_at)
    world.surge_starts = True
    assert world.run(620, until=lambda w: w.surging)
    assert world.run(600, until=ended)
    assert world.status.history[-1].outcome == "Promoted"


def test_pause_and_resume_try_again_at_once():
    world = alone()
    world.surge_starts = False
    world.edit(features=FLAG)
    assert world.run(400, until=lambda w: w.status.surge and w.status.surge.failed_at)
    world.surge_starts = True
    world.act("pause@1")
    world.run(2)
    world.act("resume@2")
    assert world.run(3, until=lambda w: w.surging)


def test_a_surge_pod_that_has_no_room_stalls_nothing_and_its_trouble_is_told():
    world = alone()
    world.surge_starts = False
    world.edit(features=FLAG)
    world.run(2)
    trouble = Trouble("PodsRefused", "Deployment mem-canary: exceeded quota: compute", surge=True)
    seen = replace(world.observe(), troubles=(trouble,))
    decision = decide(world.stack, world.status, seen, world.now)
    assert "exceeded quota" in decision.status.message
    assert not [c for c in decision.status.conditions if c.type == "Stalled"]


def test_a_surge_pod_whose_evidence_cannot_be_read_is_never_warm():
    world = surging()
    world.surging[0].readable = False
    world.run(60)
    assert (world.status.rollout, world.flagged) == (None, [])
    assert "evidence of mem-canary" in world.status.message


def flagged(world: World) -> bool:
    return bool(world.flagged)


def lose(world: World) -> None:
    """The node of the surge pod dies, and its Deployment makes another."""
    world.surging = []


def fall_ill(world: World) -> None:
    """It is not ready for now."""
    world.surging[0].ready = False


@pytest.mark.parametrize("harm", [lose, fall_ill])
def test_when_the_surge_pod_is_lost_the_flag_leaves_at_once_and_the_step_goes_on_with_a_warm_one(
    harm: Callable[[World], None],
):
    world = trying()
    world.run(5)
    stage = world.status.rollout.id
    harm(world)
    world.tick()
    assert (world.flagged, world.phase) == ([], "Withdrawn")
    for pod in world.surging:
        pod.ready = True
    back = world.now
    assert world.run(60, until=lambda w: w.flagged)
    assert world.now - back >= timedelta(seconds=9)
    assert world.status.rollout.id == stage
    assert world.run(400, until=ended)
    assert world.status.history[-1].outcome == "Promoted"


def test_while_a_withdrawn_flag_waits_for_the_environment_it_does_not_come_back_without_a_surge_pod():
    world = trying()
    world.shared = 0.4
    assert world.run(90, until=lambda w: w.phase == "Withdrawn")
    world.run(50)
    world.surge_starts, world.surging = False, []
    assert not world.run(60, until=flagged)
    assert world.phase == "Withdrawn"
    world.surge_starts = True
    assert world.run(150, until=flagged)
    assert world.phase == "Switchback"
    assert world.status.surge.warm
    lose(world)
    world.tick()
    assert world.flagged == []


def test_a_surge_pod_that_is_lost_for_good_ends_the_trial_without_a_rejection():
    world = trying()
    world.surge_starts, world.surging = False, []
    assert world.run(320, until=lambda w: w.status.surge and w.status.surge.failed_at)
    assert (world.status.history[-1].outcome, world.status.rejected, world.flagged) == ("Superseded", (), [])
    assert second(world) == []


def test_cold_requests_of_a_new_surge_pod_are_not_counted_against_the_stable_arm():
    world = trying(rollout=rollout(steps=[{"weight": 34, "minDuration": "60s"}]))
    world.run(5)
    world.bad["store", "stable"] = 1.0
    lose(world)
    world.tick()
    world.run(8)
    world.bad["store", "stable"] = 0.0
    assert world.run(60, until=lambda w: w.flagged)
    world.run(5)
    assert world.status.rollout.evidence["store"].stable_bad == 0


def test_when_the_original_pod_is_lost_the_flag_never_goes_to_the_surge_pod():
    world = trying()
    world.run(5)
    world.pods.clear()
    world.run(5)
    assert world.flagged == []
    world.scale()
    assert world.run(10, until=lambda w: w.flagged)
    assert world.flagged == [world.pods[0].name]
