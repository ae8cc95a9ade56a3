"""`memorystack-operator run`: the operator's process. Knows options; the process itself is `shell.process`."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import click

from memorystack_operator.core.observe import RELEASE_IMAGE

__all__ = ["cluster_part", "main"]

NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
LEVELS: Final = ["debug", "info", "warning", "error"]
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


@click.group(
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 110,
        "auto_envvar_prefix": "MEMORYSTACK_OPERATOR",
    }
)
@click.version_option(package_name="memorystack-operator", prog_name="memorystack-operator")
def main() -> None:
    """The Kubernetes operator of MemoryStack resources. For people there is the command memorystack."""


def _seconds(name: str, default: float, least: float, text: str) -> Decorator:
    return click.option(name, default=default, show_default=True, type=click.FloatRange(min=least), help=text)


OPTIONS: Final[tuple[Decorator, ...]] = (
    click.option("--namespace", "namespaces", multiple=True, help="Namespace to serve; repeatable. Left out: all."),
    click.option("--kubeconfig", help="Left out: inside a pod its ServiceAccount, else KUBECONFIG."),
    click.option("--context", help="Context of the kubeconfig."),
    click.option(
        "--health-host",
        default="0.0.0.0",  # noqa: S104 -- the kubelet asks from outside the pod
        show_default=True,
        help="Address of /healthz, /readyz and /metrics.",
    ),
    click.option("--health-port", default=8081, show_default=True, type=click.IntRange(1, 65535), help="Their port."),
    click.option("--lease-namespace", default="", help="Namespace of the leader's Lease. Left out: the pod's own."),
    click.option("--lease-name", default="memorystack-operator", show_default=True, help="The Lease's name."),
    _seconds("--lease-seconds", 15.0, 1.0, "How long a leader that falls silent keeps its turn."),
    _seconds("--renew-seconds", 10.0, 0.5, "How long a leader that cannot renew goes on."),
    _seconds("--retry-seconds", 2.0, 0.1, "Time between two tries."),
    click.option("--workers", default=16, show_default=True, type=click.IntRange(1, 256), help="Stacks at once."),
    _seconds("--idle-seconds", 600.0, 1.0, "How often a stack is looked at that nothing happens to."),
    _seconds("--relist-seconds", 300.0, 1.0, "How often everything is listed, against what a watch may lose."),
    _seconds("--stuck-seconds", 120.0, 1.0, "How long a stack may wait or be worked on: longer, and /healthz fails."),
    _seconds("--touch-seconds", 5.0, 0.2, "How long a pod may take to confirm its flags before it is touched again."),
    _seconds("--slow-start-seconds", 30.0, 0.5, "How long a pod may be unready before it is asked why."),
    _seconds("--surge-seconds", 10.0, 0.1, "How long one replica's surge pod serves before a flag is tried."),
    _seconds("--surge-timeout-seconds", 300.0, 1.0, "How long a surge pod may take to be warm."),
    click.option(
        "--runtime-image",
        default=RELEASE_IMAGE,
        show_default=True,
        help="Image of stacks that name none; one that runs keeps its own until its template changes.",
    ),
    click.option("--brand", default="brAInwav", show_default=True, help="Value of `brand` in each log line."),
    click.option("--log-level", default="info", show_default=True, type=click.Choice(LEVELS)),
)


def _with_options(command: Callable[..., Any]) -> Callable[..., Any]:
    return functools.reduce(lambda made, option: option(made), reversed(OPTIONS), command)


@main.command()
@_with_options
@click.pass_context
def run(
    ctx: click.Context,
    /,
    kubeconfig: str | None,
    context: str | None,
    lease_namespace: str,
    lease_name: str,
    lease_seconds: float,
    renew_seconds: float,
    retry_seconds: float,
    brand: str,
    log_level: str,
    **rest: Any,
) -> None:
    """Watch MemoryStacks and make the cluster so, until SIGTERM.

    Each option is also a variable, as MEMORYSTACK_OPERATOR_RUN_HEALTH_PORT. Of several processes one leads; the others
    wait for their turn.

    Exit codes: 0 told to stop, 1 a part that must never end has ended or cannot start, 2 wrong usage.
    """
    if not retry_seconds < renew_seconds < lease_seconds:
        raise click.UsageError("--retry-seconds must be below --renew-seconds, and that below --lease-seconds")
    process, credentials = cluster_part("shell.process"), cluster_part("shell.credentials")
    cluster_part("shell.logs").log_as_json(brand, log_level)
    door = credentials.Door(kubeconfig, context)
    lease = cluster_part("shell.schedule").Key(lease_namespace or _own_namespace(), lease_name)
    times = cluster_part("shell.leader").Times(lease_seconds, renew_seconds, retry_seconds)
    try:
        told = asyncio.run(process.operate(process.Options(door=door, lease=lease, times=times, **rest)))
    except credentials.CannotConnect as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        where = f"port {rest['health_port']} on {rest['health_host']}"
        msg = f"{where} cannot be had ({error.strerror}): choose another with --health-port"
        raise click.ClickException(msg) from None
    ctx.exit(0 if told else 1)


def cluster_part(name: str) -> ModuleType:
    """A module that needs the extra `cluster`. Raises ClickException naming it where it is not installed."""
    try:
        return import_module(f"memorystack_operator.{name}")
    except ImportError as error:
        msg = f"{error.name} is not installed: pip install 'memorystack-operator[cluster]'"
        raise click.ClickException(msg) from None


def _own_namespace() -> str:
    if NAMESPACE_FILE.is_file():
        return NAMESPACE_FILE.read_text().strip()
    return os.environ.get("POD_NAMESPACE", "default")
