"""After 100 %: when an alarm is given and ends, which flag is asked, and what follows from the answer."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from support.moments import BUDGETS, canary_world, moment_of, switching, with_rollout, with_status
from support.world import FLAG, World, remembered, rollout, settled_world

from memorystack_operator.core.guards.watch import (
    reverse_overtaken,
    reverse_switching_back,
    reverse_verdict,
    stack_over_budget,
)
from memorystack_operator.core.limits import switchback_level
from memorystack_operator.core.phrases import multiple
from memorystack_operator.core.reverse import Reverse
from memorystack_operator.core.situation import Move, Outcome, Situation
from memorystack_operator.core.stabilization import OverBudget, Promotion
from memorystack_operator.core.stages import canonical
from memorystack_operator.core.state import RolloutState

OVER = "store is over its budget, as was told"


@remembered
def later_world(bad: float, minutes: int = 3) -> World:
    """So long after a healthy start; meanwhile so many requests of `store` were bad."""
    world = settled_world()
    world.bad["store", "stable"] = bad
    for _ in range(2 * minutes):
        world.live(30)
    return world


def watching(world: World, *, asked: int = 0, **fields: object) -> Situation:
    """`parallelIngest` was promoted two hours ago; rings are read."""
    situation = moment_of(world, history=True)
    features = situation.stable.features
    told = {"stage": "parallelIngest", "value": canonical(features, "parallelIngest"), "asked": asked}
    promotion = Promotion(**{**told, "before": features, "at": situation.now - timedelta(hours=2), **fields})
    return with_status(situation, watch=situation.status.watch.promoted(promotion))


def alarmed(situation: Situation, minutes: float = 5, **fields: object) -> Situation:
    """`store` is over its budget since so long."""
    over = OverBudget(operation="store", since=situation.now - timedelta(minutes=minutes), message=OVER)
    return with_status(situation, watch=situation.status.watch.model_copy(update={"over": over, **fields}))


def waits(why: str) -> Outcome:
    return Outcome(Move.HOLD, "StackOverBudget", f"{OVER}; {why}", "store")


# -- an alarm, and its end ---------------------------------------------------------


def test_a_watched_stack_that_keeps_its_budgets_gives_no_alarm():
    assert stack_over_budget(watching(later_world(0.0))) is None


def test_a_watched_stack_over_its_budget_gives_an_alarm_with_counts_and_evidence():
    told = stack_over_budget(watching(later_world(0.4)))
    assert (told.move, told.reason, told.operation) == (Move.ALARM, "StackOverBudget", "store")
    assert told.message.startswith("store is over its budget of 250ms on the whole stack: ")
    assert " bad in the last two minutes (4" in told.message
    assert told.message.endswith("x needed")


def test_a_stack_that_is_not_watched_gives_none_and_an_alarm_ends_with_the_watch():
    unwatched = moment_of(later_world(0.4), history=True)
    assert stack_over_budget(unwatched) is None
    ends = Outcome(Move.CALM, "AsInSpec", "no promotion is watched any longer")
    assert stack_over_budget(alarmed(unwatched)) == ends


def test_between_two_readings_of_the_rings_there_is_no_alarm():
    world = later_world(0.4)
    situation = watching(world)
    pods = tuple(replace(p, evidence=p.evidence.model_copy(update={"ring": ()})) for p in situation.seen.pods)
    assert stack_over_budget(replace(situation, seen=replace(situation.seen, pods=pods))) is None


def test_an_alarm_ends_after_ten_minutes_within_budget():
    told = stack_over_budget(alarmed(watching(later_world(0.0, minutes=11))))
    assert (told.move, told.reason, told.operation) == (Move.CALM, "StackRecovered", "store")
    assert told.message.startswith("store is within its budget for ten minutes: 0 of ")
    assert told.message.endswith(" bad in the last ten minutes (0.0 %)")


def test_an_alarm_about_failures_ends_when_few_fail_however_slow_they_are():
    about_failures = with_status(alarmed(watching(later_world(0.4, minutes=11))), failing=True)
    told = stack_over_budget(about_failures)
    assert (told.move, told.reason, told.operation) == (Move.CALM, "StackRecovered", "store")
    assert told.message.startswith("failed requests are within maxErrorPercent for ten minutes: 0 of ")
    assert told.message.endswith(" failed in the last ten minutes (0.0 %)")


def test_an_alarm_about_what_has_no_budget_any_longer_ends():
    world = later_world(0.4)
    world.edit(rollout=rollout(budgets=[{"operation": "recall", "p95": "250ms"}]))
    ends = Outcome(Move.CALM, "AsInSpec", "store has no budget any longer")
    assert stack_over_budget(alarmed(watching(world))) == ends


def test_a_new_flag_comes_first_if_it_can_begin():
    world = later_world(0.4)
    world.edit(features={"cache": {"maxSize": 500}})
    assert stack_over_budget(alarmed(watching(world))) is None
    assert stack_over_budget(watching(world)) is None
    paused = with_status(watching(world), paused=True)
    assert stack_over_budget(paused).move is Move.ALARM
    assert stack_over_budget(alarmed(paused)) is None


# -- which flag did it? ------------------------------------------------------------


def test_what_lasts_for_five_minutes_is_asked_about_with_half_of_the_pods():
    text = f"{OVER}; parallelIngest goes back to its older value on half of the pods, to be compared"
    asks = Outcome(Move.REVERSE, "StackOverBudget", text, "store", stage="parallelIngest")
    assert stack_over_budget(alarmed(watching(later_world(0.4)))) == asks
    assert stack_over_budget(alarmed(watching(later_world(0.4)), 4)) == waits("parallelIngest is asked when this lasts")


def test_what_is_over_no_more_is_not_asked_about():
    world = later_world(0.4)
    world.bad["store", "stable"] = 0.0
    for _ in range(5):
        world.live(30)
    assert stack_over_budget(alarmed(watching(world))) == waits("parallelIngest is asked when this lasts")


@pytest.mark.parametrize("fields", [{"by_hand": True}, {"still_over": ("store",)}], ids=["by hand", "over before"])
def test_a_flag_that_no_verdict_found_within_budget_is_not_asked(fields: dict):
    why = "no flag is asked: none was promoted by a verdict with this operation within budget"
    assert stack_over_budget(alarmed(watching(later_world(0.4), **fields))) == waits(why)


def test_one_replica_and_a_pause_ask_no_flag():
    world = later_world(0.4)
    paused = with_status(alarmed(watching(world)), paused=True)
    assert stack_over_budget(paused) == waits("paused, so no flag is asked")
    world.edit(replicas=1)
    alone = waits("one replica has no control arm, so no flag is asked")
    assert stack_over_budget(alarmed(watching(world))) == alone


def test_while_pods_are_missing_or_roll_out_no_flag_is_asked():
    world = later_world(0.4)
    world.settled = False
    lasts = waits("parallelIngest is asked when this lasts")
    assert stack_over_budget(alarmed(watching(world))) == lasts
    world.settled, world.pods[0].ready = True, False
    assert stack_over_budget(alarmed(watching(world))) == lasts


def test_after_every_flag_was_asked_and_kept_the_watch_rests():
    situation = watching(later_world(0.4))
    rest = situation.now + timedelta(minutes=30)
    why = f"every flag was asked and kept; the next may be asked after {rest:%Y-%m-%d %H:%M} UTC"
    assert stack_over_budget(alarmed(situation, rest_until=rest)) == waits(why)
    over = alarmed(situation, rest_until=situation.now)
    assert stack_over_budget(over).move is Move.REVERSE


# -- a reverse canary under way ----------------------------------------------------


def asked(situation: Situation | None = None, **fields: object) -> Situation:
    """The canary pods hold the older value; the promoted one began an hour ago."""
    situation = situation or moment_of(canary_world())
    test = Reverse(number=1, operation="store", promoted_at=situation.now - timedelta(hours=1))
    return with_rollout(situation, reverse=test.model_copy(update=fields))


def settled(situation: Situation) -> Situation:
    """Nothing of the spec waits to be tried."""
    stable = situation.stable.model_copy(update={"features": situation.spec.features.flags()})
    return with_status(situation, stable=stable)


def test_a_stage_that_asks_about_no_promotion_is_not_overtaken():
    assert reverse_overtaken(moment_of(canary_world())) is None
    assert reverse_overtaken(settled(asked())) is None


def test_a_change_of_the_spec_or_the_last_other_pod_ends_the_question():
    world = canary_world()
    world.edit(features={**FLAG, "cache": {"maxSize": 500}})
    there = settled(asked(moment_of(canary_world())))
    newer = Situation(world.stack, there.status, there.seen, there.now, there.template)
    text = "cache changed in the spec, and is staged first"
    assert reverse_overtaken(newer) == Outcome(Move.KEEP, "Superseded", text)
    world = canary_world()
    world.edit(replicas=2)
    assert reverse_overtaken(settled(asked(moment_of(world)))) is None
    world.edit(replicas=1)
    alone = settled(asked(moment_of(world)))
    nobody = Outcome(Move.KEEP, "NoControlArm", "one replica has nobody to be compared with")
    assert reverse_overtaken(alone) == nobody


def promoted_at(situation: Situation) -> str:
    return f"promoted at {situation.now - timedelta(hours=1):%Y-%m-%d %H:%M} UTC and harmful since: "


COUNTED = "in 9 of 12 pairs store was worse on all pods with the promoted value"


def test_every_pods_pairs_convict_the_promoted_value_or_clear_it():
    convicted = asked(switching(moment_of(canary_world()), (20.0, 20.0, 20.0)))
    needed = f"{1 / switchback_level(convicted.spec, 1):.0f}x needed"
    text = f"{promoted_at(convicted)}{COUNTED} than without, by lot; evidence over 1000000x of {needed}"
    assert reverse_switching_back(convicted) == Outcome(Move.TAKE_BACK, "LateRegression", text, "store")
    cleared = asked(switching(moment_of(canary_world()), (-9.0, -9.0, -9.0)))
    text = f"{COUNTED}: it is the environment"
    assert reverse_switching_back(cleared) == Outcome(Move.KEEP, "EnvironmentOverBudget", text, "store")


def test_until_then_it_is_told_which_value_every_pod_serves():
    lines = set()
    for second in (False, True):
        situation = asked(switching(moment_of(canary_world()), (1.0, 1.0, 1.0), second=second))
        test = situation.rollout.switchback
        told = reverse_switching_back(situation)
        value = "promoted value now" if test.on else "older value now"
        harm = multiple(test.finding(switchback_level(situation.spec, 1)))
        text = f"{COUNTED}; evidence of harm {harm}, {value}"
        assert told == Outcome(Move.HOLD, "SwitchingBack", text, "store")
        lines.add(value)
    assert len(lines) == 2


def test_a_switchback_that_does_not_decide_in_time_keeps_the_promoted_value():
    situation = moment_of(canary_world())
    timeout = situation.spec.rollout.analysis.timeout

    def after(more: float) -> Outcome:
        began = situation.now - timeout - timedelta(seconds=more)
        return reverse_switching_back(asked(switching(situation, (1.0, 1.0, 1.0), started_at=began)))

    assert after(0).move is Move.HOLD
    text = f"the switchback did not decide in time: {COUNTED}"
    assert after(1) == Outcome(Move.KEEP, "Inconclusive", text, "store")


def test_the_switchback_of_a_flag_that_was_never_promoted_is_another_guards():
    assert reverse_switching_back(switching(moment_of(canary_world()), (20.0, 20.0, 20.0))) is None
    there = asked(switching(moment_of(canary_world()), (20.0, 20.0, 20.0)))
    assert reverse_switching_back(with_rollout(there, state=RolloutState.PROGRESSING)) is None


def answered(*, older: str = "", promoted: str = "", same: float = 0.0, seconds: float = 60.0) -> Outcome:
    """What the arms have shown: "over" and "better" of the older value, "over" of the promoted one."""
    world = canary_world()
    world.edit(
        rollout={"budgets": BUDGETS, "steps": [{"weight": 34, "minDuration": "5m"}], "analysis": {"timeout": "10m"}}
    )
    situation = moment_of(world)
    store = situation.rollout.evidence["store"]
    counts = {"canary_requests": 400, "canary_bad": 4, "stable_requests": 400, "stable_bad": 48, "reads": 9}
    high = {name: (60.0,) * len(getattr(store, name)) for name in ("roll", "stable_roll", "relative", "better")}
    rolls = {"roll_reads": 9, "stable_roll_reads": 9}
    changes = {
        **counts,
        **({"roll": high["roll"], **rolls} if "over" in older else {}),
        **({"stable_roll": high["stable_roll"], **rolls} if "over" in promoted else {}),
        **({"better": high["better"]} if "better" in older else {}),
        **({"relative": high["relative"]} if "worse" in older else {}),
    }
    evidence = {**situation.rollout.evidence, "store": store.model_copy(update=changes)}
    told = reverse_verdict(with_rollout(asked(situation, same=same), evidence=evidence, stage_seconds=seconds))
    assert told is not None
    return told


NUMBERS = "250ms: with the older value 4 of 400 bad (1.0 %), with the promoted one 48 of 400 (12.0 %); evidence of a regression "


@pytest.mark.parametrize(
    ("shown", "move", "reason", "begins", "ends"),
    [
        pytest.param({"older": "better", "promoted": "over"}, Move.TAKE_BACK, "LateRegression", "promoted at ", "needed", id="worse"),
        pytest.param({"older": "worse"}, Move.KEEP, "NoRegression", "the older value is the worse one: store, ", "needed", id="better"),
        pytest.param({"older": "over", "promoted": "over", "same": 9.0}, Move.SWITCH_ALL, "SwitchbackStarted", "store, ", "; every pod goes back and forth by lot", id="both over"),
        pytest.param({"seconds": 599.0}, Move.HOLD, "ReverseCanary", "store, ", "needed", id="open"),
        pytest.param({"seconds": 600.0}, Move.KEEP, "Inconclusive", "no difference is shown: store, ", "needed", id="out of time"),
    ],
)  # fmt: skip
def test_each_answer_of_the_comparison_has_its_move(shown: dict, move: Move, reason: str, begins: str, ends: str):
    told = answered(**shown)
    assert (told.move, told.reason, told.operation) == (move, reason, "store")
    assert told.message.startswith(begins)
    assert NUMBERS in told.message
    assert ", of no difference " in told.message
    assert told.message.endswith(ends)


def test_a_stage_that_asks_about_no_promotion_is_not_compared():
    assert reverse_verdict(moment_of(canary_world())) is None
