"""`memorystack explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from memorystack_operator.api.spec import FEATURE_NAMES, Spec
from memorystack_operator.cli.document import Document, Format, Table, flag_text, output_option, show
from memorystack_operator.cli.doors import said_plainly
from memorystack_operator.cli.target import target_options
from memorystack_operator.core import Status
from memorystack_operator.core.explain import Explanation, Judged
from memorystack_operator.core.explain import explain as explained
from memorystack_operator.local.errors import LocalError
from memorystack_operator.local.recorded import recorded
from memorystack_operator.local.state import StateFolder

if TYPE_CHECKING:
    from memorystack_operator.cli.on_cluster import ClusterStack

__all__ = ["document_of", "explain"]

QUESTIONS = {
    "over": "over its budget",
    "stableOver": "over it on the others, too",
    "worse": "worse than the others",
    "within": "within its budget",
    "better": "better than the others",
    "same": "as good or bad as the others",
}


@click.command()
@click.option("--stage", type=click.Choice(FEATURE_NAMES), help="The last decision about this flag.")
@output_option
@said_plainly
@target_options
def explain(target: StateFolder | ClusterStack, stage: str | None, output: Format) -> None:
    """Explain the last decision about a stack, running or not: what, why, at what cost, and on which numbers.

    With NAME, -n, --context or --kubeconfig the stack of a cluster is meant, else the one on this machine.

    \b
      memorystack explain
      memorystack explain --stage httpPool --output markdown
      memorystack explain agent-memory -n ai

    Exit codes: 0 explained, 1 no such stack.
    """
    name, spec, status = _known(target)
    show(document_of(explained(name, spec, status, stage or "")), output)


def _known(target: StateFolder | ClusterStack) -> tuple[str, Spec, Status]:
    if not isinstance(target, StateFolder):
        stack, status = target.known()
        return target.name, stack.spec, status
    known = recorded(target)
    if known is None:
        msg = f"nothing is on record in {target.root} yet: the stack is just starting, try again in a second"
        raise LocalError(msg)
    return target.root.name, known.spec, known.status


def document_of(told: Explanation) -> Document:
    """For people."""
    arms = ("with the older value", "with the promoted one") if told.reverse else ("with the flag", "without")
    tables = [_counts(told.judged, arms), _evidence(told.judged, arms[0])] if told.judged else []
    if told.switchback:
        tables.append(_pairs(told))
    when = f" ({told.at:%Y-%m-%d %H:%M} UTC, {told.reason})" if told.at else ""
    flag = f"{told.stage} {flag_text(told.value)} " if told.value else ""
    return Document(
        title=f"{told.stack}: {flag}{told.headline}{when}", sentences=told.sentences, tables=tables, data=told
    )


def _counts(judged: tuple[Judged, ...], arms: tuple[str, str]) -> Table:
    rows = []
    for op in judged:
        for arm, bad, requests in (
            (arms[0], op.canary_bad, op.canary_requests),
            (arms[1], op.stable_bad, op.stable_requests),
        ):
            share = f"{100 * bad / requests:.1f} %" if requests else "-"
            rows.append((f"{op.operation}, {arm}", op.budget, f"{requests:,}", f"{bad:,}", share))
    return Table("What was counted", ("requests", "p95 budget", "served", "bad", "bad share"), rows)


def _evidence(judged: tuple[Judged, ...], canary: str) -> Table:
    rows = [
        (
            f"{op.operation} is {text}",
            _times(op.evidence[question]),
            _times(op.needed[question]),
            "yes" if op.evidence[question] >= op.needed[question] else "no",
        )
        for op in judged
        if op.canary_requests
        for question, text in QUESTIONS.items()
        if question in op.evidence and question in op.needed
    ]
    return Table("What it proves", (f"{canary} ...", "evidence", "needed", "proved"), rows)


def _pairs(told: Explanation) -> Table:
    test = told.switchback
    rows = [(test.operation, str(test.worse), str(test.better), str(test.tied), str(test.discarded))] if test else []
    header = ("pairs of windows", "worse with the flag", "better", "equal", "not counted")
    return Table("What the flag did on and off by lot", header, rows)


def _times(odds: float) -> str:
    return f"{odds:,.0f}x" if odds >= 10 else f"{odds:.2g}x"
