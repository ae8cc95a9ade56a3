"""`make simulate`: runs the experiments, writes docs/simulation.*, the figures and the marked blocks, and checks the bars."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simulation.bars import bars
from simulation.figures import draw
from simulation.plan import cells
from simulation.report import BLOCKS, documents, record, serialised, written
from simulation.run import run_all
from simulation.tables import blocks

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "docs" / "simulation.json"
FULL, QUICK = 1.0, 0.05


def main() -> int:
    """0: every bar is met; in the quick profile, none is missed beyond chance that the committed report calls met."""
    quick = os.environ.get("QUICK") == "1"
    results = run_all(cells(QUICK if quick else FULL))
    report = record(results, "quick" if quick else "full")
    missed = [b for b in bars(results) if (b.excluded if quick else not b.met)]
    if quick:
        print(documents(report)["simulation.md"])
        known = {b["name"] for b in json.loads(REPORT.read_text(encoding="utf-8"))["bars"] if not b["met"]}
        missed = [b for b in missed if b.name not in known]
    else:
        REPORT.write_text(serialised(report), encoding="utf-8")
        publish(report)
    for bar in missed:
        print(f"simulate: bar missed: {bar.name}: {bar.value} against {bar.limit}", file=sys.stderr)
    return 1 if missed else 0


def publish(report: Mapping[str, Any]) -> None:
    """All that is made from the report: its tables, the figures, the marked blocks."""
    docs = ROOT / "docs"
    for name, text in documents(report).items():
        (docs / name).write_text(text, encoding="utf-8")
    draw(report, docs / "img")
    made = blocks(report)
    for path in (ROOT / name for name in BLOCKS):
        path.write_text(written(path.read_text(encoding="utf-8"), made), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
