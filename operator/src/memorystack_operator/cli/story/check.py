"""Whether a demo's report holds: the outcomes are as expected, or the report itself shows that the machine was starved.

Knows: the report. Must not know: how it came about. An exit code says nothing here; only numbers do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import ValidationError

from memorystack_operator.cli.story.report import ChangeReport, DemoReport

__all__ = ["CHANGES", "EXPECTED", "check_report", "verdict_on"]

EXPECTED: Final = {"parallelIngest": "Promoted", "httpPool": "RolledBack"}
CHANGES: Final = tuple(EXPECTED)
REVERT_SECONDS: Final = 60.0
"""The bad flag is taken back within its grace."""


def check_report(path: Path) -> list[str]:
    """What is wrong with it; empty when it holds."""
    try:
        report = DemoReport.model_validate_json(path.read_text())
    except OSError:
        return [f"{path}: no report there"]
    except ValidationError as error:
        return [f"{path}: not a report of the demo: {error.errors()[0]['loc']}: {error.errors()[0]['msg']}"]
    problems = verdict_on(report)
    if not problems or any(change.starvation.starved for change in report.changes):
        return []
    return problems


def verdict_on(report: DemoReport) -> list[str]:
    """Every way in which the story did not go as the flags' physics should have it."""
    problems = [f"{name}: was not tried" for name in CHANGES if name not in {c.name for c in report.changes}]
    for change in report.changes:
        expected = EXPECTED.get(change.name, change.expected)
        if change.outcome != expected:
            problems.append(f"{change.name}: {change.outcome} ({change.reason}), expected {expected}: {change.message}")
        else:
            problems += _unproved(change)
    return problems


def _unproved(change: ChangeReport) -> list[str]:
    """A verdict without evidence behind it is none."""
    problems = []
    if change.canary_requests < 30:
        problems.append(f"{change.name}: judged on {change.canary_requests} canary requests")
    after_flip = (change.seconds.to_verdict or 0.0) - (change.seconds.to_flip or 0.0)
    if change.outcome == "RolledBack" and after_flip > REVERT_SECONDS:
        problems.append(f"{change.name}: taken back only after {after_flip:.0f} s")
    if change.seconds.to_everywhere is None:
        problems.append(f"{change.name}: not every pod was seen to serve the stable flags")
    questions = ("better", "within") if change.outcome == "Promoted" else ("worse",)
    proved = any(
        counts.log_e.get(q, 0.0) >= counts.needed.get(q, float("inf"))
        for counts in change.evidence.values()
        for q in questions
    )
    if not proved:
        problems.append(f"{change.name}: {change.outcome} without evidence that reached its threshold")
    return problems
