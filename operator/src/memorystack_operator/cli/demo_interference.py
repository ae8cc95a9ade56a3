"""`memorystack demo-interference`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
from pydantic import ValidationError

from memorystack_operator.cli.doors import port_option, said_plainly, screen_option, state_dir_option
from memorystack_operator.cli.quiet import quiet_logs
from memorystack_operator.cli.screen import Output, Screen
from memorystack_operator.cli.story.engine import engine_hash
from memorystack_operator.cli.story.interference import (
    TRIALS,
    InterferenceReport,
    Tale,
    Trial,
    problems_of,
)
from memorystack_operator.cli.story.play import Stage, play, read_file
from memorystack_operator.cli.story.report import outcome_of
from memorystack_operator.cli.story.said import say_whether_it_holds
from memorystack_operator.cli.story.story import starvation_text
from memorystack_operator.local.engines import EmbedderOptions
from memorystack_operator.local.state import write_atomically

__all__ = ["demo_interference"]

STARVED: Final = 75
EMBEDDER: Final = EmbedderOptions(latency_ms=60.0, item_ms=0.0, capacity=8)
"""A small shared embedder that serves in the order of arrival: 133 requests a second."""
LOAD: Final = ("--recalls", "50", "--repeat", "0.4", "--stores", "1.6", "--chunks", "42-48")
"""About 100 embeddings a second. A document is one request a chunk, so at concurrency 64 it comes all at once and is a
third of a second of the embedder's work; a window with the flag on sees four of them."""


@click.command()
@click.option(
    "-f",
    "--file",
    "file",
    default=Path("examples/interference.yaml"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="The stack; the demo works on a copy.",
)
@state_dir_option
@port_option
@click.option(
    "--trial",
    type=click.Choice([t.name for t in TRIALS]),
    help="Only this one: quicker to look at, no whole report.",
)
@click.option("--check", type=click.Path(path_type=Path, dir_okay=False), help="Run nothing: does this report hold?")
@screen_option
@click.pass_context
@said_plainly
def demo_interference(
    ctx: click.Context,
    file: Path,
    state_dir: Path,
    port: int,
    trial: str | None,
    check: Path | None,
    output: Output,
) -> None:
    """See a sick environment told from a flag that makes everybody sick: about ten minutes.

    \b
    (1) parallelIngest: {concurrency: 64} floods the small embedder that all pods share: both arms are slow. The flag is
        withdrawn, then goes on and off by lot, and is convicted (HarmsSharedDependency)
    (2) cache: {maxSize: 200} is harmless, but the embedder falters by itself: the flag is withdrawn, and cleared

    Nothing is scripted but the edits and the embedder's own trouble in (2). The report is written to interference.json
    in the state folder.

    Exit codes: 0 as told, 1 otherwise, 75 the machine was starved of CPU (the report shows by how much),
    130 interrupted (nothing runs any more, and no report is written).
    """
    if check:
        _check(check, output)
        return
    quiet_logs()
    screen = Screen(output)
    trials = [t for t in TRIALS if trial in (None, t.name)]
    report = asyncio.run(_tell(screen, file, state_dir, port, trials))
    for problem in problems_of(report, trials):
        screen.say(f"not as told: {problem}")
    if report.outcome == "Starved":
        for tried in report.trials:
            screen.say(f"{tried.name}: {starvation_text(tried.starvation)}")
        ctx.exit(STARVED)
    ctx.exit(0 if report.outcome == "AsExpected" else 1)


def _check(path: Path, output: Output) -> None:
    outcome = ""
    try:
        report = InterferenceReport.model_validate_json(path.read_text())
    except OSError:
        problems = [f"{path}: no report there"]
    except ValidationError as error:
        problems = [f"{path}: not a report of this demo: {error.errors()[0]['msg']}"]
    else:
        outcome = report.outcome
        problems = [] if any(t.starvation.starved for t in report.trials) else problems_of(report)
        if report.engine != engine_hash():
            made = f"made by engine {report.engine or 'unknown'}, this is {engine_hash()}"
            problems.append(f"{path}: {made}: run make demo-interference, and cp .memorystack/interference.json {path}")
    say_whether_it_holds(path, outcome, problems, output)


async def _tell(screen: Screen, file: Path, state_dir: Path, port: int, trials: Sequence[Trial]) -> InterferenceReport:
    began, started_at = time.monotonic(), datetime.now(UTC)
    path = state_dir / ("interference.json" if len(trials) == len(TRIALS) else f"interference-{trials[0].name}.json")
    path.unlink(missing_ok=True)  # a report that is not rewritten would be a lie
    stage = Stage(screen, read_file(file), state_dir / "demo-interference", port, EMBEDDER, LOAD)
    tale = Tale(trials, stage.file, screen.say, stage.start_load)
    await play(stage, tale.tell)
    report = InterferenceReport(
        engine=engine_hash(),
        started_at=started_at,
        seconds=round(time.monotonic() - began, 1),
        cores=tale.cores,
        trials=tuple(tale.reports),
        load=stage.load_summary(),
    )
    starved = any(trial.starvation.starved for trial in report.trials)
    report = report.model_copy(update={"outcome": outcome_of(problems_of(report, trials), starved=starved)})
    write_atomically(path, report.model_dump_json(by_alias=True, indent=2) + "\n")
    screen.say(f"report: {path}")
    return report
