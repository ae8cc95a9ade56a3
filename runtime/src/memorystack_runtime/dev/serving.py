"""One way to put an engine on a port: bind first, serve with uvicorn, end cleanly on SIGTERM.

Knows: sockets, signals and exit codes. Must not know: what any engine does.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from types import FrameType
from typing import Final, Never

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = [
    "EXIT_DAMAGED",
    "EXIT_LOCKED",
    "EXIT_PORT_TAKEN",
    "CannotStartError",
    "CountingProtocol",
    "Listener",
    "add_address_options",
    "bind",
    "finish",
    "serve",
]

EXIT_DAMAGED: Final = 65
"""The data folder cannot be read (sysexits: EX_DATAERR)."""
EXIT_PORT_TAKEN: Final = 69
"""The address cannot be bound (sysexits: EX_UNAVAILABLE)."""
EXIT_LOCKED: Final = 73
"""The data folder is in use by another process or cannot be written (sysexits: EX_CANTCREAT)."""

GRACE_SECONDS: Final = 2
PARENT_SECONDS: Final = 0.5


class CannotStartError(Exception):
    """An engine cannot start; carries the exit code and one sentence for the person who started it."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True)
class Listener:
    """A bound socket and the address that it really has (port 0 has become a number)."""

    socket: socket.socket
    host: str
    port: int

    @property
    def url(self) -> str:
        """Where the engine answers."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


class CountingProtocol(HttpToolsProtocol):
    """uvicorn's protocol, counting the connections that it accepted since the process started."""

    accepted = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn narrows it
        """Count, then serve."""
        CountingProtocol.accepted += 1
        super().connection_made(transport)


def add_address_options(parser: argparse.ArgumentParser) -> None:
    """The options that every engine has."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, required=True, help="port to listen on; 0 takes a free one")
    parser.add_argument("--parent", type=int, help="process id; the engine ends when this is no longer its parent")


def bind(engine: str, host: str, port: int) -> Listener:
    """Take the port before any work is done; CannotStartError names the port when somebody else has it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(1024)
    except (OSError, OverflowError) as error:
        sock.close()
        raise CannotStartError(EXIT_PORT_TAKEN, _bind_sentence(engine, host, port, error)) from error
    return Listener(sock, host, int(sock.getsockname()[1]))


def _bind_sentence(engine: str, host: str, port: int, error: OSError | OverflowError) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return f"{engine}: port {port} on {host} is taken by another process; free it or choose another --port"
    return f"{engine}: cannot listen on {host} port {port} ({error}); choose another --host or --port"


def serve(app: ASGIApp, listener: Listener, parent: int | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then give running requests 2 s; the URL is the first line of stdout.

    With `parent`, also until that process has gone: an engine must not outlive a starter that was killed.
    """
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=CountingProtocol,
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=120,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    announce(listener)
    server = uvicorn.Server(config)
    with listener.socket:
        server.run(sockets=[listener.socket])


def announce(listener: Listener) -> None:
    """Say where, once; connections queue in the bound socket from here on."""
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(f"{listener.url}\n")
        sys.stdout.flush()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def _leave(_signal: int, _frame: FrameType | None) -> Never:
    # uvicorn raises the signal again after its own shutdown: without this the process would die by the signal
    # and skip its exit hooks.
    raise SystemExit(0)


def finish(error: CannotStartError) -> Never:
    """Say the one sentence and leave with its code."""
    sys.stderr.write(f"{error}\n")
    sys.exit(error.code)
