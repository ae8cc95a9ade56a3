"""An API server in memory, as the shell's modules ask it: objects by path, every call written down, failures on demand.

Knows: paths, versions, and that an apply merges. Must not know: what any module does with it. What the real one does is
shown in tests/cluster; this one shows what is asked of it, and when.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from memorystack_operator.shell.api_server import Refused

__all__ = ["ApiDouble", "Call"]


@dataclass(frozen=True)
class Call:
    """One request."""

    method: str
    path: str
    body: Any = None
    params: Mapping[str, str] = field(default_factory=dict)


@dataclass
class ApiDouble:
    """Stands in for shell.api_server.ApiServer."""

    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    failures: list[tuple[Callable[[Call], bool], Exception]] = field(default_factory=list)
    """Each fails one call that it fits."""
    version: int = 100

    def fail(self, error: Exception, method: str = "", part: str = "") -> None:
        """The next call of that method whose path holds that part."""
        self.failures.append((lambda c: c.method.startswith(method) and part in c.path, error))

    def put(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """As somebody else would."""
        self.version += 1
        made = copy.deepcopy(dict(body))
        meta = made.setdefault("metadata", {})
        meta.setdefault("uid", f"uid-{self.version}")
        meta["resourceVersion"] = str(self.version)
        self.objects[path] = made
        return made

    def did(self, method: str = "") -> list[str]:
        """`PATCH /api/...` for each call, or those of one method."""
        return [f"{c.method} {c.path}" for c in self.calls if c.method.startswith(method)]

    async def get(self, path: str, **params: str) -> dict[str, Any]:
        self._called(Call("GET", path, None, params))
        if path not in self.objects:
            raise Refused(404, "NotFound", f"{path} not found")
        return copy.deepcopy(self.objects[path])

    async def write(
        self, method: str, path: str, body: Any, *, content: str = "application/json", **params: str
    ) -> dict[str, Any]:
        self._called(Call(method, path, copy.deepcopy(body), {**params, "content": content}))
        if method == "DELETE":
            return self.objects.pop(path, {})
        if method == "POST":
            path = f"{path}/{body['metadata']['name']}"
        if isinstance(body, list):  # a JSON patch of the status
            path, body = path.removesuffix("/status"), {"status": body[-1]["value"]}
        return copy.deepcopy(self.put(path, _merged(self.objects.get(path, {}), body)))

    def _called(self, call: Call) -> None:
        self.calls.append(call)
        for index, (fits, error) in enumerate(self.failures):
            if fits(call):
                del self.failures[index]
                raise error


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(old)
    for key, value in new.items():
        if value is None:
            made.pop(key, None)
        elif isinstance(value, Mapping):
            made[key] = _merged(made.get(key) or {}, value)
        else:
            made[key] = value
    return made
