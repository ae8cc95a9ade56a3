"""`analysis.promotion: Paired`, observed through `decide` alone."""

from __future__ import annotations

from datetime import timedelta
from math import log, pi

import pytest
from support.proving import burst_over_time
from support.world import FLAG, World, rollout, stack

from memorystack_operator.core.explain import explain
from memorystack_operator.core.pairs import Window
from memorystack_operator.core.standing import standing_of
from memorystack_operator.core.state import RolloutState
from memorystack_operator.core.trial import Trial

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


def test_the_first_key_counts_from_the_steps_begin_and_the_pairs_go_on_from_there():
    world = undecided_world()
    world.run(60)
    early = world.status.rollout.proofs["store"]
    assert early.own_log_e > 0
    assert (early.wealth, early.played, early.requests) == (0.0, 0, 0)
    assert world.run(200, until=proving)
    begun = world.status.rollout
    assert begun.proving.proofs["store"].own_log_e > early.own_log_e
    assert begun.proofs == {}


@pytest.mark.parametrize(
    "spec", [{"analysis": PLAIN}, {"features": {"cache": {"maxSize": 1000}}}], ids=["plain", "cache"]
)
def test_where_no_pairs_can_follow_no_key_is_counted(spec: dict):
    world = undecided_world(**spec)
    world.run(60)
    assert world.status.rollout.proofs == {}


def test_the_line_in_the_status_names_pairs_keys_and_room():
    world = undecided_world()
    world.run(200, until=proving)
    world.run(20)
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


def suspected(world: World) -> bool:
    rollout = world.status.rollout
    return bool(rollout and rollout.proving and rollout.proving.trying)


def everywhere(world: World, bad: float) -> None:
    """The environment's doing."""
    for key in world.bad:
        world.bad[key] = bad


def proving_since(seconds: int = 0) -> World:
    world = undecided_world()
    assert world.run(200, until=proving)
    world.run(seconds)
    return world


def test_a_sick_environment_withdraws_nothing_from_a_proof_and_is_found_to_be_the_cause():
    """The flags go on and off by lot already, so the pairs under way are asked."""
    world = proving_since(20)
    everywhere(world, 0.5)
    assert world.run(90, until=suspected)
    assert (world.phase, world.reasons[-1]) == ("Proving", "SwitchbackStarted")
    assert "EnvironmentOverBudget" in world.events[-1].message
    pair = world.status.rollout.proving.pair
    world.run(60)
    everywhere(world, 0.02)
    assert world.run(900, until=lambda w: "Resumed" in w.reasons)
    cleared = world.status.rollout.proving
    assert "it was the environment; the proof goes on" in world.status.message
    assert not cleared.trying
    assert cleared.trial.number == 1
    assert cleared.pair > pair
    assert not world.status.rollout.evidence["store"].findings(0.0025, 0.05).over.holds
    assert world.status.rollout.over_since == {}
    assert world.run(1200, until=ended)
    assert world.status.history[-1].outcome == "Promoted"
    assert world.status.history[-1].withdrawals == 0


def test_while_the_environment_is_on_trial_no_second_trial_begins():
    world = proving_since(20)
    everywhere(world, 0.5)
    assert world.run(90, until=suspected)
    world.run(60)
    assert world.reasons.count("SwitchbackStarted") == 1
    assert "evidence of harm" in world.status.message


def test_a_flag_that_harms_everybody_is_convicted_by_the_pairs_of_its_proof():
    """Within the time that a switchback would take, and without a withdrawal"""
    world = proving_since(20)
    world.shared = 0.3
    assert world.run(90, until=suspected)
    assert world.run(200, until=ended)
    record = world.status.history[-1]
    assert (record.outcome, record.reason, record.withdrawals) == ("RolledBack", "HarmsSharedDependency", 0)
    assert (record.switchback.number, record.switchback.better) == (1, 0)
    assert record.switchback.log_e >= record.switchback.needed
    world.run(2)
    assert world.flagged == []


def test_another_suspicion_has_the_next_number_and_so_a_stricter_level():
    world = proving_since(20)
    current = world.status.rollout
    last = Trial(number=3, operation="store", pooled=True)
    proving_now = current.proving.model_copy(update={"trial": last})
    world.status = world.status.model_copy(update={"rollout": current.model_copy(update={"proving": proving_now})})
    world.shared = 0.4
    assert world.run(90, until=suspected)
    assert world.status.rollout.proving.trial.number == 4
    assert world.run(300, until=ended)
    assert world.status.history[-1].switchback.needed == pytest.approx(log(2 * 16 / 0.01 * pi**2 / 6), abs=1e-3)


def withdrawn_world(harm: float, **kwargs) -> World:
    """Over budget on all pods half a minute after the flip, before anything is proved in pairs."""
    world = undecided_world(**kwargs)
    world.run(30)
    world.shared = harm
    assert world.run(60, until=lambda w: w.phase == "Withdrawn")
    return world


def test_after_a_withdrawal_the_pairs_serve_the_conviction_too():
    world = withdrawn_world(0.3)
    assert world.flagged == []
    assert world.run(120, until=proving)
    assert world.reasons[-1] == "ProvingStarted"
    test = world.status.rollout.proving
    assert (test.trying, test.tried_from, test.trial.pooled) == (True, 0, True)
    assert test.rate == pytest.approx(60, abs=6)
    assert world.run(200, until=ended)
    record = world.status.history[-1]
    assert (record.reason, record.withdrawals) == ("HarmsSharedDependency", 1)
    assert "SwitchbackStarted" not in world.reasons


def test_after_a_withdrawal_an_innocent_flag_is_cleared_or_promoted_by_the_same_pairs():
    world = withdrawn_world(0.3)
    world.shared = 0.0
    assert world.run(120, until=proving)
    assert world.run(1500, until=ended)
    record = world.status.history[-1]
    assert (record.outcome, record.withdrawals) == ("Promoted", 1)
    assert record.proving.decided


