"""`memorystack validate`."""

from __future__ import annotations

from pathlib import Path

import click

from memorystack_operator.api import load
from memorystack_operator.cli.doors import said_plainly

__all__ = ["validate"]


@click.command()
@click.option(
    "-f", "--file", "file", required=True, type=click.Path(path_type=Path), help="YAML file with the MemoryStack."
)
@said_plainly
def validate(file: Path) -> None:
    """Check a file: every problem with its field and the remedy.

    Exit codes: 0 valid, 2 not.
    """
    loaded = load(file)
    secrets = f" and {len(loaded.secrets)} Secrets" if loaded.secrets else ""
    click.echo(f"{file}: a valid MemoryStack {loaded.stack.metadata.name}{secrets}")
