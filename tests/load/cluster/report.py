"""The report: each experiment's rows as they were when it last ran. Knows JSON; must not know experiments."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from load.bars import Bar
from load.cluster.experiment import Outcome

__all__ = ["REPOSITORY", "bar_as_json", "read", "recorded", "write"]

REPOSITORY: Final = Path(__file__).parents[3]


def read(path: Path) -> dict[str, Any]:
    """Key -> experiment; empty where there is no report yet."""
    found: dict[str, Any] = json.loads(path.read_text())["experiments"] if path.exists() else {}
    return found


def recorded(outcome: Outcome) -> dict[str, Any]:
    """One experiment as JSON."""
    bars = [bar_as_json(bar) for bar in outcome.bars]
    return {
        "title": outcome.experiment.title,
        "conditions": outcome.experiment.conditions,
        "at": outcome.at,
        "operator": _operator(),
        "seconds": outcome.seconds,
        "atOnce": outcome.experiment.at_once,
        "machine": {"architecture": platform.machine(), "python": platform.python_version(), **outcome.machine},
        "met": all(bar["met"] for bar in bars),
        "bars": bars,
        "figures": outcome.figures,
        "runs": list(outcome.runs),
    }


def write(path: Path, experiments: Mapping[str, Any]) -> None:
    """Whole, in the order of the keys."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"experiments": dict(sorted(experiments.items()))}, indent=1) + "\n")


def bar_as_json(bar: Bar) -> dict[str, Any]:
    """What it must be, and what it is."""
    shown = {name: getattr(bar, name) for name in ("name", "value", "rule", "bar", "unit", "met")}
    return {**shown, "about": dict(bar.about)}


def _operator() -> str:
    """What git calls the operator's folder: a name of its content, which outlives a rebase."""
    ask = ["git", "-C", str(REPOSITORY)]
    found = subprocess.run(
        [*ask, "rev-parse", "--short=7", "HEAD:operator"], capture_output=True, text=True, check=False
    )
    changed = subprocess.run([*ask, "diff", "--quiet", "HEAD", "--", "operator"], check=False).returncode
    return found.stdout.strip() + ("-dirty" if changed else "")
