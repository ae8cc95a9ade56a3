"""`memorystack up`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from memorystack_operator.cli.doors import port_option, said_plainly, screen_option, state_dir_option
from memorystack_operator.cli.quiet import quiet_logs
from memorystack_operator.cli.screen import Output, Screen
from memorystack_operator.local.engines import EmbedderOptions
from memorystack_operator.local.up import UpOptions
from memorystack_operator.local.up import up as run_up

__all__ = ["up"]


@click.command()
@click.option(
    "-f", "--file", "file", required=True, type=click.Path(path_type=Path), help="YAML file with the MemoryStack."
)
@port_option
@state_dir_option
@click.option("--use-urls", is_flag=True, help="Use the urls of the file instead of local engines.")
@click.option(
    "--embedder-latency-ms",
    default=5.0,
    show_default=True,
    type=click.FloatRange(0, 60_000),
    help="Time a request takes in the local embedder.",
)
@click.option(
    "--embedder-item-ms",
    default=0.5,
    show_default=True,
    type=click.FloatRange(0, 60_000),
    help="Further time for each text of a request.",
)
@click.option(
    "--embedder-capacity",
    default=64,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="Requests that it serves at once.",
)
@screen_option
@said_plainly
def up(
    file: Path,
    port: int,
    state_dir: Path,
    use_urls: bool,
    embedder_latency_ms: float,
    embedder_item_ms: float,
    embedder_capacity: int,
    output: Output,
) -> None:
    """Run a stack on this machine until Ctrl-C.

    Each pod is a process; Qdrant, Redis and the embedder are local engines unless --use-urls. Saving the file is the
    apply: a changed flag is staged on one pod, judged, and promoted or taken back. A bad save is refused with its reason
    and changes nothing.

    \b
      memorystack up -f examples/memorystack.yaml
      curl -H 'X-API-Key: memorystack-demo-key' localhost:8080/v1/config

    Exit codes: 0 stopped, 1 cannot start (a port, a folder, an engine; or it runs already), 2 the file is invalid.
    """
    quiet_logs()
    screen = Screen(output)
    embedder = EmbedderOptions(embedder_latency_ms, embedder_item_ms, embedder_capacity)
    options = UpOptions(file, state_dir, port, use_urls, embedder)
    asyncio.run(run_up(options, say=screen.say, on_event=screen.tell, beside=screen.show))
