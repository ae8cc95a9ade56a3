"""What keeps `memorystack up` from running, each with its remedy.

LocalError
|- AlreadyRunning   another `up` holds the state folder
|- NotRunning       there is no `up` to talk to
`- CannotStart      a port, a folder or an engine
"""

from __future__ import annotations

__all__ = ["AlreadyRunning", "CannotStart", "LocalError", "NotRunning"]


class LocalError(Exception):
    """Root of the tree; `str()` is one sentence for people."""


class AlreadyRunning(LocalError):  # noqa: N818
    """Names the process and what to do."""


class NotRunning(LocalError):  # noqa: N818
    """Names the folder that was looked at."""


class CannotStart(LocalError):  # noqa: N818
    """Names the thing and the remedy."""
