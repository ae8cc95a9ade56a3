"""`make mutate`: bounded, one module after the other, each outcome kept at once."""

from __future__ import annotations

import argparse
import sys
import time

from support.mutation import stage
from support.mutation.modules import chosen
from support.mutation.report import BAR, is_fresh, keep


def main() -> int:
    """0: enough was noticed; 1: too little."""
    asked = argparse.ArgumentParser(prog="make mutate", description="Changes modules and sees whether tests notice.")
    asked.add_argument("paths", nargs="*", help="as core/bets.py, core/guards or runtime/ingest.py; all without")
    asked.add_argument("--stale", action="store_true", help="only modules that have changed since their last entry")
    options = asked.parse_args()
    detected = total = 0
    for module in chosen(options.paths):
        if options.stale and is_fresh(module):
            continue
        began = time.monotonic()
        outcome = stage.run(module)
        if not outcome.total:
            continue
        keep(module, outcome)
        detected, total = detected + outcome.detected, total + outcome.total
        share = f"{outcome.detected} of {outcome.total} noticed ({outcome.detected / outcome.total:.0%})"
        print(f"{module.name:32} {share}, {time.monotonic() - began:.0f} s", flush=True)
    if total and detected / total < BAR:
        print(f"{detected / total:.0%} of the mutants were noticed; {BAR:.0%} is the bar", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
