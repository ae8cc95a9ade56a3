"""Our own log lines while a command runs: warnings and worse on stderr, plain."""

from __future__ import annotations

import logging
import sys

import structlog

__all__ = ["quiet_logs"]


def quiet_logs() -> None:
    """People watch events; what is logged below a warning would only hide them."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
