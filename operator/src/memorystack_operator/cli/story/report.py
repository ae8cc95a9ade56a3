"""What the demo writes down. Knows shapes; `check.py` decides whether they are good."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from memorystack_operator.api.status import ArmCounts, RolloutRecord
from memorystack_runtime.contract import LADDER_MS

__all__ = ["LADDER_MS", "ChangeReport", "DemoReport", "Seconds", "Starvation", "Told", "change_report", "outcome_of"]


Told = Literal["AsExpected", "Starved", "Unexpected"]


class Record(BaseModel):
    """camelCase in JSON; a field that is not known is refused, so that a report cannot claim what nobody checks."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Seconds(Record):
    """Since the file was saved."""

    to_flip: float | None = None
    to_first_canary_request: float | None = None
    to_verdict: float | None = None
    to_everywhere: float | None = None
    """Until every pod served the stable flags: the old ones after a rollback, the new ones after a promotion."""


MIN_IDLE_PERCENT: Final = 8.0
MAX_LAG_MS: Final = 100.0
MAX_DROPPED_SHARE: Final = 0.01
MAX_STARVED_SHARE: Final = 0.25


class Starvation(Record):
    """Measured once a second while the change was judged."""

    samples: int = 0
    mean_idle_percent: float = 100.0
    starved_share: float = 0.0
    """Share of seconds with less than 5 % idle CPU."""
    largest_lag_ms: float = 0.0
    """Of any pod's event loop."""
    dropped_share: float = 0.0
    """Of the load's requests, those that were not sent."""

    @property
    def starved(self) -> bool:
        """The machine, not the flag, made the latencies."""
        return self.samples > 0 and (
            self.mean_idle_percent < MIN_IDLE_PERCENT
            or self.starved_share > MAX_STARVED_SHARE
            or self.largest_lag_ms > MAX_LAG_MS
            or self.dropped_share > MAX_DROPPED_SHARE
        )


class ChangeReport(Record):
    """One edit of the file and what became of it."""

    name: str
    value: str
    expected: str
    outcome: str
    reason: str
    message: str
    seconds: Seconds = Seconds()
    canary_requests: int = 0
    canary_requests_over_budget: int = 0
    evidence: dict[str, ArmCounts] = {}
    withdrawals: int = 0
    starvation: Starvation = Starvation()

    @property
    def as_expected(self) -> bool:
        """The verdict is the one that the flag's physics should give."""
        return self.outcome == self.expected


class DemoReport(Record):
    """The whole run."""

    version: Literal[1] = 1
    started_at: datetime
    seconds: float = 0.0
    cores: int = 0
    before: dict[str, dict[str, float]] = {}
    """Operation -> requests, share over budget and p95 in ms with all flags off."""
    changes: tuple[ChangeReport, ...] = ()
    load: dict[str, Any] = {}
    outcome: Told = "Unexpected"


def outcome_of(problems: Sequence[str], *, starved: bool) -> Told:
    """How a story went; a starved machine explains a problem, it makes none good."""
    if not problems:
        return "AsExpected"
    return "Starved" if starved else "Unexpected"


def change_report(
    name: str, expected: str, saved_at: datetime, record: RolloutRecord | None, starvation: Starvation
) -> ChangeReport:
    """From the stack's own history; without a line there, nothing was decided in time."""
    if record is None:
        return ChangeReport(
            name=name,
            value="",
            expected=expected,
            outcome="NoVerdict",
            reason="NoVerdict",
            message="no verdict in the demo's time",
            starvation=starvation,
        )

    def since(moment: datetime | None) -> float | None:
        return None if moment is None else round((moment - saved_at).total_seconds(), 2)

    return ChangeReport(
        name=name,
        value=record.value,
        expected=expected,
        outcome=record.outcome,
        reason=record.reason,
        message=record.message,
        seconds=Seconds(
            to_flip=since(record.flipped_at),
            to_first_canary_request=since(record.first_canary_request_at),
            to_verdict=since(record.ended_at),
            to_everywhere=since(record.everywhere_at),
        ),
        canary_requests=sum(c.canary_requests for c in record.judged.values()),
        canary_requests_over_budget=sum(c.canary_bad for c in record.judged.values()),
        evidence=record.judged,
        withdrawals=record.withdrawals,
        starvation=starvation,
    )
