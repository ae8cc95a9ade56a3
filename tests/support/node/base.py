"""The base of all images where no registry is reached: Debian with Python, made by debootstrap, kept outside the repository.

Knows: debootstrap and buildah. Must not know: what is put on top.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from support.cluster.errors import ClusterError

__all__ = ["PYTHON", "Builder"]

SUITE: Final = "bookworm"
PYTHON: Final = "3.11.2"
"""The suite's."""
INCLUDED: Final = ("ca-certificates", "python3", "python3-venv")
_NEEDLESS: Final = ("usr/share/doc", "usr/share/locale", "usr/share/man", "var/cache/apt", "var/lib/apt/lists")


class Builder:
    """buildah with a store of its own under `cache`."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self._store = ["--root", str(cache / "store"), "--runroot", str(cache / "run"), "--storage-driver", "vfs"]

    def run(self, *words: str, cwd: Path | None = None) -> str:
        """What it printed. Raises ClusterError with its last words."""
        return said(["buildah", *self._store, *words], cwd)

    def base(self) -> str:
        """The base image's name; made when it is not there yet."""
        key = hashlib.sha256(" ".join((SUITE, *INCLUDED, *_NEEDLESS)).encode()).hexdigest()[:12]
        name = f"localhost/memorystack-base:{key}"
        if name not in self.run("images", "--format", "{{.Name}}:{{.Tag}}").split():
            self._make_base(name)
        return name

    def tidy(self) -> None:
        """Removes everything but the base: what an interrupted build left, and what was pushed."""
        self.run("rm", "--all")
        for image in self.run("images", "--all", "--format", "{{.ID}} {{.Name}}").splitlines():
            ident, name = image.split()
            if name != "localhost/memorystack-base":
                self.run("rmi", "--force", ident)

    def _make_base(self, name: str) -> None:
        began = time.monotonic()
        print(f"the images' base: Debian {SUITE} by debootstrap (two minutes, once)", file=sys.stderr, flush=True)
        self.cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.cache) as folder:
            root = Path(folder) / "root"
            said(["debootstrap", "--variant=minbase", f"--include={','.join(INCLUDED)}", SUITE, str(root)])
            for needless in _NEEDLESS:
                shutil.rmtree(root / needless, ignore_errors=True)
            container = self.run("from", "scratch").strip()
            self.run("add", container, f"{root}/", "/")
            self.run("commit", "--rm", container, name)
        print(f"the images' base: done after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def said(command: Sequence[str], cwd: Path | None = None) -> str:
    """A command's output. Raises ClusterError with its last words."""
    env = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"{' '.join(command)} failed:\n{(done.stderr or done.stdout)[-2000:]}")
    return done.stdout
