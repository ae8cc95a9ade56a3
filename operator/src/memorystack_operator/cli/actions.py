"""`memorystack promote | abort | retry | pause | resume`: asked once, acknowledged once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, Literal

import click

from memorystack_operator.cli.doors import json_option, said_plainly
from memorystack_operator.cli.target import target_options
from memorystack_operator.local.actions import submit
from memorystack_operator.local.state import StateFolder

if TYPE_CHECKING:
    from memorystack_operator.cli.on_cluster import ClusterStack

__all__ = ["abort", "pause", "promote", "resume", "retry"]

HELP: Final = {
    "promote": "Make every flag of the file serve everywhere now, without a verdict.\n\n"
    "Also after a rollback or an abort: the rejected flags are taken as they are.",
    "abort": "Take back the flag that is being tried.\n\nIt is not tried again until its value changes, or `retry`.",
    "retry": "Try the rejected flags again.",
    "pause": "Stop where it is: the flags of this step stay, its clock stands still.",
    "resume": "Go on after `pause`, or past a pause step.",
}

WHERE: Final = (
    "With NAME, -n, --context or --kubeconfig the stack of a cluster is meant, else the one on this machine; "
    "where none is here, the only one of the current context's namespace."
)


def _verb(verb: str) -> click.Command:
    @click.command(name=verb, help=f"{HELP[verb]}\n\n{WHERE}\n\nExit codes: 0 done, 1 refused or nothing is running.")
    @json_option
    @said_plainly
    @target_options
    def command(target: StateFolder | ClusterStack, output: Literal["text", "json"]) -> None:
        answer = submit(target, verb) if isinstance(target, StateFolder) else target.submit(verb)
        reason, _, message = answer.partition(": ")
        if output == "json":
            click.echo(json.dumps({"action": verb, "reason": reason, "message": message}))
        else:
            click.echo(f"{verb}: {message}")
        if reason == "ActionRefused":
            click.get_current_context().exit(1)

    return command


promote, abort, retry, pause, resume = (_verb(v) for v in ("promote", "abort", "retry", "pause", "resume"))
