"""Figures of the report, from its JSON alone; the bytes are the same each time. Colours: Okabe and Ito, for everybody."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure
from simulation.noise import NOISES
from simulation.rivals import RULES

__all__ = ["draw"]

COLOURS: Final = ("#0072B2", "#D55E00", "#E69F00", "#56B4E9", "#CC79A7", "#009E73")
SHORT: Final = {"iid": "none", "common4": "common\nr=.2, 4 s", "common12": "common\nr=.4, 12 s", "common60": "common\nr=.4, 60 s",
                "pod02": "pods\nr=.02", "pod10": "pods\nr=.10", "bursts": "bursts", "outages": "outages"}  # fmt: skip
NAMES: Final = {"course": "MemoryStack", "argo-fast": "Argo, fastest", "argo-guarded": "Argo, guarded",
                "argo-documented": "Argo, documented", "flagger-fast": "Flagger, fastest",
                "flagger-documented": "Flagger, documented"}  # fmt: skip


def draw(report: Mapping[str, Any], folder: Path) -> None:
    """Three SVG files, on white, so that a dark page shows them as well."""
    mpl.rcParams.update({"svg.hashsalt": "memorystack", "svg.fonttype": "path", "font.size": 10, "axes.spines.top": False,
                         "axes.spines.right": False, "axes.grid": True, "axes.grid.axis": "y", "grid.alpha": 0.3})  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in (
        ("false-rollback", _false(report)),
        ("bad-answers", _answers(report)),
        ("interference", _harm(report)),
    ):
        figure.savefig(folder / f"{name}.svg", facecolor="white", metadata={"Date": None, "Creator": None})


def _bars(
    report: Mapping[str, Any], ours: str, theirs: str, value: Any, title: str, label: str, *, log: bool = False
) -> Figure:
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    axes = figure.subplots()
    judges = ["course", *RULES]
    for i, judge in enumerate(judges):
        study = ours if judge == "course" else theirs
        heights = [
            value([c for c in report["cells"] if (c["study"], c["noise"], c["judge"]) == (study, n.key, judge)])
            for n in NOISES
        ]
        places = [x + (i - 2.5) * 0.14 for x in range(len(NOISES))]
        drawn = axes.bar(places, heights, 0.13, label=NAMES[judge], color=COLOURS[i])
        if judge == "course":  # a bar of no height is ours, and should not look forgotten
            axes.bar_label(drawn, [f"{h:.3g}" for h in heights], color=COLOURS[i], fontsize=9, fontweight="bold")
    axes.set_xticks(range(len(NOISES)), [SHORT[n.key] for n in NOISES])
    axes.set_xlabel("what moves latencies besides the flag")
    axes.set_ylabel(label)
    axes.set_title(title, loc="left", fontweight="bold")
    if log:
        axes.set_yscale("log")
    figure.legend(ncols=6, loc="outside lower center", frameon=False, fontsize=9)
    return figure


def _false(report: Mapping[str, Any]) -> Figure:
    def share(cells: list[Mapping[str, Any]]) -> float:
        kept = [c for c in cells if c["p"] <= 0.03]
        return 100 * sum(c["rejected"] for c in kept) / sum(c["runs"] for c in kept)

    return _bars(report, "healthy", "rivals-healthy", share, "A flag that does nothing: how often is it rolled back?",
                 "rollouts rejected, % (p = .0064, .02, .03)")  # fmt: skip


def _answers(report: Mapping[str, Any]) -> Figure:
    def median(cells: list[Mapping[str, Any]]) -> float:
        return float(cells[0]["badAnswers"][0] or 0)

    return _bars(report, "bad", "rivals-bad", median, "A bad flag (p95 150 ms to 375 ms): answers over budget until it is taken back",
                 "bad answers by the canary, median", log=True)  # fmt: skip


def _harm(report: Mapping[str, Any]) -> Figure:
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    axes = figure.subplots()
    noises = [n for n in NOISES if n.key != "outages"]
    for i, (case, label, marker) in enumerate((
        (".02 -> 0.15", "2 -> 15 % bad", "o"), (".02 -> 0.07", "2 -> 7 % bad", "s"),
    )):  # fmt: skip
        found = {
            c["noise"]: c["rejectedSeconds"]
            for c in report["cells"]
            if (c["study"], c["case"]) == ("interference", case)
        }
        for x, noise in enumerate(noises):
            middle, late = (None if v is None else v / 60 for v in found[noise.key])
            if middle is not None:
                axes.vlines(x + 0.2 * i - 0.1, middle, late or 30, color=COLOURS[i], lw=2)
                axes.plot(
                    x + 0.2 * i - 0.1,
                    middle,
                    marker,
                    color=COLOURS[i],
                    ms=8,
                    label=label if x == 0 else None,
                )
    axes.set_xticks(range(len(noises)), [SHORT[n.key] for n in noises])
    axes.set_xlabel("what moves latencies besides the flag")
    axes.set_ylabel("minutes from the flip to the conviction")
    axes.set_ylim(bottom=0)
    axes.set_title(
        "A flag that harms everybody: time to HarmsSharedDependency (dot: median, line: up to p90)",
        loc="left",
        fontweight="bold",
    )
    figure.legend(ncols=2, loc="outside lower center", frameon=False)
    return figure
