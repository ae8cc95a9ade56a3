"""What `--check` says of a report: that it holds, or everything that is wrong with it. Knows words; not what a report is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

__all__ = ["say_whether_it_holds"]


def say_whether_it_holds(path: Path, outcome: str, problems: Sequence[str], output: str) -> None:
    """Ends the command with exit code 1 when there are problems."""
    if output == "json":
        click.echo(
            json.dumps({"report": str(path), "holds": not problems, "outcome": outcome, "problems": list(problems)})
        )
    elif problems:
        for problem in problems:
            click.echo(problem, err=True)
    else:
        click.echo(f"{path}: the report holds ({outcome})")
    if problems:
        click.get_current_context().exit(1)
