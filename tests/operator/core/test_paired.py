"""`analysis.promotion: Paired`, observed through `decide` alone."""

from __future__ import annotations

from datetime import timedelta

import pytest
from support.world import FLAG, World, burst_over_time, rollout, stack

from memorystack_operator.core.state import RolloutState

BUDGETS = [{"operation": "store", "p95": "250ms"}]
PAIRED = {"interval": "1s", "timeout": "30m", "promotion": "Paired"}
PLAIN = {**PAIRED, "promotion": "Plain"}


def undecided_world(
    analysis: dict | None = None, features: dict | None = None, bad: float = 0.02, history: int = 700, **fields
) -> World:
    """A stack whose bursts leave Plain without a verdict: the flag is on, and its own counts say nearly nothing."""
    spec = rollout(analysis=analysis or PAIRED, budgets=BUDGETS, **fields)
    world = World(stack(rollout=spec), rate=60)
    for key in world.bad:
        world.bad[key] = bad
    world.run(history)
    world.edit(features=features or FLAG)
    assert world.run(60, until=lambda w: bool(w.flagged))
    burst_over_time(world)
    return world


def proving(world: World) -> bool:
    return world.phase == "Proving"


def ended(world: World) -> bool:
    return bool(world.status.history)


def test_what_plain_cannot_decide_in_three_minutes_is_proved_in_pairs_and_promoted():
    """Issue 10, 2"""
    world = undecided_world()
    assert not world.run(175, until=proving)
    assert world.run(20, until=proving)
    assert world.reasons[-1] == "ProvingStarted"
    assert world.status.rollout.proving.rate == pytest.approx(60, abs=6)
    seen = set()
    assert world.run(1200, until=lambda w: seen.add(bool(w.flagged)) or ended(w))
    assert seen == {True, False}
    record = world.status.history[-1]
    assert (record.outcome, record.reason) == ("Promoted", "WithinBudget")
    assert record.proving.decided
    assert record.proving.pairs >= 5
    assert record.proving.operations["store"].room > 1.1
    assert "by pairs" in record.message
    world.run(3)
    assert world.flagged == []
    assert world.serving.parallel_ingest.concurrency == 4


def test_the_line_in_the_status_names_pairs_keys_and_room():
    world = undecided_world()
    world.run(200, until=proving)
    world.run(150)
    for part in ("pairs (", "store: no harm of its own", "none to shared parts", "% bad without it", "odds may grow"):
        assert part in world.status.message
    assert world.status.message.endswith(("flags on now", "flags off now"))
    assert world.condition("Reconciling").reason == "Proving"


@pytest.mark.parametrize("arms", [("canary",), ("canary", "stable")], ids=["own", "shared"])
def test_a_flag_that_breaks_the_budget_is_not_promoted_by_pairs(arms: tuple[str, ...]):
    world = undecided_world()
    world.run(200, until=proving)
    if arms == ("canary",):
        world.bad["store", "canary"] = 0.09
    else:
        world.shared = 0.09
    world.run(700, until=ended)
    assert all(r.outcome != "Promoted" for r in world.status.history)


def test_a_bad_canary_is_rolled_back_while_it_is_proved():
    world = undecided_world()
    world.run(200, until=proving)
    world.bad["store", "canary"] = 0.6
    assert world.run(90, until=ended)
    assert world.status.history[-1].reason == "P95OverBudget"
    assert not world.status.history[-1].proving.decided


def test_a_sick_environment_withdraws_and_the_proof_goes_on_afterwards():
    world = undecided_world()
    world.run(200, until=proving)
    world.run(100, until=lambda w: w.status.rollout.proving.pairs == 2)
    for key in world.bad:
        world.bad[key] = 0.5
    assert world.run(90, until=lambda w: w.phase == "Withdrawn")
    for key in world.bad:
        world.bad[key] = 0.02
    assert world.run(900, until=lambda w: "Resumed" in w.reasons)
    assert world.run(60, until=proving)
    assert world.status.rollout.proving.pairs >= 2
    assert world.reasons.count("ProvingStarted") == 2


@pytest.mark.parametrize("moment", ["first", "second"])
def test_a_restarted_operator_drops_the_pair_under_way_and_keeps_what_was_bet(moment: str):
    """R15"""
    world = undecided_world()
    world.run(200, until=proving)
    second = moment == "second"
    world.run(200, until=lambda w: w.status.rollout.proving.pairs == 2 and w.status.rollout.proving.second is second)
    before = world.status.rollout.proving
    world.restart_operator()
    world.tick()
    after = world.status.rollout.proving
    assert (after.pair, after.discarded, after.pairs) == (before.pair + 1, before.discarded + 1, 2)
    assert after.proofs["store"].shared == before.proofs["store"].shared
    assert world.run(1200, until=ended)
    assert world.status.history[-1].outcome == "Promoted"


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_clock_that_jumps_drops_the_pair(hours: int):
    world = undecided_world()
    world.run(200, until=proving)
    world.run(200, until=lambda w: w.status.rollout.proving.pairs == 2)
    seconds = world.status.rollout.stage_seconds
    world.now += timedelta(hours=hours)
    world.round()
    test = world.status.rollout.proving
    assert (test.discarded, test.pairs) == (1, 2)
    assert world.status.rollout.stage_seconds <= seconds + 10


