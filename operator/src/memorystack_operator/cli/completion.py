"""`memorystack completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ["completion"]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
      memorystack completion bash > ~/.local/share/bash-completion/completions/memorystack
      memorystack completion zsh > "${fpath[1]}/_memorystack"
      memorystack completion fish > ~/.config/fish/completions/memorystack.fish

    Exit codes: 0 printed, 2 wrong usage.
    """
    kind = get_completion_class(shell)
    if kind is not None:
        click.echo(kind(ctx.find_root().command, {}, "memorystack", "_MEMORYSTACK_COMPLETE").source())
