"""Requests to the Kubernetes API server: JSON in, JSON out, and two kinds of failure.

ApiFailure
|- Refused       the server answered with an error status
|- Unreachable   no answer: nobody knows whether the request took effect
`- NotLeading    a write that was not sent, because another operator may lead by now

Knows: HTTP and credentials, which are read anew when the server no longer takes them. Must not know: any kind of object.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final, Literal, Self

import aiohttp
import orjson
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTResponse

from memorystack_operator.shell.cluster import Conflict
from memorystack_operator.shell.telemetry import Telemetry

__all__ = ["ApiFailure", "ApiServer", "Json", "Method", "NotLeading", "Refused", "Unreachable"]

Json = dict[str, Any]
Method = Literal["POST", "PUT", "PATCH", "DELETE"]
Connect = Callable[[], Awaitable[Configuration]]
AGENT: Final = f"memorystack-operator/{version('memorystack-operator')}"
"""The API server names the manager of fields after it, where a write names none."""
READ_SECONDS: Final = 30.0
WRITE_SECONDS: Final = 4.5
"""Shorter than what lies between the end of a leader's turn and the beginning of another's (15 s - 10 s)."""

LONGEST_WAIT: Final = 60.0


class ApiFailure(Exception):  # noqa: N818 -- a family of outcomes, each with its own name
    """Root of the tree."""


class Refused(ApiFailure):
    """`status` is HTTP's, `reason` Kubernetes' own word, the message its sentence, `wait` the seconds it asks to be left alone."""

    def __init__(self, status: int, reason: str, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.wait = wait

    @property
    def final(self) -> bool:
        """Trying the same again cannot help: forbidden, or not a valid object."""
        return self.status in (400, 403, 405, 422)


class Unreachable(ApiFailure):
    """The message says why."""


class NotLeading(ApiFailure):
    """The turn is over."""


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    path: str
    params: Mapping[str, str]
    body: object = None
    content: str = "application/json"
    seconds: float = READ_SECONDS


class ApiServer:
    """One client. `may_write` is asked before each write, with nothing awaited in between."""

    def __init__(
        self, connect: Connect, telemetry: Telemetry | None = None, may_write: Callable[[], bool] = lambda: True
    ) -> None:
        self._connect = connect
        self._telemetry = telemetry
        self._may_write = may_write
        self._client: ApiClient | None = None

    async def get(self, path: str, **params: str) -> Json:
        """Raises Refused, Unreachable."""
        return await self._request(_Call("GET", path, params))

    async def write(
        self, method: Method, path: str, body: object, *, content: str = "application/json", **params: str
    ) -> Json:
        """Raises Conflict for 409, NotLeading, Refused, Unreachable. Callers say what a write's own conflicts mean."""
        return await self._request(_Call(method, path, params, body, content, WRITE_SECONDS))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def _request(self, call: _Call) -> Json:
        answer = await self._send(call)
        if answer.status == 401:
            await self._close()  # the token was rotated: the credentials are read again
            answer = await self._send(call)
        return self._read(answer)

    async def _send(self, call: _Call) -> RESTResponse:
        try:
            if self._client is None:
                self._client = ApiClient(await self._connect())
                self._client.user_agent = AGENT
            _, url, headers, sent, _ = await self._client.param_serialize(
                call.method,
                call.path,
                query_params=list(call.params.items()),
                header_params={"Content-Type": call.content, "Accept": "application/json"},
                body=call.body,
                auth_settings=["BearerToken"],
            )
            if call.method != "GET" and not self._may_write():
                msg = f"{call.method} {call.path} was not sent: this process does not lead any more"
                raise NotLeading(msg)
            answer = await self._client.call_api(call.method, url, headers, sent, _request_timeout=call.seconds)
            await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._count(call.method, "<error>")
            raise Unreachable(f"{call.method} {call.path}: {error or type(error).__name__}") from error
        self._count(call.method, str(answer.status))
        return answer

    def _read(self, answer: RESTResponse) -> Json:
        try:
            found = orjson.loads(answer.data or b"{}")
        except orjson.JSONDecodeError:
            found = {}
        if 200 <= answer.status < 300:
            return found if isinstance(found, dict) else {}
        if answer.status == 409:
            raise Conflict(found.get("message", "conflict"))
        wait = str((answer.headers or {}).get("Retry-After", ""))
        raise Refused(
            answer.status,
            found.get("reason", ""),
            found.get("message", str(answer.reason)),
            min(LONGEST_WAIT, float(wait)) if wait.isdigit() else 0.0,
        )

    def _count(self, method: str, code: str) -> None:
        if self._telemetry:
            self._telemetry.requested(method, code)

    async def _close(self) -> None:
        client, self._client = self._client, None
        if client:
            await client.close()
