"""docs/reports/mutation.json: a module's score, for which source it was measured, and what no test noticed.

Knows: the report. Must not know: mutmut.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

from support.mutation.stage import ROOT, Module, Outcome

__all__ = ["BAR", "is_fresh", "keep", "scores"]

REPORT: Final = ROOT / "docs" / "reports" / "mutation.json"
BAR: Final = 0.75


def keep(module: Module, outcome: Outcome, path: Path = REPORT) -> None:
    """Writes the module's entry; the others stay."""
    report = _read(path)
    report["modules"][module.name] = {
        "score": round(outcome.detected / outcome.total, 3),
        "detected": outcome.detected,
        "mutants": outcome.total,
        "source": _hash(module.source),
        "survivors": {one.name.rpartition(".")[2]: f"{one.status}\n{one.change}" for one in outcome.survivors},
    }
    report["modules"] = dict(sorted(report["modules"].items()))
    report["score"] = {group: round(score, 3) for group, score in scores(report).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")


def scores(report: dict[str, Any]) -> dict[str, float]:
    """Detected share of all mutants, of `core` and of `runtime`."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for name, entry in report["modules"].items():
        groups.setdefault(name.partition("/")[0], []).append(entry)
    return {
        group: sum(e["detected"] for e in entries) / sum(e["mutants"] for e in entries)
        for group, entries in groups.items()
    }


def is_fresh(module: Module, path: Path = REPORT) -> bool:
    """Whether its entry was measured with this source."""
    entry = _read(path)["modules"].get(module.name)
    return entry is not None and entry["source"] == _hash(module.source)


def _read(path: Path) -> dict[str, Any]:
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text())
        return found
    return {"bar": BAR, "score": {}, "modules": {}}


def _hash(source: Path) -> str:
    return hashlib.sha256(source.read_bytes()).hexdigest()[:8]
