"""A pytest plugin that tries mutants: it collects the tests once, and forks a child for each mutant.

Collecting takes longer than most mutants live, so nothing is collected twice. The tests run unchanged once, in a child of
its own, to learn which functions each reaches and how long it takes. Then a mutant is tried with those tests alone that
reach its function, quickest first, until one fails or they have used `BUDGET` seconds of CPU. The parent never runs a
test: what a test caches or leaves behind in a process cannot hide a mutant.

Knows: pytest and mutmut's mutants. Must not import what it mutates: that is mutated as it is imported.
"""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import json
import os
import pickle
import resource
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, SourceFileLoader
from math import ceil
from pathlib import Path
from random import Random
from types import CodeType
from typing import Any, Final

import pytest
from mutmut.mutation.file_mutation import MutatedFile, mutate_file_contents
from support.mutation import switch

ASKED: Final = "MEMORYSTACK_MUTATION"
"""The variable with what to do, as JSON: files by module, sample, seed, children, and the file for the outcomes."""
BUDGET: Final = 3.0
"""CPU seconds of tests for one mutant. A survivor of that might be noticed by a slower test: the score is never too good."""
TICK: Final = 0.01
MUTMUTS_IMPORT: Final = "from mutmut.mutation.trampoline import wrap_in_trampoline as _mutmut_mutated, MutantDict\n"


@dataclass
class Target:
    """One module and its mutants."""

    name: str
    file: Path
    mutants: MutatedFile
    found: list[tuple[str, str]] = field(default_factory=list)

    def chosen(self, sample: int | None, seed: int) -> list[str]:
        """All, or so many that a seed chooses: for one source always the same."""
        names = sorted(self.mutants.mutant_names)
        if sample is None or sample >= len(names):
            return names
        return sorted(Random(f"{seed} {self.name}").sample(names, sample))

    def change(self, mutant: str) -> str:
        """As a diff of the lines that differ."""
        lines = self.mutants.code.splitlines()
        function = mutant.rpartition("__mutmut_")[0]
        spans = self.mutants.line_span_by_function_name
        old, new = (
            [line.replace(name, function) for line in lines[spans[name].start - 1 : spans[name].end]]
            for name in (f"{function}__mutmut_orig", mutant)
        )
        return "\n".join(
            [f"-{line}" for line in old if line not in new] + [f"+{line}" for line in new if line not in old]
        )


class _Loader(SourceFileLoader):
    def __init__(self, target: Target) -> None:
        super().__init__(target.name, str(target.file))
        self._code = target.mutants.code.replace(MUTMUTS_IMPORT, switch.IMPORT)

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._code, self.path, "exec", dont_inherit=True)


