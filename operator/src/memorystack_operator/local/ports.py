"""Free ports on the loopback, and whether a wanted one is free. Knows sockets only."""

from __future__ import annotations

import socket
import sys
from contextlib import ExitStack, closing

from memorystack_operator.local.errors import CannotStart

__all__ = ["address_of", "check_port", "free_port", "free_ports"]


def address_of(index: int) -> str:
    """Pod number `index` (from 0) on its own loopback address where the system has more than one: 127.0.0.2, .3, ..."""
    return f"127.0.0.{2 + index % 250}" if sys.platform == "linux" else "127.0.0.1"


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on now."""
    return free_ports(host, 1)[0]


def free_ports(host: str, count: int) -> list[int]:
    """That many different ones: each is held until the last is found."""
    with ExitStack() as held:
        sockets = [held.enter_context(closing(socket.socket())) for _ in range(count)]
        for one in sockets:
            one.bind((host, 0))
        return [int(one.getsockname()[1]) for one in sockets]


def check_port(host: str, port: int, option: str) -> None:
    """Raises CannotStart naming the port and the option that moves it."""
    with closing(socket.socket()) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((host, port))
        except OSError as error:
            msg = f"port {port} on {host} cannot be used ({error.strerror}): free it, or choose another with {option}"
            raise CannotStart(msg) from None
