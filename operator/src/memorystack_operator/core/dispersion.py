"""How much blocks of a pod's history differ: design effects between pods and over time (verdict.md 1.6).

Knows: blocks and buckets. Must not know: budgets' verdicts, rollouts, or what a design effect is used for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from memorystack_operator.core.chi_square import lower_decile
from memorystack_operator.core.evidence import P0
from memorystack_operator.core.history import Block, Cell, Edge
from memorystack_runtime.contract import LADDER_MS, RING_SECONDS

__all__ = [
    "MANY_BLOCKS",
    "MIN_BLOCKS",
    "Column",
    "Dispersion",
    "Edge",
    "column",
    "disperse",
    "disperse_long",
    "edge_of",
    "merge",
]

MIN_BLOCKS: Final = 4
MANY_BLOCKS: Final = 10
MIN_VARIANCE: Final = 5.0
MIN_SHARE: Final = 0.03
LENGTHS: Final = (1, 2, 4)
"""Blocks of 30, 60 and 120 s: noise that outlasts a short block shows in a long one only."""


@dataclass(frozen=True, slots=True)
class Dispersion:
    """Upper 90 % limits of both design effects, the largest over the block lengths that history allows."""

    phi_abs: float
    """Over time, at the rate of all pods together."""
    phi_rel: float
    """Between pods."""
    blocks: int
    """Of the shortest length."""
    short: bool
    """Fewer than ten blocks: twice the limit, since longer blocks cannot be looked at."""
    message: str


def disperse(blocks: Sequence[Column]) -> Dispersion | None:
    """From raw blocks of 30 s, oldest first; None with fewer than four valid ones."""
    shortest = merge(blocks)
    if len(shortest) < MIN_BLOCKS:
        return None
    if not any(map(_variance, shortest)):
        return Dispersion(1.0, 1.0, len(shortest), short=False, message=f"{len(shortest)} blocks without any variance")
    if len(shortest) < MANY_BLOCKS:
        phi_abs, phi_rel = _limits(shortest)
        note = f"{len(shortest)} blocks; twice the limit, since the history is short"
        return Dispersion(2 * phi_abs, 2 * phi_rel, len(shortest), short=True, message=note)
    found = {}
    for length in LENGTHS:
        merged = merge(_joined(blocks, length))
        if len(merged) >= MANY_BLOCKS:
            found[length * RING_SECONDS] = _limits(merged)
    note = f"{len(shortest)} blocks; largest upper 90 % limit of blocks of {', '.join(map(str, found))} s"
    return Dispersion(
        max(phi for phi, _ in found.values()), max(phi for _, phi in found.values()), len(shortest), False, note
    )


def disperse_long(blocks: Sequence[Column]) -> tuple[float, float, int]:
    """Over time from long blocks: the estimate, its upper 90 % limit, and how many blocks it is of; 1 of fewer than ten."""
    merged = merge(blocks)
    if len(merged) < MANY_BLOCKS:
        return 1.0, 1.0, len(merged)
    return max(1.0, _absolute_dispersion(merged)), _limits(merged)[0], len(merged)


def _limits(blocks: Sequence[Column]) -> tuple[float, float]:
    """(phi_abs, phi_rel): degrees of freedom are the blocks, not the blocks times the pods."""
    limit = len(blocks) / lower_decile(len(blocks))
    return max(1.0, _absolute_dispersion(blocks) * limit), max(1.0, _relative_dispersion(blocks) * limit)


def _joined(blocks: Sequence[Column], length: int) -> list[Column]:
    """Neighbours added up, `length` at a time; what is left over at the end is dropped."""
    whole = range(0, len(blocks) - length + 1, length)
    return [_sum(blocks[i : i + length]) for i in whole]


def _sum(blocks: Sequence[Column]) -> Column:
    if len(blocks) == 1:
        return blocks[0]
    return {uid: (sum(b[uid][0] for b in blocks), sum(b[uid][1] for b in blocks)) for uid in blocks[0]}


def edge_of(total: Cell, budget: int) -> Edge:
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
    below = [i for i, ms in enumerate(LADDER_MS) if ms <= budget]
    # Where even the lowest edge is passed by fewer than 3 %, that one is the nearest to 5 %.
    valid = [i for i in below if shares[i] >= MIN_SHARE] or below[:1]
    return min(valid, key=lambda i: abs(shares[i] - P0), default=None)


Column = Mapping[str, tuple[int, int]]
"""Pod uid -> (requests, requests over b*)."""


def column(block: Block | Mapping[str, Cell], edge: Edge) -> Column:
    """The counts at one bucket."""
    return {uid: c.at(edge) for uid, c in block.items()}


def merge(blocks: Sequence[Column]) -> list[Column]:
    """Neighbouring blocks joined until each has a variance term of 5; a last one that falls short is dropped."""
    if any(n for block in blocks for n, _ in block.values()) and not any(map(_variance, blocks)):
        return list(blocks)  # every request on one side of the bucket: nothing disperses, which is an answer
    merged: list[Column] = []
    current: Column | None = None
    for block in blocks:
        current = block if current is None else _sum((current, block))
        if _variance(current) >= MIN_VARIANCE:
            merged.append(current)
            current = None
    return merged


def _variance(block: Column) -> float:
    """Mean hypergeometric variance of one pod's bad count against the others'; one pod alone: the binomial one."""
    if len(block) == 1:
        ((n, s),) = block.values()
        return s * (n - s) / n if n else 0.0
    return _hypergeometric(block) / len(block) if block else 0.0


def _hypergeometric(block: Column) -> float:
    """Sum over the pods of the variance that each one's bad count has, if chance alone deals the bad requests out."""
    total, bad = _totals(block)
    if total < 2:
        return 0.0
    spread = sum(n * (total - n) for n, _ in block.values())
    return bad * (total - bad) * spread / (total * total * (total - 1))


def _totals(block: Column) -> tuple[int, int]:
    return sum(n for n, _ in block.values()), sum(s for _, s in block.values())


def _relative_dispersion(blocks: Sequence[Column]) -> float:
    """Each pod in turn as if it were the canary: squared differences over their hypergeometric variance."""
    squares = variance = 0.0
    for block in blocks:
        total, bad = _totals(block)
        share = bad / total
        squares += sum((s - share * n) ** 2 for n, s in block.values())
        variance += _hypergeometric(block)
    return squares / variance if variance else 1.0


def _absolute_dispersion(blocks: Sequence[Column]) -> float:
    """The pooled bad share of the blocks around its mean, over the binomial variance."""
    sums = [_totals(block) for block in blocks]
    mean = sum(s for _, s in sums) / sum(n for n, _ in sums)
    if not 0 < mean < 1:
        return 1.0
    squares = sum((s - n * mean) ** 2 for n, s in sums) / (1 - 1 / len(sums))
    return squares / sum(n * mean * (1 - mean) for n, _ in sums)
