"""Qdrant's REST subset over the real Qdrant engine (`qdrant_edge`), in a process of its own.

Run as `python -m memorystack_runtime.dev.qdrant --port N --path DIR`. The engine holds the interpreter's lock, hence the
process; importing this package imports neither the engine nor the server.
"""

from __future__ import annotations

__all__: list[str] = []
