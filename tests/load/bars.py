"""What a bar is, and the report of a run. Knows numbers; must not know how one is measured."""

from __future__ import annotations

import json
import operator
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

__all__ = ["Bar", "line", "table", "write"]

RULES: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Bar:
    """One number against what it must be. Without a value it could not be measured: `about` says why."""

    name: str
    value: float | None
    rule: str
    bar: float
    unit: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)
    """What the value was made of."""

    @property
    def met(self) -> bool:
        return self.value is not None and RULES[self.rule](self.value, self.bar)


def write(path: Path, bars: Sequence[Bar], seconds: float) -> None:
    """As JSON: the machine, and for each bar name, value, bar and whether it is met."""
    report = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "machine": {
            "cores": os.cpu_count(),
            "architecture": platform.machine(),
            "python": platform.python_version(),
        },
        "met": all(bar.met for bar in bars),
        "bars": [
            {
                "name": bar.name,
                "value": bar.value,
                "rule": bar.rule,
                "bar": bar.bar,
                "unit": bar.unit,
                "met": bar.met,
                "about": dict(bar.about),
            }
            for bar in bars
        ],
    }
    path.write_text(json.dumps(report, indent=1) + "\n")


def line(bar: Bar) -> str:
    """For people."""
    value = "-" if bar.value is None else f"{bar.value:g}"
    about = ", ".join(f"{name} {number}" for name, number in bar.about.items())
    return f"{'met' if bar.met else 'MISSED':8}{bar.name:26}{value:>8} {bar.rule} {bar.bar:g} {bar.unit:5} {about}"


def table(report: Mapping[str, Any]) -> str:
    """Markdown, from a written report alone."""
    machine = report["machine"]
    head = f"{machine['cores']} cores, {machine['architecture']}, Python {machine['python']}, {report['at'][:10]}:"
    rows = [
        f"| {bar['name']} | {bar['value']:g} {bar['unit']} | {bar['rule']} {bar['bar']:g} {bar['unit']} |"
        for bar in report["bars"]
    ]
    return "\n".join([head, "", "| | measured | bar |", "|---|---|---|", *(row.replace("  ", " ") for row in rows)])
