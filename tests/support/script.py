"""A channel that answers from a script and keeps what it was asked: for what the wire must look like, byte by byte."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from memorystack_runtime.errors import Unavailable

Answer = httpx.Response | Unavailable


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    body: Any
    """As JSON; None without one."""
    timeout: float


def ok(result: Any = None) -> httpx.Response:
    """As Qdrant answers."""
    return httpx.Response(200, json={"result": result, "status": "ok"})


class Script:
    """Stands in for pool.Channel. Answers in turn, or by a function of what is asked."""

    def __init__(self, *answers: Answer, by: Callable[[Asked], Answer] | None = None) -> None:
        self.asked: list[Asked] = []
        self._answers = list(answers)
        self._by = by

    async def call(self, method: str, path: str, body: bytes | None = None, *, timeout: float = 30.0) -> httpx.Response:
        asked = Asked(method, path, None if body is None else orjson.loads(body), timeout)
        self.asked.append(asked)
        answer = self._by(asked) if self._by else self._answers.pop(0)
        if isinstance(answer, Unavailable):
            raise answer
        return answer

    @property
    def lines(self) -> list[tuple[str, str, Any]]:
        """Method, path and body of each call."""
        return [(a.method, a.path, a.body) for a in self.asked]