@pytest.mark.parametrize("trouble", ["blind", "paused", "unsettled"])
def test_while_the_world_cannot_be_measured_the_flags_are_off(trouble: str):
    world = undecided_world()
    world.run(200, until=proving)
    world.run(200, until=lambda w: w.status.rollout.proving.pairs == 1 and w.flagged)
    for pod in world.pods:
        pod.readable = trouble != "blind"
    world.settled = trouble != "unsettled"
    if trouble == "paused":
        world.act("pause@1")
    world.run(3)
    seconds = world.status.rollout.stage_seconds
    world.run(200)
    assert world.flagged == []
    assert world.status.rollout.stage_seconds == seconds
    assert world.status.rollout.state is RolloutState.PROVING
    assert world.status.rollout.proving.waiting
    if trouble == "paused":
        assert "flags are off" in world.status.message
        world.act("resume@2")
    for pod in world.pods:
        pod.readable = True
    world.settled = True
    assert world.run(1200, until=ended)
    assert world.status.history[-1].outcome == "Promoted"


def test_a_pod_that_missed_a_reading_spoils_its_pair_and_convicts_nobody():
    world = undecided_world()
    world.run(200, until=proving)
    world.run(200, until=lambda w: w.status.rollout.proving.pairs == 1 and w.status.rollout.proving.counting_since)
    pod = next(p for p in world.pods if p.name not in world.status.rollout.pods)
    pod.readable = False
    world.tick()
    pod.readable = True
    before = world.status.rollout.proving
    world.tick()
    after = world.status.rollout.proving
    assert after.discarded == before.discarded + 1
    assert not after.waiting


def test_a_lost_canary_pod_is_replaced_and_the_pairs_go_on():
    world = undecided_world()
    world.run(200, until=proving)
    world.run(60, until=lambda w: bool(w.flagged))
    lost = world.status.rollout.pods[0]
    next(p for p in world.pods if p.name == lost).ready = False
    world.run(4)
    assert lost not in world.status.rollout.pods
    assert world.run(1200, until=ended)
    assert world.status.history[-1].outcome == "Promoted"


def test_each_step_begins_with_plain_and_a_proof_of_its_own():
    steps = [{"weight": 34, "minDuration": "10s"}, {"weight": 67, "minDuration": "10s"}]
    world = undecided_world(steps=steps)
    world.run(200, until=proving)
    assert world.run(1200, until=lambda w: w.status.rollout.step == 1)
    assert world.phase == "Progressing"
    burst_over_time(world)
    assert not world.run(170, until=proving)
    assert world.run(30, until=proving)
    assert (world.status.rollout.proving.number, world.status.rollout.proving.pairs) == (1, 0)


def test_plain_says_when_pairs_would_help_and_what_they_assume():
    world = undecided_world(PLAIN)
    world.run(170)
    assert "Paired" not in world.status.message
    world.run(30)
    assert world.phase == "Progressing"
    assert "analysis.promotion: Paired would decide sooner" in world.status.message
    assert "effect on shared parts ends with the request" in world.status.message


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"features": {"cache": {"maxSize": 500}}}, "cache sizes never qualify"),
        ({"bad": 0.044}, "a longer history may tell more"),
    ],
)
def test_where_pairs_cannot_prove_anything_the_message_says_why(fields: dict, why: str):
    world = undecided_world(**fields)
    world.run(230)
    assert world.phase == "Progressing"
    assert why in world.status.message
    assert world.status.message.count("Paired cannot be used") == 1


def test_canary_pods_that_were_better_before_leave_no_room():
    world = undecided_world()
    current = world.status.rollout
    effect = current.evidence["store"].effect.model_copy(update={"mirrored_margin": 0.34})
    evidence = {"store": current.evidence["store"].model_copy(update={"effect": effect})}
    world.status = world.status.model_copy(update={"rollout": current.model_copy(update={"evidence": evidence})})
    world.run(230)
    assert "were better than the others before" in world.status.message


def test_a_room_that_was_too_small_is_looked_at_again_every_five_minutes():
    """After a promotion the history is short, and it grows while the next stage runs."""
    world = undecided_world(history=125)
    current = world.status.rollout
    room = current.rooms["store"].model_copy(update={"limit": 0.2})
    world.status = world.status.model_copy(update={"rollout": current.model_copy(update={"rooms": {"store": room}})})
    asked = []
    for second in range(500):
        if world.tick().history:
            asked.append(second)
        if proving(world):
            break
    assert proving(world)
    assert len(asked) <= 3
    assert world.status.rollout.rooms["store"].hours > 0.08
