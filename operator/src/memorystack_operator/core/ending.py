"""How a stage leaves the status: a line of history, and nothing begins before every pod has settled.

Knows: the status. Must not know: why the stage ended, or what comes next.
"""

from __future__ import annotations

from typing import Final

from memorystack_operator.core.records import in_short, record_of
from memorystack_operator.core.situation import Outcome, Situation
from memorystack_operator.core.status import Settling, Status

__all__ = ["end_stage"]

HISTORY_LENGTH: Final = 10


def end_stage(situation: Situation, outcome: Outcome, ended: str) -> Status:
    """`ended` is one of RolloutRecord's outcomes. Of a flag that was asked and kept again, the last line is enough."""
    record = record_of(situation, outcome, ended)
    again = (ended, record.stage, record.value) if ended == "Kept" else ()
    lines = [r for r in situation.status.history if (r.outcome, r.stage, r.value) != again]
    lines = [in_short(line) if line.stage == record.stage else line for line in lines]
    return situation.status.model_copy(
        update={
            "rollout": None,
            "history": (*lines, record)[-HISTORY_LENGTH:],
            "settling": Settling(record=record.id, since=situation.now),
            "calibration": situation.rollout.calibration or situation.status.calibration,
        }
    )
