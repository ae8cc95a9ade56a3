"""Draws a report for a terminal. Pure: a value in, something that rich can print out."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import shorten
from typing import Final

from rich.bar import Bar
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from memorystack_operator.cli.document import flag_text
from memorystack_operator.cli.pairs_view import draw_pairs, draw_reversal
from memorystack_operator.local.report import ArmView, EventLine, Report

__all__ = ["draw", "event_text"]

COLOURS: Final = {
    "Idle": "green",
    "Progressing": "cyan",
    "Calibrating": "blue",
    "Settling": "blue",
    "Rejected": "red",
    "Inconclusive": "yellow",
    "Withdrawn": "yellow",
    "Switchback": "yellow",
    "Proving": "cyan",
    "ReverseCanary": "yellow",
    "OverBudget": "red",
    "Held": "yellow",
    "Paused": "magenta",
    "Waiting": "yellow",
    "Pending": "yellow",
}
MESSAGE_CHARACTERS: Final = 180
_QUESTIONS: Final = {
    "over": "over budget",
    "worse": "worse than stable",
    "within": "within budget",
    "better": "better than stable",
}


def draw(report: Report, events: Sequence[EventLine]) -> RenderableType:
    """The whole live view."""
    parts: list[RenderableType] = [_headline(report), Text(), _arms(report)]
    if report.pairs:
        parts += [Text(), draw_pairs(report.pairs)]
    if report.reversal:
        parts += [Text(), draw_reversal(report.reversal, report.name)]
    elif report.questions and (report.pairs is None or report.pairs.kind == "Proving"):
        parts += [Text(), _evidence(report)]
    if events:
        parts += [Text(), *(event_text(_shortened(e)) for e in events)]
    cores = report.headroom.cores
    machine = f"CPU idle {report.headroom.idle_percent:.0f} % of {cores} cores" if cores else None
    title = f"[bold]{report.name}[/]  {report.gateway}"
    return Panel(
        Group(*parts), title=title, subtitle=machine, title_align="left", subtitle_align="right", padding=(1, 2)
    )


def event_text(event: EventLine) -> Text:
    """One line: time, reason, message."""
    colour = "red" if event.type == "Warning" else "green"
    return Text.assemble((f"{event.at[11:19]}  ", "dim"), (event.reason, colour), f"  {event.message}")


def _shortened(event: EventLine) -> EventLine:
    """Two lines of the view; `explain`, `status --output json` and the file of events have all of it."""
    return event.model_copy(update={"message": shorten(event.message, MESSAGE_CHARACTERS, placeholder=" ...")})


def _headline(report: Report) -> RenderableType:
    phase = str(report.status.phase)
    line = Text.assemble((phase, f"bold {COLOURS.get(phase, 'white')}"))
    rollout = report.status.rollout
    if rollout:
        line.append(f"  {rollout.stage}", style="bold")
        line.append(f" {flag_text(rollout.value)}")
        if rollout.plan:
            step = rollout.plan[rollout.step]
            what = "pause" if step.pause else f"{step.weight} %"
            line.append(f"  step {rollout.step + 1}/{len(rollout.plan)} ({what})", style="dim")
        line.append(f"  1 of {len(rollout.stages)} stages" if len(rollout.stages) > 1 else "", style="dim")
        if report.share:
            line.append(f"  {100 * report.share:.0f} % of the requests", style="dim")
    lines: list[RenderableType] = [line, Text(report.status.message, style="dim")]
    lines += [Text(text, style="red") for text in (report.refusal, report.problem) if text]
    return Group(*lines)


def _arms(report: Report) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name, justify in (("arm", "left"), ("pods", "left"), ("operation", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]  # rich's own Literal
    for name in ("requests", "p95", "budget", "bad"):
        table.add_column(name, justify="right")
    for arm in report.arms:
        pods = [p.name.removeprefix(f"{report.name}-") for p in report.pods if p.arm == arm.arm and p.ready]
        table.add_row(_arm(arm.arm), " ".join(pods), arm.operation, str(arm.requests), *_latency(arm))
    return table


def _arm(name: str) -> Text:
    return Text(name, style="cyan" if name == "canary" else "")


def _latency(arm: ArmView) -> tuple[Text, str, str]:
    budget = f"{arm.budget_ms} ms" if arm.budget_ms else "-"
    if not arm.requests:
        return Text("-"), budget, "-"
    if arm.p95_ms is None:  # none was on record yet
        return Text("-"), budget, f"{100 * arm.bad / arm.requests:.1f} %"
    over = arm.budget_ms is not None and arm.bad > 0.05 * arm.requests
    shown = f"{arm.p95_ms:.0f} ms" if arm.p95_ms < 1000 else "> 1 s"
    return Text(shown, style="red" if over else "green"), budget, f"{100 * arm.bad / arm.requests:.1f} %"


def _evidence(report: Report) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("evidence of")
    table.add_column("")
    table.add_column("of what is needed", width=30)
    table.add_column("", justify="right")
    for question in report.questions:
        bad = question.name in ("over", "worse")
        colour = ("red" if bad else "green") if question.holds else ("yellow" if bad else "cyan")
        bar = Bar(1.0, 0.0, question.fraction, color=colour, bgcolor="grey23", width=30)
        table.add_row(question.operation, _QUESTIONS[question.name], bar, f"{100 * question.fraction:.0f} %")
    return table
