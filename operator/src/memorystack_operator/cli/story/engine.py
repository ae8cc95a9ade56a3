"""Which engine a report was made by: a hash over the modules that turn counts into verdicts.

Knows: their names. Must not know: what they say. A committed report of another engine proves nothing of this one.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Final

__all__ = ["ENGINE", "engine_hash"]

ENGINE: Final = ("arms", "bets", "case", "evidence", "limits", "noncentral", "pairs", "switchback", "trial", "verdict")
"""Of `core`. Texts, plans and renders may change without making a report old."""


def engine_hash() -> str:
    """Twelve hex digits."""
    core = files("memorystack_operator.core")
    digest = hashlib.sha256()
    for name in ENGINE:
        digest.update(f"{name}\n".encode() + core.joinpath(f"{name}.py").read_bytes())
    return digest.hexdigest()[:12]
