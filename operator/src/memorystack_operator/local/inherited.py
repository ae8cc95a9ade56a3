"""Which of this shell's variables a process of ours gets: those of the machine and the interpreter, and no others.

A shell holds tokens, passwords and proxies that are nobody's business in a memory service; in a cluster a pod would not
have them either. Knows: names. Must not know: who asks.
"""

from __future__ import annotations

import os
import re
from typing import Final

__all__ = ["inherited"]

_NAMES: Final = (
    r"PATH|HOME|USER|LOGNAME|TZ|TMPDIR|TEMP|TMP",
    r"LANG|LANGUAGE|LC_\w+",  # the locale
    r"SSL_CERT_(FILE|DIR)",  # whom to trust; an embedder may be elsewhere
    r"(DY)?LD_LIBRARY_PATH",  # where an interpreter that is not the system's finds its libraries
    r"PYTHON\w+",  # the interpreter's own settings
    r"COVERAGE_\w+",  # lets the tests measure what runs in processes
)
_MACHINES_OWN: Final = re.compile("|".join(_NAMES))


def inherited() -> dict[str, str]:
    """The variables of this process that its children get."""
    return {name: value for name, value in os.environ.items() if _MACHINES_OWN.fullmatch(name)}
