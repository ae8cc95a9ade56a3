"""Which stack a verb is about: one of a cluster, or one on this machine. The rule is one function, and the choice is said.

Knows: options and where each kind of stack is kept. Must not know: what is done with it.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from memorystack_operator.cli.doors import folder_of
from memorystack_operator.cli.run import cluster_part
from memorystack_operator.local.errors import LocalError
from memorystack_operator.local.state import StateFolder

if TYPE_CHECKING:
    from memorystack_operator.cli.on_cluster import ClusterStack

__all__ = ["Asked", "target_options"]

PLUGIN = "kubectl-memorystack"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says of the stack."""

    state_dir: Path
    name: str | None
    state_dir_given: bool = False
    stack: str | None = None
    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None
    plugin: bool = False
    """Called as `kubectl memorystack`."""

    @property
    def names_cluster(self) -> bool:
        """A name of its own, or an option that only a cluster has."""
        return any((self.stack, self.namespace, self.context, self.kubeconfig))

    @property
    def names_folder(self) -> bool:
        """An option that only this machine has."""
        return self.state_dir_given or self.name is not None


def target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives the command one parameter `target`, chosen by the options that are added here."""

    @functools.wraps(command)
    def wrapped(
        *,
        state_dir: Path,
        name: str | None,
        stack: str | None,
        namespace: str | None,
        context: str | None,
        kubeconfig: str | None,
        **rest: Any,
    ) -> Any:
        given = click.get_current_context().get_parameter_source("state_dir") is not ParameterSource.DEFAULT
        plugin = Path(sys.argv[0]).name.startswith(PLUGIN)
        asked = Asked(state_dir, name, given, stack, namespace, context, kubeconfig, plugin)
        return command(target=_chosen(asked), **rest)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


_OPTIONS: tuple[Callable[[Callable[..., Any]], Callable[..., Any]], ...] = (
    click.argument("stack", metavar="[NAME]", required=False),
    click.option("-n", "--namespace", help="Namespace in the cluster. Left out: the context's."),
    click.option("--context", help="Context of the kubeconfig. Left out: the current one."),
    click.option("--kubeconfig", help="Left out: KUBECONFIG, or ~/.kube/config."),
    click.option(
        "--state-dir",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path(".memorystack"),
        show_default=True,
        help="Folder of the stacks on this machine.",
    ),
    click.option("--name", help="Which stack on this machine, where the folder holds several."),
)


def _chosen(asked: Asked) -> StateFolder | ClusterStack:
    """A NAME, -n, --context, --kubeconfig or kubectl: a cluster. --state-dir or --name: this machine.

    Neither: this machine if a stack is in the folder, else the cluster of the kubeconfig if there is one.
    """
    if asked.names_cluster and asked.names_folder:
        msg = "NAME, -n, --context and --kubeconfig mean a cluster, --state-dir and --name mean this machine: give one kind"
        raise click.UsageError(msg)
    if asked.names_cluster or (asked.plugin and not asked.names_folder):
        return _in_cluster(asked)
    try:
        return _on_this_machine(asked)
    except LocalError:
        if asked.names_folder or any(asked.state_dir.glob("*/counters.json")):
            raise
        if not cluster_part("shell.credentials").kubeconfig_exists():
            raise
    return _in_cluster(asked)


def _on_this_machine(asked: Asked) -> StateFolder:
    folder = folder_of(asked.state_dir, asked.name)
    click.echo(f"on this machine: {folder.root}", err=True)
    return folder


def _in_cluster(asked: Asked) -> ClusterStack:
    found: ClusterStack = cluster_part("cli.on_cluster").open_stack(
        asked.stack, asked.namespace, asked.context, asked.kubeconfig
    )
    click.echo(f"in the cluster: {found.where}", err=True)
    return found
