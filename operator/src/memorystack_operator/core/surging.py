"""Moves of the surge pod: it is asked for, removed, or given up.

Knows: the status. Must not know: why a move was chosen (guards), or how pods are made.
"""

from __future__ import annotations

from typing import Final

from memorystack_operator.api.status import EventReason
from memorystack_operator.core.change import Change
from memorystack_operator.core.decision import Event
from memorystack_operator.core.situation import Outcome, Situation
from memorystack_operator.core.surge import Surge

__all__ = ["HALVES", "give_up", "release", "surge", "without"]

HALVES: Final = "one replica: its pod and the surge pod share the requests, so any step takes half of them"


def surge(situation: Situation, outcome: Outcome) -> Change:
    """On record before its Deployment is made."""
    asked = Surge(since=situation.now, before=situation.seen.leftover)
    event = Event(EventReason.SURGE_POD_STARTED, outcome.message)
    return Change(situation.status.model_copy(update={"surge": asked}), (event,))


def release(situation: Situation, outcome: Outcome) -> Change:
    """Its Deployment is rendered no more."""
    return without(Change(situation.status), outcome.message)


def without(change: Change, message: str) -> Change:
    """The same change, and no surge pod after it. Of one that was given up there is nothing to tell."""
    known = change.status.surge
    told = (Event(EventReason.SURGE_POD_REMOVED, message),) if known and known.runs else ()
    return Change(change.status.model_copy(update={"surge": None}), (*change.events, *told))


def give_up(situation: Situation, outcome: Outcome) -> Change:
    """Nothing of the stack has changed; the flag waits, and another pod is asked for after a rest."""
    given_up = Surge(since=situation.now, failed_at=situation.now, failure=outcome.message)
    event = Event(EventReason.SURGE_POD_NOT_READY, outcome.message, "Warning")
    return Change(situation.status.model_copy(update={"surge": given_up}), (event,))
