"""Log lines: JSON where a machine reads them, plain where a person does. Every line carries the brand and the pod."""

from __future__ import annotations

import logging
import sys

import structlog

from memorystack_runtime.errors import Misconfigured

__all__ = ["configure"]


def configure(brand: str, pod: str, level: str) -> None:
    """For the whole process, to stderr. Raises Misconfigured for an unknown level."""
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        msg = f"MEMORYSTACK_LOG_LEVEL: {level!r} is no level; use debug, info, warning or error"
        raise Misconfigured(msg)
    person = sys.stderr.isatty()
    last = structlog.dev.ConsoleRenderer() if person else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(brand=brand, pod=pod)
