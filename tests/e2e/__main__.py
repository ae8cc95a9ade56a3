"""`make e2e` and `make e2e-full`. Knows the terminal, the order of steps and the report; nothing of what a step does."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
from support.cluster import ClusterError, ClusterFolder, hold

from e2e import steps
from e2e.errors import StepFailed
from e2e.report import Report, Step
from e2e.scene import Scene
from e2e.stack import NAMESPACE, Stack
from e2e.terminal import Terminal

StepOf = Callable[[Scene], dict[str, Any]]
SHORT: Final[tuple[StepOf, ...]] = (
    steps.install,
    steps.apply_stack,
    steps.traffic,
    steps.good_flag,
    steps.bad_flag,
    steps.kill_operator,
    steps.uninstall,
)
_ASKED: Final = (
    "kubectl get all,events -A -o wide",
    f"kubectl get memorystack -n {NAMESPACE} -o yaml",
    "kubectl logs -n memorystack-system -l app.kubernetes.io/name=memorystack-operator --tail=60",
    f"kubectl logs -n {NAMESPACE} job/traffic --tail=5",
)
"""When a step has failed."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), default=Path("e2e.json"), show_default=True)
@click.option(
    "--kubeconfig",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A cluster that is there, and has the images. Left out: a node of its own, as root.",
)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".memorystack-e2e"),
    show_default=True,
    help="Where the node's cluster lies; one that is up there already is used, and stays.",
)
def main(report: Path, kubeconfig: Path | None, folder: Path) -> None:
    """Install, try a good and a bad flag, kill the operator, and remove all again, on a real Kubernetes.

    Exit codes: 0 as expected, 1 a step was not, 2 no cluster.
    """
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:5.0f} s] {text}", flush=True)

    try:
        with _cluster(kubeconfig, folder) as access:
            passed = tell(SHORT, access, report, say)
    except ClusterError as error:
        print(f"e2e: {error}", file=sys.stderr)
        sys.exit(2)
    sys.exit(0 if passed else 1)


def tell(story: Sequence[StepOf], kubeconfig: Path, path: Path, say: Callable[[str], None]) -> bool:
    """Step after step, until one is not as expected; whether all were. The report is written in any case."""
    terminal = Terminal(kubeconfig, say)
    scene = Scene(terminal, Stack(terminal))
    version = terminal.raw("/version")["gitVersion"]
    report = Report("short", kubernetes=version, commands=terminal.commands)
    for step in story:
        ended = _done(step, scene, say)
        report.steps.append(ended)
        report.write(path)
        if ended.problem:
            for question in _ASKED:
                say(f"-- {question}\n{_told(terminal, question)}")
            break
    say(f"{'as expected' if report.passed else 'NOT as expected'}; the report is {path}")
    return report.passed


def _done(step: StepOf, scene: Scene, say: Callable[[str], None]) -> Step:
    name = step.__name__.replace("_", " ")
    say(f"== {name}: {(step.__doc__ or '').splitlines()[0]}")
    began, seen, problem = time.monotonic(), {}, ""
    try:
        seen = step(scene)
    except StepFailed as failure:
        problem = str(failure)
    seconds = round(time.monotonic() - began, 1)
    say(f"   {f'NOT as expected: {problem}' if problem else seen} ({seconds} s)")
    return Step(name, seconds, seen, problem)


def _told(terminal: Terminal, question: str) -> str:
    try:
        return terminal.ask(question)
    except StepFailed as failure:
        return str(failure)


@contextmanager
def _cluster(kubeconfig: Path | None, folder: Path) -> Iterator[Path]:
    if kubeconfig:
        yield kubeconfig.absolute()
        return
    cluster = ClusterFolder(folder)
    with hold(cluster, node=True):
        yield cluster.admin


if __name__ == "__main__":
    main()
