"""`make bench`: every speed bar in one run; ratios where a machine's own speed would decide."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from load.bars import Bar, line, table, write
from load.engine import decisions, grid
from load.ingest import big_document, flags_off_and_on
from load.pod import one_pod
from load.recall import identical_recalls
from load.stack import flag_change

Measure = Callable[[], Awaitable[list[Bar]]]
ALL: tuple[Measure, ...] = (
    decisions,
    grid,
    big_document,
    identical_recalls,
    flags_off_and_on,
    one_pod,
    flag_change,
)
ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "runtime.md"
MARKS = ("<!-- bench -->", "<!-- /bench -->")


def main() -> int:
    """0: every bar is met; 1: one is not, or could not be measured. The report is written in either case."""
    asked = argparse.ArgumentParser(prog="make bench", description="Measures the speed bars.")
    asked.add_argument("--report", type=Path, default=Path("bench.json"))
    asked.add_argument("--publish", action="store_true", help="also docs/reports/bench.json and the table in the docs")
    options = asked.parse_args()
    code = asyncio.run(run(ALL, options.report))
    if options.publish and code == 0:
        publish(options.report)
    return code


def publish(report: Path) -> None:
    """The figures that the documentation quotes."""
    text = report.read_text()
    (ROOT / "docs" / "reports" / "bench.json").write_text(text)
    before, _, rest = PAGE.read_text().partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    PAGE.write_text(f"{before}{MARKS[0]}\n{table(json.loads(text))}\n{MARKS[1]}{after}")


async def run(measures: tuple[Measure, ...], path: Path) -> int:
    """One after the other, each said as soon as it is known."""
    began, bars = time.monotonic(), []
    for measure in measures:
        for bar in await _bars(measure):
            bars.append(bar)
            print(line(bar), flush=True)
    write(path, bars, time.monotonic() - began)
    missed = [bar.name for bar in bars if not bar.met]
    print(f"{path}: {len(bars) - len(missed)} of {len(bars)} bars are met", flush=True)
    return 1 if missed else 0


async def _bars(measure: Measure) -> list[Bar]:
    try:
        return await measure()
    except BaseException as error:
        if isinstance(error, (KeyboardInterrupt, asyncio.CancelledError)):
            raise
        # pytest.fail, which a helper of the tests uses, is no Exception.
        name = getattr(measure, "__name__", "?").replace("_", " ")
        return [Bar(name, None, "=", 0, "", {"problem": f"{type(error).__name__}: {error}"})]


if __name__ == "__main__":
    sys.exit(main())
