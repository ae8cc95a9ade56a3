"""What became of a promoted flag that was suspected later, in plain words: the reverse canary as `explain` tells it.

Knows: what was counted, and what it proved. Must not know: the status. "Canary" are the pods with the older value here.
"""

from __future__ import annotations

from typing import Final

from memorystack_operator.core.reasons import AWAY, Sentences, Told, sentence, share_text, to_one

__all__ = ["LATE_HEADLINES", "why_late"]

SUSPECTED: Final = "was promoted, and is suspected now:"
LATE_HEADLINES: Final = {
    "Calibrating": f"{SUSPECTED} it is about to be compared with its older value.",
    "Progressing": f"{SUSPECTED} some pods have its older value back, to be compared.",
    "Withdrawn": f"{SUSPECTED} the comparison rests, and every pod serves it.",
    "Switchback": f"{SUSPECTED} every pod goes back and forth between it and its older value, by lot.",
    "RolledBack": "was taken back after its promotion: every pod serves its older value.",
    "Kept": "was suspected after its promotion, and stays: every pod serves it.",
    "Aborted": "was suspected after its promotion; a person ended the comparison, and every pod serves it.",
    "Superseded": "was suspected after its promotion; a newer change came before that was decided.",
}
"""By the state of a reverse canary under way, or by how it ended."""


def why_late(told: Told) -> Sentences:
    """Why it was asked about, what the arms showed, and what follows."""
    if _asked(told) is None:  # before the flip, and of failed requests, the message says it all
        return (f"{sentence(told.message, told.stage)}.", *((AWAY,) if told.outcome == "RolledBack" else ()))
    return (*_suspicion(told), *_compared(told), *_by_lot(told), *_end(told))


def _suspicion(told: Told) -> Sentences:
    operation = _asked(told)
    if operation is None:
        return ()
    get, are = ("get", "are") if told.outcome == "UnderWay" else ("got", "were")
    text = (
        f"After its promotion the whole stack went over its budget for {operation}. That alone blames nobody: half of the "
        f"pods {get} the older value back, and both values {are} compared under the same traffic."
    )
    return (text,)


def _compared(told: Told) -> Sentences:
    counts = told.judged.get(_asked(told) or "")
    if counts is None or not counts.canary_requests:
        return ()
    older = share_text(counts.canary_bad, counts.canary_requests)
    promoted = share_text(counts.stable_bad, counts.stable_requests)
    have, needed = (to_one(known.get("better", 0.0)) for known in (counts.log_e, counts.needed))
    text = (
        f"With the older value {older} were bad, with the promoted one {promoted}. The evidence that the promoted value is "
        f"the worse one is {have}; {needed} is needed to take it back."
    )
    return (text,)


def _by_lot(told: Told) -> Sentences:
    test = told.switchback
    if test is None:
        return ()
    go = "go" if told.outcome == "UnderWay" else "went"
    text = (
        f"Both values were over the budget, so all pods {go} back and forth between them by lot: in {test.worse} of "
        f"{test.worse + test.better + test.tied} pairs of short windows {test.operation} was worse with the promoted one. "
        f"The evidence is {to_one(test.log_e)}; {to_one(test.needed)} is needed."
    )
    return (text,)


def _end(told: Told) -> Sentences:
    if told.outcome == "UnderWay":
        return ()
    if told.outcome == "RolledBack":
        return (AWAY,)
    return (f"{sentence(told.message, told.stage)}.",)


def _asked(told: Told) -> str | None:
    """The operation that was over budget: only its evidence is asked whether there is a difference."""
    if told.switchback:
        return told.switchback.operation
    return next((name for name, counts in told.judged.items() if "same" in counts.log_e), None)
