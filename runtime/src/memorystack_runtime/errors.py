"""What can go wrong in the runtime, in terms of the caller and the dependencies; `problems.py` gives each its HTTP form.

Fault
|- InvalidRequest      the caller's input; names the field
|- NotFound            no such memory in this namespace
|- Overloaded          too much at once; try again later
|- Unavailable         a dependency is down or too slow; try again later
|  `- StorageFull      the vector store cannot take more
|- DependencyRejected  a dependency answers, but not what the stack needs; a person must act
`- Misconfigured       the process cannot start like this; a person must act
"""

from __future__ import annotations

__all__ = [
    "BodyTooLarge",
    "DependencyRejected",
    "Fault",
    "InvalidRequest",
    "Misconfigured",
    "NotFound",
    "Overloaded",
    "StorageFull",
    "Unavailable",
]


class Fault(Exception):  # noqa: N818 -- the tree above reads better without eight suffixes
    """Root of the tree; `str()` is a sentence for people."""


class InvalidRequest(Fault):
    """`field` is the path of the input that is wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class BodyTooLarge(Fault):
    """More bytes than this process takes in one request."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body is larger than {limit} bytes; send fewer or smaller memories at once")


class NotFound(Fault):
    """The memory does not exist in the namespace that was asked."""


class Overloaded(Fault):
    """Refused at once; `retry_after` in seconds."""

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(Fault):
    """`dependency` did not answer, or not in time; `retry_after` in seconds."""

    def __init__(self, dependency: str, message: str, retry_after: int = 1) -> None:
        super().__init__(f"{dependency} {message}")
        self.dependency = dependency
        self.retry_after = retry_after


class StorageFull(Unavailable):
    """The vector store has no room: nothing of the write is visible."""


class DependencyRejected(Fault):
    """`dependency` answered with something that the stack cannot use."""

    def __init__(self, dependency: str, message: str) -> None:
        super().__init__(f"{dependency} {message}")
        self.dependency = dependency


class Misconfigured(Fault):
    """Names the variable or the thing, what is wrong, and the remedy."""
