"""After 100 %: what becomes of a flag that turns bad late, and of one that is innocent of a slow stack."""

from __future__ import annotations

from datetime import timedelta

import pytest
from support.watched import outcome, over, promoted_world, reversing, slow, spoil, watch_on
from support.world import FLAG, World, rollout, stack

from memorystack_runtime.contract import revision_of


def test_a_flag_that_turns_bad_late_is_reported_compared_and_taken_back_everywhere():
    world = promoted_world()
    watch_on(world, 120)
    spoil(world)
    start = world.now
    assert watch_on(world, 20, until=over)
    assert world.now - start <= timedelta(minutes=12)
    assert world.phase == "OverBudget"
    assert world.condition("RolloutHealthy").reason == "StackOverBudget"
    assert world.condition("RolloutHealthy").status == "Unknown"
    assert world.condition("Ready").status == "True"
    assert world.serving.parallel_ingest.concurrency == 4
    assert watch_on(world, 10, until=reversing)
    assert len(world.flagged) == 2
    assert watch_on(world, 10, until=outcome("RolledBack"))
    record = world.status.history[-1]
    assert (record.stage, record.reason) == ("parallelIngest", "LateRegression")
    for part in ("promoted at", "250ms", "older value", "needed"):
        assert part in record.message
    assert world.serving.parallel_ingest.concurrency == 0
    assert world.flagged == []
    assert world.condition("RolloutHealthy").status == "False"
    assert world.phase == "Rejected"
    assert world.reasons[-4:] == ["StackOverBudget", "ReverseCanaryStarted", "StageStarted", "LateRegression"]
    watch_on(world, 60)
    assert world.status.rollout is None
    assert world.phase == "Rejected"


def test_what_was_taken_back_late_is_tried_again_only_after_retry():
    world = promoted_world()
    spoil(world)
    assert watch_on(world, 40, until=outcome("RolledBack"))
    world.harmful = {}
    watch_on(world, 10)
    assert len(world.status.rejected) == 1
    world.act("retry@1")
    assert watch_on(world, 30, until=outcome("Promoted"))
    assert world.serving.parallel_ingest.concurrency == 4


def test_in_the_first_hour_an_alarm_comes_within_two_minutes():
    world = promoted_world()
    spoil(world)
    start = world.now
    assert watch_on(world, 20, until=over, every=60)
    assert world.now - start <= timedelta(minutes=2, seconds=30)


def test_an_environment_that_is_slow_for_everybody_never_takes_the_flag_back():
    world = promoted_world(timeout="30m")
    watch_on(world, 3)
    slow(world, 0.25)
    assert watch_on(world, 90, until=outcome("Kept", "RolledBack"))
    record = world.status.history[-1]
    assert (record.outcome, record.reason) == ("Kept", "EnvironmentOverBudget")
    assert record.switchback.number == 1
    assert world.flagged == []
    assert world.serving.parallel_ingest.concurrency == 4
    assert world.status.rejected == ()
    watch_on(world, 1)
    assert world.phase == "OverBudget"
    assert "after" in world.status.message
    rest = world.status.watch.rest_until
    assert watch_on(world, 90, until=reversing)
    assert world.now >= rest
    assert watch_on(world, 60, until=lambda w: w.status.rollout is None)
    assert world.status.watch.rest_until - world.now > timedelta(minutes=100)
    assert [r.outcome for r in world.status.history] == ["Promoted", "Kept"]
    slow(world, 0.0)
    assert watch_on(world, 30, until=lambda w: not over(w))
    assert world.reasons[-1] == "StackRecovered"
    assert world.phase == "Idle"


def test_a_flag_that_harms_a_shared_part_late_is_convicted_by_a_switchback_on_all_pods():
    """R5c after 100 %: half of the pods without the flag are as slow as the others"""
    world = promoted_world()
    world.flooding = {world.status.stable.revision: 0.5}
    counts = set()
    assert watch_on(
        world, 90, until=lambda w: counts.add((w.phase, len(w.flagged))) or w.status.history[-1].outcome != "Promoted"
    )
    assert {("ReverseCanary", 2), ("Switchback", 4), ("Switchback", 0)} <= counts
    record = world.status.history[-1]
    assert (record.outcome, record.reason) == ("RolledBack", "LateRegression")
    assert "by lot" in record.message
    watch_on(world, 2)
    assert world.flagged == []
    assert world.serving.parallel_ingest.concurrency == 0


