"""Design effects and the state before the flip, from the pods' own rings (verdict.md 1.5, 1.6 and 7).

Knows: histories of one stack. Must not know: rollouts. The block maximum and the scaling with the rate are not here yet.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from math import exp, log, sqrt
from typing import Final

from memorystack_operator.core.chi_square import lower_decile
from memorystack_operator.core.evidence import P0, DesignEffect, Value
from memorystack_operator.core.history import Block, Cell, History, cut
from memorystack_runtime.contract import LADDER_MS, EvidenceReport, Operation

__all__ = ["ASSUMED_PHI", "PATIENCE", "Calibration", "Prior", "calibrate"]

MIN_BLOCKS: Final = 4
MANY_BLOCKS: Final = 10
MIN_VARIANCE: Final = 5.0
MIN_SHARE: Final = 0.03
ASSUMED_PHI: Final = 10.0
PATIENCE: Final = timedelta(minutes=10)
MIN_SINCE: Final = timedelta(seconds=30)
MIN_REQUESTS_SINCE: Final = 100
MAX_MARGIN: Final = 3.0


class Prior(Value):
    """What is known of one operation before the flip; frozen into the status there."""

    effect: DesignEffect
    over_budget_before: bool = False
    share: float = 0.0
    """Bad share of all stable pods in the history."""
    requests: int = 0
    blocks: int = 0


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
) -> Calibration:
    """Priors from the pods' rings under the stable revision `flags`.

    `budgets` in ms; `chosen` the uids of the pods that will carry the canary; `now` in Unix seconds; `waited` since the
    wait began: after 10 minutes an operation with too little traffic gets the assumed design effect of 10. `previous`
    is the calibration before the last promotion, whose design effects serve until there are 10 new blocks.
    """
    found: dict[Operation, Prior | None] = {}
    for operation, budget in budgets.items():
        history = cut(reports, operation, flags, now)
        old = previous.operations.get(operation) if previous else None
        found[operation] = _prior(history, budget, chosen, waited, old)
    waiting = [name for name, prior in found.items() if prior is None]
    known = {name: prior for name, prior in found.items() if prior is not None}
    phis = [p.effect.phi_rel for p in known.values()]
    # Failures share the causes of slow answers, and are too rare for a design effect of their own.
    failures = DesignEffect(
        phi_rel=max(phis, default=ASSUMED_PHI), source="Carried", message="largest of the operations"
    )
    message = f"not enough history yet for {', '.join(waiting)}" if waiting else _summary(known)
    return Calibration(operations=known, failures=failures, ready=not waiting, message=message)


def _prior(
    history: History, budget: int, chosen: Collection[str], waited: timedelta, old: Prior | None
) -> Prior | None:
    """None: wait for more history."""
    total = history.total()
    edge = _edge(total, budget)
    blocks = [_column(block, edge) for block in history.blocks]
    valid = _merge(blocks, history.totals.keys())
    effect = _effect(valid, old, waited)
    enough = total.requests >= MIN_REQUESTS_SINCE and len(history.blocks) >= 1
    silent = total.requests == 0 and waited >= MIN_SINCE
    if (effect is None or not enough) and not silent and waited < PATIENCE:
        return None
    if effect is None:
        effect = _assumed(len(valid))
    margin, mirrored = _margins(history, edge, budget, chosen)
    share = total.bad / total.requests if total.requests else 0.0
    return Prior(
        effect=effect.model_copy(update={"margin": margin, "mirrored_margin": mirrored}),
        over_budget_before=share > P0,
        share=round(share, 6),
        requests=total.requests,
        blocks=len(valid),
    )


Edge = int | None
"""The bucket b* of verdict.md 1.6: an index into the ladder, or None for the budget itself."""


def _edge(total: Cell, budget: int) -> Edge:
    """Where design effects are estimated: at a share near 5 %, never below 3 %."""
    if not total.requests:
        return None
    shares = [over / total.requests for over in total.over]
    share = total.bad / total.requests
    if share > 0.9:
        above = [i for i, ms in enumerate(LADDER_MS) if ms > budget]
        return min(above, key=lambda i: abs(shares[i] - 0.5), default=None)
    if share >= MIN_SHARE:
        return None
    below = [i for i, ms in enumerate(LADDER_MS) if ms <= budget and shares[i] >= MIN_SHARE]
    return min(below, key=lambda i: abs(shares[i] - P0), default=None)


Column = Mapping[str, tuple[int, int]]
"""Pod uid -> (requests, requests over b*)."""


def _column(block: Block, edge: Edge) -> Column:
    return {uid: (c.requests, c.bad if edge is None else c.over[edge]) for uid, c in block.items()}


def _merge(blocks: Sequence[Column], pods: Collection[str]) -> list[Column]:
    """Neighbouring blocks joined until each has a variance term of 5; a last one that falls short is dropped."""
    if any(n for block in blocks for n, _ in block.values()) and not _disperses(blocks):
        return list(blocks)  # every request on one side of the bucket: nothing disperses, which is an answer
    merged: list[Column] = []
    current: Column = dict.fromkeys(pods, (0, 0))
    for block in blocks:
        current = {uid: (n + block[uid][0], s + block[uid][1]) for uid, (n, s) in current.items()}
        if _variance(current) >= MIN_VARIANCE:
            merged.append(current)
            current = dict.fromkeys(pods, (0, 0))
    return merged


def _disperses(blocks: Sequence[Column]) -> bool:
    return any(_variance(block) for block in blocks)


def _variance(block: Column) -> float:
    """Mean hypergeometric variance of one pod's bad count against the others'; one pod alone: the binomial one."""
    if len(block) == 1:
        ((n, s),) = block.values()
        return s * (n - s) / n if n else 0.0
    return sum(_hypergeometric(block, uid) for uid in block) / len(block)


def _hypergeometric(block: Column, uid: str) -> float:
    n = block[uid][0]
    total, bad = sum(v[0] for v in block.values()), sum(v[1] for v in block.values())
    if total < 2:
        return 0.0
    return bad * (total - bad) * n * (total - n) / (total * total * (total - 1))


def _effect(blocks: Sequence[Column], old: Prior | None, waited: timedelta) -> DesignEffect | None:
    """Measured, or carried over from before the last promotion, or not yet known (None)."""
    if len(blocks) < MANY_BLOCKS and old is not None and old.effect.source != "Assumed":
        return old.effect.model_copy(update={"source": "Carried", "message": "from before the last promotion"})
    if len(blocks) < MIN_BLOCKS:
        return None
    if not _disperses(blocks):
        return DesignEffect(source="Measured", message=f"{len(blocks)} blocks without any variance")
    short = len(blocks) < MANY_BLOCKS
    # The block maximum needs more history; until then twice the limit is the honest price of impatience.
    factor = 2.0 if short else 1.0
    limit = len(blocks) / lower_decile(len(blocks))
    phi_rel = max(1.0, _relative_dispersion(blocks) * limit) * factor
    phi_abs = max(1.0, _absolute_dispersion(blocks) * limit) * factor
    note = "twice the limit, since the history is short" if short else "upper 90 % limits"
    return DesignEffect(
        phi_abs=round(phi_abs, 4),
        phi_rel=round(phi_rel, 4),
        source="Short" if short else "Measured",
        message=f"{len(blocks)} blocks; {note}",
    )


def _assumed(blocks: int) -> DesignEffect:
    why = f"too little traffic: {blocks} of {MIN_BLOCKS} blocks could be used"
    return DesignEffect(phi_abs=ASSUMED_PHI, phi_rel=ASSUMED_PHI, source="Assumed", message=why)


def _relative_dispersion(blocks: Sequence[Column]) -> float:
    """Each pod in turn as if it were the canary: squared differences over their hypergeometric variance."""
    squares = variance = 0.0
    for block in blocks:
        total, bad = sum(v[0] for v in block.values()), sum(v[1] for v in block.values())
        for uid, (n, s) in block.items():
            squares += (s - bad * n / total) ** 2
            variance += _hypergeometric(block, uid)
    return squares / variance if variance else 1.0


def _absolute_dispersion(blocks: Sequence[Column]) -> float:
    """The pooled bad share of the blocks around its mean, over the binomial variance."""
    sums = [(sum(v[0] for v in b.values()), sum(v[1] for v in b.values())) for b in blocks]
    mean = sum(s for _, s in sums) / sum(n for n, _ in sums)
    if not 0 < mean < 1:
        return 1.0
    squares = sum((s - n * mean) ** 2 for n, s in sums) / (1 - 1 / len(sums))
    return squares / sum(n * mean * (1 - mean) for n, _ in sums)


def _margins(history: History, edge: Edge, budget: int, chosen: Collection[str]) -> tuple[float, float]:
    """w0 and its mirror (verdict.md 1.5): what the chosen pods' own odds differ by before any flag."""
    column = _column(history.totals, edge)
    arms = [[v for uid, v in column.items() if (uid in chosen) is side] for side in (True, False)]
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
