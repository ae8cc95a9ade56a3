"""`memorystack promote | abort | retry | pause | resume`: asked once, acknowledged once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, Literal

import click

from memorystack_operator.cli.doors import folder_of, said_plainly, stack_option, state_dir_option
from memorystack_operator.local.actions import submit

__all__ = ["abort", "pause", "promote", "resume", "retry"]

HELP: Final = {
    "promote": "Make every flag of the file serve everywhere now, without a verdict.\n\n"
    "Also after a rollback or an abort: the rejected flags are taken as they are.",
    "abort": "Take back the flag that is being tried.\n\nIt is not tried again until its value changes, or `retry`.",
    "retry": "Try the rejected flags again.",
    "pause": "Stop where it is: the flags of this step stay, its clock stands still.",
    "resume": "Go on after `pause`, or past a pause step.",
}


def _verb(verb: str) -> click.Command:
    @click.command(name=verb, help=f"{HELP[verb]}\n\nExit codes: 0 done, 1 refused or nothing is running.")
    @state_dir_option
    @stack_option
    @click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
    @click.pass_context
    @said_plainly
    def command(ctx: click.Context, state_dir: Path, name: str | None, output: Literal["text", "json"]) -> None:
        answer = submit(folder_of(state_dir, name), verb)
        reason, _, message = answer.partition(": ")
        if output == "json":
            click.echo(json.dumps({"action": verb, "reason": reason, "message": message}))
        else:
            click.echo(f"{verb}: {message}")
        if reason == "ActionRefused":
            ctx.exit(1)

    return command


promote, abort, retry, pause, resume = (_verb(v) for v in ("promote", "abort", "retry", "pause", "resume"))