def test_a_short_outage_is_reported_and_no_flag_is_asked():
    world = promoted_world()
    slow(world, 0.5)
    assert watch_on(world, 5, until=over)
    slow(world, 0.0)
    watch_on(world, 60)
    assert world.reasons.count("StackOverBudget") == 1
    assert "ReverseCanaryStarted" not in world.reasons
    assert not over(world)


def test_an_environment_that_recovers_during_the_reverse_canary_ends_it_without_a_verdict():
    world = promoted_world()
    slow(world, 0.3)
    assert watch_on(world, 30, until=lambda w: w.status.rollout is not None)
    slow(world, 0.01)
    assert watch_on(world, 60, until=outcome("Kept"))
    assert world.serving.parallel_ingest.concurrency == 4


def test_an_older_value_that_is_worse_ends_the_reverse_canary_at_once():
    world = promoted_world()
    slow(world, 0.08)
    assert watch_on(world, 60, until=reversing)
    world.harmful = {world.status.rollout.revision: 0.5}
    start = world.now
    assert watch_on(world, 30, until=outcome("Kept"))
    assert world.status.history[-1].reason == "NoRegression"
    assert world.now - start < timedelta(minutes=3)


def test_of_two_promoted_flags_the_newer_is_asked_first_and_the_guilty_one_is_found():
    world = promoted_world(features={**FLAG, "cache": {"maxSize": 500}})
    assert [p.stage for p in world.status.watch.promotions] == ["parallelIngest", "cache"]
    guilty = [world.status.stable.revision]
    older = world.serving.model_copy(update={"cache": world.status.watch.promotions[1].before.cache})
    guilty.append(revision_of(older))
    world.harmful = dict.fromkeys(guilty, 0.3)
    assert watch_on(world, 120, until=outcome("RolledBack"))
    kept, convicted = world.status.history[-2:]
    assert (kept.stage, kept.outcome) == ("cache", "Kept")
    assert (convicted.stage, convicted.reason) == ("parallelIngest", "LateRegression")
    assert (world.serving.parallel_ingest.concurrency, world.serving.cache.max_size) == (0, 500)


def test_one_replica_is_only_reported():
    world = promoted_world()
    world.edit(replicas=1)
    spoil(world)
    assert watch_on(world, 20, until=over)
    watch_on(world, 120)
    assert world.phase == "OverBudget"
    assert "one replica" in world.status.message
    assert world.flagged == []


def test_what_a_person_promoted_without_a_verdict_is_only_reported():
    world = World(stack(replicas=4), rate=40)
    world.run(100)
    world.edit(features=FLAG)
    world.run(2)
    world.act("promote@1")
    world.run(5)
    spoil(world)
    assert watch_on(world, 20, until=over)
    watch_on(world, 60)
    assert world.flagged == []
    assert "no flag is asked" in world.status.message


def test_a_flag_that_improved_a_stack_and_left_it_over_budget_is_not_asked_for_what_was_so_before():
    world = World(stack(replicas=4), rate=40)
    world.bad["store", "stable"], world.bad["store", "canary"] = 0.6, 0.15
    world.run(200)
    world.edit(features=FLAG)
    assert world.run(600, until=lambda w: bool(w.status.history))
    assert world.status.history[-1].reason == "Improves"
    world.bad["store", "stable"] = 0.15
    assert watch_on(world, 20, until=over)
    watch_on(world, 60)
    assert "ReverseCanaryStarted" not in world.reasons


def test_paused_asks_nothing_and_resume_lets_it_ask():
    world = promoted_world()
    world.act("pause@1")
    spoil(world)
    watch_on(world, 60)
    assert over(world)
    assert "paused" in world.status.message
    assert "ReverseCanaryStarted" not in world.reasons
    world.act("resume@2")
    assert watch_on(world, 30, until=outcome("RolledBack"))


