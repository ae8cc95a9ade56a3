"""`memorystack status`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Literal

import click
from rich.console import Console
from rich.live import Live

from memorystack_operator.cli.doors import folder_of, said_plainly, stack_option, state_dir_option
from memorystack_operator.cli.view import draw
from memorystack_operator.local.actions import running_or_raise
from memorystack_operator.local.errors import LocalError
from memorystack_operator.local.report import Report, read_events, read_report
from memorystack_operator.local.state import StateFolder

__all__ = ["picture", "status"]

EVENTS_SHOWN = 6


@click.command()
@state_dir_option
@stack_option
@click.option("--watch", is_flag=True, help="Keep showing it until Ctrl-C.")
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Also write the view as a picture.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@said_plainly
def status(state_dir: Path, name: str | None, watch: bool, svg: Path | None, output: Literal["text", "json"]) -> None:
    """Show a running stack: arms, p95 against the budget, evidence, stage and step, last events.

    Exit codes: 0 shown, 1 nothing is running.
    """
    folder = folder_of(state_dir, name)
    running_or_raise(folder)
    report = _report(folder)
    if output == "json":
        events = [e.model_dump() for e in read_events(folder.events, EVENTS_SHOWN)]
        click.echo(json.dumps({**report.model_dump(mode="json", by_alias=True), "events": events}, indent=2))
        return
    console = Console(highlight=False)
    if svg:
        svg.write_text(picture(report, folder))
    if not watch:
        console.print(draw(report, read_events(folder.events, EVENTS_SHOWN)))
        return
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(draw(_report(folder), read_events(folder.events, EVENTS_SHOWN)), refresh=True)
            time.sleep(0.5)


def picture(report: Report, folder: StateFolder) -> str:
    """The view as SVG, as a terminal of 118 columns would show it."""
    with Path("/dev/null").open("w") as nowhere:
        console = Console(record=True, width=118, file=nowhere, force_terminal=True, highlight=False)
        console.print(draw(report, read_events(folder.events, EVENTS_SHOWN)))
        return console.export_svg(title=f"memorystack status: {report.name}")


def _report(folder: StateFolder) -> Report:
    report = read_report(folder.report)
    if report is None:
        msg = "the stack is just starting and has not reported yet: try again in a second"
        raise LocalError(msg)
    return report
