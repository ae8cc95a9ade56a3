"""docs/reports/mutation.json: a module's score, for which source and tests it was measured, and what no test noticed.

Knows: the report. Must not know: how mutants are tried.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from math import exp, lgamma, log
from pathlib import Path
from typing import Any, Final

from support.mutation.trials import ROOT, Module, Outcome

__all__ = ["BAR", "REPORT", "interval", "is_fresh", "keep", "scores"]

REPORT: Final = ROOT / "docs" / "reports" / "mutation.json"
BAR: Final = 0.75


def keep(module: Module, outcome: Outcome, seed: int, path: Path = REPORT) -> None:
    """Writes the module's entry; the others stay."""
    report = _read(path)
    report["modules"][module.name] = {
        "score": round(outcome.detected / outcome.tried, 3),
        "detected": outcome.detected,
        "tried": outcome.tried,
        "mutants": outcome.mutants,
        **({"seed": seed} if outcome.tried < outcome.mutants else {}),
        **_versions(module),
        "survivors": outcome.survivors,
    }
    report["modules"] = dict(sorted(report["modules"].items()))
    report["score"] = scores(report["modules"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")


def scores(modules: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of `core` and of `runtime`: the noticed share of all that were tried, with its 95 % interval.

    `weighted` is the share that is expected of all mutants: each module's score counts by how many it has. Which mutants
    are tried is chance, and the interval is of that alone: it is too wide where modules were tried as a whole.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for name, entry in modules.items():
        groups.setdefault(name.partition("/")[0], []).append(entry)
    found = {}
    for group, entries in groups.items():
        detected, tried, mutants = (sum(entry[key] for entry in entries) for key in ("detected", "tried", "mutants"))
        weighted = sum(entry["detected"] / entry["tried"] * entry["mutants"] for entry in entries) / mutants
        found[group] = {
            "score": round(detected / tried, 3),
            "interval": [round(end, 3) for end in interval(detected, tried)],
            "weighted": round(weighted, 3),
            "detected": detected,
            "tried": tried,
            "mutants": mutants,
        }
    return found


def interval(hits: int, tries: int, chance: float = 0.05) -> tuple[float, float]:
    """The exact two-sided interval of a share (Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404)."""
    low = _where(lambda share: _at_least(hits, tries, share) >= chance / 2) if hits else 0.0
    high = _where(lambda share: 1 - _at_least(hits + 1, tries, share) <= chance / 2) if hits < tries else 1.0
    return low, high


def _where(holds: Any) -> float:
    """The smallest share for which it holds, as it does for all greater ones."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _at_least(hits: int, tries: int, share: float) -> float:
    """The chance of so many hits or more."""
    ways = (lgamma(tries + 1) - lgamma(k + 1) - lgamma(tries - k + 1) for k in range(hits, tries + 1))
    return sum(exp(way + k * log(share) + (tries - k) * log(1 - share)) for k, way in enumerate(ways, hits))


def is_fresh(module: Module, path: Path = REPORT) -> bool:
    """Whether its entry was measured with this source and these tests."""
    entry = _read(path)["modules"].get(module.name)
    return entry is not None and all(entry.get(key) == value for key, value in _versions(module).items())


def _read(path: Path) -> dict[str, Any]:
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text())
        return found
    return {"bar": BAR, "score": {}, "modules": {}}


def _versions(module: Module) -> dict[str, str]:
    """Digests of what was mutated, and of the tests that should notice."""
    tests = [ROOT / word for word in module.tests if (ROOT / word).exists()]
    files = [file for path in tests for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    return {
        "source": _digest([module.source]),
        "tests": _digest(file for file in files if file.is_file() and file.suffix != ".pyc"),
    }


def _digest(files: Iterable[Path]) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:8]
