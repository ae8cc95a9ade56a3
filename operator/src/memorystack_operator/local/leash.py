"""A process that must not outlive the one that started it. Knows Linux's parent-death signal; elsewhere `remains` cleans up.

The shortest possible program: it asks the kernel for the signal, checks that its parent is still there, and becomes the target.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

__all__ = ["on_leash"]

_PROGRAM: Final = (
    "import ctypes,os,sys\n"
    "ctypes.CDLL(None).prctl(1,9)\n"  # PR_SET_PDEATHSIG, SIGKILL
    "os.getppid()==int(sys.argv[1]) or os._exit(1)\n"
    "os.execvp(sys.argv[2],sys.argv[2:])\n"
)


def on_leash(argv: Sequence[str]) -> list[str]:
    """The command that runs `argv` so that it is killed when this very process dies."""
    if sys.platform != "linux":
        return list(argv)
    return [sys.executable, "-ISs", "-c", _PROGRAM, str(os.getpid()), *argv]
