"""`make mutate`: one module after the other, each outcome kept at once."""

from __future__ import annotations

import argparse
import sys

from support.mutation.modules import chosen
from support.mutation.report import BAR, is_fresh, keep
from support.mutation.trials import run


def main() -> int:
    """0: enough was noticed; 1: too little."""
    asked = argparse.ArgumentParser(prog="make mutate", description="Changes modules and sees whether tests notice.")
    asked.add_argument("paths", nargs="*", help="as core/bets.py, core/guards or runtime/ingest.py; all without")
    asked.add_argument("--sample", type=int, help="so many mutants of each module, chosen by the seed; all without")
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--stale", action="store_true", help="only modules that have changed, or whose tests have")
    options = asked.parse_args()
    modules = [module for module in chosen(options.paths) if not (options.stale and is_fresh(module))]
    detected = tried = 0
    for module, outcome in run(modules, options.sample, options.seed):
        if not outcome.tried:
            continue  # values and tables alone: nothing in it can be mutated
        keep(module, outcome, options.seed)
        detected, tried = detected + outcome.detected, tried + outcome.tried
        share = f"{outcome.detected} of {outcome.tried} noticed ({outcome.detected / outcome.tried:.0%})"
        print(f"{module.name:32} {share}, of {outcome.mutants} mutants", flush=True)
    if tried and detected / tried < BAR:
        print(f"{detected / tried:.0%} of the mutants were noticed; {BAR:.0%} is the bar", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
