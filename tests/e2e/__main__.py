"""`make e2e` and `make e2e-full`. Knows the terminal, the order of steps and the report; nothing of what a step does."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import click
from support.cluster import ClusterError
from support.cluster.modules import module_of

from e2e import full, steps
from e2e.check import excused, problems_of
from e2e.clusters import on_kind, on_node
from e2e.errors import StepFailed
from e2e.machine import Machine
from e2e.readme import never_typed, printed_otherwise, shown
from e2e.report import Report, Step
from e2e.scene import Scene, expect
from e2e.stack import NAMESPACE, Stack
from e2e.terminal import Terminal

StepOf = Callable[[Scene], dict[str, Any]]


def readme(scene: Scene) -> dict[str, Any]:
    """Every command of the readme was typed, in its order, and printed what it shows but for numbers."""
    typed = [(command.typed, command.printed) for command in scene.terminal.commands]
    missing = never_typed(command for command, _ in typed)
    expect(not missing, f"the readme shows what was not typed, or not at that point: {missing}")
    other = printed_otherwise(typed)
    expect(not other, f"the readme shows that these print something else: {other}")
    return {"commands": len(shown())}


STORIES: Final[Mapping[str, tuple[StepOf, ...]]] = {
    "short": (
        steps.install,
        steps.apply_stack,
        steps.traffic,
        steps.good_flag,
        steps.bad_flag,
        steps.kill_operator,
        steps.answers,
        steps.uninstall,
        readme,
    ),
    "full": (
        steps.install,
        steps.apply_stack,
        steps.traffic,
        steps.good_flag,
        steps.bad_flag,
        full.autoscaling,
        full.upgrade_operator,
        full.restart_in_a_canary,
        steps.kill_operator,
        steps.answers,
        steps.uninstall,
        readme,
    ),
}
HELM: Final[Mapping[str, str]] = {"short": "helm", "full": "helm4"}
"""Most people have Helm 3; the long story is told with Helm 4."""
JUDGED: Final = (steps.good_flag, steps.bad_flag, full.restart_in_a_canary)
"""Those that wait for a verdict on latencies."""
NAMES_JUDGED: Final = [step.__name__.replace("_", " ") for step in JUDGED]
WHOLE: Final = (steps.answers, readme)
"""What can only be said of a run in which no verdict was missed."""
STARVED: Final = 75
_ASKED: Final = (
    "kubectl get pods -A -o wide",
    "kubectl get events -A --sort-by=.lastTimestamp | tail -n 25 | cut -c1-250",
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
    help="Where the cluster's files lie; a node's that is up there already is used, and stays.",
)
@click.option("--cluster", type=click.Choice(["node", "kind"]), default="node", show_default=True)
@click.option("--story", type=click.Choice(list(STORIES)), default="short", show_default=True)
@click.option("--check", is_flag=True, help="Run nothing, and say whether the report holds.")
def main(report: Path, kubeconfig: Path | None, folder: Path, cluster: str, story: str, check: bool) -> None:
    """Install, try a good and a bad flag, kill the operator, and remove all again, on a real Kubernetes.

    The full story has autoscaling, an upgrade and a restart in it, too.

    Exit codes: 0 as expected, 1 a step was not, 2 no cluster, 75 the machine was starved of CPU while a flag was judged.
    """
    if check:
        sys.exit(1 if _verdict(report, story) == 1 else 0)
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:5.0f} s] {text}", flush=True)

    try:
        with _cluster(cluster, kubeconfig, folder) as access, TemporaryDirectory(prefix="memorystack-e2e-") as home:
            tell(story, Terminal(access, Path(home), say, HELM[story]), report)
    except ClusterError as error:
        print(f"e2e: {error}", file=sys.stderr)
        sys.exit(2)
    sys.exit(_verdict(report, story))


def tell(story: str, terminal: Terminal, path: Path) -> None:
    """Step after step, until one is not as expected. The report is written in any case."""
    machine, say = Machine(), terminal.say
    scene = Scene(terminal, Stack(terminal))
    version, helm = terminal.raw("/version")["gitVersion"], module_of(HELM[story]).version
    report = Report(story, tuple(map(_name, STORIES[story])), version, helm, commands=terminal.commands)
    for step in STORIES[story]:
        if step in WHOLE and not report.flawless:
            continue
        features = scene.stack.features() if step in JUDGED else {}
        ended = _done(step, scene, machine, say)
        report.steps.append(ended)
        report.write(path)
        if ended.problem:
            for question in _ASKED:
                say(f"-- {question}\n{_told(terminal, question)}")
            if not excused(asdict(ended), NAMES_JUDGED):
                break
            say(
                f"   the machine was starved of CPU ({ended.idle_percent:g} % idle): the story goes on without that flag"
            )
            if problem := _set_aside(scene, features):
                say(f"   it does not: {problem}")
                break


def _done(step: StepOf, scene: Scene, machine: Machine, say: Callable[[str], None]) -> Step:
    say(f"== {_name(step)}: {(step.__doc__ or '').splitlines()[0]}")
    began, seen, problem = time.monotonic(), {}, ""
    try:
        seen = step(scene)
    except StepFailed as failure:
        problem = str(failure)
    seconds, idle = round(time.monotonic() - began, 1), machine.since(began)
    say(f"   {f'NOT as expected: {problem}' if problem else seen} ({seconds} s)")
    return Step(_name(step), seconds, seen, problem, idle.samples, idle.mean_idle_percent, idle.starved_share)


def _set_aside(scene: Scene, features: dict[str, Any]) -> str:
    """Back to those flags; why not, where that fails."""
    try:
        scene.set_aside(features)
    except StepFailed as failure:
        return str(failure)
    return ""


def _name(step: StepOf) -> str:
    return step.__name__.replace("_", " ")


def _verdict(report: Path, story: str) -> int:
    """The exit code, and what is wrong on standard error."""
    whole = [_name(step) for step in WHOLE]
    problems = problems_of(report, [_name(step) for step in STORIES[story]], NAMES_JUDGED, whole)
    for problem in problems:
        print(f"e2e: {problem}", file=sys.stderr)
    if problems:
        return 1
    passed = json.loads(report.read_text())["passed"]
    print(f"e2e: {'as expected' if passed else 'the machine was starved of CPU'}; the report is {report}")
    return 0 if passed else STARVED


def _told(terminal: Terminal, question: str) -> str:
    try:
        return terminal.ask(question)
    except StepFailed as failure:
        return str(failure)


def _cluster(kind: str, kubeconfig: Path | None, folder: Path) -> AbstractContextManager[Path]:
    if kubeconfig:
        return nullcontext(kubeconfig.absolute())
    return on_kind(folder) if kind == "kind" else on_node(folder)


if __name__ == "__main__":
    main()
