"""The traffic as a process of its own, to be started in a node's network: it ends with its standard input, and then tells all answers.

Knows: its arguments. Must not know: namespaces; whoever starts it puts it there.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Self

from support.traffic import Answer, Traffic

__all__ = ["Client"]

END_SECONDS = 60.0


class Client:
    """`place` gives the command that runs another inside; the other arguments are the traffic's."""

    def __init__(self, place: Sequence[str], arguments: dict[str, object]) -> None:
        self.answers: list[Answer] = []
        self.unsent = 0
        self._command = [*place, sys.executable, "-m", "load.cluster.client", json.dumps(arguments)]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
        )
        return self

    def __exit__(self, *_: object) -> None:
        told, _ = self._process.communicate(timeout=END_SECONDS)
        assert self._process.returncode == 0, "the client failed"
        found = json.loads(told)
        self.unsent = found["unsent"]
        self.answers += [Answer(*line) for line in found["answers"]]


def main() -> None:
    """Until standard input ends, or the time is over."""
    arguments = json.loads(sys.argv[1])
    kubeconfig = Path(arguments.pop("kubeconfig"))
    with Traffic(kubeconfig, arguments.pop("namespace"), arguments.pop("selector"), **arguments) as traffic:
        sys.stdin.read()
    print(json.dumps({"unsent": traffic.unsent, "answers": [astuple(answer) for answer in traffic.answers]}))


if __name__ == "__main__":
    main()
