"""`memorystack plan`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import click

from memorystack_operator.api import MemoryStack, load
from memorystack_operator.cli.document import Document, Format, Table, change_text, output_option, show
from memorystack_operator.cli.doors import said_plainly, state_dir_option
from memorystack_operator.cli.run import cluster_part
from memorystack_operator.core.advice import Plan, remarks, wait_text
from memorystack_operator.core.canary import compared_pods, pods_for
from memorystack_operator.core.evidence import Value
from memorystack_operator.core.forecast import HORIZON_SECONDS, Detection
from memorystack_operator.core.outlook import Outlook, StageOutlook, StepOutlook, outlook
from memorystack_operator.core.status import Status
from memorystack_operator.core.traffic import Traffic, observed, recorded
from memorystack_operator.core.verdict import Outcome
from memorystack_operator.local.recorded import Recorded, read_rings
from memorystack_operator.local.recorded import recorded as on_record
from memorystack_operator.local.state import StateFolder

__all__ = ["document_of", "plan"]


@click.command()
@click.option(
    "-f",
    "--file",
    "file",
    required=True,
    type=click.Path(path_type=Path),
    help="The MemoryStack as it would be applied.",
)
@click.option("-n", "--namespace", help="Compare with the stack of that name in this namespace of the cluster.")
@click.option("--context", help="The same, in this context of the kubeconfig.")
@click.option("--kubeconfig", help="The same, with this kubeconfig.")
@state_dir_option
@output_option
@said_plainly
def plan(
    file: Path,
    namespace: str | None,
    context: str | None,
    kubeconfig: str | None,
    state_dir: Path,
    output: Format,
) -> None:
    """Say what a changed file would bring, before it is saved: stages, steps, and how long the evidence will take.

    The times come from the traffic of the running stack of that name, else from what is on record of it: on this
    machine, or with -n, --context or --kubeconfig in a cluster. Nothing is changed.

    \b
      memorystack plan -f new.yaml
      memorystack plan -f new.yaml -n ai

    Exit codes: 0 planned, 1 the cluster cannot be asked, 2 the file is invalid.
    """
    stack = load(file).stack
    name = stack.metadata.name
    if namespace or context or kubeconfig:
        live, status = cluster_part("cli.on_cluster").open_stack(name, namespace, context, kubeconfig).known()
        known: Recorded | None = Recorded(live.spec, status)
    else:
        known = on_record(StateFolder(state_dir / name))
    status = known.status if known else Status()
    seen = outlook(stack, status, _traffic(stack, known) if known else ())
    show(document_of(Plan(stack, status, seen)), output)


class Answer(Value):
    """For programs."""

    outlook: Outlook
    remarks: tuple[str, ...]


def document_of(asked: Plan) -> Document:
    """For people."""
    seen = asked.outlook
    tables = [_traffic_table(seen.traffic)] if seen.traffic else []
    if seen.tried and seen.tried[0].steps:
        tables += [_stages(seen.tried), _steps(seen.tried[0].steps, seen.replicas)]
        tables += [_detections(seen.tried[0])] if seen.tried[0].detections else []
    said = remarks(asked)
    return Document(
        title=f"{seen.name}: {_headline(seen)}",
        remarks=said,
        sentences=_sentences(seen),
        tables=tables,
        data=Answer(outlook=seen, remarks=said),
    )


def _traffic(stack: MemoryStack, known: Recorded) -> tuple[Traffic, ...]:
    """Of the pods, where they answer; else as it was when the last stage began."""
    reports = asyncio.run(read_rings(known)) if known.pods else ()
    stable = known.status.stable
    rollout = known.status.rollout
    last = (rollout.calibration if rollout else None) or known.status.calibration
    if not reports or stable is None:
        return recorded(last)
    weights = [s.weight for s in stack.spec.rollout.steps if s.weight]
    return observed(
        reports,
        stack.spec.rollout.wire_budgets().p95_ms,
        known.spec.rollout.wire_budgets().p95_ms,
        flags=stable.revision,
        canaries=pods_for(weights[0], compared_pods(stack.spec.least_replicas)) if weights else 1,
        now=time.time(),
        previous=known.status.calibration,
        since=known.status.promoted_at,
    )


def _headline(seen: Outlook) -> str:
    if not seen.tried:
        return "nothing would be tried"
    names = ", then ".join(s.name for s in seen.tried)
    return f"{len(seen.tried)} flag{'s' if len(seen.tried) > 1 else ''} would be tried: {names}"


def _sentences(seen: Outlook) -> tuple[str, ...]:
    if not seen.tried:
        return ()
    several = len(seen.tried) > 1
    false = 100 * seen.false_rollback_rate
    bound = f"A flag that harms nobody is taken back with a chance of at most {false:g} %"
    total = (
        f" ({100 * (1 - (1 - seen.false_rollback_rate) ** len(seen.tried)):.2g} % for all of them)" if several else ""
    )
    lines = [
        f"{bound}{total}; one that breaks a budget is promoted with at most {100 * seen.false_promotion_rate:g} %."
    ]
    if seen.note:
        lines.append(f"Steps {seen.note}.")
    if several and seen.traffic:
        lines.append("Later flags are reckoned with today's traffic, though an earlier promotion may change it.")
    return tuple(lines)


def _traffic_table(traffic: Sequence[Traffic]) -> Table:
    rows = [
        (
            t.operation,
            f"{t.rate:.1f}/s",
            f"{100 * t.share:.2f} %",
            f"{t.requests:,}",
            f"{t.effect.phi_rel:.1f}",
            f"{t.effect.phi_abs:.1f}",
            {"Observed": "now", "Recorded": "when the last stage began"}[t.source],
        )
        for t in traffic
    ]
    header = ("operation", "requests", "bad", "counted", "phi (pods)", "phi (time)", "seen")
    return Table("Traffic (phi: so many requests say as much as one independent one)", header, rows)


def _stages(stages: Sequence[StageOutlook]) -> Table:
    rows = [
        (
            s.name,
            change_text(s.before, s.value),
            _times(s.median_seconds, s.late_seconds, known=s.in_time is not None),
            _chance(s),
        )
        for s in stages
    ]
    header = ("flag", "change", "time to promotion", "decided before the timeout")
    return Table("Flags, one after the other, if each is harmless", header, rows)


def _steps(steps: Sequence[StepOutlook], replicas: int) -> Table:
    rows = [_step(i, step, replicas) for i, step in enumerate(steps, 1)]
    header = ("step", "pods", "real share", "at least", "evidence takes", "waits for")
    return Table("Steps of each flag; then everything", header, rows)


def _step(number: int, step: StepOutlook, replicas: int) -> tuple[str, ...]:
    if not step.weight:
        return (f"{number}: pause", "-", "-", "-", "until a person resumes", "")
    times = [o for o in step.operations if o.late_seconds is not None]
    slowest = max(times, key=lambda o: o.late_seconds or 0.0, default=None)
    never = next((o for o in step.operations if o.late_seconds is None), None)
    by = never or slowest
    return (
        f"{number}: {step.weight} %",
        f"{step.pods} of {replicas}",
        f"{100 * step.share:.0f} %",
        wait_text(step.min_seconds),
        _times(by.median_seconds, by.late_seconds, known=True) if by else "not known",
        f"{by.operation}, {'better than others' if by.question == 'better' else 'within budget'}" if by else "",
    )


def _detections(stage: StageOutlook) -> Table:
    """The first stage stands for all: detection depends on the traffic, not on the flag."""
    rows = [
        (f"{d.operation}, +{100 * f.added:.0f} %", f"{100 * f.share:.1f} %", _found(f), str(f.bad_requests or "-"))
        for d in stage.detections
        for f in d.found
    ]
    header = ("of 100 good requests turn bad", "bad then", "taken back after", "bad answers by then")
    return Table("How soon a harmful flag is found (first step)", header, rows)


def _found(found: Detection) -> str:
    if found.seconds is None:
        return f"not in {wait_text(HORIZON_SECONDS)}"
    what = " -> switchback" if found.outcome is Outcome.WITHDRAW else ""
    return _times(found.seconds, found.late_seconds, known=True) + what


def _times(median: float | None, late: float | None, *, known: bool) -> str:
    if median is None:
        return "never" if known else "not known"
    return f"{wait_text(median)} (9 of 10: {wait_text(late)})"


def _chance(stage: StageOutlook) -> str:
    return "not known" if stage.in_time is None else f"{100 * stage.in_time:.0f} %"
