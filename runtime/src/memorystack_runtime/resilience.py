"""Calls again what may be called again: every call here is idempotent, since ids are made from content.

Knows: statuses and waiting. Must not know: dependencies. The caller's deadline (admission.py) bounds all of it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

import httpx

from memorystack_runtime.errors import Unavailable

__all__ = ["ATTEMPTS", "insist", "retry_after"]

ATTEMPTS: Final = 3
BASE_SECONDS: Final = 0.05
LONGEST_SECONDS: Final = 5.0
_AGAIN: Final = frozenset({429, 502, 503, 504})


async def insist(name: str, call: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """The first answer that is not "later". Waits as long as Retry-After says, else with full jitter.

    Raises Unavailable after three tries, or at once when the dependency asks for more than 5 s.
    """
    attempt = 0
    while True:
        last = attempt + 1 == ATTEMPTS
        try:
            response = await call()
        except Unavailable:
            if last:
                raise
            wait = _jitter(attempt)
        else:
            if response.status_code not in _AGAIN:
                return response
            asked = retry_after(response)
            wait = _jitter(attempt) if asked is None else asked
            if last or wait > LONGEST_SECONDS:
                raise Unavailable(name, f"answered {response.status_code}", retry_after=max(1, round(wait)))
        await asyncio.sleep(wait)
        attempt += 1


def retry_after(response: httpx.Response) -> float | None:
    """Seconds of the Retry-After header; None where it is absent or a date."""
    try:
        return max(0.0, float(response.headers.get("retry-after", "")))
    except ValueError:
        return None


def _jitter(attempt: int) -> float:
    return random.uniform(0, BASE_SECONDS * 2**attempt)  # noqa: S311 -- spreads retries, guards nothing
