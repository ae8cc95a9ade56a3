"""What stands beside the last decision, in plain words: what is waited for, an alarm since, or what a person must do.

Knows: the status on record. Must not know: why anything was decided (`reasons.py`), or how it is printed.
"""

from __future__ import annotations

from typing import Final

from memorystack_operator.api.status import Phase, RolloutRecord
from memorystack_operator.core.reasons import Sentences, sentence
from memorystack_operator.core.state import RolloutState
from memorystack_operator.core.status import Status

__all__ = ["afterwards", "headline_now", "waiting_now"]

WAITS: Final = frozenset(
    {
        "CanaryPodsMissing",
        "DeploymentNotSettled",
        "FlagsNotApplied",
        "FlagsSettling",
        "MetricsUnavailable",
        "NoTraffic",
        "Paused",
        "WaitingForPerson",
    }
)
"""Reasons of a stage whose clock stands still."""
ON_ITS_WAY: Final = {
    "Promoted": "was promoted, and is on its way to every pod.",
    "RolledBack": "was taken back, and is leaving the last pods.",
}


def headline_now(status: Status, record: RolloutRecord) -> str:
    """Of a stage that ended a moment ago: not every pod has followed yet. Empty: they have."""
    settling = status.settling
    return (
        ON_ITS_WAY.get(record.outcome, "") if settling and settling.record == record.id and not record.reverse else ""
    )


def waiting_now(status: Status) -> Sentences:
    """Of a stage under way: why it does not go on."""
    rollout, stalled = status.rollout, _stalled(status)
    if stalled or rollout is None or rollout.reason not in WAITS or rollout.state is RolloutState.HELD:
        return stalled  # what is held for a person says so itself
    return (f"It waits: {rollout.message}.",)


def afterwards(status: Status) -> Sentences:
    """After the last decision, or before any: empty where nothing is to be said."""
    return (*_stack_over(status), *_pending(status), *_not_judged(status), *_stalled(status))


def _stack_over(status: Status) -> Sentences:
    over = status.watch.over
    if over is None:
        return ()
    told = status.message if status.phase is Phase.OVER_BUDGET else over.message
    return (f"But since {over.since:%Y-%m-%d %H:%M} UTC the stack is in trouble: {told}.", "That alone blames nobody.")


def _pending(status: Status) -> Sentences:
    if status.phase not in (Phase.WAITING, Phase.PAUSED, Phase.PENDING) or not status.message:
        return ()
    return (f"At the moment: {status.message}.",)


def _not_judged(status: Status) -> Sentences:
    return (f"{sentence(status.not_judged)}.",) if status.not_judged else ()


def _stalled(status: Status) -> Sentences:
    found = next((c for c in status.conditions if c.type == "Stalled" and c.status == "True"), None)
    return (f"A person must act: {found.message}.",) if found else ()
