"""What is told beside the last decision: why nothing goes on, an alarm since, and what a person must do."""

from __future__ import annotations

import pytest
from support.stories import STORIES
from support.world import FLAG, World, settled_world

from memorystack_operator.core.explain import Explanation, explain
from memorystack_operator.core.reasons import DONE, sentence


def told(world: World) -> Explanation:
    return explain("mem", world.stack.spec, world.status)


@pytest.mark.parametrize(
    ("story", "said"),
    [
        ("one pod has nothing to compare with", "At the moment: parallelIngest waits: one replica has no control arm"),
        (
            "a person paused",
            "It waits: paused by hand; memorystack resume goes on; 1 pod keeps the flags of this step.",
        ),
        ("a step waits for a person", "It waits: pause step"),
        ("pods are replaced", "It waits: the Deployment is still rolling out"),
        ("nobody sends traffic", "It waits: the canary has served no request yet"),
        ("pods do not take the flag", "A person must act: mem-"),
        ("a template change is not judged", "The pod template changed: an ordinary rolling update, not judged."),
        ("pods start", "At the moment: first deployment"),
        ("a promoted stack is over its budget", "UTC the stack is in trouble: recall is over its budget of 250ms"),
    ],
)
def test_why_nothing_goes_on_is_the_last_word(story: str, said: str):
    found = told(STORIES[story].make()).sentences
    assert sum(said in line for line in found) == 1, found


def test_an_alarm_after_a_promotion_takes_back_that_nothing_is_left_to_do():
    promoted, over = (
        told(STORIES[name].make()) for name in ("a flag was promoted", "a promoted stack is over its budget")
    )
    assert promoted.outcome == over.outcome == "Promoted"
    assert promoted.sentences[-1] == DONE
    assert DONE not in over.sentences
    assert over.sentences[-1] == "That alone blames nobody."


def test_a_flag_on_its_way_is_not_said_to_serve_everywhere():
    world = STORIES["a flag goes to every pod"].make()
    assert told(world).headline == "was promoted, and is on its way to every pod."
    world.run(5)
    assert told(world).headline == "was promoted: every pod serves it."


@pytest.mark.parametrize("story", ["a flag is proved in pairs", "a flag is asked by lot"])
def test_before_the_first_pair_is_whole_no_evidence_is_told_of_it(story: str):
    world = STORIES[story].make()
    assert "is whole yet" in " ".join(told(world).sentences)
    world.run(40)
    assert "is whole yet" not in " ".join(told(world).sentences)


def test_what_is_held_for_a_person_is_said_once():
    lines = told(STORIES["an undecided flag waits for a person"].make()).sentences
    assert sum("held for a person" in line for line in lines) == 1


def test_a_flag_just_put_on_its_pods_is_told_without_the_words_of_its_calibration():
    world = settled_world()
    world.edit(features=FLAG)
    assert world.run(60, until=lambda w: bool(w.flagged))
    assert told(world).sentences == ("No request has met it yet.",)


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("the budgets changed", "cache", "The budgets changed"),
        ("parallelIngest is staged", "parallelIngest", "parallelIngest is staged"),
        ("cache is staged", "cache", "cache is staged"),
        ("mem-2 does not report", "cache", "mem-2 does not report"),
        ("recall: 3 of 4", "cache", "Recall: 3 of 4"),
        ("", "cache", ""),
    ],
)
def test_a_sentence_begins_with_a_capital_but_a_name_keeps_its_own(text: str, name: str, expected: str):
    assert sentence(text, name) == expected
