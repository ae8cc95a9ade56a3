"""Follows one resource as anybody may, and notes when its verdict was there to be read.

Knows: the API's watch. Must not know: traffic, or what a verdict means. Times are this machine's clock, as the traffic's are.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Self

import httpx
from support.cluster import ControlPlane
from support.stacks import Stack

__all__ = ["Observer"]

LONGEST_SECONDS = 900


class Observer:
    """From the block's begin until the resource is deleted."""

    def __init__(self, plane: ControlPlane, stack: Stack) -> None:
        self.seen: list[tuple[float, Mapping[str, Any]]] = []
        """Unix seconds, and the status as it was then."""
        self._plane = plane
        self._stack = stack
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"observer-{stack.name}", daemon=True)

    def first(self, holds: Callable[[Mapping[str, Any]], object]) -> float | None:
        """Unix seconds at which a status was first seen that `holds` is true of."""
        return next((at for at, status in tuple(self.seen) if holds(status)), None)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._begun.wait(30), f"no watch of {self._stack.name} begins"
        return self

    def __exit__(self, *_: object) -> None:
        """The thread ends with the resource's deletion, or with the process."""

    def _run(self) -> None:
        collection, _, name = self._stack.path.rpartition("/")
        query = {"watch": "1", "fieldSelector": f"metadata.name={name}", "timeoutSeconds": str(LONGEST_SECONDS)}
        forever = httpx.Timeout(30, read=None)
        with (
            suppress(httpx.HTTPError),  # the API server went first
            self._plane.api() as api,
            api.stream("GET", collection, params=query, timeout=forever) as answer,
        ):
            for line in answer.iter_lines():
                event = json.loads(line)
                self.seen.append((time.time(), event["object"].get("status", {})))
                self._begun.set()
                if event["type"] == "DELETED":
                    return
