"""What the moves of the surge pod leave in the status, and what they tell."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from support.moments import moment_of, with_status
from support.world import settled_world

from memorystack_operator.core.change import Change
from memorystack_operator.core.decision import Event
from memorystack_operator.core.situation import Move, Outcome, Situation
from memorystack_operator.core.surge import Surge
from memorystack_operator.core.surging import give_up, release, surge, without

BECAUSE = Outcome(Move.HOLD, "SurgePod", "because of this")


@pytest.fixture
def situation() -> Situation:
    """Pods that an earlier surge pod left are on their way out."""
    moment = moment_of(settled_world(5))
    return replace(moment, seen=replace(moment.seen, leftover=("uid-old",)))


def told(change: Change) -> list[tuple[str, str, str]]:
    return [(str(e.reason), e.message, e.kind) for e in change.events]


def test_a_surge_pod_is_on_record_with_the_time_and_the_pods_that_are_not_it(situation: Situation):
    change = surge(situation, BECAUSE)
    assert change.status == with_status(situation, surge=Surge(since=situation.now, before=("uid-old",))).status
    assert change.status.surge.runs
    assert told(change) == [("SurgePodStarted", "because of this", "Normal")]


def test_one_that_is_removed_leaves_the_record_and_is_told_once(situation: Situation):
    there = with_status(situation, surge=Surge(since=situation.now))
    change = release(there, BECAUSE)
    assert change.status == situation.status
    assert told(change) == [("SurgePodRemoved", "because of this", "Normal")]


@pytest.mark.parametrize("given_up", [True, False], ids=["given up", "none"])
def test_of_one_that_is_gone_already_no_removal_is_told(situation: Situation, given_up: bool):
    gone = Surge(since=situation.now, failed_at=situation.now) if given_up else None
    change = release(with_status(situation, surge=gone), BECAUSE)
    assert (change.status.surge, told(change)) == (None, [])


def test_a_removal_is_told_after_what_brought_it_about(situation: Situation):
    there = with_status(situation, surge=Surge(since=situation.now))
    first = surge(situation, BECAUSE).events
    change = without(Change(there.status, first), "a person decides")
    assert change.events == (*first, Event("SurgePodRemoved", "a person decides"))
    assert change.status.surge is None


def test_one_that_is_given_up_is_a_warning_and_its_reason_and_time_stay_on_record(situation: Situation):
    asked = with_status(situation, surge=Surge(since=situation.now - timedelta(minutes=5), uid="uid-s"))
    change = give_up(asked, BECAUSE)
    assert change.status.surge == Surge(since=situation.now, failed_at=situation.now, failure="because of this")
    assert not change.status.surge.runs
    assert told(change) == [("SurgePodNotReady", "because of this", "Warning")]