@dataclass
class Worker:
    """Finds the mutated modules when they are imported, and runs in place of pytest's loop over all tests."""

    targets: dict[str, Target]
    sample: int | None
    seed: int
    children: int
    outcomes: Path

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        found = self.targets.get(name)
        return importlib.util.spec_from_file_location(name, found.file, loader=_Loader(found)) if found else None

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Raises pytest.UsageError when a test fails without any mutant."""
        if session.testsfailed or not session.items:
            raise pytest.UsageError("the tests could not be collected")
        gc.freeze()
        costs, reaching = _learn(session)
        for target in self.targets.values():
            tests = {name: _within(BUDGET, reaching.get((target.name, name), []), costs) for name in _functions(target)}
            chosen = target.chosen(self.sample, self.seed)
            found = _try_all(session, target, chosen, tests, costs, self.children)
            with self.outcomes.open("a") as out:
                survivors = [
                    (n, status, target.change(n)) for n, status in found if status not in ("killed", "timeout")
                ]
                told = {"module": target.name, "tried": len(found), "mutants": len(target.mutants.mutant_names)}
                print(json.dumps(told | {"survivors": survivors}), file=out)
        return True


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def pytest_configure(config: pytest.Config) -> None:
    _end_with_parent()
    asked = json.loads(os.environ[ASKED])
    targets = {}
    for name, file in asked["modules"].items():
        targets[name] = Target(name, Path(file), mutate_file_contents(file, Path(file).read_text()))
    worker = Worker(targets, asked["sample"], asked["seed"], asked["children"], Path(asked["outcomes"]))
    already = [name for name in targets if name in sys.modules]
    if already:
        raise pytest.UsageError(f"{already[0]} was imported before it could be mutated")
    sys.meta_path.insert(0, worker)
    config.pluginmanager.register(worker)


@dataclass(frozen=True)
class Cost:
    """Of one test: seconds of CPU, and seconds."""

    cpu: float
    wall: float


def _functions(target: Target) -> set[str]:
    return {name.rpartition("__mutmut_")[0] for name in target.mutants.mutant_names}


def _within(budget: float, tests: list[int], costs: list[Cost]) -> list[int]:
    """The quickest of them that fit into the budget, and one at least."""
    chosen: list[int] = []
    for one in sorted(tests, key=lambda test: costs[test].cpu):
        budget -= costs[one].cpu
        if chosen and budget < 0:
            break
        chosen.append(one)
    return chosen


def _learn(session: pytest.Session) -> tuple[list[Cost], dict[tuple[str, str], list[int]]]:
    """What each test costs, and which tests reach which function. Raises pytest.UsageError when one fails."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        hits: set[tuple[str, str]] = set()
        switch.recorded(hits)
        costs: list[Cost] = []
        reached: list[set[tuple[str, str]]] = []
        for _ in _run(session, range(len(session.items)), costs):
            reached.append(set(hits))
            hits.clear()
        with os.fdopen(writer, "wb") as out:
            pickle.dump((costs, reached), out)
        os._exit(bool(session.testsfailed))
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        said = told.read()
    if os.waitpid(child, 0)[1]:
        raise pytest.UsageError("a test failed without any mutant, see above")
    costs, reached = pickle.loads(said)
    reaching: dict[tuple[str, str], list[int]] = {}
    for test, functions in enumerate(reached):
        for function in functions:
            reaching.setdefault(function, []).append(test)
    return costs, reaching


def _run(session: pytest.Session, chosen: Any, costs: list[Cost]) -> Iterator[int]:
    """Runs these tests in this order, until one fails."""
    items = [session.items[one] for one in chosen]
    for number, (item, after) in enumerate(zip(items, [*items[1:], None], strict=True)):
        began, cpu = time.monotonic(), time.process_time()
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
        costs.append(Cost(time.process_time() - cpu, time.monotonic() - began))
        yield number
        if session.testsfailed:
            return


def _try_all(
    session: pytest.Session,
    target: Target,
    mutants: list[str],
    tests: dict[str, list[int]],
    costs: list[Cost],
    children: int,
) -> list[tuple[str, str]]:
    """Each with what became of it, in order."""
    found: dict[str, str] = {}
    running: dict[int, tuple[str, float]] = {}
    waiting = list(reversed(mutants))
    while waiting or running:
        while waiting and len(running) < children:
            mutant = waiting.pop()
            chosen = tests[mutant.rpartition("__mutmut_")[0]]
            if chosen:
                limit = 60 + 20 * sum(costs[one].wall for one in chosen)
                running[_start(session, target.name, mutant, chosen, costs)] = mutant, limit
            else:
                found[mutant] = "no tests"
        time.sleep(TICK)
        found |= dict(_ended(running))
    return [(mutant, found[mutant]) for mutant in mutants]


def _ended(running: dict[int, tuple[str, float]]) -> Iterator[tuple[str, str]]:
    """Those that ended, and those that have waited for too long.

    Time is counted in ticks of this process: while it is stopped, or hardly runs, the children do not either.
    """
    for child, (mutant, left) in list(running.items()):
        pid, status = os.waitpid(child, os.WNOHANG)
        if not pid and left > 0:
            running[child] = mutant, left - TICK
            continue
        if not pid:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
        del running[child]
        yield mutant, "timeout" if os.WIFSIGNALED(status) else "killed" if status else "survived"


def _start(session: pytest.Session, module: str, mutant: str, chosen: list[int], costs: list[Cost]) -> int:
    """The child that tries it."""
    child = os.fork()
    if child:
        return child
    _end_with_parent()
    seconds = ceil(10 + 5 * sum(costs[one].cpu for one in chosen))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    session.config.pluginmanager.unregister(name="terminalreporter")
    switch.become(module, mutant)
    try:
        for _ in _run(session, chosen, []):
            pass
    except BaseException:  # whatever gets out of pytest, a mutant was noticed
        os._exit(3)
    os._exit(bool(session.testsfailed))
