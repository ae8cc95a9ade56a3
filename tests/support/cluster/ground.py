"""Where a cluster's components run: here, as processes of this machine, without root. `support.node` knows another ground.

Knows: what differs between the two. Must not know: the control plane's order.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from support.cluster import control_plane
from support.cluster.access import NODE_NAME
from support.cluster.control_plane import Addresses
from support.cluster.folder import ClusterFolder

__all__ = ["Ground", "Machine", "Ready", "Start"]

Ready = Callable[[], Awaitable[bool]]


class Start(Protocol):
    """Starts a component and returns once it is ready; gives its pid."""

    async def __call__(self, name: str, command: Sequence[str], ready: Ready | None = None) -> int: ...


class Ground(Protocol):
    """Of one cluster."""

    at: Addresses

    async def open(self, start: Start) -> None:
        """Before any component. Raises ClusterError."""

    def place(self, command: Sequence[str]) -> list[str]:
        """The command that runs a component of the control plane there."""

    async def populate(self, start: Start, serves: Callable[[str], Ready]) -> None:
        """A node beside the control plane that is up now. `serves(path)`: whether the API has that. Raises ClusterError."""

    async def close(self) -> None:
        """After the last component was ended; also when it never opened."""


class Machine:
    """This machine as it is; its node makes processes of pods."""

    def __init__(self, folder: ClusterFolder, port: int) -> None:
        self.at = control_plane.choose(port)
        self._folder = folder

    async def open(self, start: Start) -> None:
        """Nothing is needed."""

    def place(self, command: Sequence[str]) -> list[str]:
        """As it is."""
        return list(command)

    async def populate(self, start: Start, serves: Callable[[str], Ready]) -> None:
        """The process kubelet."""
        command = control_plane.process_kubelet(self._folder)
        await start("kubelet", command, serves(f"/api/v1/nodes/{NODE_NAME}"))

    async def close(self) -> None:
        """Nothing was made."""
