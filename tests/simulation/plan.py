"""Which cells are run: the list of experiments. Knows names and numbers of runs; nothing of results."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from simulation.cells import Cell
from simulation.noise import NOISES
from simulation.rivals import RULES
from simulation.traffic import NO_EFFECT, Effect

__all__ = [
    "BY_DEFAULT",
    "EQUAL",
    "HARMS",
    "HEALTHY",
    "INTERFERENCE",
    "IN_PAIRS",
    "NOISE_KEYS",
    "REVERSED",
    "SHARES",
    "THREE_STAGES",
    "UNCOVERED",
    "cells",
]

NOISE_KEYS: Final = tuple(n.key for n in NOISES)
INTERFERENCE: Final = tuple(k for k in NOISE_KEYS if k != "outages")
"""The seven noises in which harm by the flag is to be told from the environment (verdict.md 10)."""
SHARES: Final = (0.0064, 0.02, 0.03)
"""Bad shares of a healthy stack."""
EQUAL: Final = (0.05, 0.08)
BAD: Final = Effect(own=0.166)
HEALTHY: Final = 0.0064
ONE_SECOND: Final = (("interval", "1s"),)
PAIRED: Final = (("promotion", "Paired"),)
PATIENT: Final = (("timeout", "2h"),)
SLOW: Final = ("common12", "common60", "outages")
"""Noises under which evidence comes slowly."""
BY_DEFAULT: Final = "defaults"
PATIENTLY: Final = "one step of 25 %, timeout: 2h"
IN_PAIRS: Final = "one step of 25 %, timeout: 2h, Paired"
THREE_STAGES: Final = {noise: IN_PAIRS if noise in ("common60", "outages") else BY_DEFAULT for noise in NOISE_KEYS}
"""By which settings three healthy flags are promoted: those of the whole list under the two slowest noises."""
PAIRED_NOISES: Final = ("common12", "common60", "pod10")
ONE_STEP: Final = (25,)
"""As in the table of verdict.md 10: one step, a quarter of the pods."""
HARMS: Final = (
    ("own .02 -> 0.05", Effect(own=0.05)),
    ("shared .02 -> 0.05", Effect(shared=0.05)),
    ("shared .02 -> 0.07", Effect(shared=0.07)),
    ("shared .02 -> 0.15", Effect(shared=0.15)),
    ("shared .02 -> 0.07, fades over 0.3 s", Effect(shared=0.07, fade=0.3)),
)
"""What a proof by pairs must not promote: harm that is gone when a window has settled."""
NEAREST: Final = HARMS[1][0]
"""The one that is hardest to tell from none: it just takes the budget, and no comparison of pods shows it."""
REVERSED: Final = ("iid", "common12", "pod10", "bursts")
TURNS: Final = 1800.0
"""Seconds after the flip at which a promoted flag, or the world, turns bad."""
UNCOVERED: Final = (
    ("shared .02 -> 0.07, fades over 10 s", Effect(shared=0.07, fade=10.0)),
    ("shared .02 -> 0.07, fades over 30 s", Effect(shared=0.07, fade=30.0)),
    ("shared .02 -> 0.07, only in the top fifth of the load", Effect(shared=0.07, crowded=True)),
    ("shared .02 -> 0.07, comes and goes 15 s late", Effect(shared=0.07, lag=15.0)),
)


def cells(scale: float = 1.0) -> tuple[Cell, ...]:
    """All of them; `scale` multiplies the number of runs."""
    made = (
        *_healthy(), *_bad(), *_interference(), *_innocent(), *_plainly_bad(), *_over_before(), *_false_promotion(),
        *_late(), *_worse_within_budget(), *_stages(), *_agree(), *_paired(), *_paired_wrongly(), *_reversed(),
    )  # fmt: skip
    return tuple(replace(c, runs=max(1, round(c.runs * scale))) for c in made)


def _healthy() -> list[Cell]:
    """A flag that does nothing, and the same traffic before the rivals' rules."""
    made = []
    for noise in NOISE_KEYS:
        made += [Cell("healthy", f"p = {p}", noise, p, 50) for p in SHARES]
        made += [Cell("healthy", f"p = {p}", noise, p, 6) for p in EQUAL]
        made += [Cell("rivals-healthy", f"p = {p}", noise, p, 60, judge=rule) for rule in RULES for p in SHARES]
    return made


