"""What the pods' own history says before the flip: their rings as they would report them, calibrated by the shipped code.

Knows: the shape of a report. Must not know: what is made of the calibration.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from simulation.noise import PODS
from simulation.traffic import Past

from memorystack_operator.core.calibration import Prior, calibrate
from memorystack_runtime.contract import EvidenceReport

__all__ = ["START", "prior_of"]

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
STABLE: Final = "stable"


def _reports(past: Past, names: list[str], flags: str, budgets: str, now: datetime) -> list[EvidenceReport]:
    """What the pods answer at the flip, `?history=1`."""
    return [
        EvidenceReport.model_construct(
            pod=name,
            uid=f"uid-{name}",
            started_at=now.timestamp() - 86_400,
            flags=flags,
            source="file",
            budgets=budgets,
            counters=(past.snapshots(i, flags, budgets)[-1].counters[0],),
            ring=past.snapshots(i, flags, budgets),
            long_ring=past.snapshots(i, flags, budgets, long=True),
        )
        for i, name in enumerate(names)
    ]


def prior_of(past: Past, budget_ms: int = 250) -> Prior:
    """The shipped calibration of the pods' own history; pod 0 is to carry the flag."""
    names = [f"mem-{i}" for i in range(PODS)]
    found = calibrate(
        _reports(past, names, STABLE, "b1", START),
        {"recall": budget_ms},
        flags=STABLE,
        chosen={"uid-mem-0"},
        now=START.timestamp(),
        waited=timedelta(),
    )
    return found.operations["recall"]
