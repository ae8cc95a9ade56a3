"""Runs the mutants of modules: a pytest for all that share their tests, with the engines that these need.

Knows: how the worker is asked and answers. Must not know: which tests belong to which module.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from support.mutation.worker import ASKED

from memorystack_runtime.dev import start

__all__ = ["ROOT", "Module", "Outcome", "run"]

ROOT: Final = Path(__file__).parents[3]
LOGS: Final = ROOT / "mutants"
SOURCES: Final = {"memorystack_operator": "operator/src", "memorystack_runtime": "runtime/src"}
CHILDREN: Final = 2
PLUGINS: Final = ("-p", "support.mutation.worker", "-p", "no:cacheprovider", "-p", "no:cov", "-p", "no:xdist")


@dataclass(frozen=True, slots=True)
class Module:
    """One file to mutate, below `src/`, and the tests that should notice."""

    path: Path
    tests: tuple[str, ...]
    on_engines: bool = False
    """Its tests talk to the real engines: one of each is kept for the whole run, and mutants take turns on them."""

    @property
    def name(self) -> str:
        """As people write it: `core/bets.py`, `runtime/ingest.py`."""
        package, *rest = self.path.parts
        return "/".join(rest) if package == "memorystack_operator" else "/".join(("runtime", *rest))

    @property
    def imported(self) -> str:
        """As Python writes it."""
        return ".".join(self.path.with_suffix("").parts)

    @property
    def source(self) -> Path:
        """Where it is kept."""
        return ROOT / SOURCES[self.path.parts[0]] / self.path


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one module: how many mutants were noticed, were tried, and there are; and those not noticed, each as a diff."""

    detected: int
    tried: int
    mutants: int
    survivors: dict[str, str]


def run(modules: Sequence[Module], sample: int | None, seed: int) -> Iterator[tuple[Module, Outcome]]:
    """Tries each module's mutants, or so many of them. Those with the same tests follow each other.

    Raises SystemExit with what went wrong.
    """
    groups: dict[tuple[object, ...], list[Module]] = {}
    for module in modules:
        groups.setdefault((module.tests, module.on_engines), []).append(module)
    for together in groups.values():
        yield from _run_together(together, sample, seed)


def _run_together(modules: Sequence[Module], sample: int | None, seed: int) -> Iterator[tuple[Module, Outcome]]:
    named = {module.imported: module for module in modules}
    log = LOGS / f"{modules[0].imported}.log"
    LOGS.mkdir(exist_ok=True)
    with ExitStack() as kept, log.open("w") as out:
        folder = Path(kept.enter_context(tempfile.TemporaryDirectory(dir=LOGS)))
        outcomes = folder / "outcomes"
        outcomes.touch()
        asked = {
            "modules": {name: str(module.source) for name, module in named.items()},
            "sample": sample,
            "seed": seed,
            "children": 1 if modules[0].on_engines else CHILDREN,
            "outcomes": str(outcomes),
        }
        engines = _engines(kept, folder) if modules[0].on_engines else {}
        environment = _environment() | engines | {ASKED: json.dumps(asked)}
        command = [sys.executable, "-m", "pytest", "-q", *PLUGINS, *modules[0].tests]
        running = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, env=environment)
        kept.callback(running.wait)
        kept.callback(running.kill)
        yield from ((named[module], outcome) for module, outcome in _told(running, kept.enter_context(outcomes.open())))
    if running.returncode:
        raise SystemExit("\n".join([f"{modules[0].name}: see {log}", *log.read_text().splitlines()[-30:]]))


def _told(running: subprocess.Popen[bytes], outcomes: Iterator[str]) -> Iterator[tuple[str, Outcome]]:
    """Each module's outcome as soon as it is known, until the worker ends."""
    ended = False
    while not ended:
        try:
            running.wait(1)
            ended = True
        except subprocess.TimeoutExpired:
            pass
        for line in outcomes:
            told = json.loads(line)
            survivors = {name: f"{status}\n{change}" for name, status, change in told["survivors"]}
            tried = told["tried"]
            yield told["module"], Outcome(tried - len(survivors), tried, told["mutants"], survivors)


def _engines(kept: ExitStack, folder: Path) -> dict[str, str]:
    """Variables that lend a Qdrant engine and an embedder to the tests."""
    qdrant = kept.enter_context(start("qdrant", path=folder / "qdrant"))
    embedder = kept.enter_context(start("embedder", latency_ms=1, item_latency_ms=0, capacity=64))
    found = (("QDRANT", qdrant), ("EMBEDDER", embedder))
    return {f"MEMORYSTACK_TEST_ENGINE_{name}": f"{engine.url} {engine.pid}" for name, engine in found}


def _environment() -> dict[str, str]:
    """Nothing of a coverage run, which would measure the mutants."""
    path = os.pathsep.join([str(ROOT / "tests"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    left = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    return left | {"PYTHONHASHSEED": "0", "PYTHONPATH": path}
