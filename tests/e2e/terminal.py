"""A person's terminal: commands are shown, run with the cluster's kubeconfig, and what they print is given back.

Knows: bash, and where kubectl and helm are. Must not know: MemoryStack.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from support.cluster.programs import programs

from e2e.errors import StepFailed

__all__ = ["REPOSITORY", "Command", "Terminal"]

REPOSITORY = Path(__file__).parents[2]
COMMAND_SECONDS = 300.0
Found = TypeVar("Found")


@dataclass(frozen=True)
class Command:
    """One that was typed, and what it printed."""

    typed: str
    printed: str


class Terminal:
    """At the repository's root."""

    def __init__(self, kubeconfig: Path, home: Path, say: Callable[[str], None], helm: str = "helm") -> None:
        """`helm` is the program that is run where a command says helm: `helm` or `helm4`; `home` takes what it and kubectl remember."""
        self.say = say
        self.commands: list[Command] = []
        """In order."""
        found = programs(("kubectl", helm))
        path = ":".join([str(found["kubectl"].parent), os.environ.get("PATH", "")])
        # A function that bash takes from its environment: the program need not be called helm.
        named = {"BASH_FUNC_helm%%": f'() {{ {found[helm]} "$@"; }}'}
        self._env = {**os.environ, "PATH": path, "KUBECONFIG": str(kubeconfig), "HOME": str(home), **named}

    def type(self, command: str, instead: str = "") -> str:
        """Shows and runs it; `instead` is run in its place, where a test needs another file or image. Raises StepFailed."""
        self.say(f"$ {command}")
        printed = self.ask(instead or command)
        self.commands.append(Command(command, printed.strip()))
        return printed

    def ask(self, command: str) -> str:
        """Without showing it. Raises StepFailed."""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=REPOSITORY,
            env=self._env,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        if done.returncode:
            raise StepFailed(f"{command}\nended with {done.returncode}: {(done.stderr or done.stdout).strip()[-1500:]}")
        return done.stdout

    def get(self, what: str) -> dict[str, Any]:
        """`kubectl get WHAT`, parsed."""
        found: dict[str, Any] = json.loads(self.ask(f"kubectl get {what} -o json"))
        return found

    def raw(self, path: str) -> Any:
        """What the API answers there, parsed."""
        return json.loads(self.ask(f"kubectl get --raw '{path}'"))

    def wait(self, look: Callable[[], Found | None], what: str, seconds: float, every: float = 1.0) -> Found:
        """What `look` gives as soon as it is true. Raises StepFailed."""
        end = time.monotonic() + seconds
        while not (found := look()):
            if time.monotonic() > end:
                raise StepFailed(f"{what}: not within {seconds:.0f} s")
            time.sleep(every)
        return found
