"""What people ask for: the move that follows, its reason, and the sentence that they read."""

from __future__ import annotations

import pytest
from support.moments import canary_world, moment_of, with_rollout, with_status
from support.world import FLAG, World, rollout, settled_world

from memorystack_operator.api.status import Rejection
from memorystack_operator.core.guards.people import action_requested, held_for_a_person, paused_by_a_person
from memorystack_operator.core.situation import Move, Outcome, Situation
from memorystack_operator.core.state import PlannedStep, RolloutState

STEP, LARGER, PAUSE = PlannedStep(weight=34), PlannedStep(weight=67), PlannedStep(weight=0)


def asked(situation: Situation, verb: str) -> Outcome:
    """The answer to `verb@7`."""
    metadata = situation.stack.metadata.model_copy(update={"annotations": {"memorystack.dev/action": f"{verb}@7"}})
    stack = situation.stack.model_copy(update={"metadata": metadata})
    answer = action_requested(Situation(stack, situation.status, situation.seen, situation.now, situation.template))
    assert answer is not None
    return answer


def answer(move: Move, reason: str, message: str, verb: str) -> Outcome:
    return Outcome(move, reason, message, acknowledge=f"{verb}@7")


def refusal(message: str, verb: str) -> Outcome:
    return answer(Move.ACKNOWLEDGE, "ActionRefused", message, verb)


@pytest.fixture
def idle() -> World:
    """Nothing is under way, and nothing was edited."""
    return settled_world(5)


@pytest.fixture
def edited() -> World:
    """A flag waits to be tried."""
    world = settled_world(5)
    world.edit(features=FLAG)
    return world


@pytest.fixture
def trying() -> Situation:
    """One of three pods carries the flag."""
    return moment_of(canary_world())


def test_an_action_is_answered_once(idle: World):
    assert action_requested(moment_of(idle)) is None
    idle.act("pause@7")
    assert action_requested(moment_of(idle)) is not None
    assert action_requested(with_status(moment_of(idle), last_action="pause@7")) is None


@pytest.mark.parametrize(
    ("verb", "why"),
    [
        ("promote", "nothing to promote: every flag of the spec already serves everywhere"),
        ("abort", "nothing to abort: no rollout is under way"),
        ("retry", "nothing to retry: no flag of the spec was rejected"),
        ("resume", "nothing to resume: neither paused nor waiting at a pause step"),
        ("dance", "unknown action 'dance': use promote, abort, retry, pause or resume"),
    ],
)
def test_what_cannot_be_done_to_a_stack_at_rest_is_refused_with_the_reason(idle: World, verb: str, why: str):
    assert asked(moment_of(idle), verb) == refusal(why, verb)


def test_before_anything_serves_there_is_nothing_to_promote(edited: World):
    new = with_status(moment_of(edited), stable=None)
    assert asked(new, "promote").reason == "ActionRefused"


def test_promote_asks_for_no_verdict(edited: World):
    said = answer(Move.PROMOTE_ALL, "PromotedByHand", "promoted by hand, without a verdict", "promote")
    assert asked(moment_of(edited), "promote") == said


def test_abort_takes_the_flag_back_and_says_how_it_is_tried_again(trying: Situation):
    text = "aborted by hand; memorystack retry, or another value, tries again"
    assert asked(trying, "abort") == answer(Move.REVERT, "Aborted", text, "abort")


def test_retry_is_for_what_was_rejected_or_is_held(edited: World, trying: Situation):
    again = answer(Move.ACKNOWLEDGE, "Retried", "the rejected flags are tried again", "retry")
    stage = {"stage": "parallelIngest", "value": "{}", "template": "t"}
    rejection = Rejection(**stage, reason="P95OverBudget", message="slow", at=edited.now)
    assert asked(with_status(moment_of(edited), rejected=(rejection,)), "retry") == again
    assert asked(with_rollout(trying, state=RolloutState.HELD), "retry") == again
    assert asked(trying, "retry").reason == "ActionRefused"


def test_pause_leaves_the_flags_where_they_are_and_is_refused_the_second_time(idle: World):
    text = "paused by hand; flags stay where they are"
    assert asked(moment_of(idle), "pause") == answer(Move.ACKNOWLEDGE, "Paused", text, "pause")
    twice = refusal("already paused", "pause")
    assert asked(with_status(moment_of(idle), paused=True), "pause") == twice
    idle.edit(rollout=rollout(paused=True))
    assert asked(moment_of(idle), "pause") == twice


def test_resume_ends_a_pause_by_hand_but_not_one_of_the_spec(idle: World):
    by_hand = with_status(moment_of(idle), paused=True)
    assert asked(by_hand, "resume") == answer(Move.ACKNOWLEDGE, "Resumed", "resumed by hand", "resume")
    idle.edit(rollout=rollout(paused=True))
    why = "spec.rollout.paused is true and outranks resume: set it to false in the file"
    assert asked(with_status(moment_of(idle), paused=True), "resume") == refusal(why, "resume")


def test_resume_at_a_pause_step_goes_on_with_the_next_and_after_the_last_everywhere(trying: Situation):
    between = with_rollout(trying, plan=(STEP, PAUSE, LARGER), step=1)
    on = answer(Move.ADVANCE, "Resumed", "resumed by hand past the pause", "resume")
    assert asked(between, "resume") == on
    last = with_rollout(trying, plan=(STEP, PAUSE), step=1)
    text = "resumed by hand past the last pause, so it serves everywhere"
    assert asked(last, "resume") == answer(Move.PROMOTE, "PromotedByHand", text, "resume")


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"step": 0}, id="a step that waits for nobody"),
        pytest.param({"step": 1, "state": RolloutState.WITHDRAWN}, id="the flags are off"),
    ],
)
def test_resume_is_refused_where_nothing_waits_for_it(trying: Situation, changes: dict):
    there = with_rollout(trying, plan=(STEP, PAUSE, LARGER), **changes)
    assert asked(there, "resume") == refusal("nothing to resume: neither paused nor waiting at a pause step", "resume")


def test_what_is_held_for_a_person_waits_and_says_why(trying: Situation):
    assert held_for_a_person(trying) is None
    held = with_rollout(trying, state=RolloutState.HELD, message="inconclusive, held for a person")
    assert held_for_a_person(held) == Outcome(Move.HOLD, "WaitingForPerson", "inconclusive, held for a person")


def test_a_pause_says_whose_it_is_and_what_keeps_the_flags(trying: Situation):
    assert paused_by_a_person(trying) is None
    by_hand = with_status(trying, paused=True)
    one = "paused by hand; memorystack resume goes on; 1 pod keeps the flags of this step"
    assert paused_by_a_person(by_hand) == Outcome(Move.HOLD, "Paused", one)
    both = with_rollout(by_hand, pods=("mem-1", "mem-2"))
    two = "paused by hand; memorystack resume goes on; 2 pods keep the flags of this step"
    assert paused_by_a_person(both) == Outcome(Move.HOLD, "Paused", two)
    off = with_rollout(by_hand, state=RolloutState.WITHDRAWN)
    none = "paused by hand; memorystack resume goes on; the flags are off"
    assert paused_by_a_person(off) == Outcome(Move.HOLD, "Paused", none)


def test_a_pause_of_the_spec_is_told_before_one_by_hand():
    world = canary_world()
    world.edit(rollout=rollout(paused=True))
    said = "spec.rollout.paused is true; 1 pod keeps the flags of this step"
    assert paused_by_a_person(with_status(moment_of(world), paused=True)) == Outcome(Move.HOLD, "Paused", said)
