"""An OpenAI-compatible embedder for one machine: vectors that mean something, latency and failure as set.

Run as `python -m memorystack_runtime.dev.embedder --port N`; change it while it runs with `PUT /control`.
"""

from __future__ import annotations

from .settings import Failure, Settings
from .vectors import embed

__all__ = ["Failure", "Settings", "embed"]
