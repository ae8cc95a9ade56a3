"""The operator as a process under its chart's ServiceAccount and rights: for tests on a real API server.

How to use it:

    with Operator(kubeconfig, namespace, tmp_path) as operator:
        operator.until(lambda: operator.leads, "it does not lead")

Knows: the command line. Must not know: how the operator works inside.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import httpx
import psutil
import pytest
from support.rights import chart_of, grant, serve_the_kind
from support.stacks import PATIENCE_SECONDS
from support.up import free_port

__all__ = ["Operator", "chart_of", "grant", "serve_the_kind"]


class Operator:
    """One process; it ends with the block, whatever happened to it."""

    def __init__(self, kubeconfig: Path, namespace: str, folder: Path, *options: str) -> None:
        self.kubeconfig = kubeconfig
        self.namespace = namespace
        self.log = folder / f"operator-{free_port()}.log"
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._options = [*options, "--namespace", namespace]

    def start(self) -> Self:
        argv = [sys.executable, "-c", "from memorystack_operator.cli.run import main; main()", "run"]
        argv += ["--kubeconfig", str(self.kubeconfig), "--health-host", "127.0.0.1", "--health-port", str(self.port)]
        argv += ["--lease-namespace", self.namespace, *self._options]
        # The Kubernetes client writes the authority's certificate there, and one that is killed leaves it.
        env = {**os.environ, "TMPDIR": str(self.log.parent)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, env=env)
        return self

    def wait_ready(self) -> Self:
        self.until(lambda: self.asked("/readyz") == 200, "the operator does not become ready")
        return self

    def asked(self, path: str) -> int:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=2, trust_env=False).status_code
        except httpx.HTTPError:
            return 0

    def metric(self, line: str) -> float:
        """The value of one series, as `leader_election_master_status{name="memorystack-operator"}`; 0 where it is none."""
        text = httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=5, trust_env=False).text
        return next((float(row.rsplit(" ", 1)[1]) for row in text.splitlines() if row.startswith(line + " ")), 0.0)

    @property
    def leads(self) -> bool:
        return self.metric('leader_election_master_status{name="memorystack-operator"}') == 1

    def said(self, event: str) -> list[dict[str, Any]]:
        """Its log lines of that event."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == event]

    def send(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def end(self, number: int = signal.SIGTERM, seconds: float = 30) -> int:
        self.send(number)
        assert self.process is not None
        return self.process.wait(seconds)

    def usage(self) -> tuple[float, float]:
        """CPU seconds so far, and resident megabytes."""
        assert self.process is not None
        found = psutil.Process(self.process.pid)
        times = found.cpu_times()
        return times.user + times.system, found.memory_info().rss / 1e6

    def until(self, holds: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> None:
        end = time.monotonic() + seconds
        while not holds():
            dead = self.process is not None and self.process.poll() is not None
            if dead or time.monotonic() > end:
                pytest.fail(f"{what}; the operator {'died' if dead else 'said'}: {self.log.read_text()[-3000:]}")
            time.sleep(0.05)

    def __enter__(self) -> Self:
        return self.start().wait_ready()

    def __exit__(self, *_: object) -> None:
        if self.process and self.process.poll() is None:
            self.send(signal.SIGCONT)  # a stopped process takes no SIGTERM
            try:
                self.end()
            except subprocess.TimeoutExpired:
                self.end(signal.SIGKILL)
