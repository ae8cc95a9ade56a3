"""What a container's image means here: the command that this machine runs in its place. Knows names; starts nothing."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

__all__ = ["IMAGES", "UnknownImage", "command_of"]

STILL: Final = Path(__file__).parents[1] / "stub" / "still.py"
IMAGES: Final = {
    "memorystack-runtime": f"{shlex.quote(sys.executable)} -m memorystack_runtime.app",
    "memorystack-stub": f"{shlex.quote(sys.executable)} -m support.stub",
    "memorystack-operator": "memorystack-operator",
    "memorystack-still": f"{shlex.quote(sys.executable)} -I -S {shlex.quote(str(STILL))}",
}
"""Name without registry and tag -> command."""
PROGRAMS: Final = dict.fromkeys(["python", "python3"], sys.executable) | {
    "memorystack-operator": str(Path(sys.executable).with_name("memorystack-operator"))
}
"""Those of this environment, whatever PATH says."""


class UnknownImage(Exception):  # noqa: N818 -- what a kubelet calls ErrImagePull
    """`str()` is what a registry would say."""


def command_of(container: Mapping[str, Any], images: Mapping[str, str] = IMAGES) -> list[str]:
    """The image's own command unless the container brings one, of this environment's programs. Raises UnknownImage."""
    image = str(container["image"])
    known: Sequence[str] | None = _entrypoint(image, images)
    if known is None:
        raise UnknownImage(f'failed to pull image "{image}": there is no such image here')
    command = list(container.get("command") or known)
    if command[0] in PROGRAMS:
        command[0] = PROGRAMS[command[0]]
    return command + list(container.get("args") or [])


def _entrypoint(image: str, images: Mapping[str, str]) -> list[str] | None:
    name = image.rsplit("/", 1)[-1].split("@", maxsplit=1)[0].split(":", maxsplit=1)[0]
    # A tag may say that it is not there: the tests' way to an image that cannot be pulled.
    return shlex.split(images[name]) if name in images and not image.endswith(":missing") else None
