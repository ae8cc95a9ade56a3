"""What a start needed and a quiet operator does not is given back to the machine.

Knows: glibc's allocator; with another there is nothing to do. Must not know: what the memory was for.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
from typing import Final

__all__ = ["give_back", "keep_small", "one_arena"]

_ARENA_MAX: Final = -8
"""`M_ARENA_MAX` of mallopt(3)."""
PAUSE_SECONDS: Final = 15.0
"""Some tens of milliseconds of work each time. Without it 200 stacks keep 20 MB more of what a start needs."""


def one_arena() -> None:
    """To be called before there are threads: each would keep an arena of its own, never shared and hardly ever returned."""
    if mallopt := _of_glibc("mallopt"):
        mallopt(_ARENA_MAX, 1)


def give_back() -> None:
    """What was freed since; some tens of milliseconds."""
    gc.collect()
    if trim := _of_glibc("malloc_trim"):
        trim(0)


async def keep_small(started: asyncio.Event) -> None:
    """From the end of the start on, for ever: gives back what was freed in between."""
    await started.wait()
    while True:
        give_back()
        await asyncio.sleep(PAUSE_SECONDS)


def _of_glibc(name: str) -> ctypes._NamedFuncPointer | None:
    """None where the C library has no such function."""
    return getattr(ctypes.CDLL(None), name, None)
