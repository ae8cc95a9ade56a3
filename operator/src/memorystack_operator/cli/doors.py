"""What every verb shares: options, errors as one sentence with an exit code, and finding the stack that is meant."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import click

from memorystack_operator.api.errors import ResourceError
from memorystack_operator.local.actions import is_running
from memorystack_operator.local.errors import LocalError
from memorystack_operator.local.state import StateFolder

__all__ = [
    "INVALID",
    "folder_of",
    "json_option",
    "port_option",
    "said_plainly",
    "screen_option",
    "stack_option",
    "state_dir_option",
]

P = ParamSpec("P")
R = TypeVar("R")
INVALID: Final = 2
"""Exit code for a file that is wrong, as click's own for wrong usage."""

state_dir_option = click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".memorystack"),
    show_default=True,
    help="Folder of the stacks' records and data.",
)
stack_option = click.option("--name", "name", default=None, help="Which stack, where the folder holds several.")


json_option = click.option(
    "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="For people or programs."
)
screen_option = click.option(
    "--output",
    type=click.Choice(["auto", "live", "plain", "json"]),
    default="auto",
    show_default=True,
    help="A live view, plain lines, or a line of JSON for each event; auto: live on a terminal.",
)
port_option = click.option(
    "--port",
    default=8080,
    show_default=True,
    type=click.IntRange(1, 65535),
    help="Port of the API on 127.0.0.1.",
)


class _Refused(click.ClickException):
    exit_code = 1


class _Invalid(click.ClickException):
    exit_code = INVALID


def said_plainly(command: Callable[P, R]) -> Callable[P, R]:
    """Our own errors become a sentence on stderr: exit code 2 for a file that is wrong, 1 for the rest."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except ResourceError as error:
            raise _Invalid(str(error)) from None
        except LocalError as error:
            raise _Refused(str(error)) from None

    return wrapped


def folder_of(state_dir: Path, name: str | None) -> StateFolder:
    """The named stack's folder, or the only one, or the only one that runs. Raises LocalError listing the choice."""
    if name:
        return StateFolder(state_dir / name)
    folders = [StateFolder(path.parent) for path in sorted(state_dir.glob("*/counters.json"))]
    running = [f for f in folders if is_running(f)]
    for choice in (running, folders):
        if len(choice) == 1:
            return choice[0]
    if not folders:
        msg = f"no stack in {state_dir}: start one with memorystack up -f FILE, or point --state-dir to its folder"
        raise LocalError(msg)
    names = ", ".join(f.root.name for f in running or folders)
    msg = f"several stacks in {state_dir}: choose one of {names} with --name"
    raise LocalError(msg)
