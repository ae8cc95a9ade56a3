"""The images that a node runs: ours from the repository's Dockerfile, and the stand-ins of tests/cluster/images.

Knows: what goes into each, and where archives are kept. An archive's name holds a hash of all that went into it, so an image is
built once for each state of the tree.
"""

from __future__ import annotations

import fcntl
import hashlib
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from support.cluster.programs import cache_folder, program
from support.node.base import PYTHON, Builder, said

__all__ = ["IMAGES", "PAUSE", "STUB", "Image", "archive_of", "archives"]

REPOSITORY: Final = Path(__file__).parents[3]
VERSION: Final = "0.1.0"
KEPT: Final = 3
"""Archives of each image: the newest."""


@dataclass(frozen=True)
class Image:
    """One target of a Dockerfile."""

    target: str
    dockerfile: str = "Dockerfile"
    lock: str = ""
    packages: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    """Copied by the Dockerfile, besides lock and wheels."""

    @property
    def name(self) -> str:
        """As a manifest writes it; a node takes a name without a registry for one of docker.io/library."""
        return f"memorystack-{self.target}:{VERSION}"

    @property
    def key(self) -> str:
        """Changes when anything that goes into it changes."""
        digest = hashlib.sha256(f"{PYTHON} {platform.machine()}".encode())
        for path in self._sources():
            digest.update(f"{path.relative_to(REPOSITORY)}\0".encode() + path.read_bytes())
        return digest.hexdigest()[:12]

    def _sources(self) -> Iterator[Path]:
        own = ("tests/support/node/base.py", "images/wheels.py", self.dockerfile)
        yield from (REPOSITORY / name for name in (*own, *self.files, *([self.lock] if self.lock else ())))
        for package in self.packages:
            yield REPOSITORY / package / "pyproject.toml"
            found = (REPOSITORY / package / "src").rglob("*")
            yield from sorted(path for path in found if path.is_file() and path.suffix != ".pyc")


_TESTS: Final = "tests/cluster/images"
PAUSE: Final = Image("pause", f"{_TESTS}/Dockerfile", files=("tests/cluster/go/pause/main.go",))
IMAGES: Final = (
    Image("runtime", lock="images/runtime.lock", packages=("runtime",), files=("images/install",)),
    Image("operator", lock="images/operator.lock", packages=("runtime", "operator"), files=("images/install",)),
    Image(
        "engines",
        f"{_TESTS}/Dockerfile",
        f"{_TESTS}/engines.lock",
        ("runtime",),
        ("images/install", f"{_TESTS}/engine"),
    ),
    PAUSE,
)
_STUB: Final = "tests/support/stub"
STUB: Final = Image(
    "stub",
    f"{_TESTS}/Dockerfile",
    "images/runtime.lock",
    ("runtime",),
    ("images/install", *sorted(str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / _STUB).glob("*.py"))),
)
"""A pod that speaks the runtime's contract and waits instead of working: for measurements alone, so no node has it by itself."""


def archives() -> dict[str, Path]:
    """Name -> archive of each image, built where it is missing. Raises ClusterError."""
    cache = cache_folder().parent / "images"
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / "lock"):
        return {image.name: _archive(image, cache) for image in IMAGES}


def archive_of(image: Image) -> Path:
    """Of one, built where it is missing. Raises ClusterError."""
    cache = cache_folder().parent / "images"
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / "lock"):
        return _archive(image, cache)


def _archive(image: Image, cache: Path) -> Path:
    target = cache / f"{image.target}-{image.key}.tar"
    if not target.exists():
        began = time.monotonic()
        print(f"building the image {image.name} (a minute)", file=sys.stderr, flush=True)
        part = target.with_suffix(".part")
        part.unlink(missing_ok=True)
        _build(image, Builder(cache), part)
        part.replace(target)
        print(
            f"building the image {image.name}: done after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True
        )
    target.touch()
    kept = sorted(cache.glob(f"{image.target}-*.tar"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in kept[KEPT:]:
        old.unlink()
    return target


def _build(image: Image, builder: Builder, archive: Path) -> None:
    context = builder.cache / f"context-{image.target}"
    shutil.rmtree(context, ignore_errors=True)
    for name in (image.dockerfile, *image.files, *([image.lock] if image.lock else ())):
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, context / name)
    if image.lock:
        shutil.copytree(_wheels(image, builder.cache), context / "dist" / "wheels" / image.target)
    else:
        (context / "dist").mkdir()
        shutil.copy(program("pause"), context / "dist" / "pause")
    words = ["build", "--isolation", "chroot", "--target", image.target, "--file", image.dockerfile]
    builder.run(*words, "--build-arg", f"BASE={builder.base()}", "--tag", f"localhost/{image.name}", ".", cwd=context)
    builder.run("push", f"localhost/{image.name}", f"docker-archive:{archive}:docker.io/library/{image.name}")
    builder.tidy()
    shutil.rmtree(context)


def _wheels(image: Image, cache: Path) -> Path:
    folder = cache / "wheels" / image.target
    where = ["--python", PYTHON, "--machine", platform.machine()]
    said([sys.executable, "images/wheels.py", image.lock, str(folder), *image.packages, *where], REPOSITORY)
    return folder


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
