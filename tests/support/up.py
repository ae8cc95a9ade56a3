"""A running `memorystack up` for tests: real processes, real signals, a folder and a port of their own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from memorystack_operator.local.report import read_report

STACK = """
apiVersion: memorystack.dev/v1alpha1
kind: MemoryStack
metadata: {name: mem}
spec:
  replicas: 2
  qdrant: {url: "http://qdrant:6333"}
  redis: {url: "redis://redis:6379/0"}
  embedder: {url: "http://embedder/v1", model: m, dimensions: 64}
  auth: {apiKeysSecretRef: {name: keys, key: keys}}
  features:
    parallelIngest: {concurrency: 0}
  rollout:
    steps: [{weight: 50, minDuration: 5s}]
  template:
    env: [{name: NOTE, value: one}]
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {keys: "me:2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"}
"""  # the SHA-256 of "key"
HEADERS = {"x-api-key": "key"}


def free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Up:
    """A running `memorystack up`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "stack.yaml"
        self.file.write_text(STACK)
        self.state = folder / "state"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.environment: dict[str, str] = {}
        self.prefix: list[str] = []
        """What runs the command, as `unshare`."""

    def run(self, *words: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "memorystack_operator.cli", *words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=timeout, cwd=self.folder)

    def argv(self) -> list[str]:
        return [
            "up",
            "-f",
            str(self.file),
            "--port",
            str(self.port),
            "--state-dir",
            str(self.state),
            "--output",
            "plain",
        ]

    def launch(self) -> None:
        argv = [*self.prefix, sys.executable, "-m", "memorystack_operator.cli", *self.argv()]
        with (self.folder / "out").open("ab") as out:
            self.process = subprocess.Popen(
                argv, stdout=out, stderr=out, env={**os.environ, **self.environment}, process_group=0
            )

    def start(self) -> None:
        self.launch()
        self.wait(lambda: self.report and self.report.status.phase == "Idle" and self.ready == 2, "not ready")

    @contextmanager
    def load(self, *words: str) -> Iterator[None]:
        """Traffic at a modest rate while the block runs."""
        argv = [sys.executable, "-m", "memorystack_operator.cli", "load", "--url", self.url, "--api-key", "key"]
        with (self.folder / "load").open("ab") as out:
            running = subprocess.Popen([*argv, *words], stdout=out, stderr=out)
        try:
            yield
        finally:
            running.terminate()
            running.wait(20)

    def events(self) -> list[str]:
        """The reasons, oldest first."""
        return [json.loads(line)["reason"] for line in (self.state / "mem" / "events.jsonl").read_text().splitlines()]

    @property
    def report(self):
        return read_report(self.state / "mem" / "report.json")

    @property
    def ready(self) -> int:
        return sum(p.ready for p in self.report.pods) if self.report else 0

    def config(self) -> dict:
        try:
            answer = httpx.get(f"{self.url}/v1/config", headers=HEADERS, timeout=5)
            return answer.json() if answer.is_success else {}
        except httpx.HTTPError:
            return {}

    def wait(self, until: Callable[[], object], what: str, seconds: float = 40) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if until():
                return
            time.sleep(0.05)
        pytest.fail(f"{what}: {(self.folder / 'out').read_text()[-3000:]}")

    def store(self) -> bool:
        """Whether the memory `o` was acknowledged."""
        body = {"namespace": "a", "id": "o", "text": "An owl."}
        try:
            return httpx.post(f"{self.url}/v1/memories", headers=HEADERS, json=body, timeout=5).status_code == 201
        except httpx.HTTPError:
            return False

    def edit(self, before: str, after: str) -> None:
        text = self.file.read_text()
        assert before in text
        self.file.write_text(text.replace(before, after))

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def child(self, word: str) -> psutil.Process:
        return next(p for p in self.family() if any(word in part for part in p.cmdline()))

    def end(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)

    def control_c(self) -> int:
        """As a terminal sends it: to the whole group of processes."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(60)


def gone(processes: list[psutil.Process]) -> bool:
    """Whether all of them end within ten seconds."""
    return not psutil.wait_procs(processes, timeout=10)[1]
