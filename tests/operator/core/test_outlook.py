"""What a changed spec will bring, from the world as it stands."""

from __future__ import annotations

import pytest
from support.world import FLAG, POOL, World, rollout, settled_world, stack

from memorystack_operator.core import Status
from memorystack_operator.core.advice import Plan, remarks
from memorystack_operator.core.evidence import DesignEffect
from memorystack_operator.core.outlook import outlook
from memorystack_operator.core.room import Room
from memorystack_operator.core.traffic import Traffic, observed, recorded


def traffic(share: float = 0.0064, *, rate: float = 100.0, phi_abs: float = 1.4, source: str = "Measured") -> Traffic:
    effect = DesignEffect(phi_abs=phi_abs, phi_rel=1.4, rate=rate, source=source, message="ten blocks")
    return Traffic(operation="recall", rate=rate, share=share, requests=30_000, effect=effect, source="Observed")


def planned(spec, *seen: Traffic, status: Status | None = None):
    """The outlook of a spec, and what is remarked about it."""
    resource = stack(**spec)
    known = status or Status()
    found = outlook(resource, known, seen)
    return found, remarks(Plan(resource, known, found))


def served(world: World):
    """What the pods of a world tell of themselves."""
    return [p.evidence for p in world.observe(history=True).pods if p.evidence]


def seen_in(world: World, spec=None) -> tuple[Traffic, ...]:
    budgets = (spec or world.stack.spec).rollout.wire_budgets().p95_ms
    return observed(
        served(world),
        budgets,
        world.stack.spec.rollout.wire_budgets().p95_ms,
        flags=world.status.stable.revision,
        canaries=1,
        now=world.now.timestamp(),
    )


def test_traffic_is_the_rate_and_bad_share_that_the_pods_rings_hold():
    world = World(stack(), rate=60)
    world.bad["store", "stable"] = 0.3
    world.run(240)
    recall, store = seen_in(world)
    assert (recall.operation, store.operation) == ("recall", "store")
    assert recall.rate == pytest.approx(60, rel=0.02)
    assert recall.share == 0.0
    assert store.share == pytest.approx(0.3, abs=0.03)
    assert (recall.over_budget, store.over_budget) == (False, True)
    assert store.effect.phi_rel >= 1.0


def test_a_budget_that_pods_do_not_count_by_yet_is_read_from_the_ladder():
    """The world's requests take more than 100 ms in 6 % of the cases, and never more than 250 ms."""
    world = settled_world()
    tight = stack(rollout=rollout(budgets=[{"operation": "recall", "p95": "120ms"}]))
    (recall,) = seen_in(world, tight.spec)
    assert recall.share == pytest.approx(0.06, abs=0.01)
    loose = stack(rollout=rollout(budgets=[{"operation": "recall", "p95": "300ms"}]))
    assert seen_in(world, loose.spec)[0].share == 0.0


def test_an_operation_without_a_request_is_no_traffic():
    world = World(stack(rollout=rollout(budgets=[{"operation": "recall", "p95": "250ms"}])))
    world.run(200, traffic=False)
    assert seen_in(world) == ()
    assert recorded(None) == ()


@pytest.mark.parametrize("silent", [False, True], ids=["just begun", "long silent"])
def test_without_a_request_in_a_whole_half_minute_no_rate_is_invented(silent: bool):
    world = World(stack(), rate=60)
    world.run(20 if not silent else 200)
    if silent:
        world.run(360, traffic=False)
    assert seen_in(world) == ()


def test_what_a_stage_froze_serves_where_no_pod_answers():
    world = settled_world(240)
    world.edit(features=FLAG)
    assert world.run(60, until=lambda w: bool(w.flagged))
    kept = recorded(world.status.rollout.calibration)
    assert [t.source for t in kept] == ["Recorded", "Recorded"]
    assert kept[0].rate == pytest.approx(30, rel=0.05)


def test_stages_steps_pods_and_real_shares_are_those_of_the_rollout():
    steps = [{"weight": 10, "minDuration": "60s"}, {"weight": 25, "minDuration": "90s"}, {"pause": {}}, {"weight": 50}]
    found, said = planned({"replicas": 4, "features": {**FLAG, **POOL}, "rollout": rollout(steps=steps)}, traffic())
    assert [s.name for s in found.stages] == ["httpPool", "parallelIngest"]
    assert [(s.weight, s.pods, s.share, s.min_seconds) for s in found.stages[0].steps] == [
        (25, 1, 0.25, 90.0),
        (0, 0, 0.0, 0.0),
        (50, 2, 0.5, 60.0),
    ]
    assert "10 % and 25 %" in found.note
    assert found.stages[0].steps[0].median_seconds == 90.0
    assert found.stages[0].median_seconds == 150.0
    assert "store: no request seen" in said[1]
    assert "first start takes every flag" in said[0]


def test_a_healthy_step_takes_what_verdict_9_measured():
    spec = {"replicas": 4, "features": FLAG, "rollout": rollout(steps=[{"weight": 25, "minDuration": "0s"}])}
    found, _ = planned(spec, traffic(0.02, phi_abs=1 + 12 * 4))  # 13 at a quarter of the rate
    (step,) = found.stages[0].steps
    assert step.median_seconds == pytest.approx(153, rel=0.1)
    assert step.operations[0].question == "within"
    assert found.stages[0].in_time == pytest.approx(0.97, abs=0.03)


def test_a_stack_over_budget_must_be_proved_better_and_the_assumption_is_said():
    found, said = planned({"features": FLAG}, traffic(0.4))
    assert found.stages[0].steps[0].operations[0].question == "better"
    assert found.stages[0].median_seconds is not None
    assert any("halves the bad share" in text for text in said)