def test_requests_that_fail_late_are_reported_compared_and_take_the_flag_back_though_every_answer_is_quick():
    """2.5 % of failures keep every p95; `maxErrorPercent` is 1."""
    world = promoted_world()
    world.failed["stable"] = 0.025
    assert watch_on(world, 15, until=over)
    assert world.phase == "OverBudget"
    healthy = world.condition("RolloutHealthy")
    assert (healthy.status, healthy.reason) == ("Unknown", "ErrorsOverBudget")
    assert "more than maxErrorPercent (1 %) of the requests fail" in healthy.message
    assert "failed in the last two minutes" in healthy.message
    assert world.reasons[-1] == "StackOverBudget"
    assert watch_on(world, 10, until=reversing)
    assert world.status.rollout.failing
    assert watch_on(world, 15, until=outcome("RolledBack"))
    record = world.status.history[-1]
    assert (record.stage, record.reason) == ("parallelIngest", "LateRegression")
    assert "with the older value 0 of" in record.message
    assert world.serving.parallel_ingest.concurrency == 0
    assert world.phase == "Rejected"


def test_requests_that_fail_alike_with_both_values_are_reported_and_no_lot_is_drawn():
    world = promoted_world()
    world.failed |= {"stable": 0.025, "canary": 0.025}
    assert watch_on(world, 60, until=outcome("Kept"))
    assert world.status.history[-1].reason == "EnvironmentOverBudget"
    assert "requests fail alike" in world.status.history[-1].message
    assert "SwitchbackStarted" not in world.reasons
    assert (world.phase, world.status.rejected) == ("OverBudget", ())
    world.failed |= {"stable": 0.0, "canary": 0.0}
    assert watch_on(world, 30, until=lambda w: not over(w))
    assert (world.reasons[-1], world.phase) == ("StackRecovered", "Idle")
    told = next(e.message for e in reversed(world.events) if e.reason == "StackRecovered")
    assert told.startswith("failed requests are within maxErrorPercent for ten minutes")


@pytest.mark.parametrize(("percent", "share"), [(1, 0.007), (5, 0.03)])
def test_fewer_failures_than_max_error_percent_are_no_alarm(percent: int, share: float):
    world = promoted_world()
    world.edit(rollout=rollout(maxErrorPercent=percent))
    world.failed["stable"] = share
    assert not watch_on(world, 120, until=over)


def test_failures_that_there_were_before_the_promotion_are_reported_and_take_no_flag_back():
    world = World(stack(replicas=4), rate=40)
    world.failed |= {"stable": 0.03, "canary": 0.03}
    world.run(200)
    world.edit(features=FLAG)
    assert world.run(900, until=lambda w: bool(w.status.history))
    assert world.status.history[-1].outcome == "Promoted"
    assert watch_on(world, 60, until=outcome("Kept"))
    assert world.serving.parallel_ingest.concurrency == 4
    assert (world.phase, world.status.rejected) == ("OverBudget", ())


def test_an_operator_that_restarts_still_knows_that_failures_are_asked_about():
    """R15 after 100 %"""
    world = promoted_world()
    world.edit(rollout=rollout(maxErrorPercent=2))
    watch_on(world, 1)
    world.failed["stable"] = 0.045
    for reached in (over, reversing):
        assert watch_on(world, 20, until=reached)
        world.restart_operator()
    world.tick()
    assert world.status.message.startswith("failed requests, limit 2 %")
    assert watch_on(world, 15, until=outcome("RolledBack"))
    assert world.status.history[-1].reason == "LateRegression"


def test_an_alarm_about_failures_is_no_alarm_about_slowness_and_the_other_way_round():
    world = promoted_world()
    world.edit(replicas=1)
    world.failed["stable"] = 0.025
    assert watch_on(world, 15, until=over)
    world.failed["stable"] = 0.0
    assert watch_on(world, 30, until=lambda w: not over(w))
    assert not world.status.failing
    slow(world, 0.2)
    assert watch_on(world, 20, until=over)
    assert world.condition("RolloutHealthy").reason == "StackOverBudget"
    assert not world.status.failing


