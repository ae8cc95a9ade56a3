"""The report: one JSON file, and from it alone docs/simulation.md. Knows the JSON's shape."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from simulation.bars import GUILTY, Bar, bars, interval
from simulation.cells import Cell, Summary
from simulation.fingerprint import engine_hash
from simulation.tables import pair, table

__all__ = ["BLOCKS", "documents", "record", "serialised", "written"]

BLOCKS: Final = ("docs/verdict.md", "docs/verdict-tables.md", "README.md")
"""Documents with marked blocks."""
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


def serialised(report: Report) -> str:
    """JSON with a line for each bar and cell, so that a difference can be read."""
    parts = []
    for key, value in report.items():
        lines = ",\n".join(json.dumps(item) for item in value) if isinstance(value, list) else ""
        parts.append(f'"{key}": ' + (f"[\n{lines}\n]" if lines else json.dumps(value)))
    return "{\n" + ",\n".join(parts) + "\n}\n"


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
    }


def _cell(cell: Cell, found: Summary) -> dict[str, Any]:
    ends = (*GUILTY, "Rule", "LateRegression")
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
        yield study, table(head, rows)


def _row(cell: Mapping[str, Any]) -> list[str]:
    ended = ", ".join(f"{reason} {n}" for reason, n in cell["reasons"].items())
    pairs = [pair(cell[key]) for key in ("promotedSeconds", "rejectedSeconds", "badAnswers")]
    return [cell["case"], cell["noise"], cell["judge"], str(cell["runs"]), ended, str(cell["withdrawn"]), *pairs]


def written(text: str, made: Mapping[str, str]) -> str:
    """`text` with its marked blocks replaced."""
    for name, body in made.items():
        pattern = re.compile(rf"(<!-- simulate:{name} -->\n).*?(<!-- /simulate -->)", re.DOTALL)
        text = pattern.sub(lambda m, body=body: f"{m[1]}{body}\n{m[2]}", text)
    return text


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
    return table(["bar", "limit", "measured (95 % binomial interval)", ""], rows)
