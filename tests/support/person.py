"""The command `memorystack` as people run it against a cluster. Knows the command line; nothing of what it does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["Person"]


class Person:
    """One who holds a kubeconfig."""

    def __init__(self, kubeconfig: Path | None, folder: Path) -> None:
        self.folder = folder
        """Where the commands are run."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        # Wide, so that no sentence is broken; and a home without a kubeconfig of the machine's own.
        self.env = {**os.environ, "PATH": path, "COLUMNS": "200", "HOME": str(folder)}
        self.env.pop("KUBECONFIG", None)
        if kubeconfig:
            self.env["KUBECONFIG"] = str(kubeconfig)

    def runs(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Any program."""
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, env=self.env, cwd=self.folder)

    def memorystack(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Whatever comes of it."""
        return self.runs("memorystack", *words)

    def told(self, *words: str) -> str:
        """What it prints when it succeeds."""
        done = self.memorystack(*words)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def json(self, *words: str) -> dict[str, Any]:
        """The same with `--output json`."""
        found: dict[str, Any] = json.loads(self.told(*words, "--output", "json"))
        return found

    def refused(self, *words: str) -> str:
        """The sentence of a command that fails with exit code 1."""
        done = self.memorystack(*words)
        assert done.returncode == 1, f"{words}: {done.returncode} {done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stderr
