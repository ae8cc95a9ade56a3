"""The API server as this kubelet needs it: read, write, and a watch that mends itself.

Knows: HTTP, resource versions and 410. Must not know: pods. Objects stay as JSON: a client library's models cost more than
all else that happens here.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self

import aiohttp
import structlog
import yaml

__all__ = ["Api", "ApiError", "Change", "Object"]

Object = Mapping[str, Any]
STRATEGIC: Final = "application/strategic-merge-patch+json"
AGAIN_SECONDS: Final = 0.5
WATCH_SECONDS: Final = 300
LINE_BYTES: Final = 4 << 20
_log = structlog.get_logger(__name__)


class ApiError(Exception):
    """The API server said no; `code` is its status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Change:
    """One event; `Listed` comes after each list, with the uids of all that is there."""

    kind: Literal["Set", "Gone", "Listed"]
    object: Object
    uids: frozenset[str] = frozenset()


class Api:
    """One session, of the user whom a kubeconfig names."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        self.url = str(cluster["server"])
        self.authority = base64.b64decode(cluster["certificate-authority-data"])
        """PEM, that the server's certificate is trusted by."""
        trust = ssl.create_default_context(cadata=self.authority.decode())
        self._session = aiohttp.ClientSession(
            self.url,
            headers={"authorization": f"Bearer {config['users'][0]['user']['token']}"},
            connector=aiohttp.TCPConnector(ssl=trust, limit=0),
            timeout=aiohttp.ClientTimeout(total=30),
            read_bufsize=LINE_BYTES,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def get(self, path: str) -> Object:
        """Raises ApiError, aiohttp.ClientError."""
        return await self._send("GET", path)

    async def post(self, path: str, body: Object) -> Object:
        """Raises ApiError, aiohttp.ClientError."""
        return await self._send("POST", path, body)

    async def patch(self, path: str, body: Object) -> Object:
        """Strategic merge. Raises ApiError, aiohttp.ClientError."""
        return await self._send("PATCH", path, body, STRATEGIC)

    async def delete(self, path: str, body: Object) -> Object:
        """Raises ApiError, aiohttp.ClientError."""
        return await self._send("DELETE", path, body)

    async def changes(self, path: str, selector: str) -> AsyncIterator[Change]:
        """All objects that match the field selector, then every change, for ever."""
        while True:
            try:
                found = await self._send("GET", f"{path}?fieldSelector={selector}")
                items = found.get("items") or []
                for item in items:
                    yield Change("Set", item)
                yield Change("Listed", {}, frozenset(i["metadata"]["uid"] for i in items))
                async for change in self._watch(path, selector, found["metadata"]["resourceVersion"]):
                    yield change
            except (ApiError, aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                _log.warning("watch_again", path=path, why=str(error))
                await asyncio.sleep(AGAIN_SECONDS)

    async def _watch(self, path: str, selector: str, version: str) -> AsyncIterator[Change]:
        """Until the server ends it with an error; a watch that only ran out is taken up where it was."""
        while True:
            query = f"watch=1&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={version}"
            timeout = aiohttp.ClientTimeout(total=None, sock_read=WATCH_SECONDS + 30)
            async with self._session.get(f"{path}?{query}&fieldSelector={selector}", timeout=timeout) as answer:
                await _refused(answer)
                async for line in answer.content:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise ApiError(event["object"].get("code", 500), event["object"].get("message", ""))
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        yield Change("Gone" if event["type"] == "DELETED" else "Set", event["object"])

    async def _send(self, verb: str, path: str, body: Object | None = None, kind: str = "application/json") -> Object:
        data = None if body is None else json.dumps(body)
        async with self._session.request(verb, path, data=data, headers={"content-type": kind}) as answer:
            await _refused(answer)
            found: Object = await answer.json()
            return found


async def _refused(answer: aiohttp.ClientResponse) -> None:
    if answer.status >= 400:
        text = await answer.text()
        try:
            message = str(json.loads(text)["message"])
        except (ValueError, KeyError, TypeError):
            message = text[:200]
        raise ApiError(answer.status, message)
