"""`memorystack down`."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Final, Literal

import click

from memorystack_operator.cli.doors import folder_of, json_option, said_plainly, stack_option, state_dir_option
from memorystack_operator.local.actions import running_or_raise
from memorystack_operator.local.errors import LocalError
from memorystack_operator.local.remains import is_same_process

__all__ = ["down"]

PATIENCE_SECONDS: Final = 40.0


@click.command()
@state_dir_option
@stack_option
@json_option
@said_plainly
def down(state_dir: Path, name: str | None, output: Literal["text", "json"]) -> None:
    """Stop a stack that runs on this machine: its pods drain, its data stays.

    Exit codes: 0 stopped, 1 nothing was running.
    """
    running = running_or_raise(folder_of(state_dir, name))
    click.echo(f"stopping {running.name} (pid {running.pid})", err=output == "json")
    os.kill(running.pid, signal.SIGTERM)
    until = time.monotonic() + PATIENCE_SECONDS
    while is_same_process(running.pid, running.created):
        if time.monotonic() > until:
            msg = f"pid {running.pid} is still there after {PATIENCE_SECONDS:g} s: look at it, or kill it"
            raise LocalError(msg)
        time.sleep(0.1)
    told = json.dumps({"name": running.name, "pid": running.pid, "stopped": True}) if output == "json" else "stopped"
    click.echo(told)
