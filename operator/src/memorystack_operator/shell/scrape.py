"""Asks the pods, all at once, each within two seconds: for their evidence, and why they are not ready.

Knows: URLs and the contract. Must not know: arms. By aiohttp, which the operator needs anyway: httpx beside it costs 3 MB.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, Self

import aiohttp
import orjson
from pydantic import ValidationError

from memorystack_runtime.contract import EVIDENCE_PATH, EvidenceReport

__all__ = ["TIMEOUT_SECONDS", "Scraper"]

TIMEOUT_SECONDS: Final = 2.0


class Scraper:
    """One client for all pods of all stacks. Made where a loop runs."""

    def __init__(self) -> None:
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        )

    async def read(self, pods: Mapping[str, str], *, history: bool) -> dict[str, EvidenceReport | None]:
        """Pod name -> its report, from the base URL of its second port; None: it did not answer, or not in our terms."""
        reports = await asyncio.gather(*(self._one(url, history=history) for url in pods.values()))
        return dict(zip(pods, reports, strict=True))

    async def _one(self, url: str, *, history: bool) -> EvidenceReport | None:
        params = {"history": "1"} if history else {}
        try:
            async with self._client.get(url + EVIDENCE_PATH, params=params) as response:
                response.raise_for_status()
                body = await response.read()
            # A newer runtime may tell more than this operator knows.
            return EvidenceReport.model_validate_json(body, extra="ignore")
        except (aiohttp.ClientError, TimeoutError, OSError, ValidationError):
            return None

    async def problems(self, pods: Mapping[str, str]) -> dict[str, dict[str, str]]:
        """Pod name -> dependency -> what is wrong with it, as the pod's own readiness says; empty where it says nothing."""
        found = await asyncio.gather(*(self._problems(url) for url in pods.values()))
        return dict(zip(pods, found, strict=True))

    async def _problems(self, url: str) -> dict[str, str]:
        try:
            async with self._client.get(f"{url}/readyz") as response:
                said = orjson.loads(await response.read())["problems"]
            return {str(name): str(text) for name, text in said.items()}
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()
