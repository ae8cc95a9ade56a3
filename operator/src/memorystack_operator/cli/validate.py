"""`memorystack validate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import click

from memorystack_operator.api import InvalidResource, load
from memorystack_operator.cli.doors import INVALID, json_option, said_plainly

__all__ = ["validate"]


@click.command()
@click.option(
    "-f", "--file", "file", required=True, type=click.Path(path_type=Path), help="YAML file with the MemoryStack."
)
@json_option
@said_plainly
def validate(file: Path, output: Literal["text", "json"]) -> None:
    """Check a file: every problem with its field and the remedy.

    Exit codes: 0 valid, 2 not.
    """
    if output == "json":
        _as_json(file)
        return
    loaded = load(file)
    count = len(loaded.secrets)
    secrets = f" and {count} Secret{'s' if count > 1 else ''}" if count else ""
    click.echo(f"{file}: a valid MemoryStack {loaded.stack.metadata.name}{secrets}")


def _as_json(file: Path) -> None:
    try:
        loaded = load(file)
    except InvalidResource as error:
        problems = [{"field": p.path, "message": p.message} for p in error.problems]
        click.echo(json.dumps({"file": str(file), "valid": False, "problems": problems}))
        click.get_current_context().exit(INVALID)
    click.echo(
        json.dumps(
            {
                "file": str(file),
                "valid": True,
                "name": loaded.stack.metadata.name,
                "secrets": sorted(s.name for s in loaded.secrets),
            }
        )
    )
