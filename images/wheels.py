"""Fetches what an image is made of: the wheels of a lock, by their hashes, for a Python and a machine that need not be this one.

`make wheels` runs it for the images of the Dockerfile. Knows: locks, their markers, and pip. Must not know: images.
"""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement

REPOSITORY = Path(__file__).parents[1]
GLIBC = (17, 24, 27, 28, 31, 34, 35, 36)
"""Minor versions of glibc 2 up to that of Debian bookworm, as wheels name them."""
_ENTRY = re.compile(r"^(\S[^\\\n]*?) *\\?\n((?: +--hash=.*\n?)*)", re.MULTILINE)


def lock_for(lock: str, python: str, machine: str) -> str:
    """The lines that count there. pip itself would ask the Python that it runs on."""
    about = {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": python,
        "python_version": ".".join(python.split(".")[:2]),
        "sys_platform": "linux",
    }
    lines = []
    for entry in _ENTRY.finditer(lock):
        requirement = Requirement(entry[1])
        if requirement.marker is None or requirement.marker.evaluate(about):
            lines.append(f"{requirement.name}{requirement.specifier} \\\n{entry[2]}")
    return "".join(lines)


def fetch(lock: Path, folder: Path, python: str, machine: str, pip: str) -> None:
    """Into the folder, unless it holds just that already. Raises CalledProcessError; pip says why on its own."""
    chosen = lock_for(lock.read_text(), python, machine)
    fetched = folder / "fetched.txt"
    if fetched.exists() and fetched.read_text() == f"# {python} {machine}\n{chosen}":
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "lock.txt").write_text(chosen)
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in GLIBC] + [f"manylinux2014_{machine}"]
    words = ["download", "--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps"]
    words += ["--only-binary", ":all:", "--implementation", "cp", "--python-version", ".".join(python.split(".")[:2])]
    words += [word for platform in platforms for word in ("--platform", platform)]
    words += ["--requirement", str(folder / "lock.txt"), "--dest", str(folder)]
    subprocess.run([*shlex.split(pip), *words], check=True)
    (folder / "lock.txt").unlink()
    fetched.write_text(f"# {python} {machine}\n{chosen}")


def build(package: str, folder: Path) -> None:
    """One of our own, from this tree."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=REPOSITORY / package, check=True, capture_output=True)


def _pip() -> str:
    """uv makes environments without one."""
    return f"{shlex.quote(sys.executable)} -m pip" if find_spec("pip") else "python3 -m pip"


def main() -> None:
    """Exit code 1 when pip or the build failed, having said why."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lock", type=Path, help="as images/runtime.lock")
    parser.add_argument("folder", type=Path, help="filled, and rid of what was there")
    parser.add_argument("packages", nargs="*", help="our own beside it: runtime, operator")
    parser.add_argument("--python", required=True, help="the image's Python, in full where a lock asks for it: 3.11.2")
    parser.add_argument("--machine", required=True, help="x86_64 or aarch64")
    parser.add_argument("--pip", default="", help="the command; left out: of this environment, or of python3 on PATH")
    given = parser.parse_args()
    folder = given.folder.absolute()
    try:
        fetch(given.lock, folder, given.python, given.machine, given.pip or _pip())
        for own in folder.glob("memorystack_*.whl"):
            own.unlink()
        for package in given.packages:
            build(package, folder)
    except subprocess.CalledProcessError as error:
        sys.exit(f"wheels: {error}\n{(error.stderr or b'').decode()}")


if __name__ == "__main__":
    main()
