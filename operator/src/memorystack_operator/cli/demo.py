"""`memorystack demo`."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from memorystack_operator.cli.doors import port_option, said_plainly, screen_option, state_dir_option
from memorystack_operator.cli.quiet import quiet_logs
from memorystack_operator.cli.screen import Output, Screen
from memorystack_operator.cli.story.check import check_report, verdict_on
from memorystack_operator.cli.story.play import Stage, play, read_file
from memorystack_operator.cli.story.report import DemoReport, outcome_of
from memorystack_operator.cli.story.said import say_whether_it_holds
from memorystack_operator.cli.story.story import Story, starvation_text
from memorystack_operator.local.engines import EmbedderOptions
from memorystack_operator.local.state import write_atomically

__all__ = ["demo"]

STARVED: Final = 75
"""EX_TEMPFAIL: try again on a machine with CPU to spare."""
EMBEDDER: Final = EmbedderOptions(latency_ms=60.0, item_ms=2.0, capacity=64, spread=0.25)
"""Where all requests take the same time, a few milliseconds of the machine's own move a fifth of them over an edge of
the ladder: noise that a service in a network seldom knows, and that a proof would wait out."""


@click.command()
@click.option(
    "-f",
    "--file",
    "file",
    default=Path("examples/memorystack.yaml"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="The stack; the demo works on a copy.",
)
@state_dir_option
@port_option
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Write the live view there as a picture.")
@click.option("--check", type=click.Path(path_type=Path, dir_okay=False), help="Run nothing: does this report hold?")
@screen_option
@click.pass_context
@said_plainly
def demo(
    ctx: click.Context, file: Path, state_dir: Path, port: int, svg: Path | None, check: Path | None, output: Output
) -> None:
    """See a good flag promoted and a bad one taken back: real processes, real traffic, about five minutes.

    \b
    (a) three pods, all flags off: most stores are over their 250 ms, as the original's were
    (b) parallelIngest: {concurrency: 4} is saved to the file, staged on one pod, and promoted
    (c) httpPool: {enabled: true, connections: 1} is saved; it harms its own pod and is taken back

    Nothing is scripted but the edits. The report is written to demo.json in the state folder.

    Exit codes: 0 as told, 1 otherwise, 75 the machine was starved of CPU (the report shows by how much),
    130 interrupted (nothing runs any more, and no report is written).
    """
    if check:
        _check(check, output)
        return
    quiet_logs()
    screen = Screen(output)
    report = asyncio.run(_tell(screen, file, state_dir, port, svg))
    for change in report.changes:
        screen.say(f"{change.name}: {change.outcome} ({change.reason}). {change.message}")
    if report.outcome == "AsExpected":
        return
    for problem in verdict_on(report):
        screen.say(f"not as told: {problem}")
    if report.outcome == "Starved":
        for change in report.changes:
            screen.say(f"{change.name}: {starvation_text(change.starvation)}")
        screen.say("inconclusive: the machine was starved of CPU, so these latencies are not the flags'")
        ctx.exit(STARVED)
    ctx.exit(1)


def _check(path: Path, output: Output) -> None:
    problems = check_report(path)
    outcome = "" if problems else DemoReport.model_validate_json(path.read_text()).outcome
    say_whether_it_holds(path, outcome, problems, output)


async def _tell(screen: Screen, file: Path, state_dir: Path, port: int, svg: Path | None) -> DemoReport:
    began, started_at = time.monotonic(), datetime.now(UTC)
    path = state_dir / "demo.json"
    path.unlink(missing_ok=True)  # a report that is not rewritten would be a lie
    stage = Stage(screen, read_file(file), state_dir / "demo", port, EMBEDDER)
    story = Story(stage.file, screen.say, stage.start_load)
    await play(stage, story.tell)
    report = DemoReport(
        started_at=started_at,
        seconds=round(time.monotonic() - began, 1),
        cores=story.cores,
        before=story.before,
        changes=tuple(story.changes),
        load=stage.load_summary(),
    )
    starved = any(change.starvation.starved for change in report.changes)
    report = report.model_copy(update={"outcome": outcome_of(verdict_on(report), starved=starved)})
    write_atomically(path, report.model_dump_json(by_alias=True, indent=2) + "\n")
    if svg and story.frame:
        svg.write_text(story.frame)
    screen.say(f"report: {path}")
    return report