def _bad() -> list[Cell]:
    """The bad flag of rivals.md: p95 375 ms in place of 150 ms."""
    made = []
    for noise in NOISE_KEYS:
        made.append(Cell("bad", "1 s interval", noise, HEALTHY, 100, BAD, analysis=ONE_SECOND))
        made += [Cell("rivals-bad", "", noise, HEALTHY, 60, BAD, judge=rule) for rule in RULES]
    made += [
        Cell("milder", f"{p} -> {own}", noise, p, 20, Effect(own=own))
        for noise in ("iid", "common12", "pod10")
        for p, own in ((0.0064, 0.10), (0.02, 0.10), (0.0064, 0.5))
    ]
    return made


def _interference() -> list[Cell]:
    alone = [
        Cell("switchback", f".02 -> {harm}", noise, 0.02, 200, Effect(shared=harm), judge="switchback")
        for noise in INTERFERENCE
        for harm in (0.07, 0.15)
    ]
    shared = [
        Cell("interference", f".02 -> {harm}{f', fades over {fade} s' if fade else ''}", noise, 0.02, 20,
             Effect(shared=harm, fade=fade))
        for noise in INTERFERENCE
        for harm in (0.07, 0.15)
        for fade in (0.0, 3.0)
    ]  # fmt: skip
    slow = [
        Cell("interference", f".02 -> {harm}, fades over {fade} s", noise, 0.02, 12, Effect(shared=harm, fade=fade))
        for noise in ("iid", "common12")
        for harm in (0.07, 0.15)
        for fade in (10.0, 30.0)
    ]
    rivals = [
        Cell("rivals-interference", ".02 -> 0.15", noise, 0.02, 40, Effect(shared=0.15), judge=rule)
        for noise in INTERFERENCE
        for rule in RULES
    ]
    return [*alone, *shared, *slow, *rivals]


def _innocent() -> list[Cell]:
    """A switchback from the start, on a flag that does nothing."""
    return [
        Cell("innocent", f"p = {p}", noise, p, 60, judge="switchback") for noise in NOISE_KEYS for p in (0.02, 0.03)
    ]


def _plainly_bad() -> list[Cell]:
    return [Cell("plainly-bad", f"phi_rel {phi}", "iid", HEALTHY, 100, BAD, phi_rel=phi) for phi in (2.5, 5.0, 10.0)]


def _over_before() -> list[Cell]:
    """Stacks that are over budget already: equal arms, and a flag that helps."""
    made = [Cell("equal-over", f"p = {p}", noise, p, 12) for noise in NOISE_KEYS for p in (0.08, 0.15)]
    made += [
        Cell("improves", f"{p} -> {own}", noise, p, 16, Effect(own=own))
        for noise in ("iid", "common12", "pod02", "pod10")
        for p, own in ((0.15, 0.08), (0.15, 0.04), (0.5, 0.04))
    ]
    return made


def _false_promotion() -> list[Cell]:
    made = [
        Cell("false-promotion", f"own .02 -> {own}", noise, 0.02, 10, Effect(own=own))
        for noise in INTERFERENCE
        for own in (0.05, 0.06, 0.10)
    ]
    made += [
        Cell("false-promotion", f"shared .02 -> {harm}", noise, 0.02, 10, Effect(shared=harm))
        for noise in INTERFERENCE
        for harm in (0.05, 0.07, 0.15)
    ]
    return made


def _late() -> list[Cell]:
    """Good for a minute, then bad."""
    return [Cell("late", "after 1 min", noise, HEALTHY, 24, Effect(own=0.166, late=60.0)) for noise in NOISE_KEYS]


