"""The acceptance scenarios of a rollout, observed through `decide` alone, in a world whose pods honour leases at once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from support.world import FLAG, POOL, World, rollout, settled_world, stack


def ended(count: int = 1):
    return lambda world: len(world.status.history) >= count


def flagged(world: World) -> bool:
    return bool(world.flagged)


def test_a_new_stack_starts_at_the_desired_state_without_analysis():
    """R1"""
    world = World(stack(features=FLAG))
    world.run(5)
    assert world.serving == world.stack.spec.features.flags()
    assert world.status.rollout is None
    assert world.condition("Ready").status == "True"
    assert world.phase == "Idle"
    assert world.events == []


def test_before_any_pod_is_ready_the_stack_is_pending_and_not_ready():
    world = World(stack())
    for pod in world.pods:
        pod.ready = False
    world.tick()
    assert world.phase == "Pending"
    assert world.condition("Ready").status == "False"
    assert world.condition("Reconciling").status == "True"
    assert world.condition("MetricsAvailable").status == "Unknown"


def test_a_good_flag_is_staged_on_one_pod_and_promoted_to_all():
    world = settled_world()
    world.edit(features=FLAG)
    assert world.run(60, until=flagged)
    assert len(world.flagged) == 1
    assert world.run(120, until=ended())
    world.run(3)
    assert world.serving.parallel_ingest.concurrency == 4
    assert world.reasons == ["RolloutStarted", "StageStarted", "StagePromoted", "RolloutCompleted"]
    record = world.status.history[-1]
    assert (record.outcome, record.reason) == ("Promoted", "WithinBudget")
    assert record.first_canary_request_at > record.flipped_at > record.started_at
    assert record.everywhere_at >= record.ended_at
    assert world.flagged == []
    assert world.phase == "Idle"


def test_latency_on_the_canary_alone_is_rolled_back_with_counts_and_evidence():
    """R5 (a)"""
    world = settled_world()
    world.bad["store", "canary"] = 0.5
    world.edit(features=FLAG)
    assert world.run(200, until=ended())
    record = world.status.history[-1]
    assert (record.outcome, record.reason) == ("RolledBack", "P95OverBudget")
    assert record.ended_at - record.flipped_at < timedelta(seconds=60)
    for part in ("store over its budget of 250ms", "canary", "stable", "needed", "failed requests: canary 0 of"):
        assert part in record.message
    assert record.judged["store"].canary_bad > 10
    world.run(2)
    assert world.flagged == []
    assert world.condition("RolloutHealthy").status == "False"
    assert world.condition("RolloutHealthy").reason == "P95OverBudget"
    assert world.condition("Ready").status == "True"
    assert world.phase == "Rejected"


def test_both_arms_slow_withdraws_at_once_and_goes_on_when_the_environment_recovers():
    """R5 (b)"""
    world = settled_world()
    world.edit(features=FLAG)
    assert world.run(60, until=flagged)
    for key in world.bad:
        world.bad[key] = 0.4
    assert world.run(60, until=lambda w: w.phase == "Withdrawn")
    assert world.status.rollout.withdrawn_reason == "EnvironmentOverBudget"
    assert world.flagged == []
    assert world.status.rejected == ()
    for key in world.bad:
        world.bad[key] = 0.0
    assert world.run(200, until=lambda w: w.phase == "Switchback")
    assert world.run(400, until=lambda w: "Resumed" in w.reasons)
    assert world.run(200, until=ended())
    record = world.status.history[-1]
    assert record.outcome == "Promoted"
    assert record.switchback.worse == 0


def interfering_world(**fields) -> World:
    """The flag makes every pod slow while any pod holds it."""
    world = settled_world()
    world.edit(features=FLAG, rollout=rollout(**fields))
    assert world.run(60, until=flagged)
    world.shared = 0.3
    return world


def test_a_flag_that_harms_a_shared_part_is_withdrawn_within_a_minute_and_convicted_by_the_switchback():
    """R5c"""
    world = interfering_world()
    assert world.run(60, until=lambda w: w.phase == "Withdrawn")
    assert world.status.rollout.withdrawn_reason == "EnvironmentOverBudget"
    assert world.run(120, until=lambda w: w.phase == "Switchback")
    seen = set()
    assert world.run(600, until=lambda w: seen.add(bool(w.flagged)) or bool(w.status.history))
    assert seen == {True, False}
    record = world.status.history[-1]
    assert (record.outcome, record.reason) == ("RolledBack", "HarmsSharedDependency")
    assert record.switchback.worse >= 11
    assert record.switchback.log_e >= record.switchback.needed
    assert "drawn by lot" in record.message
    world.run(5)
    assert world.phase == "Rejected"
    assert world.flagged == []


def test_an_environment_that_flaps_by_itself_is_not_blamed_on_the_flag():
    """R5c: outages of twenty seconds, whatever the flag does"""
    world = settled_world(rate=60)
    world.edit(features=FLAG, rollout=rollout(analysis={"interval": "1s", "timeout": "30m"}))
    assert world.run(60, until=flagged)
    for second in range(2400):
        for key in world.bad:
            world.bad[key] = 0.4 if second % 300 < 22 else 0.02
        world.tick()
        if world.status.history:
            break
    assert "FlagsWithdrawn" in world.reasons
    assert all(r.reason != "HarmsSharedDependency" for r in world.status.history)


def test_a_restarted_operator_drops_the_pair_under_way_and_goes_on_with_the_next():
    """R15 in the middle of a switchback: what was bet is kept"""
    world = interfering_world()
    world.run(300, until=lambda w: w.status.rollout.switchback and w.status.rollout.switchback.worse == 3)
    before = world.status.rollout.switchback
    world.run(3)
    world.restart_operator()
    world.run(2)
    after = world.status.rollout.switchback
    assert (after.pair, after.discarded) == (before.pair + 1, before.discarded + 1)
    assert (after.worse, after.wealth) == (before.worse, before.wealth)
    assert world.run(600, until=ended())
    assert world.status.history[-1].reason == "HarmsSharedDependency"


@pytest.mark.parametrize("trouble", ["blind", "paused", "unsettled"])
def test_while_the_world_cannot_be_measured_the_flags_are_off_and_no_pair_counts(trouble: str):
    world = interfering_world()
    world.run(300, until=lambda w: w.status.rollout.switchback and w.flagged)
    counted = world.status.rollout.switchback.worse
    for pod in world.pods:
        pod.readable = trouble != "blind"
    world.settled = trouble != "unsettled"
    if trouble == "paused":
        world.act("pause@1")
    world.run(30)
    test = world.status.rollout.switchback
    assert world.flagged == []
    assert test.waiting
    assert (test.worse, test.discarded) == (counted, 1)
    for pod in world.pods:
        pod.readable = True
    world.settled = True
    if trouble == "paused":
        world.act("resume@2")
    assert world.run(900, until=ended())
    assert world.status.history[-1].reason == "HarmsSharedDependency"


def test_a_pod_that_does_not_follow_the_windows_spoils_its_pairs_only():
    world = interfering_world()
    world.run(300, until=lambda w: w.phase == "Switchback")
    for pod in world.pods:
        pod.obedient = False
    world.run(40)
    test = world.status.rollout.switchback
    assert (test.worse + test.better, test.waiting) == (0, False)
    assert test.discarded >= 1


def test_a_switchback_without_a_decision_ends_at_the_timeout():
    world = interfering_world(analysis={"interval": "1s", "timeout": "2m"})
    assert world.run(600, until=ended())
    record = world.status.history[-1]
    assert (record.outcome, record.reason) == ("Inconclusive", "Inconclusive")
    assert "did not decide in time" in record.message


def test_a_canary_alone_over_budget_is_compared_with_the_others_window_by_window():
    world = suspected_world()
    assert world.run(300, until=lambda w: w.phase == "Switchback")
    assert not world.status.rollout.switchback.pooled
    assert world.run(1200, until=ended())
    assert world.status.history[-1].reason == "HarmsSharedDependency"


def test_a_withdrawn_flag_whose_environment_stays_sick_ends_at_the_timeout():
    world = settled_world()
    world.edit(features=FLAG, rollout=rollout(analysis={"interval": "1s", "timeout": "1m"}))
    world.run(60, until=flagged)
    for key in world.bad:
        world.bad[key] = 0.5
    world.run(60, until=lambda w: w.phase == "Withdrawn")
    assert world.run(120, until=ended())
    assert world.status.history[-1].outcome == "Inconclusive"


def suspected_world() -> World:
    """The canary alone is over budget, and pods differ too much by themselves to call it worse."""
    world = settled_world()
    world.edit(features=FLAG)
    world.run(60, until=flagged)
    calibration = world.status.rollout.calibration
    strict = {
        name: prior.model_copy(update={"effect": prior.effect.model_copy(update={"phi_rel": 500.0})})
        for name, prior in calibration.operations.items()
    }
    evidence = {
        name: e.model_copy(update={"effect": strict[name].effect}) for name, e in world.status.rollout.evidence.items()
    }
    world.status = world.status.model_copy(
        update={"rollout": world.status.rollout.model_copy(update={"evidence": evidence})}
    )
    world.bad["store", "canary"] = 0.3
    assert world.run(150, until=lambda w: w.phase == "Withdrawn")
    return world


def test_over_on_the_canary_but_not_proved_worse_is_withdrawn_after_its_grace():
    world = suspected_world()
    assert world.status.rollout.withdrawn_reason == "SuspectedOverBudget"


def half_then_a_person(**fields) -> World:
    """Four pods under half the flags, at the pause that follows, with a step of three quarters still to come."""
    world = World(stack(replicas=4))
    world.run(200)
    steps = [{"weight": 50, "minDuration": "5s"}, {"pause": {}}, {"weight": 75, "minDuration": "5s"}]
    world.edit(features=FLAG, rollout=rollout(steps=steps, **fields))
    assert world.run(200, until=lambda w: w.phase == "Paused")
    return world


def test_half_a_pause_abort_retry_and_the_end_tell_their_story_and_leave_stable_untouched():
    """R2"""
    world = half_then_a_person()
    stable, phases = world.status.stable, ["Paused"]

    def note(w: World) -> None:
        if w.phase != phases[-1]:
            phases.append(w.phase)

    assert len(world.flagged) == 2
    world.act("abort@1")
    world.run(60, until=note)
    assert (world.phase, world.flagged, world.status.stable) == ("Rejected", [], stable)
    world.act("retry@2")
    world.run(200, until=lambda w: note(w) or w.phase == "Paused")
    assert world.status.stable == stable
    world.act("resume@3")
    assert world.run(200, until=lambda w: note(w) or len(w.status.history) == 2)
    world.run(3, until=note)
    assert phases == [
        *("Paused", "Settling", "Rejected"),
        *("Idle", "Calibrating", "Progressing", "Paused", "Progressing", "Settling", "Idle"),
    ]
    assert world.reasons == [
        *("RolloutStarted", "StageStarted", "StepStarted", "Aborted"),
        *("Retried", "RolloutStarted", "StageStarted", "StepStarted", "StepStarted", "StagePromoted"),
        "RolloutCompleted",
    ]
    assert [(r.stage, r.outcome) for r in world.status.history] == [
        ("parallelIngest", "Aborted"),
        ("parallelIngest", "Promoted"),
    ]


def test_a_pause_outlasts_the_timeout_and_resume_goes_on_with_the_next_step():
    """R3"""
    world = half_then_a_person(analysis={"interval": "1s", "timeout": "1m"})
    before = world.status.rollout
    assert world.condition("Ready").reason == "WaitingForPerson"
    world.run(150)
    assert (world.phase, len(world.flagged), world.status.history) == ("Paused", 2, ())
    world.act("resume@1")
    world.run(2)
    after = world.status.rollout
    assert (after.id, after.step, len(world.flagged)) == (before.id, 2, 3)
    assert after.evidence["store"].canary_requests >= before.evidence["store"].canary_requests
    assert world.run(150, until=ended())
    assert world.status.history[-1].outcome == "Promoted"


def test_promote_at_a_pause_past_the_timeout_goes_to_the_end():
    """R3"""
    world = half_then_a_person(analysis={"interval": "1s", "timeout": "1m"})
    world.run(90)
    world.act("promote@1")
    world.run(5)
    assert world.status.history[-1].reason == "PromotedByHand"
    assert {p.flags for p in world.pods} == {world.status.stable.revision}
    assert world.serving.parallel_ingest.concurrency == 4


def test_a_pause_that_comes_first_holds_the_flags_back():
    """R3"""
    world = settled_world()
    steps = [{"pause": {}}, {"weight": 34, "minDuration": "5s"}]
    world.edit(features=FLAG, rollout=rollout(steps=steps, analysis={"interval": "1s", "timeout": "1m"}))
    assert world.run(120, until=lambda w: w.phase == "Paused")
    world.run(150)
    assert (world.phase, world.flagged) == ("Paused", [])
    world.act("resume@1")
    assert world.run(150, until=ended())
    assert world.status.history[-1].outcome == "Promoted"


def test_a_bad_canary_leaves_even_while_it_waits_at_a_pause():
    world = settled_world()
    steps = [{"weight": 34, "minDuration": "5s"}, {"pause": {}}]
    world.edit(features=FLAG, rollout=rollout(steps=steps))
    world.run(120, until=lambda w: w.phase == "Paused")
    world.bad["recall", "canary"] = 0.6
    assert world.run(60, until=ended())
    assert world.status.history[-1].reason == "P95OverBudget"


@pytest.mark.parametrize("after_abort", [True, False])
def test_promote_ends_the_analysis_and_everything_is_at_the_target(after_abort: bool):
    """R4"""
    world = settled_world()
    world.edit(features=FLAG)
    world.run(60, until=flagged)
    if after_abort:
        world.act("abort@0")
        world.run(5)
    world.act("promote@1")
    world.run(5)
    assert world.serving == world.stack.spec.features.flags()
    assert world.status.rollout is None
    assert world.flagged == []
    assert {p.flags for p in world.pods} == {world.status.stable.revision}
    started = world.reasons.count("RolloutStarted")
    world.run(60)
    assert world.reasons.count("RolloutStarted") == started


def test_metrics_unreadable_for_40_s_hold_and_for_10_min_withdraw_but_never_reject():
    """R6"""
    world = settled_world()
    world.edit(features=FLAG, rollout=rollout(steps=[{"weight": 34, "minDuration": "300s"}]))
    world.run(60, until=flagged)
    for pod in world.pods:
        pod.readable = False
    world.run(40)
    assert len(world.flagged) == 1
    assert world.condition("MetricsAvailable").status == "False"
    assert world.status.rollout.reason == "MetricsUnavailable"
    world.run(560)
    assert world.flagged == []
    assert world.status.rejected == ()
    for pod in world.pods:
        pod.readable = True
    world.run(5)
    assert len(world.flagged) == 1
    assert world.status.history == ()


def test_without_any_traffic_nothing_is_promoted_or_rolled_back():
    """R7"""
    world = settled_world()
    world.edit(features=FLAG)
    world.run(60, until=flagged)
    assert world.status.rollout.evidence["store"].canary_requests == 0
    world.run(1200, traffic=False)
    assert world.status.history == ()
    assert len(world.flagged) == 1
    assert world.phase == "Waiting"
    assert world.condition("Ready").reason == "WaitingNoTraffic"
    assert "memorystack load" in world.status.message
    assert world.run(120, until=ended())
    assert world.status.history[-1].outcome == "Promoted"


def test_a_stack_that_never_saw_traffic_says_what_is_missing_before_the_flip():
    """R7"""
    world = World(stack())
    world.run(3, traffic=False)
    world.edit(features=FLAG)
    world.run(20, traffic=False)
    assert world.flagged == []
    assert "memorystack load" in world.status.message


def test_fast_failures_do_not_look_like_good_latency():
    """R8"""
    world = settled_world()
    world.failed["canary"] = 0.3
    world.edit(features=FLAG)
    assert world.run(200, until=ended())
    assert world.status.history[-1].outcome == "RolledBack"


def test_failures_below_the_latency_limit_are_rolled_back_for_their_own_reason():
    """R8"""
    world = settled_world()
    world.failed["canary"] = 0.04
    world.edit(features=FLAG, rollout=rollout(steps=[{"weight": 34, "minDuration": "200s"}]))
    assert world.run(400, until=ended())
    assert world.status.history[-1].reason == "ErrorsOverBudget"


def test_crashing_canary_pods_are_rolled_back_for_that_reason():
    """R8"""
    world = settled_world()
    world.edit(features=FLAG, rollout=rollout(steps=[{"weight": 34, "minDuration": "200s"}]))
    world.run(60, until=flagged)
    pod = next(p for p in world.pods if p.lease)
    world.restart_pod(pod)
    world.run(3)
    assert world.status.history == ()
    world.restart_pod(pod)
    world.run(3)
    assert world.status.history[-1].reason == "PodsCrashing"


@pytest.mark.parametrize("at_once", [True, False], ids=["counted at once", "counted when it is started again"])
def test_a_flag_that_crashes_one_pod_after_the_other_is_rolled_back_for_that_reason(at_once: bool):
    """R8: a pod that is down is replaced in the arm, and the next one crashes as well"""
    world = settled_world()
    world.edit(features=FLAG, rollout=rollout(steps=[{"weight": 34, "minDuration": "200s"}]))
    world.run(60, until=flagged)
    crashed = []
    for _ in range(2):
        (pod,) = [p for p in world.pods if p.lease]
        crashed.append(pod.name)
        pod.ready = False
        pod.restarts += at_once
        world.run(3)
        world.restart_pod(pod)
        pod.restarts -= at_once
        pod.ready = True
        world.run(3)
    assert len(set(crashed)) == 2
    assert world.status.history[-1].reason == "PodsCrashing"
    assert world.flagged == []


def test_a_pod_that_was_not_ready_for_a_while_has_not_crashed():
    world = settled_world()
    world.edit(features=FLAG, rollout=rollout(steps=[{"weight": 34, "minDuration": "200s"}]))
    world.run(60, until=flagged)
    for _ in range(4):
        (pod,) = [p for p in world.pods if p.lease]
        pod.ready = False
        world.run(3)
        pod.ready = True
        world.run(3)
    world.restart_pod(next(p for p in world.pods if not p.lease))
    world.run(3)
    assert world.status.history == ()
    assert (world.status.rollout.crashes, world.status.rollout.left) == (0, {})


def test_one_operation_over_budget_decides_and_the_other_is_not_called_passed():
    """R9"""
    world = settled_world()
    world.bad["recall", "canary"] = 0.5
    world.edit(features=FLAG)
    assert world.run(200, until=ended())
    record = world.status.history[-1]
    assert (record.outcome, record.reason) == ("RolledBack", "P95OverBudget")
    assert record.message.startswith("recall over its budget")
    assert "store not judged to the end" in record.message
    assert record.judged["store"].canary_requests > 0


def test_a_new_value_in_the_middle_leaves_every_pod_before_the_next_enters():
    """R10"""
    world = settled_world()
    world.edit(features=FLAG, rollout=rollout(steps=[{"weight": 34, "minDuration": "100s"}]))
    world.run(60, until=flagged)
    first = world.status.rollout
    world.run(20)
    assert world.status.rollout.evidence["store"].canary_requests > 0
    for pod in world.pods:
        pod.obedient = False
    world.edit(features={"parallelIngest": {"concurrency": 8}})
    world.run(30)
    assert world.flagged == []
    assert world.status.rollout is None
    assert "to serve the stable flags" in world.status.message
    for pod in world.pods:
        pod.obedient = True
    together = []

    def note(w: World) -> bool:
        together.append({p.flags for p in w.pods})
        return flagged(w)

    assert world.run(60, until=note)
    second = world.status.rollout
    assert second.id != first.id
    assert [flags for flags in together if {first.revision, second.revision} <= flags] == []
    assert {e.canary_requests for e in second.evidence.values()} == {0}
    assert world.status.history[-1].outcome == "Superseded"
    assert world.status.rejected == ()


def deployment(world: World) -> dict:
    return next(c for c in world.decision.children if c["kind"] == "Deployment")


def test_restoring_the_stable_value_after_a_rollback_starts_nothing_and_clears_the_quarantine():
    """R11"""
    world = settled_world()
    world.bad["store", "canary"] = 0.5
    world.edit(features=FLAG)
    world.run(200, until=ended())
    world.run(60)
    assert len(world.status.history) == 1
    assert len(world.status.rejected) == 1
    before = deployment(world)
    world.edit(features={})
    world.run(60)
    assert deployment(world) == before
    assert world.status.rejected == ()
    assert world.status.rollout is None
    assert world.phase == "Idle"
    assert len(world.status.history) == 1


@pytest.mark.parametrize("edit", [{"replicas": 5}, {"rollout": rollout(maxErrorPercent=5)}])
def test_other_edits_never_clear_the_quarantine(edit: dict):
    world = settled_world()
    world.bad["store", "canary"] = 0.5
    world.edit(features=FLAG)
    world.run(200, until=ended())
    world.edit(**edit)
    world.run(60)
    assert len(world.status.rejected) == 1
    assert world.flagged == []


def test_scaling_during_a_canary_keeps_the_share_the_evidence_and_the_pods():
    """R12"""
    world = World(stack(replicas=4, rollout=rollout(steps=[{"weight": 50, "minDuration": "300s"}])))
    world.run(200)
    world.edit(features=FLAG)
    world.run(60, until=flagged)
    world.run(20)
    first, served = set(world.flagged), world.status.rollout.evidence["store"].canary_requests
    assert len(first) == 2
    world.edit(replicas=8)
    world.run(10)
    assert len(world.flagged) == 4
    assert first <= set(world.flagged)
    assert world.status.rollout.evidence["store"].canary_requests >= served
    world.edit(replicas=4)
    world.run(10)
    assert len(world.flagged) == 2


def test_a_withdrawn_flag_does_not_come_back_while_nothing_can_be_read_though_the_last_minute_was_well():
    """R6"""
    world = settled_world()
    world.edit(features=FLAG, rollout=rollout(steps=[{"weight": 34, "minDuration": "100s"}]))
    assert world.run(60, until=flagged)
    world.shared = 0.4
    assert world.run(60, until=lambda w: w.phase == "Withdrawn")
    world.shared = 0.0
    world.run(50)
    for pod in world.pods:
        pod.readable = False
    assert not world.run(55, until=flagged)
    assert world.phase == "Withdrawn"
    for pod in world.pods:
        pod.readable = True
    assert world.run(90, until=flagged)
    assert world.phase == "Switchback"


@pytest.mark.parametrize("silent", ["everybody", "new pods"])
def test_a_pod_that_does_not_answer_gets_no_flag_until_it_does(silent: str):
    """R12 and R6: nobody could tell what it makes of the flag"""
    world = settled_world()
    world.edit(features=FLAG, rollout=rollout(steps=[{"weight": 34, "minDuration": "100s"}]))
    assert world.run(60, until=flagged)
    before = world.flagged
    world.edit(replicas=9)
    for pod in world.pods if silent == "everybody" else world.pods[3:]:
        pod.readable = False
    world.run(20)
    allowed = before if silent == "everybody" else [p.name for p in world.pods[:3]]
    assert before[0] in world.flagged
    assert set(world.flagged) <= set(allowed)
    assert world.phase == "Waiting"
    for pod in world.pods:
        pod.readable = True
    world.run(2)
    assert len(world.flagged) == 3


def test_a_lost_canary_pod_is_replaced_and_never_a_silent_share_of_zero():
    """R14b"""
    world = settled_world()
    world.edit(features=FLAG, rollout=rollout(steps=[{"weight": 34, "minDuration": "100s"}]))
    world.run(60, until=flagged)
    lost = world.flagged[0]
    next(p for p in world.pods if p.name == lost).ready = False
    world.run(5)
    assert world.flagged
    assert lost not in world.flagged


def test_when_no_other_pod_is_left_the_step_waits():
    world = settled_world()
    world.edit(features=FLAG, rollout=rollout(steps=[{"weight": 34, "minDuration": "100s"}]))
    world.run(60, until=flagged)
    for pod in world.pods:
        pod.ready = False
    world.run(5)
    assert world.status.rollout.reason in ("MetricsUnavailable", "CanaryPodsMissing")
    assert world.status.history == ()


def test_edited_steps_count_from_the_next_stage_on():
    """R13"""
    world = settled_world()
    world.edit(features={**FLAG, "cache": {"maxSize": 500}})
    world.run(60, until=flagged)
    world.edit(rollout=rollout(steps=[{"weight": 67, "minDuration": "20s"}]))
    world.run(3)
    assert len(world.flagged) == 1
    assert world.status.rollout.plan[0].weight == 34
    assert world.run(200, until=ended())
    assert world.status.history[-1].outcome == "Promoted"
    assert world.run(200, until=flagged)
    assert (world.status.rollout.stage, world.status.rollout.plan[0].weight) == ("cache", 67)
    assert len(world.flagged) == 2


@pytest.mark.parametrize("moment", ["calibrating", "flagged", "later"])
def test_a_restarted_operator_resumes_the_same_step_once_with_its_evidence(moment: str):
    """R15"""
    world = World(stack())
    world.run(60)
    world.edit(features=FLAG, rollout=rollout(steps=[{"weight": 34, "minDuration": "40s"}]))
    world.run(5 if moment == "calibrating" else 300, until=None if moment == "calibrating" else flagged)
    if moment == "later":
        world.run(20)
    before = world.status.rollout
    world.restart_operator()
    world.run(2)
    after = world.status.rollout
    assert (after.id, after.step, after.pods) == (before.id, before.step, before.pods)
    assert after.stage_seconds >= before.stage_seconds
    for name, evidence in before.evidence.items():
        assert after.evidence[name].canary_requests >= evidence.canary_requests
    assert world.run(400, until=ended())
    assert world.reasons.count("StageStarted") == 1
    assert world.status.history[-1].outcome == "Promoted"


def test_after_a_long_absence_the_flags_come_back_on_the_same_step_and_its_clock_did_not_run():
    """R15 R16"""
    world = settled_world()
    world.edit(features=FLAG, rollout=rollout(steps=[{"weight": 34, "minDuration": "60s"}]))
    world.run(60, until=flagged)
    world.run(10)
    before = world.status.rollout
    world.restart_operator()
    for pod in world.pods:
        pod.lease, pod.flags = None, world.status.stable.revision
    world.now += timedelta(minutes=7)
    world.run(2)
    after = world.status.rollout
    assert after.id == before.id
    assert world.flagged == list(before.pods)
    assert after.step_seconds - before.step_seconds < 15


def test_of_two_flags_in_one_commit_only_the_bad_one_is_reverted_and_named():
    """R21"""
    world = settled_world()
    world.edit(features={**FLAG, "cache": {"maxSize": 500}})
    world.run(200, until=ended())
    world.bad["store", "canary"] = 0.5
    assert world.run(300, until=ended(2))
    first, second = world.status.history
    assert (first.stage, first.outcome) == ("parallelIngest", "Promoted")
    assert (second.stage, second.outcome) == ("cache", "RolledBack")
    assert world.serving.parallel_ingest.concurrency == 4
    assert world.serving.cache.max_size == 100
    world.run(3)
    assert world.status.message.startswith("cache rejected")


def test_with_on_reject_stop_the_following_flags_are_not_tried():
    world = settled_world()
    world.bad["store", "canary"] = 0.5
    world.edit(features={**FLAG, "cache": {"maxSize": 500}})
    world.run(200, until=ended())
    world.run(60)
    assert len(world.status.history) == 1


def test_with_on_reject_continue_the_next_flag_is_tried():
    world = settled_world()
    world.bad["store", "canary"] = 0.5
    world.edit(features={**FLAG, "cache": {"maxSize": 500}}, rollout=rollout(onReject="Continue"))
    world.run(200, until=ended())
    world.bad["store", "canary"] = 0.0
    assert world.run(300, until=ended(2))
    assert [r.stage for r in world.status.history] == ["parallelIngest", "cache"]
    assert world.serving.cache.max_size == 500


def test_a_stack_over_budget_is_promoted_when_the_flag_improves_it():
    world = World(stack())
    world.bad["store", "stable"] = 0.6
    world.run(200)
    world.edit(features=FLAG)
    assert world.run(200, until=ended())
    record = world.status.history[-1]
    assert (record.outcome, record.reason) == ("Promoted", "Improves")
    assert record.judged["store"].over_budget_before


def test_a_stack_over_budget_rejects_a_flag_that_makes_it_worse():
    world = World(stack())
    for arm in ("stable", "canary"):
        world.bad["store", arm] = 0.3
    world.run(200)
    world.bad["store", "canary"] = 0.9
    world.edit(features=FLAG)
    assert world.run(200, until=ended())
    assert world.status.history[-1].outcome == "RolledBack"


def test_an_edited_budget_withdraws_the_flags_and_starts_the_evidence_again():
    world = settled_world()
    world.edit(features=FLAG, rollout=rollout(steps=[{"weight": 34, "minDuration": "100s"}]))
    world.run(60, until=flagged)
    first = world.status.rollout.id
    world.edit(rollout=rollout(budgets=[{"operation": "store", "p95": "300ms"}]))
    world.run(1)
    assert world.flagged == []
    assert world.run(300, until=flagged)
    assert world.status.rollout.id != first


def test_a_changed_template_withdraws_the_flags_and_is_reported_as_not_judged():
    world = settled_world()
    world.edit(features=FLAG, rollout=rollout(steps=[{"weight": 34, "minDuration": "100s"}]))
    world.run(60, until=flagged)
    world.edit(template={"env": [{"name": "A", "value": "1"}]})
    world.run(1)
    assert world.flagged == []
    assert world.condition("RolloutHealthy").reason == "NotJudged"
    world.settled = False
    world.run(30)
    assert world.flagged == []
    world.settled = True
    assert world.run(300, until=flagged)


def test_a_pod_that_does_not_take_the_flags_is_named_and_not_judged():
    world = settled_world()
    world.edit(features=FLAG)
    for pod in world.pods:
        pod.obedient = False
    world.run(90)
    assert world.status.rollout.reason == "FlagsNotApplied"
    assert world.condition("Stalled").status == "True"
    assert world.status.history == ()


def test_pause_keeps_the_flags_and_stops_the_clock_and_resume_goes_on():
    world = settled_world()
    world.edit(features=FLAG, rollout=rollout(steps=[{"weight": 34, "minDuration": "60s"}]))
    world.run(60, until=flagged)
    world.act("pause@1")
    world.run(2)
    seconds = world.status.rollout.step_seconds
    world.run(100)
    assert world.status.rollout.step_seconds == seconds
    assert len(world.flagged) == 1
    assert world.phase == "Paused"
    world.act("resume@2")
    assert world.run(200, until=ended())


def test_spec_paused_outranks_resume_and_holds_back_the_first_step():
    world = settled_world()
    world.edit(features=FLAG, rollout=rollout(paused=True))
    world.run(30)
    assert world.phase == "Paused"
    assert world.flagged == []
    world.act("resume@1")
    world.run(3)
    assert "outranks" in world.status.last_action_result
    world.edit(rollout=rollout())
    assert world.run(200, until=flagged)


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("promote", "nothing to promote"),
        ("abort", "nothing to abort"),
        ("retry", "nothing to retry"),
        ("resume", "nothing to resume"),
        ("dance", "unknown action"),
    ],
)
def test_an_action_that_makes_no_sense_is_refused_once_with_a_sentence(verb: str, said: str):
    world = settled_world(5)
    world.act(f"{verb}@7")
    world.run(5)
    assert world.reasons.count("ActionRefused") == 1
    assert said in world.status.last_action_result
    assert world.status.last_action == f"{verb}@7"


def test_pausing_twice_is_refused():
    world = settled_world(5)
    world.act("pause@1")
    world.run(2)
    world.act("pause@2")
    world.run(2)
    assert "already paused" in world.status.last_action_result


def test_inconclusive_with_hold_waits_for_a_person_and_retry_starts_again():
    world = settled_world()
    hold = {"interval": "1s", "timeout": "1m", "onInconclusive": "Hold"}
    world.bad["store", "canary"] = world.bad["store", "stable"] = 0.045
    world.edit(features=FLAG, rollout=rollout(analysis=hold))
    assert world.run(300, until=lambda w: w.phase == "Held")
    assert world.flagged == []
    assert world.condition("RolloutHealthy").status == "False"
    assert world.condition("Reconciling") is None or world.condition("Ready").status == "True"
    for key in world.bad:
        world.bad[key] = 0.0
    world.act("retry@1")
    assert world.run(300, until=lambda w: any(r.outcome == "Promoted" for r in w.status.history))


def test_inconclusive_by_default_rolls_back_and_says_what_was_missing():
    world = settled_world()
    world.bad["store", "canary"] = world.bad["store", "stable"] = 0.045
    world.edit(features=FLAG, rollout=rollout(analysis={"interval": "1s", "timeout": "1m"}))
    assert world.run(300, until=ended())
    record = world.status.history[-1]
    assert record.outcome == "Inconclusive"
    assert "did not suffice" in record.message


def test_the_stage_clock_starts_each_step_again_and_two_steps_are_both_walked():
    world = World(
        stack(
            replicas=4,
            rollout=rollout(steps=[{"weight": 25, "minDuration": "5s"}, {"weight": 50, "minDuration": "5s"}]),
        )
    )
    world.run(200)
    world.edit(features=FLAG)
    world.run(60, until=flagged)
    assert world.run(200, until=lambda w: len(w.flagged) == 2)
    assert "StepStarted" in world.reasons
    assert world.run(200, until=ended())


def test_a_decision_on_its_own_output_changes_nothing():
    world = settled_world()
    world.edit(features=FLAG)
    world.run(60, until=flagged)
    seen = world.observe()
    from memorystack_operator.core import decide

    first = decide(world.stack, world.status, seen, world.now)
    second = decide(world.stack, first.status, seen, world.now)
    third = decide(world.stack, second.status, seen, world.now)
    assert second.status == third.status
    assert third.events == ()
    assert not third.persist
    assert first.pod_flags == second.pod_flags == third.pod_flags


def test_a_clock_that_jumps_back_neither_breaks_nor_counts():
    world = settled_world()
    world.edit(features=FLAG, rollout=rollout(steps=[{"weight": 34, "minDuration": "60s"}]))
    world.run(60, until=flagged)
    seconds = world.status.rollout.step_seconds
    world.now -= timedelta(hours=2)
    world.round()
    assert world.status.rollout.step_seconds == seconds
    assert len(world.flagged) == 1


def test_an_idle_stack_is_not_written_again():
    world = settled_world(30)
    assert [world.tick().persist for _ in range(20)] == [False] * 20


def test_two_flags_share_one_pool_of_pods_chosen_by_the_rollouts_own_hash():
    chosen = set()
    for seed in range(6):
        world = settled_world(seed=seed)
        world.now += timedelta(seconds=seed)
        world.edit(features=POOL)
        world.run(60, until=flagged)
        chosen |= set(world.flagged)
    assert len(chosen) > 1