@pytest.mark.parametrize("held", ["a person", "no surge pod"])
def test_a_flag_that_waits_to_be_tried_does_not_blind_the_watch_over_another(held: str):
    """It may wait for weeks; meanwhile the stack is reported, and no flag is asked."""
    world = promoted_world()
    if held == "a person":
        world.act("pause@1")
        world.tick()
    world.surge_starts = False
    world.edit(features={**FLAG, "cache": {"maxSize": 500}}, replicas=4 if held == "a person" else 1)
    spoil(world)
    assert watch_on(world, 20, until=over)
    assert world.condition("RolloutHealthy").reason == "StackOverBudget"
    watch_on(world, 10)
    assert "ReverseCanaryStarted" not in world.reasons
    world.harmful = {}
    assert watch_on(world, 20, until=lambda w: not over(w))
    assert world.reasons[-1] == "StackRecovered"


def test_an_alarm_about_an_operation_that_has_no_budget_any_longer_ends():
    world = promoted_world()
    world.bad["store", "stable"] = 0.3
    assert watch_on(world, 5, until=over)
    assert world.status.watch.over.operation == "store"
    world.edit(rollout=rollout(budgets=[{"operation": "recall", "p95": "250ms"}]))
    watch_on(world, 2)
    assert not over(world)
    assert world.phase == "Idle"


@pytest.mark.parametrize("limit", ["0s", "1h"])
def test_after_its_stabilization_a_stack_is_not_watched(limit: str):
    world = promoted_world()
    world.edit(rollout=rollout(stabilization=limit))
    watch_on(world, 70)
    spoil(world)
    watch_on(world, 60)
    assert not over(world)
    assert "StackOverBudget" not in world.reasons


def test_when_the_stabilization_ends_during_an_alarm_the_alarm_ends_too():
    world = promoted_world()
    world.edit(replicas=1, rollout=rollout(stabilization="1h"))
    spoil(world)
    assert watch_on(world, 20, until=over)
    watch_on(world, 60)
    assert not over(world)
    assert world.phase == "Idle"


def test_without_traffic_nothing_is_seen_and_nothing_is_asked():
    world = promoted_world()
    watch_on(world, 120, traffic=False)
    assert not over(world)
    assert world.phase == "Idle"


def test_while_the_pods_cannot_be_read_an_alarm_stands_and_nothing_is_asked():
    world = promoted_world()
    spoil(world)
    assert watch_on(world, 20, until=over)
    for pod in world.pods:
        pod.readable = False
    watch_on(world, 60)
    assert over(world)
    assert "ReverseCanaryStarted" not in world.reasons
    for pod in world.pods:
        pod.readable = True
    assert watch_on(world, 30, until=outcome("RolledBack"))


def test_a_blind_reverse_canary_is_withdrawn_and_goes_on_when_it_sees_again():
    """R6 after 100 %"""
    world = promoted_world()
    spoil(world, 0.12)
    assert watch_on(world, 60, until=reversing)
    for pod in world.pods:
        pod.readable = False
    world.run(150)
    assert world.phase == "Withdrawn"
    assert world.flagged == []
    for pod in world.pods:
        pod.readable = True
    assert watch_on(world, 30, until=outcome("RolledBack"))


@pytest.mark.parametrize(
    ("edit", "last"),
    [
        ({"features": {**FLAG, "cache": {"maxSize": 500}}}, "Superseded"),
        ({"features": {}}, "Superseded"),
        ({"rollout": rollout(budgets=[{"operation": "store", "p95": "300ms"}])}, "Superseded"),
        ({"template": {"env": [{"name": "A", "value": "1"}]}}, "Superseded"),
        ({"replicas": 1}, "Kept"),
    ],
    ids=["another flag", "the flag itself", "budgets", "template", "one replica"],
)
def test_an_edit_during_a_reverse_canary_ends_it_and_the_flags_leave(edit: dict, last: str):
    world = promoted_world()
    spoil(world, 0.09)
    assert watch_on(world, 60, until=reversing)
    world.edit(**edit)
    world.run(1)
    assert world.status.history[-1].outcome == last
    assert world.flagged == []
    assert world.status.rejected == ()


