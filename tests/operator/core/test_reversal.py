"""What each move of the watch after 100 % leaves in the status, and what it tells."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from support.moments import canary_world, moment_of, with_rollout, with_status

from memorystack_operator.api.status import Rejection
from memorystack_operator.core.change import Change
from memorystack_operator.core.evidence import Tally
from memorystack_operator.core.reversal import compared
from memorystack_operator.core.reverse import Reverse
from memorystack_operator.core.rollout import carry_out
from memorystack_operator.core.situation import Move, Outcome, Situation
from memorystack_operator.core.stabilization import OverBudget, Promotion, Watch
from memorystack_operator.core.stages import canonical
from memorystack_operator.core.state import PlannedStep, RolloutState, RolloutStatus
from memorystack_operator.core.switchback import Switchback
from memorystack_runtime.contract import revision_of

WHY = "because of this"


def promoted() -> Situation:
    """The flag serves everywhere since an hour; it was asked about once."""
    trying = moment_of(canary_world())
    older, serving = trying.stable.features, trying.rollout.target
    moment = replace(trying, status=trying.status.model_copy(update={"rollout": None}))
    stable = trying.stable.model_copy(update={"features": serving, "revision": revision_of(serving)})
    promotion = Promotion(
        stage="parallelIngest",
        value=canonical(serving, "parallelIngest"),
        before=older,
        at=trying.now - timedelta(hours=1),
        asked=1,
    )
    return with_status(moment, stable=stable, watch=Watch(promotions=(promotion,)))


@pytest.fixture
def watched() -> Situation:
    return promoted()


@pytest.fixture
def asking() -> Situation:
    """The reverse canary about it is under way: both arms have been counted."""
    trying = moment_of(canary_world())
    begun = moved(promoted(), Move.REVERSE, stage="parallelIngest").status
    counted = begun.rollout.model_copy(
        update={
            "state": RolloutState.PROGRESSING,
            "evidence": trying.rollout.evidence,
            "failures": trying.rollout.failures,
            "calibration": trying.rollout.calibration,
            "stage_seconds": 20.0,
        }
    )
    return replace(trying, status=begun.model_copy(update={"rollout": counted}))


def moved(
    situation: Situation, move: Move, reason: str = "Reason", operation: str = "store", stage: str = ""
) -> Change:
    return carry_out(situation, Outcome(move, reason, WHY, operation, stage))


def told(change: Change) -> list[tuple[str, str, str]]:
    return [(str(e.reason), e.message, e.kind) for e in change.events]


def left(change: Change) -> RolloutStatus:
    assert change.status.rollout is not None
    return change.status.rollout


# -- over budget, and not any longer -----------------------------------------------


def test_an_alarm_is_dated_told_once_and_held_against_nobody(watched: Situation):
    change = moved(watched, Move.ALARM)
    assert change.status.watch.over == OverBudget(operation="store", since=watched.now, message=WHY)
    assert change.status.watch.promotions == watched.status.watch.promotions
    assert (change.status.rejected, change.status.rollout) == ((), None)
    assert told(change) == [("StackOverBudget", WHY, "Warning")]


def test_when_it_is_over_the_alarm_and_who_was_asked_are_forgotten(watched: Situation):
    alarmed = moved(watched, Move.ALARM).status
    asked = alarmed.watch.model_copy(update={"tried": ("cache",), "rest_until": watched.now})
    change = moved(replace(watched, status=alarmed.model_copy(update={"watch": asked})), Move.CALM)
    after = change.status.watch
    assert (after.over, after.tried, after.rest_until) == (None, (), watched.now)
    assert told(change) == [("StackRecovered", WHY, "Normal")]


# -- a flag is asked ---------------------------------------------------------------


def test_half_of_the_pods_get_the_older_value_of_the_flag_that_is_asked(watched: Situation):
    change = moved(watched, Move.REVERSE, "StackOverBudget", stage="parallelIngest")
    after, (promotion,) = left(change), watched.status.watch.promotions
    assert (after.stage, after.value, after.stages) == ("parallelIngest", promotion.value, ("parallelIngest",))
    assert after.target == promotion.before
    assert after.revision == revision_of(promotion.before) != watched.stable.revision
    assert after.budgets == watched.spec.rollout.wire_budgets().revision
    assert (after.plan, len(after.pods)) == ((PlannedStep(weight=50),), 2)
    assert (after.state, after.flags_on) == (RolloutState.CALIBRATING, False)
    assert (after.changed_at, after.started_at, after.state_since) == (watched.now,) * 3
    assert (after.reason, after.message) == ("StackOverBudget", WHY)
    assert after.reverse == Reverse(number=2, operation="store", promoted_at=promotion.at)
    assert change.status.watch.promotions[0].asked == 2
    assert told(change) == [("ReverseCanaryStarted", WHY, "Normal")]


def test_each_question_has_a_name_of_its_own(watched: Situation):
    later = replace(watched, now=watched.now + timedelta(seconds=1))
    names = [left(moved(moment, Move.REVERSE, stage="parallelIngest")).id for moment in (watched, watched, later)]
    assert names[0] == names[1] != names[2]
    assert all(name.startswith("parallelIngest-") for name in names)


def test_what_a_reading_adds_to_both_arms_is_compared(asking: Situation):
    before = asking.rollout
    store = before.evidence["store"].model_copy(
        update={
            "canary_requests": before.evidence["store"].canary_requests + 300,
            "canary_bad": before.evidence["store"].canary_bad + 20,
            "stable_requests": before.evidence["store"].stable_requests + 300,
            "stable_bad": before.evidence["store"].stable_bad + 20,
        }
    )
    after = before.model_copy(update={"evidence": {**before.evidence, "store": store}})
    assert compared(before, after).reverse.same > 0
    assert compared(before, before) == before
    plain = after.model_copy(update={"reverse": None})
    assert compared(before, plain) == plain


def test_where_both_values_are_over_budget_every_ready_pod_goes_back_and_forth(asking: Situation):
    pods = tuple(replace(p, restarts=n, ready=n != 2) for n, p in enumerate(asking.seen.pods))
    asking = replace(asking, seen=replace(asking.seen, pods=pods))
    change = moved(asking, Move.SWITCH_ALL, "SwitchbackStarted")
    after, test = left(change), left(change).switchback
    assert (after.state, after.state_since, after.everywhere) == (RolloutState.SWITCHBACK, asking.now, True)
    assert after.pods == ("mem-1", "mem-2")
    assert after.restarts == {"mem-2": 1, "mem-3": 2}
    assert (after.reason, after.message) == ("SwitchbackStarted", WHY)
    assert (test.number, test.operation, test.pooled) == (2, "store", True)
    evidence = asking.rollout.evidence["store"]
    assert test.rate == pytest.approx((evidence.canary_requests + evidence.stable_requests) / 20, abs=1e-3)
    assert (test.started_at, test.since, test.last_read) == (asking.now,) * 3
    assert test.epoch == asking.seen.epoch
    assert told(change) == [("SwitchbackStarted", WHY, "Normal")]


def test_the_lots_of_two_questions_differ(asking: Situation):
    def seed(situation: Situation) -> str:
        test = left(moved(situation, Move.SWITCH_ALL)).switchback
        assert isinstance(test, Switchback)
        return test.seed

    other = with_rollout(asking, started_at=asking.now + timedelta(seconds=1))
    assert seed(asking) == seed(asking) != seed(other)


def test_without_counted_time_no_rate_is_too_great(asking: Situation):
    young = with_rollout(asking, stage_seconds=0.0)
    evidence = asking.rollout.evidence["store"]
    served = evidence.canary_requests + evidence.stable_requests
    assert left(moved(young, Move.SWITCH_ALL)).switchback.rate == served


# -- convicted, or kept ------------------------------------------------------------


def test_a_convicted_flag_goes_back_everywhere_and_is_not_tried_again(asking: Situation):
    again = Rejection(
        stage="parallelIngest", value=asking.rollout.value, template="t", reason="Worse", message="m", at=asking.now
    )
    other = again.model_copy(update={"stage": "cache"})
    before = with_status(asking, rejected=(again, other))
    change = moved(before, Move.TAKE_BACK, "LateRegression")
    stable = change.status.stable
    assert (stable.features, stable.revision) == (asking.rollout.target, asking.rollout.revision)
    assert (stable.since, stable.template) == (asking.now, asking.stable.template)
    assert (change.status.rollout, change.status.watch.promotions) == (None, ())
    assert change.status.history[-1].outcome == "RolledBack"
    kept, rejected = change.status.rejected
    assert kept == other
    assert (rejected.stage, rejected.value) == ("parallelIngest", asking.rollout.value)
    assert (rejected.reason, rejected.message, rejected.at) == ("LateRegression", WHY, asking.now)
    assert rejected.template == asking.stable.template
    text = f"parallelIngest is as before its promotion again: {WHY}"
    assert told(change) == [("LateRegression", text, "Warning")]


def test_a_flag_that_is_kept_serves_on_and_the_watch_rests(asking: Situation):
    change = moved(asking, Move.KEEP, "NoRegression")
    assert (change.status.rollout, change.status.stable, change.status.rejected) == (None, asking.stable, ())
    assert change.status.history[-1].outcome == "Kept"
    assert change.status.watch.rest_until == asking.now + timedelta(hours=2)
    assert told(change) == [("FlagKept", f"parallelIngest stays as promoted (NoRegression): {WHY}", "Normal")]


def test_while_another_flag_may_be_asked_the_watch_does_not_rest(asking: Situation):
    (asked,) = asking.status.watch.promotions
    value = canonical(asking.stable.features, "cache")
    other = asked.model_copy(update={"stage": "cache", "value": value})
    change = moved(with_status(asking, watch=Watch(promotions=(other, asked))), Move.KEEP, "NoRegression")
    assert (change.status.watch.rest_until, change.status.watch.tried) == (None, ("parallelIngest",))


@pytest.mark.parametrize(("reason", "rests"), [("Aborted", True), ("Superseded", False)])
def test_a_question_that_was_not_answered_ends_in_its_own_way(asking: Situation, reason: str, rests: bool):
    change = moved(asking, Move.KEEP, reason)
    assert change.status.history[-1].outcome == reason
    assert (change.status.watch.rest_until is not None) is rests
    assert change.status.history[-1].judged["store"].canary_requests == asking.rollout.evidence["store"].canary.requests
    assert asking.rollout.evidence["store"].canary != Tally()
