"""The report: one JSON file, and from it alone the Markdown tables of docs/ and README. Knows the JSON's shape."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from simulation.bars import GUILTY, Bar, bars, interval
from simulation.cells import Cell, Summary
from simulation.fingerprint import engine_hash
from simulation.noise import NOISES
from simulation.plan import SHARES, UNCOVERED
from simulation.rivals import RULES

__all__ = ["BLOCKS", "blocks", "documents", "record", "written"]

BLOCKS: Final = {"healthy": "docs/verdict.md", "bad": "docs/verdict.md", "interference": "docs/verdict.md",
                 "paired": "docs/verdict.md", "bars": "docs/verdict.md", "readme": "README.md"}  # fmt: skip
"""Marked block -> the document it stands in."""
PROMOTED: Final = ("WithinBudget", "Improves")
Report = Mapping[str, Any]


def record(results: Mapping[Cell, list[Summary]], profile: str) -> dict[str, Any]:
    """What is committed: counts and quantiles of every cell, and the bars."""
    return {
        "engine": engine_hash(),
        "profile": profile,
        "runs": sum(c.runs for c in results),
        "bars": [_bar(b) for b in bars(results)],
        "cells": [_cell(c, s) for c, found in results.items() for s in found[:1]],
    }


def _bar(bar: Bar) -> dict[str, Any]:
    low, high = interval(bar.hits, bar.runs) if bar.runs else (None, None)
    rounded = [None if x is None else round(x, 4) for x in (bar.value, low, high)]
    return {
        "name": bar.name,
        "limit": bar.limit,
        "atMost": bar.at_most,
        "value": rounded[0],
        "runs": bar.runs,
        "low": rounded[1],
        "high": rounded[2],
        "met": bar.met,
        "note": bar.note,
    }


def _cell(cell: Cell, found: Summary) -> dict[str, Any]:
    ends = (*GUILTY, "Rule")
    return {
        "study": cell.study,
        "case": cell.case,
        "noise": cell.noise,
        "judge": cell.judge,
        "p": cell.p,
        "runs": found.runs,
        "reasons": found.reasons,
        "withdrawn": found.withdrawn,
        "promoted": found.count(*PROMOTED, "Rule passed"),
        "rejected": found.count(*ends),
        "promotedSeconds": [found.time(q, *PROMOTED) for q in (0.5, 0.9)],
        "rejectedSeconds": [found.time(q, *ends) for q in (0.5, 0.9)],
        "promotedInHalfAnHour": found.within(1800, *PROMOTED),
        "badAnswers": [found.answers(q, *ends) for q in (0.5, 0.9)],
    }


def documents(report: Report) -> dict[str, str]:
    """Files under docs/ that are the report itself, by name."""
    intro = (
        f"Engine `{report['engine']}`, profile {report['profile']}, {report['runs']} rollouts with fixed seeds. Made by `make simulate`; "
        "edits are overwritten. What the words mean: [verdict.md](verdict.md)."
    )
    parts = [
        "# What `make simulate` found",
        intro,
        *(f"## {title}\n\n{body}" for title, body in _sections(report)),
    ]
    return {"simulation.md": "\n\n".join(parts) + "\n"}


def _sections(report: Report) -> Iterable[tuple[str, str]]:
    yield "Bars", _bar_table(report)
    studies = dict.fromkeys(c["study"] for c in report["cells"])
    for study in studies:
        rows = [_row(c) for c in report["cells"] if c["study"] == study]
        head = ["case", "noise", "judge", "runs", "ended as", "withdrawn", "promoted, s", "rejected, s", "bad answers"]
        yield study, _table(head, rows)


def _row(cell: Mapping[str, Any]) -> list[str]:
    ended = ", ".join(f"{reason} {n}" for reason, n in cell["reasons"].items())
    pairs = [_pair(cell[key]) for key in ("promotedSeconds", "rejectedSeconds", "badAnswers")]
    return [cell["case"], cell["noise"], cell["judge"], str(cell["runs"]), ended, str(cell["withdrawn"]), *pairs]


def blocks(report: Report) -> dict[str, str]:
    """Marked blocks of the written documents."""
    return {
        "healthy": _healthy(report),
        "bad": _bad(report),
        "interference": _interference(report),
        "paired": _paired(report),
        "bars": _missed(report),
        "readme": _readme(report),
    }


def written(text: str, made: Mapping[str, str]) -> str:
    """`text` with its marked blocks replaced."""
    for name, body in made.items():
        pattern = re.compile(rf"(<!-- simulate:{name} -->\n).*?(<!-- /simulate -->)", re.DOTALL)
        text = pattern.sub(lambda m, body=body: f"{m[1]}{body}\n{m[2]}", text)
    return text


def _cells(report: Report, study: str, **wanted: object) -> list[Mapping[str, Any]]:
    return [c for c in report["cells"] if c["study"] == study and all(c[k] == v for k, v in wanted.items())]


def _part(cells: Sequence[Mapping[str, Any]], key: str) -> str:
    runs = sum(c["runs"] for c in cells)
    return _percent(sum(c[key] for c in cells), runs)


def _healthy(report: Report) -> str:
    head = [
        "noise",
        "**rejected, all p**",
        *(f"promoted, p = {p}" for p in SHARES),
        *(RULES[r].label.split(" (")[0] for r in RULES),
    ]
    rows = []
    for noise in NOISES:
        ours = _cells(report, "healthy", noise=noise.key)
        promoted = [
            f"{_part(found, 'promoted')} ({_span(found[0]['promotedSeconds'])})"
            for p in SHARES
            if (found := [c for c in ours if c["p"] == p])
        ]
        rivals = [_part(_cells(report, "rivals-healthy", noise=noise.key, judge=r), "rejected") for r in RULES]
        rows.append([noise.label, f"**{_part(ours, 'rejected')}**", *promoted, *rivals])
    return _table(head, rows)


def _bad(report: Report) -> str:
    head = ["noise", "**MemoryStack**: s, bad answers", *(f"{RULES[r].label.split(' (')[0]}" for r in RULES)]
    rows = []
    for noise in NOISES:
        (ours,) = _cells(report, "bad", noise=noise.key)
        rivals = [_cells(report, "rivals-bad", noise=noise.key, judge=r)[0] for r in RULES]
        rows.append(
            [noise.label, *(f"{_pair(c['rejectedSeconds'])}; {_pair(c['badAnswers'])}" for c in (ours, *rivals))]
        )
    return _table(head, rows)


def _interference(report: Report) -> str:
    cases = list(dict.fromkeys(c["case"] for c in report["cells"] if c["study"] == "interference"))
    rows = []
    for noise in NOISES:
        found = {c["case"]: c for c in _cells(report, "interference", noise=noise.key)}
        cells = [
            f"{_part([found[c]], 'rejected')}, {_pair(found[c]['rejectedSeconds'])}" if c in found else ""
            for c in cases
        ]
        rows.append([noise.label, *cells, _part(_cells(report, "innocent", noise=noise.key), "rejected")])
    return _table(["noise", *cases, "innocent flag convicted"], rows)


def _paired(report: Report) -> str:
    rows = []
    for study, name in (("healthy", "Plain"), ("paired", "Paired"), ("paired-strict", "Paired, sensitivity: Strict")):
        for cell in report["cells"]:
            if cell["study"] == study and (
                study != "healthy" or (cell["noise"] in ("common12", "common60", "pod10") and cell["p"] in SHARES)
            ):
                half = _percent(cell["promotedInHalfAnHour"], cell["runs"])
                rows.append(
                    [
                        name,
                        f"healthy, {cell['case']}",
                        cell["noise"],
                        half,
                        _pair(cell["promotedSeconds"]),
                        str(cell["runs"]),
                    ]
                )
    for study, name in (("paired-false", "Paired"), ("paired-uncovered", "Paired, **not covered**")):
        for cell in _cells(report, study):
            rows.append(
                [
                    name,
                    cell["case"],
                    cell["noise"],
                    _part([cell], "promoted"),
                    _pair(cell["promotedSeconds"]),
                    str(cell["runs"]),
                ]
            )
    assert len(_cells(report, "paired-uncovered")) == len(UNCOVERED)
    return _table(["promotion", "case", "noise", "promoted", "s, median / p90", "runs"], rows)


def _bar_table(report: Report) -> str:
    rows = []
    for bar in report["bars"]:
        sign = "at most" if bar["atMost"] else "at least"
        if bar["runs"]:
            measured = (
                f"{100 * bar['value']:.1f} % of {bar['runs']} ({100 * bar['low']:.1f} to {100 * bar['high']:.1f})"
            )
            limit = f"{sign} {100 * bar['limit']:g} %"
        else:
            measured = "never" if bar["value"] is None else f"{bar['value']:g}"
            limit = f"{sign} {bar['limit']:g}"
        rows.append([bar["name"], limit, measured, "met" if bar["met"] else "**missed**"])
    return _table(["bar", "limit", "measured (95 % binomial interval)", ""], rows)


def _missed(report: Report) -> str:
    missed = [b for b in report["bars"] if not b["met"]]
    lines = [
        f"{len(report['bars']) - len(missed)} of {len(report['bars'])} bars are met; all of them are in [simulation.md](simulation.md)."
    ]
    for bar in missed:
        value = (
            f"{100 * bar['value']:.1f} % (95 % interval {100 * bar['low']:.1f} to {100 * bar['high']:.1f})"
            if bar["runs"]
            else f"{bar['value']}"
        )
        limit = f"{100 * bar['limit']:g} %" if bar["runs"] else f"{bar['limit']:g}"
        lines.append(f"- missed: {bar['name']}: {value} against {limit}")
    return "\n".join(lines)


def _readme(report: Report) -> str:
    healthy = [c for c in report["cells"] if c["study"] == "healthy" and c["noise"] != "pod10"]
    (bad,) = _cells(report, "bad", noise="iid")
    fast = [
        c
        for c in report["cells"]
        if c["study"] == "rivals-healthy" and c["judge"] == "argo-fast" and c["noise"] == "bursts"
    ]
    ours = [c for c in healthy if c["noise"] == "bursts"]
    innocent = [c for c in report["cells"] if c["study"] == "innocent"]
    return (
        f"In {report['runs']} simulated rollouts (`make simulate`, the shipped statistics, fixed seeds) a flag that does nothing was rejected in "
        f"{_part(healthy, 'rejected')} of {sum(c['runs'] for c in healthy)} rollouts under seven kinds of noise; under bursts in "
        f"{_part(ours, 'rejected')}, where the fastest rule of Argo Rollouts on the same traffic rejects {_part(fast, 'rejected')}. "
        f"A flag that takes p95 from 150 to 375 ms was taken back after {bad['rejectedSeconds'][0]:.0f} s and {bad['badAnswers'][0]:.0f} bad "
        f"answers (medians, steady traffic). An innocent flag that went through a switchback was convicted in {_part(innocent, 'rejected')}. "
        "[docs/verdict.md](docs/verdict.md) says what is claimed, under which assumption, and what is not."
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


def _pair(values: Sequence[float | None]) -> str:
    return " / ".join("-" if v is None else f"{v:.0f}" for v in values)


def _span(values: Sequence[float | None]) -> str:
    if values[0] is None:
        return "-"
    return f"{values[0] / 60:.0f} min"


def _percent(hits: int, runs: int) -> str:
    share = 100 * hits / runs
    return f"{share:.0f} %" if hits in (0, runs) or share >= 10 else f"{share:.1f} %"
