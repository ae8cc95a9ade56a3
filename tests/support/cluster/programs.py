"""Builds the cluster's programs once and keeps them outside the repository, under a name made of what they are built from.

Knows: the cache folder, KUBEBUILDER_ASSETS and `go build`. Must not know: what the programs are for.
"""

from __future__ import annotations

import fcntl
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from support.cluster.errors import ClusterError
from support.cluster.go import go_command
from support.cluster.modules import Module, module_of

__all__ = ["CONTROL_PLANE", "cache_folder", "program", "programs"]

CONTROL_PLANE: Final = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
TOLD_EVERY_SECONDS: Final = 15.0


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/memorystack/cluster, by default under ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "memorystack" / "cluster"


def program(name: str) -> Path:
    """One program, built when it is not there yet. Raises ClusterError."""
    return programs([name])[name]


def programs(names: Iterable[str]) -> dict[str, Path]:
    """Name -> file. From $KUBEBUILDER_ASSETS where it holds one of that name, else from the cache. Raises ClusterError."""
    found, missing = {}, []
    for name in names:
        path = _assets(name) or _cached(name)
        found[name] = path
        if not path.exists():
            missing.append(name)
    for number, name in enumerate(missing, 1):
        _build(name, f"({number} of {len(missing)})")
    return found


def _assets(name: str) -> Path | None:
    folder = os.environ.get("KUBEBUILDER_ASSETS")
    if not folder:
        return None
    if not Path(folder).is_dir():
        raise ClusterError(f"KUBEBUILDER_ASSETS={folder} is no folder: unset it, or let setup-envtest make it")
    path = Path(folder) / name
    return path if path.exists() else None


def _cached(name: str) -> Path:
    return cache_folder() / f"{module_of(name).key}-{sys.platform}-{platform.machine()}" / name


def _build(name: str, place: str) -> None:
    """Two runs at once build it once: the second waits for the first."""
    target = _cached(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(target.with_suffix(".lock")):
        if target.exists():
            return
        module = module_of(name)
        go = go_command(cache_folder())
        part = target.with_suffix(".part")
        flags = ["-trimpath", "-mod=readonly", "-ldflags", module.linker_flags, "-o", str(part)]
        _run([go, "build", *flags, module.tools[name]], module, f"building {name} {place}")
        part.replace(target)  # only now: an interrupted build leaves nothing that looks whole


def _run(command: list[str], module: Module, what: str) -> None:
    began = told = time.monotonic()
    print(f"{what}: the first time takes minutes, later it is there", file=sys.stderr, flush=True)
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command,
            cwd=module.folder,
            stdout=said,
            stderr=said,
            env={**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"},
        )
        try:
            while process.poll() is None:
                time.sleep(0.1)
                if time.monotonic() - told > TOLD_EVERY_SECONDS:
                    told = time.monotonic()
                    print(f"{what}: {told - began:.0f} s so far", file=sys.stderr, flush=True)
        except BaseException:
            process.terminate()
            process.wait()
            raise
        if process.returncode:
            said.seek(0)
            raise ClusterError(f"{what} failed ({' '.join(command)} in {module.folder}):\n{said.read()[-2000:]}")
    print(f"{what}: done after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
