"""`make cluster-up`, `cluster-down` and `cluster-status`. Knows the terminal; nothing of how a cluster is made."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import click
from support.cluster.errors import ClusterError
from support.cluster.folder import ClusterFolder
from support.cluster.hold import down, up
from support.cluster.programs import CONTROL_PLANE, programs

_folder = click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".memorystack-cluster"),
    show_default=True,
    help="Where the cluster's keys, data and logs lie while it is up.",
)
_output = click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)


def _told(command: Callable[..., None]) -> Callable[..., None]:
    """What goes wrong is one message and exit code 2."""

    @wraps(command)
    def run(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
        except ClusterError as error:
            raise click.ClickException(str(error)) from None

    return run


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """A real Kubernetes on this machine, from packages alone.

    The programs are built once from their Go modules (about ten minutes on two cores) and kept under ~/.cache/memorystack.
    KUBEBUILDER_ASSETS names a folder whose programs are used instead.
    """


@main.command("build")
@click.argument("names", nargs=-1)
@click.option("--node", is_flag=True, help="Then also what a node needs: packages, programs and images. Needs root.")
@_told
def build(names: tuple[str, ...], node: bool) -> None:
    """Build NAMES, by default what the tests need (the control plane's programs, helm and actionlint), unless they are there."""
    for name, path in programs(names or (*CONTROL_PLANE, "helm", "actionlint")).items():
        click.echo(f"{name}: {path}")
    if node:
        from support.node import prepare  # only here: it stands on this package

        for name, path in prepare().items():
            click.echo(f"{name}: {path}")


@main.command("up")
@_folder
@click.option("--port", default=0, help="The API server's port on 127.0.0.1; 0 takes a free one.")
@click.option("--node", is_flag=True, help="With a real node: kubelet, containerd and our images. Needs root.")
@_output
@_told
def bring_up(folder: Path, port: int, node: bool, output: str) -> None:
    """Bring a cluster up: etcd, API server, controller manager, scheduler, and a node.

    Without --node the node makes processes of pods, and no root is needed.
    """
    began = time.monotonic()
    cluster = ClusterFolder(folder)
    with _progress(cluster):
        keeper = up(cluster, port, node=node)
    seconds = round(time.monotonic() - began, 1)
    if output == "json":
        click.echo(json.dumps({"url": keeper.url, "kubeconfig": str(cluster.admin), "seconds": seconds}))
        return
    click.echo(
        f"up after {seconds} s: {keeper.url}\n  export KUBECONFIG={cluster.admin}\nend it with: make cluster-down"
    )


@main.command("down")
@_folder
@_told
def take_down(folder: Path) -> None:
    """End the cluster and remove all that it made, also after a crash."""
    found = down(ClusterFolder(folder))
    click.echo("down" if found else f"there is no cluster in {folder}")


@main.command("status")
@_folder
@_output
@click.pass_context
def status(context: click.Context, folder: Path, output: str) -> None:
    """Say whether the cluster is up: exit code 0 up, 3 not up."""
    cluster = ClusterFolder(folder)
    keeper = cluster.read_keeper() if cluster.root.exists() else None
    crashed = keeper is None and cluster.keeper.exists()
    phase = keeper.phase if keeper else "Crashed" if crashed else "Down"
    if output == "json":
        found = {"phase": phase, "url": keeper.url if keeper else "", "kubeconfig": str(cluster.admin)}
        click.echo(json.dumps(found))
    elif keeper:
        click.echo(f"{phase}: {keeper.url} (keeper pid {keeper.pid}, logs in {cluster.logs})")
    else:
        remedy = "its keeper died; make cluster-down cleans up" if crashed else "make cluster-up brings one up"
        click.echo(f"{phase}: {remedy}")
    context.exit(0 if phase == "Up" else 3)


@contextmanager
def _progress(cluster: ClusterFolder) -> Iterator[None]:
    """Passes on what the keeper says while it works."""
    log = cluster.logs / "keeper.log"
    start = log.stat().st_size if log.exists() else 0
    ended = threading.Event()

    def follow() -> None:
        at = start
        last = False
        while not last:
            last = ended.wait(0.2)
            if log.exists():
                with log.open("rb") as handle:
                    handle.seek(at)
                    text = handle.read()
                at += len(text)
                sys.stderr.write("".join(f"{line}\n" for line in text.decode().splitlines() if " is ready " in line))

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


if __name__ == "__main__":
    main(prog_name="python -m support.cluster")