def test_abort_ends_a_reverse_canary_and_the_watch_rests():
    world = promoted_world()
    spoil(world, 0.09)
    assert watch_on(world, 60, until=reversing)
    world.act("abort@1")
    world.run(3)
    assert world.status.history[-1].outcome == "Aborted"
    assert world.flagged == []
    assert world.status.rejected == ()
    assert world.status.watch.rest_until - world.now > timedelta(minutes=55)


def test_crashing_pods_end_a_reverse_canary_without_a_verdict():
    world = promoted_world()
    spoil(world, 0.09)
    assert watch_on(world, 60, until=reversing)
    for pod in world.pods:
        if pod.lease:
            world.restart_pod(pod)
    world.run(2)
    assert world.status.history[-1].outcome == "Kept"
    assert world.status.history[-1].reason == "PodsCrashing"


def test_scaling_during_a_reverse_canary_keeps_half_of_the_pods_on_the_older_value():
    """R12 after 100 %"""
    world = promoted_world()
    spoil(world, 0.09)
    assert watch_on(world, 60, until=reversing)
    world.edit(replicas=8)
    world.run(3)
    assert len(world.flagged) == 4
    assert watch_on(world, 30, until=outcome("RolledBack"))


@pytest.mark.parametrize("moment", ["alarm", "reverse", "switchback"])
def test_a_restarted_operator_goes_on_where_it_was(moment: str):
    """R15 after 100 %"""
    world = promoted_world()
    if moment == "switchback":
        world.flooding = {world.status.stable.revision: 0.5}
    else:
        spoil(world, 0.12)
    reached = {"alarm": over, "reverse": reversing, "switchback": lambda w: w.phase == "Switchback"}[moment]
    assert watch_on(world, 60, until=reached)
    before = world.status
    world.restart_operator()
    world.run(1)
    assert world.status.watch == before.watch
    assert (world.status.rollout is None) == (before.rollout is None)
    if before.rollout:
        assert world.status.rollout.id == before.rollout.id
        assert world.status.rollout.reverse.same >= before.rollout.reverse.same - 5
    assert watch_on(world, 90, until=outcome("RolledBack", "Kept"))
    assert world.status.history[-1].reason == "LateRegression"


def test_a_switchback_that_does_not_decide_ends_at_the_timeout_and_the_flag_is_kept():
    world = promoted_world()
    slow(world, 0.25)
    assert watch_on(world, 60, until=lambda w: w.phase == "Switchback")
    for pod in world.pods:
        pod.obedient = False
    watch_on(world, 12, until=lambda w: w.status.rollout is None)
    assert world.status.history[-1].reason == "Inconclusive"


def test_a_healthy_watched_stack_is_never_written_while_idle():
    world = promoted_world()
    slow(world, 0.02)
    watch_on(world, 2)
    written = 0
    for _ in range(240):
        written += world.tick(60).persist
    assert written == 0
    assert world.phase == "Idle"


@pytest.mark.parametrize(
    ("hours", "alarm", "minutes"), [(0.2, False, 1), (3, False, 10), (3, True, 1)], ids=["early", "later", "over"]
)
def test_the_rings_are_read_each_minute_at_first_and_while_over_and_every_ten_later(
    hours: float, alarm: bool, minutes: int
):
    world = promoted_world()
    world.edit(replicas=1)
    if alarm:
        spoil(world)
        assert watch_on(world, 20, until=over)
    world.now += timedelta(hours=hours)
    world.round()
    assert world.status.rings_every(world.now) == timedelta(minutes=minutes)
    assert world.decision.requeue_after == timedelta(seconds=60)


def test_after_a_stage_the_next_look_does_not_wait_for_the_idle_pace():
    world = promoted_world()
    world.edit(features={**FLAG, "cache": {"maxSize": 500}})
    world.run(600, until=lambda w: w.status.settling is not None)
    world.run(5, until=lambda w: w.status.settling is None)
    assert world.decision.requeue_after < timedelta(seconds=1)
