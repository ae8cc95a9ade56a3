"""Which modules are mutated, and which tests should notice: fast ones, that need no process of their own.

A function is tried with those of these tests that reach it, quickest first; so the lists may be wide, but each test in
them runs once before the mutants do.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from support.mutation.trials import ROOT, SOURCES, Module

__all__ = ["chosen"]

CORE: Final = "memorystack_operator/core/"
RUNTIME: Final = "memorystack_runtime/"
ON_ENGINES: Final = ("memory",)
"""What puts the parts together is tried on the real engines."""
OWN_TESTS: Final = ("auth", "cache", "embedder", "flags", "generations", "ingest", "pool", "recall", "resilience", "sparse", "store")  # fmt: skip
"""The parts of the data path by themselves: each call on the wire, each step, what a failure leaves."""
SMALL: Final = ("admission", "chunking", "deadlines", "evidence")
NOT_SLOW: Final = (
    "-k",
    " and ".join(
        f"not {words}"
        for words in (
            "enumeration",
            "almost_never",
            "between_any_two_reads",
            "in_minutes",
            "under_load",
            "leaves_no_task",
        )
    ),
)
"""Those that prove an error rate by thousands of runs, or wait long: they notice little that a quicker one does not."""
TABLE: Final[tuple[tuple[str, str], ...]] = (
    (f"{CORE}bets.py", "evidence forecast"),
    (f"{CORE}evidence.py", "evidence verdict"),
    (f"{CORE}switchback.py", "switchback"),
    (f"{CORE}pairs.py", "switchback proving"),
    (f"{CORE}trial.py", "switchback proving"),
    (f"{CORE}reverse.py", "stabilization records"),
    (f"{CORE}slices.py", "stabilization failing"),
    (f"{CORE}failing.py", "failing"),
    (f"{CORE}traffic.py", "outlook forecast"),
    (f"{CORE}late_reasons.py", "reasons"),
    (f"{CORE}reasons.py", "reasons"),
    (f"{CORE}progress.py", "progress"),
    (f"{CORE}proving.py", "proving"),
    (f"{CORE}verdict.py", "verdict phrases"),
    (f"{CORE}limits.py", "limits evidence calibration"),
    (f"{CORE}calibration.py", "calibration"),
    (f"{CORE}dispersion.py", "calibration"),
    (f"{CORE}history.py", "calibration"),
    (f"{CORE}arms.py", "arms calibration verdict"),
    (f"{CORE}chi_square.py", "noncentral calibration"),
    (f"{CORE}noncentral.py", "noncentral calibration"),
    (f"{CORE}stages.py", "stages"),
    (f"{CORE}canary.py", "canary"),
    (f"{CORE}latency.py", "latency"),
    (f"{CORE}phrases.py", "phrases verdict"),
    (f"{CORE}case.py", "verdict phrases"),
    (f"{CORE}interruption.py", "moves"),
    (f"{CORE}pairing.py", "moves"),
    (f"{CORE}ending.py", "moves"),
    (f"{CORE}records.py", "records moves"),
    (f"{CORE}conditions.py", "conditions"),
    (f"{CORE}decide.py", "decide"),
    (f"{CORE}forecast.py", "forecast outlook"),
    (f"{CORE}outlook.py", "outlook forecast"),
    (f"{CORE}advice.py", "advice"),
    (f"{CORE}room.py", "proving outlook"),
    (f"{CORE}explain.py", "explain late_reasons"),
    (f"{CORE}standing.py", "standing"),
    (f"{CORE}reversal.py", "reversal"),
    (f"{CORE}stabilization.py", "stabilization reversal"),
    (f"{CORE}render/surge.py", "surge"),
    (f"{CORE}render/*.py", "render"),
    (f"{CORE}afterwards.py", "afterwards"),
    (f"{CORE}packing.py", "packing"),
    (f"{CORE}accounting.py", "accounting"),
    (f"{CORE}lookback.py", "lookback accounting"),
    (f"{CORE}situation.py", "situation"),
    (f"{CORE}status.py", "situation"),
    (f"{CORE}rollout.py", "carry_out"),
    (f"{CORE}surging.py", "surging"),
    (f"{CORE}surge.py", "warming guards"),
    (f"{CORE}qualifying.py", "qualifying"),
    (f"{CORE}observe.py", "warming"),
    (f"{CORE}*.py", "carry_out"),
    (f"{CORE}guards/*.py", "guards"),
    *((f"{RUNTIME}{name}.py", f"{name}_parts {name}") for name in ON_ENGINES),
    *((f"{RUNTIME}{name}.py", name) for name in OWN_TESTS),
    *((f"{RUNTIME}{name}.py", "units") for name in SMALL),
)
"""The first pattern that fits a module names its tests, files of tests/operator/core or tests/runtime."""
LEFT_OUT: Final = ("*/__init__.py", "*/__main__.py")


def chosen(words: Sequence[str]) -> list[Module]:
    """Modules by name (`core/bets.py`), by folder (`core/guards`), or by path; all without words. Raises SystemExit."""
    known = _known()
    if not words:
        return known
    found = []
    for word in words:
        fitting = [m for m in known if m.name == word or m.name.startswith(f"{word.rstrip('/')}/")]
        fitting = fitting or [m for m in known if str(m.source.relative_to(ROOT)) == word]
        if not fitting:
            raise SystemExit(f"no module {word}: name one as core/bets.py, or a folder as core/guards")
        found += fitting
    return list(dict.fromkeys(found))


def _known() -> list[Module]:
    found = []
    for source in SOURCES.values():
        for file in sorted((ROOT / source).rglob("*.py")):
            path = file.relative_to(ROOT / source)
            words = next((words for pattern, words in TABLE if _fits(path, pattern)), None)
            if words and not any(fnmatch(str(path), left) for left in LEFT_OUT):
                on_engines = path.stem in ON_ENGINES and path.parts[0] == "memorystack_runtime"
                found.append(Module(path, (*map(_tests, words.split()), *NOT_SLOW), on_engines))
    return found


def _tests(word: str) -> str:
    """A file or a folder of tests, as pytest is told."""
    tests = ROOT / "tests"
    folders = (tests / "operator" / "core", tests / "runtime", tests / "runtime" / "dev")
    found = (path for folder in folders for path in (folder / f"test_{word}.py", folder / word) if path.exists())
    return str(next(found).relative_to(ROOT))


def _fits(path: Path, pattern: str) -> bool:
    """As a shell would match it: a star does not reach into a folder."""
    return fnmatch(str(path), pattern) and len(path.parts) == len(Path(pattern).parts)
