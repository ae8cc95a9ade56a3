"""What the simulation must show (the bars of issue 10), each as a share of runs, a limit, and an exact binomial interval.

Knows: summaries by cell. Must not know: how they were made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import comb
from typing import Final

from simulation.cells import Cell, Summary
from simulation.plan import HARMS, INTERFERENCE, NOISE_KEYS, REVERSED, SHARES, THREE_STAGES

__all__ = ["GUILTY", "Bar", "bars", "interval"]

GUILTY: Final = ("P95OverBudget", "Worse", "HarmsSharedDependency")
"""Reasons that reject a flag on evidence."""
PROMOTED: Final = ("WithinBudget", "Improves")
Results = Mapping[Cell, list[Summary]]


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: `hits` of `runs` against a limit, or a quantile against one (runs = 0)."""

    name: str
    limit: float
    at_most: bool
    value: float | None
    hits: int = 0
    runs: int = 0

    @property
    def met(self) -> bool:
        """By the estimate itself; the interval says how sure that is."""
        if self.value is None:
            return False
        return self.value <= self.limit if self.at_most else self.value >= self.limit

    @property
    def excluded(self) -> bool:
        """Missed beyond what the size of the sample explains: the interval, too, lies on the wrong side."""
        if not self.runs:
            return not self.met
        low, high = interval(self.hits, self.runs)
        return low > self.limit if self.at_most else high < self.limit


def interval(hits: int, runs: int, level: float = 0.95) -> tuple[float, float]:
    """The exact (Clopper-Pearson) binomial interval."""
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else _root(lambda p: 1 - _below(hits - 1, runs, p), tail)
    high = 1.0 if hits == runs else _root(lambda p: 1 - _below(hits, runs, p), 1 - tail)
    return low, high


def bars(results: Results) -> list[Bar]:
    """All of them, in the order of the issue."""
    return [
        *_false_rollback(results),
        *_harm(results),
        *_speed(results),
        *_stages(results),
        *_paired(results),
        *_reversed(results),
        *_agree(results),
    ]


def _false_rollback(results: Results) -> Iterable[Bar]:
    for noise in NOISE_KEYS:
        found = [s for c, (s, *_) in results.items() if c.study == "healthy" and c.noise == noise]
        yield _share(
            f"false rollback of a healthy change, {noise}",
            0.03 if noise == "pod10" else 0.01,
            sum(s.count(*GUILTY) for s in found),
            sum(s.runs for s in found),
        )


def _harm(results: Results) -> Iterable[Bar]:
    for harm, limit, minutes in ((0.15, 0.95, 6), (0.07, 0.90, 16)):
        for noise in INTERFERENCE:
            one = _one(results, "switchback", noise, f".02 -> {harm}")
            name = f"interference .02 -> {harm} convicted within {minutes} min of the switchback's begin, {noise}"
            yield _share(name, limit, one.within(60 * minutes, *GUILTY), one.runs, at_most=False)
    for noise in NOISE_KEYS:
        found = [s for c, (s, *_) in results.items() if c.study == "innocent" and c.noise == noise]
        hits = sum(s.count("HarmsSharedDependency") for s in found)
        yield _share(f"an innocent flag convicted by a switchback, {noise}", 0.01, hits, sum(s.runs for s in found))


def _speed(results: Results) -> Iterable[Bar]:
    for phi in (2.5, 5.0, 10.0):
        one = _one(results, "plainly-bad", "iid", f"phi_rel {phi}")
        yield _share(f"a plainly bad canary goes through the switchback, phi_rel {phi}", 0.0, one.withdrawn, one.runs)
    for noise in NOISE_KEYS:
        found = [s for c, (s, *_) in results.items() if c.study == "equal-over" and c.noise == noise]
        yield _share(
            f"equal arms over budget promoted, {noise}",
            0.05,
            sum(s.count(*PROMOTED) for s in found),
            sum(s.runs for s in found),
        )
    one = _one(results, "bad", "iid", "1 s interval")
    yield Bar("p = .166 against .0064: median seconds to the verdict", 5, True, one.time(0.5, *GUILTY))
    yield Bar("p = .166 against .0064: median bad answers by then", 20, True, one.answers(0.5, *GUILTY))


def _stages(results: Results) -> Iterable[Bar]:
    for noise, case in THREE_STAGES.items():
        one = _one(results, "stages", noise, case)
        name = f"three healthy stages promoted (p = .0064, 6 h of history), {noise}: {case}"
        yield _share(name, 0.9, one.count(*PROMOTED), one.runs, at_most=False)


def _paired(results: Results) -> Iterable[Bar]:
    one = _one(results, "one-step-paired", "common12", f"p = {SHARES[-1]}")
    name = "Paired, 6 h of history, one step: healthy p = .03 promoted within 30 min, common12"
    yield _share(name, 0.85, one.within(1800, *PROMOTED), one.runs, at_most=False)
    for kind in ("case", "noise"):
        for value in INTERFERENCE if kind == "noise" else [case for case, _ in HARMS]:
            found = [s for c, (s, *_) in results.items() if c.study == "paired-false" and getattr(c, kind) == value]
            hits = sum(s.count(*PROMOTED) for s in found)
            yield _share(f"Paired: false promotion, {value}", 0.05, hits, sum(s.runs for s in found))


def _reversed(results: Results) -> Iterable[Bar]:
    """The issue gives no numbers for them: nine in ten found, one in a hundred blamed."""
    for noise in REVERSED:
        found = [(c, s) for c, (s, *_) in results.items() if c.study == "reverse" and c.noise == noise]
        guilty = [s for c, s in found if not c.effect.blameless]
        late = sum(s.runs - s.count("NotPromoted") for s in guilty)
        hits = sum(s.count("LateRegression") for s in guilty)
        if late:  # of one quick run nothing may have been promoted, which is no answer
            yield _share(f"a late regression is taken back within an hour, {noise}", 0.9, hits, late, at_most=False)
        blameless = [s for c, s in found if c.effect.blameless]
        watched = sum(s.runs - s.count("NotPromoted") for s in blameless)
        hits = sum(s.count("LateRegression") for s in blameless)
        if watched:
            name = f"an environment that turns bad after 100 % is held against the flag, {noise}"
            yield _share(name, 0.01, hits, watched)


def _agree(results: Results) -> Iterable[Bar]:
    found = [pair for c, pair in results.items() if c.study == "agree"]
    same = sum(_same(*pair) for pair in found)
    yield _share("cells in which the lean loop and the whole decide agree to the second and the request", 1.0, same, len(found), at_most=False)  # fmt: skip


def _same(lean: Summary, whole: Summary) -> bool:
    return (lean.reasons, lean.seconds, lean.bad) == (whole.reasons, whole.seconds, whole.bad)


def _one(results: Results, study: str, noise: str, case: str) -> Summary:
    return next(s for c, (s, *_) in results.items() if (c.study, c.noise, c.case) == (study, noise, case))


def _share(name: str, limit: float, hits: int, runs: int, *, at_most: bool = True) -> Bar:
    return Bar(name, limit, at_most, hits / runs, hits, runs)


def _below(hits: int, runs: int, p: float) -> float:
    return sum(comb(runs, k) * p**k * (1 - p) ** (runs - k) for k in range(hits + 1))


def _root(rising: Callable[[float], float], target: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < target else (low, middle)
    return (low + high) / 2
