"""The questions that several guards ask of one moment, and those that a status answers by itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from math import inf

import pytest
from support.moments import canary_world, moment_of, with_rollout, with_status
from support.world import FLAG, World, settled_world, stack

from memorystack_operator.core.calibration import Calibration
from memorystack_operator.core.interruption import switch
from memorystack_operator.core.pairing import prove
from memorystack_operator.core.reverse import Reverse
from memorystack_operator.core.situation import Move, Outcome, Situation
from memorystack_operator.core.stabilization import OverBudget, Promotion, Watch
from memorystack_operator.core.stages import canonical
from memorystack_operator.core.state import PlannedStep, RolloutState, RolloutStatus
from memorystack_operator.core.surge import Surge
from memorystack_operator.core.trial import Trial

BECAUSE = Outcome(Move.HOLD, "EnvironmentOverBudget", "because of this", "store")


@pytest.fixture
def idle() -> Situation:
    return moment_of(settled_world(5))


@pytest.fixture
def trying() -> Situation:
    """One of three pods carries the flag."""
    return moment_of(canary_world())


def autoscaled(told: int | None, *, here: int = 3) -> Situation:
    world = World(stack(replicas=None, autoscaling={"minReplicas": 2, "maxReplicas": 9}))
    world.scaled = here
    world.scale()
    situation = moment_of(world)
    return replace(situation, seen=replace(situation.seen, replicas=told))


# -- how many pods there should be -------------------------------------------------


def test_the_spec_says_how_many_pods_there_are_or_else_the_autoscaler():
    assert moment_of(World(stack(replicas=4))).mains == 4
    assert autoscaled(5).mains == 5
    assert autoscaled(None, here=3).mains == 3
    assert autoscaled(None, here=1).mains == 2


def test_a_surge_pod_makes_two_of_one():
    world = World(stack(replicas=1))
    alone = moment_of(world)
    assert alone.replicas == 1
    asked = Surge(since=world.now)
    assert with_status(alone, surge=asked).replicas == 2
    assert with_status(alone, surge=asked.model_copy(update={"failed_at": world.now})).replicas == 1


def test_the_step_says_how_many_pods_carry_the_flag(trying: Situation):
    plan = (PlannedStep(weight=34), PlannedStep(weight=0), PlannedStep(weight=67))
    wanted = [with_rollout(trying, plan=plan, step=step).wanted_canaries for step in range(3)]
    assert wanted == [1, 1, 2]
    assert trying.wanted_share == pytest.approx(1 / 3)


# -- what the spec leaves to be done -----------------------------------------------


def test_the_image_of_a_stack_that_names_none_stays_until_its_template_changes(idle: Situation):
    older = with_status(idle, stable=idle.stable.model_copy(update={"image": "older"}))
    assert older.image == "older"
    assert replace(older, template="newer").image == idle.seen.image
    assert with_status(idle, stable=None).image == idle.seen.image


def test_what_is_not_there_cannot_be_asked_about(idle: Situation):
    with pytest.raises(LookupError, match="no rollout is under way"):
        _ = idle.rollout
    with pytest.raises(LookupError, match="nothing was adopted yet"):
        _ = with_status(idle, stable=None).stable


def test_an_action_is_a_verb_and_a_text_until_it_is_acknowledged():
    world = settled_world(5)
    assert moment_of(world).action is None
    world.act("pause@7")
    assert moment_of(world).action == ("pause", "pause@7")
    assert with_status(moment_of(world), last_action="pause@7").action is None


def test_time_never_runs_backwards(idle: Situation):
    assert idle.since(None) == timedelta()
    assert idle.since(idle.now - timedelta(seconds=3)) == timedelta(seconds=3)
    assert idle.since(idle.now + timedelta(hours=1)) == timedelta()


def promotion(situation: Situation, stage: str, minutes: float = 5, **fields: object) -> Promotion:
    value = canonical(situation.stable.features, stage)
    at = situation.now - timedelta(minutes=minutes)
    return Promotion(stage=stage, value=value, before=situation.stable.features, at=at, **fields)


def test_a_flag_is_open_to_question_about_what_it_did_not_leave_over_budget(idle: Situation):
    first, second = promotion(idle, "cache", still_over=("store",)), promotion(idle, "httpPool")
    situation = with_status(idle, watch=Watch(promotions=(first, second)))
    assert situation.watched == (first, second)
    assert situation.open_to_question("recall") == (second, first)
    assert situation.open_to_question("store") == (second,)


# -- a status by itself ------------------------------------------------------------


def test_the_pods_rings_are_read_often_in_the_hour_after_a_promotion_and_while_over_budget(idle: Situation):
    often, seldom = timedelta(minutes=1), timedelta(minutes=10)
    over = OverBudget(operation="store", since=idle.now, message="over")

    def every(minutes: float, **fields: object) -> timedelta | None:
        newest = promotion(idle, "cache", minutes)
        watch = Watch(promotions=(promotion(idle, "httpPool", 600), newest), **fields)
        return with_status(idle, watch=watch).status.rings_every(idle.now)

    assert (every(59), every(60), every(60, over=over)) == (often, seldom, often)
    assert idle.status.rings_every(idle.now) is None


def test_while_a_stage_is_under_way_the_watch_reads_no_rings(trying: Situation):
    watched = with_status(trying, watch=Watch(promotions=(promotion(trying, "cache"),)))
    assert watched.status.rings_every(trying.now) is None


def test_history_counts_from_the_last_promotion_on_and_all_of_it_before_the_first(idle: Situation):
    assert idle.status.promoted_at == -inf
    tried = with_status(idle, calibration=Calibration())
    assert tried.status.promoted_at == idle.stable.since.timestamp()
    assert with_status(tried, stable=None).status.promoted_at == -inf


@pytest.mark.parametrize(
    ("state", "on"),
    [(state, state is RolloutState.PROGRESSING) for state in RolloutState],
)
def test_by_its_state_alone_a_stage_has_its_flags_on_only_while_it_progresses(
    trying: Situation, state: RolloutState, on: bool
):
    assert with_rollout(trying, state=state).rollout.flags_on is on


def switching(situation: Situation, **changes: object) -> RolloutStatus:
    withdrawn = with_rollout(situation, withdrawn_reason="EnvironmentOverBudget", withdrawn_operation="store")
    found = switch(withdrawn, BECAUSE).status.rollout
    return found.model_copy(update={"switchback": found.switchback.model_copy(update=changes)})


def test_in_a_switchback_each_window_has_the_flags_on_or_off(trying: Situation):
    first, second = (switching(trying, second=second) for second in (False, True))
    assert first.flags_on is first.switchback.plan.first_on
    assert second.flags_on is not first.flags_on
    assert not switching(trying, waiting=True).flags_on


def test_in_the_switchback_of_a_promoted_flag_the_older_value_is_lent_in_the_other_windows(trying: Situation):
    test = Reverse(number=1, operation="store", promoted_at=trying.now)
    for second in (False, True):
        plain = switching(trying, second=second)
        asked = plain.model_copy(update={"reverse": test})
        assert asked.flags_on is not plain.flags_on
        assert (plain.everywhere, asked.everywhere) == (False, True)
    waiting = switching(trying, waiting=True).model_copy(update={"reverse": test})
    assert not waiting.flags_on
    assert not with_rollout(trying, reverse=test).rollout.everywhere


def test_in_a_proof_each_window_has_the_flags_on_or_off(trying: Situation):
    found = prove(trying, BECAUSE).status.rollout
    other = found.model_copy(update={"proving": found.proving.model_copy(update={"second": True})})
    assert found.flags_on is found.proving.plan.first_on
    assert other.flags_on is not found.flags_on


def test_the_last_trial_is_the_one_with_the_greatest_number_wherever_it_was(trying: Situation):
    assert trying.rollout.last_trial is None
    switched = switching(trying, number=2, discarded=5)
    assert switched.last_trial == (switched.switchback, 5)
    proof = prove(trying, BECAUSE).status.rollout.proving.model_copy(update={"discarded": 7})
    for number, last in ((1, 5), (3, 7)):
        trial = Trial(number=number, operation="store", pooled=True)
        both = switched.model_copy(update={"proving": proof.model_copy(update={"trial": trial})})
        assert both.last_trial[1] == last
    assert switched.model_copy(update={"proving": proof}).last_trial == (switched.switchback, 5)


def test_what_is_edited_and_not_rejected_is_pending():
    world = settled_world(5)
    assert moment_of(world).pending == ()
    world.edit(features=FLAG)
    assert [stage.name for stage in moment_of(world).pending] == ["parallelIngest"]