def test_detection_is_told_for_10_25_50_and_100_percent_and_gets_quicker():
    found, _ = planned({"features": FLAG}, traffic())
    (detections,) = found.stages[0].detections
    assert [d.added for d in detections.found] == [0.10, 0.25, 0.50, 1.0]
    seconds = [d.seconds for d in detections.found]
    assert seconds == sorted(seconds, reverse=True)
    assert seconds[-1] == 2.0


def test_a_timeout_that_is_too_short_is_warned_of_with_the_one_that_would_do():
    spec = {"features": FLAG, "rollout": rollout(analysis={"timeout": "5m"})}
    found, said = planned(spec, traffic(0.03, phi_abs=60))
    assert 600 < found.stages[0].late_seconds < 1200
    (text,) = (t for t in said if "shorter than what the evidence" in t)
    assert "timeout 5m" in text
    assert "set timeout: 20m" in text
    calm = planned({"features": FLAG, "rollout": rollout(analysis={"timeout": "5m"})}, traffic(0.001))[1]
    assert not any("shorter" in t for t in calm)


def test_steps_that_bake_longer_than_the_timeout_are_warned_of():
    steps = [{"weight": 34, "minDuration": "10m"}, {"weight": 67, "minDuration": "30m"}]
    _, said = planned({"features": FLAG, "rollout": rollout(steps=steps)}, traffic())
    assert any("minDuration of the steps alone (40 min)" in text for text in said)


def test_a_share_too_close_to_five_percent_is_never_decided_and_says_so():
    found, said = planned({"features": FLAG}, traffic(0.05))
    assert found.stages[0].median_seconds is None
    assert found.stages[0].in_time == 0.0
    assert any("no evidence can tell" in text for text in said)


ROOMY = Room(limit=0.025, hours=6.0, requests=1_000_000)


@pytest.mark.parametrize(
    ("promotion", "features", "room", "said"),
    [
        ("Plain", FLAG, ROOMY, "analysis.promotion: Paired would decide sooner under bursts, and it assumes"),
        ("Paired", FLAG, ROOMY, "then it goes on as Proving, in pairs; it assumes"),
        ("Paired", FLAG, Room(limit=0.049, hours=0.5, requests=9), "may be up to 4.9 % bad in the long run by 0.5 h"),
        ("Paired", {"cache": {"maxSize": 9}}, ROOMY, "cache sizes never qualify"),
        ("Plain", {"cache": {"maxSize": 9}}, ROOMY, ""),
    ],
)
def test_a_slow_step_says_whether_it_will_need_proving_and_may(promotion: str, features: dict, room: Room, said: str):
    spec = {"features": features, "rollout": rollout(analysis={"timeout": "4h", "promotion": promotion})}
    found, remarked = planned(spec, traffic(0.02, phi_abs=100).model_copy(update={"room": room}))
    assert found.stages[0].steps[0].operations[0].undecided > 0.5
    slow = [t for t in remarked if "a step is not decided in 3 min" in t]
    assert [said in t for t in slow] == ([True] if said else [])


def test_a_quick_step_says_nothing_of_proving():
    assert not any("not decided in 3 min" in t for t in planned({"features": FLAG}, traffic(0.001))[1])


def test_a_short_history_is_remarked():
    _, said = planned({"features": FLAG}, traffic(0.001, source="Short"))
    assert any("measured on a short history, so the real times may be shorter (ten blocks)" in text for text in said)


def test_one_replica_is_compared_with_a_surge_pod_that_takes_half():
    found, said = planned({"replicas": 1, "features": FLAG}, traffic())
    (step,) = found.stages[0].steps
    assert (found.replicas, step.pods, step.share) == (2, 1, 0.5)
    assert any("surge pod" in text for text in said)


def test_without_traffic_no_time_is_invented():
    found, said = planned({"features": FLAG})
    (stage,) = found.stages
    assert stage.steps[0].pods == 1
    assert (stage.median_seconds, stage.in_time, stage.detections) == (None, None, ())
    assert any("no traffic is known" in text for text in said)


def test_an_unchanged_spec_would_try_nothing():
    world = settled_world(30)
    found, said = planned({}, status=world.status)
    assert found.stages == ()
    assert said[0].startswith("every flag of the file serves already")


def rejected_world() -> World:
    world = settled_world()
    world.bad["store", "canary"] = 0.5
    world.edit(features=FLAG)
    assert world.run(200, until=lambda w: bool(w.status.history))
    return world


@pytest.mark.parametrize(("policy", "tried"), [("Stop", []), ("Continue", ["httpPool"])])
def test_what_was_rejected_stays_so_and_with_stop_holds_back_the_rest(policy: str, tried: list[str]):
    spec = {"features": {**FLAG, **POOL}, "rollout": rollout(onReject=policy)}
    found, said = planned(spec, traffic(), status=rejected_world().status)
    assert [s.name for s in found.tried] == tried
    assert any("parallelIngest would not be tried (P95OverBudget)" in text for text in said)


def test_a_change_in_the_middle_of_a_rollout_says_that_it_starts_again():
    world = settled_world()
    world.edit(features=FLAG)
    assert world.run(60, until=lambda w: bool(w.flagged))
    budgets = [{"operation": "recall", "p95": "200ms"}]
    spec = {"features": {"parallelIngest": {"concurrency": 8}}, "rollout": rollout(budgets=budgets)}
    _, said = planned(spec, traffic(), status=world.status)
    assert any("is taken back first (Superseded)" in text for text in said)
    assert any("its evidence starts again" in text for text in said)


def test_a_new_template_is_said_to_roll_without_judgement():
    world = settled_world(30)
    spec = {"features": FLAG, "template": {"env": [{"name": "A", "value": "1"}]}}
    assert any("is not judged" in text for text in planned(spec, traffic(), status=world.status)[1])
