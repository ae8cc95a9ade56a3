"""`make bench`: every speed bar in one run; ratios where a machine's own speed would decide."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from load.bars import Bar, line, write
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


def main() -> int:
    """0: every bar is met; 1: one is not, or could not be measured. The report is written in either case."""
    asked = argparse.ArgumentParser(prog="make bench", description="Measures the speed bars.")
    asked.add_argument("--report", type=Path, default=Path("bench.json"))
    options = asked.parse_args()
    return asyncio.run(run(ALL, options.report))


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
