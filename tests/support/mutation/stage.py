"""A folder in which mutmut can work: it names mutants by their files' paths below one `src/`, and we have two.

Knows: mutmut's own settings and files. Must not know: which tests belong to which module.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import tomllib
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from memorystack_runtime.dev import start

__all__ = ["ROOT", "Module", "Mutant", "Outcome", "run"]

ROOT: Final = Path(__file__).parents[3]
STAGES: Final = ROOT / "mutants"
SOURCES: Final = {"memorystack_operator": "operator/src", "memorystack_runtime": "runtime/src"}
SHARED: Final = ("tests", "examples", "crds", "docs")
CHILDREN: Final = 2
LIMIT_SECONDS: Final = 3600
DETECTED: Final = ("killed", "timeout", "segfault")
"""A segfault is the SIGKILL of a mutant that outlived its CPU limit."""


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
    def source(self) -> Path:
        """Where it is kept."""
        return ROOT / SOURCES[self.path.parts[0]] / self.path


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change, and as a diff of two lines what it was where no test noticed."""

    name: str
    status: str
    change: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one module."""

    detected: int
    total: int
    survivors: tuple[Mutant, ...]


def run(module: Module) -> Outcome:
    """Mutates it, or goes on where an earlier run of the same code was ended. Raises SystemExit with what went wrong."""
    stage = STAGES / module.name.replace("/", "-").removesuffix(".py")
    _set_up(stage, module)
    log = stage / "log"
    with ExitStack() as kept, log.open("w") as out:
        engines = _engines(kept, stage) if module.on_engines else {}
        children = 1 if module.on_engines else CHILDREN
        code = _mutmut(stage, children, out, _environment() | engines)
    if code and not _tell(stage, module):
        return Outcome(0, 0, ())  # nothing in it can be mutated: values and tables alone
    if code:
        words = [line for line in log.read_text().replace("\r", "\n").splitlines() if line.strip()]
        raise SystemExit("\n".join([f"{module.name}: mutmut ended with {code}; see {log}", *words[-30:]]))
    return _outcome(stage, module)


def _mutmut(stage: Path, children: int, out: IO[str], environment: dict[str, str]) -> int:
    """Its exit code. However this ends, none of the processes that it forked is left."""
    command = [str(Path(sys.executable).with_name("mutmut")), "run", "--max-children", str(children)]
    with subprocess.Popen(
        command, cwd=stage, stdout=out, stderr=subprocess.STDOUT, env=environment, process_group=0
    ) as running:
        try:
            return running.wait(LIMIT_SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)


def _engines(kept: ExitStack, stage: Path) -> dict[str, str]:
    """Variables that lend a Qdrant engine and an embedder to the tests."""
    folder = kept.enter_context(tempfile.TemporaryDirectory(dir=stage))
    qdrant = kept.enter_context(start("qdrant", path=Path(folder)))
    embedder = kept.enter_context(start("embedder", latency_ms=1, item_latency_ms=0, capacity=64))
    found = (("QDRANT", qdrant), ("EMBEDDER", embedder))
    return {f"MEMORYSTACK_TEST_ENGINE_{name}": f"{engine.url} {engine.pid}" for name, engine in found}


def _environment() -> dict[str, str]:
    """Nothing of a coverage run, which would measure the mutants."""
    return {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")} | {"PYTHONHASHSEED": "0"}


def _set_up(stage: Path, module: Module) -> None:
    (stage / "src").mkdir(parents=True, exist_ok=True)
    links = {f"src/{package}": ROOT / source / package for package, source in SOURCES.items()}
    links |= {name: ROOT / name for name in SHARED}
    for name, target in links.items():
        link = stage / name
        if not link.is_symlink():
            link.symlink_to(target)
    (stage / "pyproject.toml").write_text(_settings(module))


def _settings(module: Module) -> str:
    """TOML: pytest's settings are the repository's own."""
    pytest = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    mutmut = {
        "source_paths": [f"src/{package}" for package in SOURCES],
        "only_mutate": [f"src/{module.path}"],
        "also_copy": [name for name in SHARED if name != "tests"],
        "pytest_add_cli_args": ["-p", "no:cacheprovider", "-p", "no:cov", "-p", "no:xdist"],
        "pytest_add_cli_args_test_selection": list(module.tests),
        "timeout_multiplier": 5.0,
        "use_git_change_detection": False,
    }
    parts = (("tool.pytest.ini_options", pytest), ("tool.mutmut", mutmut))
    return "\n".join(
        f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
        for name, values in parts
    )


_READ: Final = """
import json, sys
from pathlib import Path
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code

path = Path(sys.argv[1])
data = SourceFileMutationData(path=path)
data.load()
found = []
for name, code in data.exit_code_by_key.items():
    status, change = status_by_exit_code[code], ""
    if status not in sys.argv[2:]:
        lines = get_diff_for_mutant(name, path=path).splitlines()[2:]
        change = "\\n".join(line for line in lines if line[:1] in "+-" and line[:3] not in ("---", "+++"))
    found.append((name, status, change))
print(json.dumps(found))
"""


def _outcome(stage: Path, module: Module) -> Outcome:
    found = _tell(stage, module)
    undecided = sum(one.status in ("not checked", "check was interrupted by user") for one in found)
    if undecided:
        raise SystemExit(f"{module.name}: {undecided} of {len(found)} mutants were not tried: run it again")
    survivors = tuple(one for one in found if one.status not in DETECTED)
    return Outcome(len(found) - len(survivors), len(found), survivors)


def _tell(stage: Path, module: Module) -> list[Mutant]:
    """All mutants, read by mutmut's own code, whose working directory is the stage."""
    argv = [sys.executable, "-c", _READ, f"src/{module.path}", *DETECTED]
    said = subprocess.run(argv, cwd=stage, capture_output=True, text=True, check=True, env=_environment()).stdout
    return [Mutant(name, status, change) for name, status, change in json.loads(said)]
