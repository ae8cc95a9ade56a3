"""`make bench-cluster`: how fast the operator is on a real API server, and on a real node, against the bars of issue "Speed".

Each experiment is carried out by itself, and its rows stay in the report until it is carried out again:

    make bench-cluster                       # all of them (about forty minutes)
    make bench-cluster ARGS="--only a"       # one, or some: --only a,d
    make bench-cluster ARGS=--quick          # three runs of a: outcomes are asserted, times are not; no report in docs

A rehearsal (`--quick`, `--runs`) writes bench-cluster.json and leaves docs alone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
from load.bars import line
from load.cluster import page, report
from load.cluster.death import DEATH
from load.cluster.experiment import Experiment, Outcome, carry_out
from load.cluster.ground import Ground
from load.cluster.healthy import BURSTS, SLOW_PODS
from load.cluster.rest import REST
from load.cluster.reverts import FOUR_PODS, NODE, TWENTY_PODS, caught
from support.cluster import ClusterError

EXPERIMENTS: Final = {e.key: e for e in (FOUR_PODS, NODE, BURSTS, SLOW_PODS, TWENTY_PODS, DEATH, REST)}
TITLES: Final = {key: experiment.title for key, experiment in EXPERIMENTS.items()}
PUBLISHED: Final = report.REPOSITORY / "docs" / "reports" / "bench-cluster.json"
REHEARSED: Final = Path("bench-cluster.json")
QUICK_RUNS: Final = 3


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", default="", metavar="KEYS", help=f"Of {','.join(EXPERIMENTS)}; all by default.")
@click.option("--runs", type=click.IntRange(1, 100), help="A rehearsal: so many runs of each.")
@click.option("--page", "page_only", is_flag=True, help="Measure nothing: make the page's table anew from the report.")
@click.option("--quick", is_flag=True, help="Three runs of a; only their outcomes are asserted.")
def main(only: str, runs: int | None, quick: bool, page_only: bool) -> None:
    """Measure, and write the report.

    Exit codes: 0 every bar is met (with --quick: every bad flag was taken back), 1 one is not, 2 no cluster.
    """
    if page_only:
        _write_page()
        return
    chosen = [EXPERIMENTS[key] for key in _keys("a" if quick else only)]
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:5.0f} s] {text}", flush=True)

    count = QUICK_RUNS if quick else runs
    try:
        outcomes = list(_carried_out(chosen, count, REHEARSED if count else PUBLISHED, say))
    except ClusterError as error:
        print(f"bench-cluster: {error}", file=sys.stderr)
        sys.exit(2)
    asserted = [caught(o.runs) for o in outcomes] if quick else [bar for o in outcomes for bar in o.bars]
    sys.exit(0 if all(bar.met for bar in asserted) else 1)


def _keys(only: str) -> list[str]:
    keys = only.split(",") if only else list(EXPERIMENTS)
    if unknown := [key for key in keys if key not in EXPERIMENTS]:
        raise click.BadParameter(
            f"{unknown[0]!r} is no experiment: choose of {', '.join(EXPERIMENTS)}", param_hint="--only"
        )
    return keys


def _carried_out(
    chosen: Sequence[Experiment], runs: int | None, path: Path, say: Callable[[str], None]
) -> Iterator[Outcome]:
    """The report is written after each."""
    for number, experiment in enumerate(chosen, 1):
        say(f"experiment {number} of {len(chosen)}: {experiment.key}")
        with _ground(experiment) as ground:
            outcome = carry_out(experiment, ground, runs or experiment.runs, say)
            _record(outcome, path, say)
        yield outcome


def _record(outcome: Outcome, path: Path, say: Callable[[str], None]) -> None:
    for bar in outcome.bars:
        say(line(bar))
    for name, value in outcome.figures.items():
        say(f"        {name}: {value}")
    report.write(path, {**report.read(path), outcome.experiment.key: report.recorded(outcome)})
    if path == PUBLISHED:
        _write_page()
    say(f"written to {path}")


def _write_page() -> None:
    page.PAGE.write_text(page.with_tables(page.PAGE.read_text(), report.read(PUBLISHED), TITLES))


@contextmanager
def _ground(experiment: Experiment) -> Iterator[Any]:
    if not experiment.node:
        with Ground.open() as ground:
            yield ground
        return
    from load.cluster.node import (
        NodeGround,
    )  # only here: it needs root, and packages that are installed when it is asked for

    with NodeGround.open() as node:
        yield node


if __name__ == "__main__":
    main()
