"""`memorystack status`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import click
from rich.console import Console
from rich.live import Live

from memorystack_operator.cli.doors import json_option, said_plainly
from memorystack_operator.cli.picture import picture
from memorystack_operator.cli.target import target_options
from memorystack_operator.cli.view import draw
from memorystack_operator.local.actions import running_or_raise
from memorystack_operator.local.errors import LocalError
from memorystack_operator.local.report import EventLine, Report, read_events, read_report
from memorystack_operator.local.state import StateFolder

if TYPE_CHECKING:
    from memorystack_operator.cli.on_cluster import ClusterStack

__all__ = ["EVENTS_SHOWN", "status"]

EVENTS_SHOWN: Final = 6
FRAME_SECONDS: Final = 0.5


@click.command()
@click.option("--watch", is_flag=True, help="Keep showing it until Ctrl-C.")
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Also write the view as a picture.")
@json_option
@said_plainly
@target_options
def status(target: StateFolder | ClusterStack, watch: bool, svg: Path | None, output: Literal["text", "json"]) -> None:
    """Show a stack: arms, p95 against the budget, evidence, stage and step, last events.

    With NAME, -n, --context or --kubeconfig the stack of a cluster is meant, else the one on this machine; where none
    is here, the only one of the current context's namespace.

    \b
      memorystack status
      memorystack status agent-memory -n ai --watch
      kubectl memorystack status agent-memory

    Exit codes: 0 shown, 1 nothing is running, or it cannot be reached.
    """
    report, events = _seen(target)
    if output == "json":
        shown = [e.model_dump() for e in events]
        click.echo(json.dumps({**report.model_dump(mode="json", by_alias=True), "events": shown}, indent=2))
        return
    console = Console(highlight=False)
    if svg:
        svg.write_text(picture(report, events))
    if not watch:
        console.print(draw(report, events))
        return
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(draw(*_seen(target)), refresh=True)
            time.sleep(FRAME_SECONDS)


def _seen(target: StateFolder | ClusterStack) -> tuple[Report, list[EventLine]]:
    if not isinstance(target, StateFolder):
        return target.report(), target.events(EVENTS_SHOWN)
    running_or_raise(target)
    report = read_report(target.report)
    if report is None:
        msg = "the stack is just starting and has not reported yet: try again in a second"
        raise LocalError(msg)
    return report, read_events(target.events, EVENTS_SHOWN)