def _worse_within_budget() -> list[Cell]:
    """Worse than stable and within budget in the long run: over it in some burst (verdict.md 3d)."""
    return [
        Cell("within-but-worse", sensitivity, noise, 0.02, 10, Effect(own=0.04), analysis=(("sensitivity", sensitivity),))
        for noise in NOISE_KEYS
        for sensitivity in ("Standard", "Strict")
    ]  # fmt: skip


def _stages() -> list[Cell]:
    """Three harmless flags one after the other, after six hours of service: by the defaults, and as slow noise wants it."""
    made = [Cell("stages", BY_DEFAULT, noise, HEALTHY, 16, judge="stages", history_hours=6.0) for noise in NOISE_KEYS]
    made += [
        Cell("stages", case, noise, HEALTHY, 16, judge="stages", analysis=analysis, history_hours=6.0,
             weights=ONE_STEP)
        for case, analysis in ((PATIENTLY, PATIENT), (IN_PAIRS, (*PATIENT, *PAIRED)))
        for noise in SLOW
    ]  # fmt: skip
    return made


def _agree() -> list[Cell]:
    effects = (NO_EFFECT, BAD, Effect(shared=0.15), Effect(own=0.08), Effect(shared=0.07, fade=3.0))
    return [
        Cell("agree", f"effect {i}", noise, 0.02 if i > 1 else HEALTHY, 1, effect, judge="agree")
        for noise in NOISE_KEYS
        for i, effect in enumerate(effects)
    ]


def _paired() -> list[Cell]:
    """By the whole `decide`, with six hours of the pods' second ring; `Plain` on the same traffic."""
    made = []
    for noise in PAIRED_NOISES:
        for p in SHARES:
            barred = (noise, p) == ("common12", 0.03)  # the others are for the table only
            made.append(Cell("one-step-plain", f"p = {p}", noise, p, 24 if barred else 8, history_hours=6.0,
                             weights=ONE_STEP))  # fmt: skip
            runs = 200 if barred else 8
            made.append(Cell("one-step-paired", f"p = {p}", noise, p, runs, judge="whole", analysis=PAIRED,
                             history_hours=6.0, weights=ONE_STEP))  # fmt: skip
    made += [
        Cell("two-steps-paired", f"p = {p}", "common12", p, runs, judge="whole", analysis=PAIRED, history_hours=6.0)
        for p, runs in zip(SHARES, (8, 8, 24), strict=True)
    ]
    made += [
        Cell("two-steps-paired", f"p = {HEALTHY}", noise, HEALTHY, 8, judge="whole", analysis=PAIRED, history_hours=6.0)
        for noise in ("common60", "outages")  # where three flags by the defaults take hours
    ]
    return made


def _paired_wrongly() -> list[Cell]:
    """Harmful flags under `Paired`: first what it covers, then what it does not."""
    covered = [
        Cell("paired-false", case, noise, 0.02, 15 if case == NEAREST else 6, effect, judge="whole", analysis=PAIRED,
             history_hours=6.0, weights=ONE_STEP)
        for case, effect in HARMS
        for noise in INTERFERENCE
    ]  # fmt: skip
    return covered + [
        Cell("paired-uncovered", case, "common12", 0.02, 10, effect, judge="whole", analysis=PAIRED, history_hours=6.0,
             weights=ONE_STEP)
        for case, effect in UNCOVERED
    ]  # fmt: skip


def _reversed() -> list[Cell]:
    """A promoted flag turns bad, for its own pod or for all; or the world does."""
    turned = (
        ("its own pods .0064 -> .166", Effect(own=0.166, late=TURNS)),
        ("all pods .0064 -> .15", Effect(shared=0.15, late=TURNS)),
        ("the environment .0064 -> .15", Effect(shared=0.15, late=TURNS, blameless=True)),
    )
    return [
        Cell("reverse", case, noise, HEALTHY, 6, effect, judge="reverse")
        for case, effect in turned
        for noise in REVERSED
    ]
