"""The tables of docs/benchmark.md, made from the report. Knows Markdown; must not know experiments.

What stands between the page's marks is this; a test fails when it is not what the report says.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from load.cluster.rivals import comparison

__all__ = ["PAGE", "marks", "table", "with_tables"]

PAGE: Final = Path(__file__).parents[3] / "docs" / "benchmark.md"
UNITS: Final = {"s": " s", "MB": " MB", "cores": " cores"}


def table(experiments: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    """Each experiment with its conditions, bars and figures; of one that is not in the report its title, and that it is not."""
    found = {key: _section(key, experiments[key]) for key in experiments}
    missing = {
        key: f"### {key}. {title}\n\nNot measured yet." for key, title in titles.items() if key not in experiments
    }
    return "\n\n".join(text for _, text in sorted({**found, **missing}.items()))


def marks(name: str) -> tuple[str, str]:
    """What stands before and after a part that is made."""
    return (
        f"<!-- {name}: made by make bench-cluster from docs/reports/bench-cluster.json -->",
        f"<!-- end of {name} -->",
    )


def with_tables(page: str, experiments: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    """The page with what stands between marks made anew; `titles` are of all experiments that there are."""
    for name, text in (("bars", table(experiments, titles)), ("rivals", comparison(experiments))):
        begin, end = marks(name)
        before, rest = page.split(begin)
        page = f"{before}{begin}\n\n{text}\n\n{end}{rest.split(end, 1)[1]}"
    return page


def _section(key: str, found: Mapping[str, Any]) -> str:
    lines = [f"### {key}. {found['title']}", "", f"{found['conditions']}."]
    lines += [f"{found['note']}."] if "note" in found else []
    lines += [_machine(found), "", "| what | value | bar | |", "|---|---|---|---|"]
    lines += [_bar(bar) for bar in found["bars"]]
    lines += [f"| {name} | {_number(value)} | | |" for name, value in found["figures"].items()]
    return "\n".join(lines)


def _machine(found: Mapping[str, Any]) -> str:
    machine, runs = found["machine"], len(found["runs"])
    at_once = f", {found['atOnce']} at once" if found["atOnce"] > 1 else ""
    busy = f", busy {_number(machine['busyPercentMedian'])} % in the median second and {_number(machine['busyPercentP95'])} % at p95"
    known = machine["busyPercentMedian"] is not None
    return f"{runs} runs{at_once}, {found['at'][:10]}, operator {found['operator']}; {machine['cores']} cores{busy if known else ''}."


def _bar(bar: Mapping[str, Any]) -> str:
    unit = UNITS.get(bar["unit"], f" {bar['unit']}" if bar["unit"] else "")
    value = "not measured" if bar["value"] is None else f"**{_number(bar['value'])}{unit}**"
    about = bar["about"]
    if {"least", "most"} <= about.keys():
        value += f" ({_number(about['least'])} to {_number(about['most'])})"
    met = "met" if bar["met"] else "**not met**"
    return f"| {bar['name']} | {value} | {bar['rule']} {_number(bar['bar'])}{unit} | {met} |"


def _number(value: float | str | None) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
