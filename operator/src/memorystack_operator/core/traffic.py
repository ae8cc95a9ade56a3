"""What each operation serves now: from the pods' rings where they can be read, else from the last calibration on record.

Knows: evidence reports and calibrations. Must not know: what is planned with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Final, Literal

from memorystack_operator.core.calibration import MOSTLY_BAD, PATIENCE, Calibration, Prior, calibrate
from memorystack_operator.core.evidence import P0, DesignEffect, Value
from memorystack_operator.core.history import History, Scope, cut
from memorystack_operator.core.room import Room
from memorystack_runtime.contract import LADDER_MS, RING_SECONDS, EvidenceReport, Operation

__all__ = ["Traffic", "observed", "recorded"]

RECENT_BLOCKS: Final = 10
"""The rate is that of the last five minutes; bad shares and design effects come from all of the history."""


class Traffic(Value):
    """One operation on all pods together, under the stable flags."""

    operation: Operation
    rate: float
    """Requests per second."""
    share: float
    """Bad requests per request."""
    requests: int
    """That `share` was counted on."""
    effect: DesignEffect
    source: Literal["Observed", "Recorded"]
    room: Room = Room()
    """How much worse a flag may make it, for proofs by pairs."""

    @property
    def over_budget(self) -> bool:
        """More than 5 % of the requests are bad: a flag must then be proved to improve it."""
        return self.share > P0


def observed(
    reports: Sequence[EvidenceReport],
    budgets: Mapping[Operation, int],
    counted_by: Mapping[Operation, int],
    *,
    flags: str,
    canaries: int,
    now: float,
    previous: Calibration | None = None,
    since: float = -inf,
) -> tuple[Traffic, ...]:
    """From reports with their rings. Operations without a request in the last whole half minutes are left out.

    `budgets` in ms are those that will be judged by, `counted_by` those that the pods count by now: where they differ
    the share is read from the ladder, at the edge below the budget. `canaries` pods will carry the flag, and which is
    not known yet, so the margin between pods is that of the first ones by uid. `since` as in `calibrate`.
    """
    chosen = {r.uid for r in sorted(reports, key=lambda r: r.uid)[:canaries]}
    found = calibrate(
        reports, budgets, flags=flags, chosen=chosen, now=now, waited=PATIENCE, previous=previous, since=since
    )
    made = []
    for operation, prior in found.operations.items():
        history = cut(reports, Scope(operation, flags, now, budgets[operation], since))
        share = prior.share
        if counted_by.get(operation) != budgets[operation]:
            share = _share_over(history, budgets[operation])
        rate = _rate(history)
        if prior.requests and rate:
            made.append(_traffic(operation, prior, rate, share, "Observed"))
    return tuple(made)


def recorded(calibration: Calibration | None) -> tuple[Traffic, ...]:
    """As it was when the last stage began."""
    priors = calibration.operations if calibration else {}
    return tuple(_traffic(o, p, p.effect.rate, p.share, "Recorded") for o, p in priors.items() if p.requests)


def _traffic(
    operation: Operation, prior: Prior, rate: float, share: float, source: Literal["Observed", "Recorded"]
) -> Traffic:
    return Traffic(
        operation=operation,
        rate=round(rate, 3),
        share=share,
        requests=prior.requests,
        effect=prior.effect.model_copy(update={"mostly_bad": share > MOSTLY_BAD}),
        source=source,
        room=prior.room,
    )


def _rate(history: History) -> float:
    recent = history.blocks[-RECENT_BLOCKS:]
    requests = sum(cell.requests for block in recent for cell in block.values())
    return requests / (RING_SECONDS * len(recent)) if recent else 0.0


def _share_over(history: History, budget: int) -> float:
    total = history.total()
    below = [over for ms, over in zip(LADDER_MS, total.over, strict=True) if ms <= budget]
    return below[-1] / total.requests if below and total.requests else 0.0