@pytest.mark.parametrize(
    "fields",
    [{"features": {"cache": {"maxSize": 500}}}, {"bad": 0.044}, {"analysis": PLAIN}],
    ids=["cache", "no room", "plain"],
)
def test_where_pairs_prove_nothing_a_withdrawn_flag_goes_through_the_switchback(fields: dict):
    world = withdrawn_world(0.3, **fields)
    assert world.run(400, until=lambda w: w.phase in ("Switchback", "Proving"))
    assert world.phase == "Switchback"
    assert world.reasons[-1] == "SwitchbackStarted"


def noisy_between_pods(world: World, phi_rel: float = 60.0) -> None:
    """From now on a difference between the arms says little of the flag."""
    current = world.status.rollout
    effect = current.evidence["store"].effect.model_copy(update={"phi_rel": phi_rel})
    evidence = {"store": current.evidence["store"].model_copy(update={"effect": effect})}
    world.status = world.status.model_copy(update={"rollout": current.model_copy(update={"evidence": evidence})})


def test_a_canary_alone_over_budget_for_a_minute_is_tried_by_its_difference_from_the_others():
    """SuspectedOverBudget: until then it keeps the chance to be convicted as plainly worse."""
    world = proving_since(20)
    noisy_between_pods(world)
    world.bad["store", "canary"] = 0.25
    assert not world.run(55, until=suspected)
    assert world.run(60, until=suspected)
    assert "SuspectedOverBudget" in world.events[-1].message
    assert not world.status.rollout.proving.trial.pooled
    assert world.run(200, until=ended)
    assert world.status.history[-1].reason == "HarmsSharedDependency"


def test_what_is_plainly_worse_is_convicted_at_once_even_while_the_environment_is_on_trial():
    world = proving_since(20)
    everywhere(world, 0.3)
    assert world.run(90, until=suspected)
    world.bad["store", "canary"] = 0.9
    assert world.run(40, until=ended)
    assert world.status.history[-1].reason == "P95OverBudget"


def test_an_environment_that_stays_over_budget_ends_the_proof_when_time_is_out():
    world = proving_since(20)
    everywhere(world, 0.3)
    assert world.run(90, until=suspected)
    current = world.status.rollout
    world.status = world.status.model_copy(update={"rollout": current.model_copy(update={"stage_seconds": 1790.0})})
    assert world.run(60, until=ended)
    record = world.status.history[-1]
    assert record.reason == "Inconclusive"
    assert "did not suffice in time" in record.message


def test_a_restarted_operator_keeps_the_trial_and_drops_the_pair_under_way():
    """R15"""
    world = proving_since(20)
    world.shared = 0.3
    assert world.run(150, until=lambda w: suspected(w) and w.status.rollout.proving.trial.worse == 3)
    world.run(60, until=lambda w: w.status.rollout.proving.second and w.status.rollout.proving.counting_since)
    before = world.status.rollout.proving
    world.restart_operator()
    world.tick()
    after = world.status.rollout.proving
    assert (after.discarded, after.trying, after.tried_from) == (before.discarded + 1, True, before.tried_from)
    assert after.trial == before.trial.model_copy(update={"first": Window(), "current": Window()})
    assert world.run(200, until=ended)
    assert world.status.history[-1].reason == "HarmsSharedDependency"


def test_the_next_step_begins_without_the_suspicion_but_remembers_its_number():
    steps = [{"weight": 34, "minDuration": "10s"}, {"weight": 67, "minDuration": "10s"}]
    world = undecided_world(steps=steps)
    assert world.run(200, until=proving)
    world.run(20)
    everywhere(world, 0.5)
    assert world.run(90, until=suspected)
    everywhere(world, 0.02)
    assert world.run(1500, until=lambda w: w.status.rollout.step == 1)
    burst_over_time(world)
    assert world.run(200, until=proving)
    test = world.status.rollout.proving
    assert (test.number, test.trying, test.trial.number) == (1, False, 1)


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
    assert after.proofs["store"].wealth == before.proofs["store"].wealth
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


def test_a_later_step_has_a_proof_of_its_own_and_no_three_minutes_for_plain():
    """Plain has shown in the step before that it cannot decide; the bake time is kept."""
    steps = [{"weight": 34, "minDuration": "10s"}, {"weight": 67, "minDuration": "10s"}]
    world = undecided_world(steps=steps)
    world.run(200, until=proving)
    assert world.run(1200, until=lambda w: w.status.rollout.step == 1)
    assert world.phase == "Progressing"
    burst_over_time(world)
    assert not world.run(8, until=proving)
    assert world.run(10, until=proving)
    assert "as in the step before" in world.events[-1].message
    assert (world.status.rollout.proving.number, world.status.rollout.proving.pairs) == (1, 0)


def test_the_tale_of_a_proof_tells_of_the_suspicion_while_it_lasts():
    world = proving_since(20)
    assert not any("overloads" in s for s in explain("mem", world.stack.spec, world.status).sentences)
    world.shared = 0.3
    assert world.run(90, until=suspected)
    told = explain("mem", world.stack.spec, world.status).sentences
    assert any("either the flag overloads something that all pods share" in s for s in told)
    assert any("no pair of short windows is whole yet" in s for s in told)
    names = [lean.name for lean in standing_of(world.stack.spec, world.status.rollout).leans]
    assert names == ["own", "shared", "proved", "harms", "cleared"]
    assert world.run(250, until=ended)
    told = explain("mem", world.stack.spec, world.status)
    assert told.reason == "HarmsSharedDependency"
    assert any(s.startswith("While it was on, ") for s in told.sentences)


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
