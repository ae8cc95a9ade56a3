"""Starts the embedder: `python -m memorystack_runtime.dev.embedder --port N`."""

from __future__ import annotations

import argparse

from pydantic import ValidationError

from ..serving import CannotStartError, add_address_options, bind, finish, serve
from .app import create_app
from .request import MAX_DIMENSIONS
from .settings import Settings

__all__ = ["main"]


def main(argv: list[str] | None = None) -> None:
    """Serve until SIGTERM; exit code 69 when the port is taken, 2 when an option is wrong."""
    parser = argparse.ArgumentParser("embedder", description="An OpenAI-compatible embedder for one machine.")
    add_address_options(parser)
    parser.add_argument("--dimensions", type=int, default=384, help="length of the vectors")
    parser.add_argument("--latency-ms", type=float, default=60.0, help="time that a request takes")
    parser.add_argument("--item-latency-ms", type=float, default=2.0, help="further time for each text")
    parser.add_argument("--latency-spread", type=float, default=0.0, help="standard deviation of the logarithm of both")
    parser.add_argument("--capacity", type=int, default=64, help="requests served at the same time")
    parser.add_argument("--max-batch", type=int, default=32, help="texts per request; more are refused with 413")
    options = parser.parse_args(argv)
    if not 1 <= options.dimensions <= MAX_DIMENSIONS:
        parser.error(f"--dimensions must be from 1 to {MAX_DIMENSIONS}, not {options.dimensions}")
    try:
        settings = Settings(
            latency_ms=options.latency_ms,
            item_latency_ms=options.item_latency_ms,
            latency_spread=options.latency_spread,
            capacity=options.capacity,
            max_batch=options.max_batch,
        )
    except ValidationError as error:
        wrong = error.errors()[0]
        parser.error(f"--{str(wrong['loc'][0]).replace('_', '-')}: {wrong['msg']}")
    try:
        listener = bind("embedder", options.host, options.port)
    except CannotStartError as error:
        finish(error)
    serve(create_app(settings, options.dimensions), listener, options.parent)


if __name__ == "__main__":
    main()
