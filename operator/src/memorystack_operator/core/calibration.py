"""Design effects and the state before the flip, from the pods' own rings (verdict.md 1.5, 1.6 and 7).

Knows: histories of one stack. Must not know: rollouts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from math import exp, inf, log, sqrt
from typing import Final

from memorystack_operator.core.dispersion import (
    MIN_BLOCKS,
    Dispersion,
    Edge,
    column,
    disperse,
    disperse_long,
    edge_of,
    merge,
)
from memorystack_operator.core.evidence import P0, DesignEffect, Tally, Value
from memorystack_operator.core.history import History, Scope, cut, cut_long, seconds_covered
from memorystack_operator.core.room import Room, student95
from memorystack_runtime.contract import LADDER_MS, EvidenceReport, Operation

__all__ = ["ASSUMED_PHI", "MOSTLY_BAD", "PATIENCE", "Calibration", "Prior", "calibrate", "room_of"]

ASSUMED_PHI: Final = 10.0
PATIENCE: Final = timedelta(minutes=10)
MIN_SINCE: Final = timedelta(seconds=30)
MIN_REQUESTS_SINCE: Final = 100
MAX_MARGIN: Final = 3.0
LONG_BLOCKS: Final = 30
"""Five hours: the batch means of a long run are near enough to normal, and their spread is known within a quarter."""
MOSTLY_BAD: Final = 0.5
"""Above it bad requests are no rare events any more, and arms are compared by their exact distribution."""


class Prior(Value):
    """What is known of one operation before the flip; frozen into the status there."""

    effect: DesignEffect
    over_budget_before: bool = False
    share: float = 0.0
    """Bad share of all stable pods in the history."""
    requests: int = 0
    blocks: int = 0
    room: Room = Room()
    """How much worse a flag may make it, by up to a day of history."""


class Calibration(Value):
    """The priors of all budgeted operations, and of failed requests."""

    operations: dict[Operation, Prior] = {}
    failures: DesignEffect = DesignEffect()
    ready: bool = False
    message: str = ""


def calibrate(
    reports: Sequence[EvidenceReport],
    budgets: Mapping[Operation, int],
    *,
    flags: str,
    chosen: Collection[str],
    now: float,
    waited: timedelta,
    previous: Calibration | None = None,
    since: float = -inf,
) -> Calibration:
    """Priors from the pods' rings under the stable revision `flags`.

    `budgets` in ms; `chosen` the uids of the pods that will carry the canary; `now` in Unix seconds; `waited` since the
    wait began: after 10 minutes an operation with too little traffic gets the assumed design effect of 10. `previous`
    is the calibration of the stage before, whose design effects serve until there are 10 new blocks, and `since`
    the Unix seconds of that promotion: shares and margins come from the time since only.
    """
    found: dict[Operation, Prior | None] = {}
    for operation, budget in budgets.items():
        scope = Scope(operation, flags, now, budget, since)
        old = previous.operations.get(operation) if previous else None
        found[operation] = _prior(cut(reports, scope), budget, chosen, waited, old)
    waiting = [name for name, prior in found.items() if prior is None]
    known = {name: prior for name, prior in found.items() if prior is not None}
    if not waiting:  # a day of history is long to read, and nobody asks before the flip
        known = {
            name: _with_room(prior, reports, Scope(name, flags, now, budgets[name], since))
            for name, prior in known.items()
        }
    phis = [p.effect.phi_rel for p in known.values()]
    # Failures share the causes of slow answers, and are too rare for a design effect of their own.
    failures = DesignEffect(
        phi_rel=max(phis, default=ASSUMED_PHI), source="Carried", message="largest of the operations"
    )
    message = f"not enough history yet for {', '.join(waiting)}" if waiting else _summary(known)
    return Calibration(operations=known, failures=failures, ready=not waiting, message=message)


def room_of(reports: Sequence[EvidenceReport], scope: Scope, phi: float) -> Room:
    """What up to a day of history says of the long-run share at the budget (verdict.md 10).

    `phi` at the rate of all pods together; blocks of ten minutes, where there are ten of them, may show more of it.
    Thirty of them say by themselves how sure their own mean is, which is Student's limit. The upper limit of a design
    effect from the last half hour would take the same doubt into account a second time, and cost a third of the room.
    """
    history = cut_long(reports, scope)
    total = history.total()
    blocks = [column(block, edge_of(total, scope.budget)) for block in history.blocks]
    measured, slow, valid = disperse_long(blocks)
    past, hours = Tally(total.requests, total.bad), seconds_covered(reports, scope) / 3600
    if valid >= LONG_BLOCKS:
        return Room.of(past, measured, hours, student95(valid - 1))
    return Room.of(past, max(phi, slow), hours)


def _with_room(prior: Prior, reports: Sequence[EvidenceReport], scope: Scope) -> Prior:
    return prior.model_copy(update={"room": room_of(reports, scope, prior.effect.phi_abs)})


def _prior(
    history: History, budget: int, chosen: Collection[str], waited: timedelta, old: Prior | None
) -> Prior | None:
    """None: wait for more history."""
    total = history.total()
    edge = edge_of(total, budget)
    blocks = [column(block, edge) for block in history.blocks]
    valid = len(merge(blocks))
    effect = _effect(disperse(blocks), old, history.rate)
    enough = total.requests >= MIN_REQUESTS_SINCE and len(history.blocks) >= 1
    silent = total.requests == 0 and waited >= MIN_SINCE and len(history.blocks) >= 1
    if (effect is None or not enough) and not silent and waited < PATIENCE:
        return None
    if effect is None:
        effect = _assumed(valid)
    margin, mirrored = _margins(history, edge, budget, chosen)
    share = total.bad / total.requests if total.requests else 0.0
    return Prior(
        effect=effect.model_copy(
            update={"margin": margin, "mirrored_margin": mirrored, "mostly_bad": share > MOSTLY_BAD}
        ),
        over_budget_before=share > P0,
        share=round(share, 6),
        requests=total.requests,
        blocks=valid,
    )


def _effect(found: Dispersion | None, old: Prior | None, rate: float) -> DesignEffect | None:
    """Measured, or carried over from the stage before, or not yet known (None)."""
    if (found is None or found.short) and old is not None and old.effect.source != "Assumed":
        return old.effect.model_copy(
            update={"source": "Carried", "message": "as before the last stage, since the history is short"}
        )
    if found is None:
        return None
    return DesignEffect(
        phi_abs=round(found.phi_abs, 4),
        phi_rel=round(found.phi_rel, 4),
        rate=round(rate, 3),
        source="Short" if found.short else "Measured",
        message=found.message,
    )


def _assumed(blocks: int) -> DesignEffect:
    why = f"too little traffic: {blocks} of {MIN_BLOCKS} blocks could be used"
    return DesignEffect(phi_abs=ASSUMED_PHI, phi_rel=ASSUMED_PHI, source="Assumed", message=why)


def _margins(history: History, edge: Edge, budget: int, chosen: Collection[str]) -> tuple[float, float]:
    """w0 and its mirror (verdict.md 1.5): what the chosen pods' own odds differ by before any flag."""
    totals = column(history.totals, edge)
    arms = [[v for uid, v in totals.items() if (uid in chosen) is side] for side in (True, False)]
    if not all(sum(n for n, _ in arm) for arm in arms):
        return 1.0, 1.0
    bad = [sum(s for _, s in arm) + 0.5 for arm in arms]
    good = [sum(n - s for n, s in arm) + 0.5 for arm in arms]
    spread = 1.28 * sqrt(sum(1 / x for x in (*bad, *good)))
    ratio = log(bad[0] / good[0]) - log(bad[1] / good[1])
    # A slower pod differs more in the tail than at the bucket where it was measured.
    stretch = 1.3 if edge is not None and LADDER_MS[edge] < budget else 1.0
    margin = min(MAX_MARGIN, max(1.0, exp(stretch * (ratio + spread))))
    mirrored = max(1 / MAX_MARGIN, min(1.0, exp(stretch * (ratio - spread))))
    return round(margin, 6), round(mirrored, 6)


def _summary(priors: Mapping[Operation, Prior]) -> str:
    return "; ".join(
        f"{name}: {100 * p.share:.1f} % bad of {p.requests}, design effects {p.effect.phi_rel:.1f} between pods and "
        f"{p.effect.phi_abs:.1f} over time ({p.effect.source.lower()}: {p.effect.message})"
        for name, p in priors.items()
    )
