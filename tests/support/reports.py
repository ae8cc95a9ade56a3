"""Entries of the demo's report as a good run has them."""

from __future__ import annotations

from typing import Any

from memorystack_operator.cli.story.report import ChangeReport, Seconds

__all__ = ["change"]


def change(name: str, outcome: str, **fields: Any) -> ChangeReport:
    """One edit with evidence that reached its threshold."""
    question = "better" if outcome == "Promoted" else "worse"
    base = {
        "name": name,
        "value": "v",
        "expected": {"parallelIngest": "Promoted", "httpPool": "RolledBack"}.get(name, "x"),
        "outcome": outcome,
        "reason": "r",
        "message": "m",
        "seconds": Seconds(to_flip=1, to_first_canary_request=2, to_verdict=20, to_everywhere=21),
        "canary_requests": 100,
        "evidence": {"store": {"logE": {question: 9.0}, "needed": {question: 6.4}}},
    }
    return ChangeReport.model_validate({**base, **fields})
