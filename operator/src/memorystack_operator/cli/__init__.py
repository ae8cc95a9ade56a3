"""The command `memorystack`, also `kubectl memorystack`: one file a verb, loaded only when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Final

import click
from click.shell_completion import CompletionItem

__all__ = ["VERBS", "main"]

VERBS: Final = {
    "up": ("up:up", "Run a stack on this machine until Ctrl-C."),
    "down": ("down:down", "Stop a stack that runs on this machine."),
    "status": ("status:status", "Show a running stack."),
    "explain": ("explain:explain", "Explain the last decision: what, why, on which numbers."),
    "plan": ("plan:plan", "Say what a changed file would bring, before it is saved."),
    "promote": ("actions:promote", "Make every flag of the file serve everywhere now."),
    "abort": ("actions:abort", "Take back the flag that is being tried."),
    "retry": ("actions:retry", "Try the rejected flags again."),
    "pause": ("actions:pause", "Stop where it is."),
    "resume": ("actions:resume", "Go on after a pause."),
    "load": ("load:load", "Send mixed store and recall traffic."),
    "demo": ("demo:demo", "See a good flag promoted and a bad one taken back."),
    "demo-interference": ("demo_interference:demo_interference", "See a sick environment told from a harmful flag."),
    "validate": ("validate:validate", "Check a file."),
    "crd": ("crd:crd", "Print the CustomResourceDefinition."),
    "completion": ("completion:completion", "Print the completion script of a shell."),
}
"""Verb -> module:command, and its line in the overview. Importing all of them would cost every call half a second."""


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module, _, name = VERBS[cmd_name][0].partition(":")
        command = getattr(import_module(f"{__name__}.{module}"), name)
        return command if isinstance(command, click.Command) else None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names and lines of this table: a key press must not import all verbs."""
        verbs = [CompletionItem(verb, help=line) for verb, (_, line) in VERBS.items() if verb.startswith(incomplete)]
        return verbs + (click.Command.shell_complete(self, ctx, incomplete) if incomplete.startswith("-") else [])

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(verb, line) for verb, (_, line) in VERBS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="memorystack-operator", prog_name="memorystack")
def main() -> None:
    """Runs an agent's memory service and tunes it safely.

    A flag changed in the YAML file is staged on one warm pod, compared with the others under the same traffic, and
    promoted or taken back with the reason.

    \b
      memorystack up -f examples/memorystack.yaml    run a stack on this machine
      memorystack status                             look at it
      memorystack demo                               see a good flag promoted and a bad one taken back

    Exit codes: 0 done, 1 failed, 2 wrong usage or an invalid file, 75 (demo) the machine was starved of CPU.
    """
