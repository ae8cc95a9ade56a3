"""Starts the vector engine: `python -m memorystack_runtime.dev.qdrant --port N --path DIR`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..serving import CannotStartError, add_address_options, bind, finish, serve
from .app import create_app
from .store import Store

__all__ = ["main"]


def main(argv: list[str] | None = None) -> None:
    """Serve until SIGTERM. Exit codes: 65 folder damaged, 69 port taken, 73 folder locked, 2 wrong option."""
    parser = argparse.ArgumentParser("qdrant", description="Qdrant's REST subset over the real engine.")
    add_address_options(parser)
    parser.add_argument("--path", type=Path, required=True, help="data folder; one process at a time")
    parser.add_argument("--min-free-mb", type=int, default=128, help="writes answer 507 below this free space")
    parser.add_argument("--flush-seconds", type=float, default=5.0, help="interval of flushes to the disk")
    parser.add_argument("--idle-seconds", type=float, default=5.0, help="quiet time before the engine optimises")
    options = parser.parse_args(argv)
    try:
        listener = bind("qdrant", options.host, options.port)
        store = Store(options.path.absolute(), options.min_free_mb << 20)
    except CannotStartError as error:
        finish(error)
    app = create_app(store, flush_seconds=options.flush_seconds, idle_seconds=options.idle_seconds)
    serve(app, listener, options.parent)


if __name__ == "__main__":
    main()
