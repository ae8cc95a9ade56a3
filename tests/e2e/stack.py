"""The one stack of the story as a person sees it: its status, its pods, and what each of these says of itself.

Knows: kubectl, the resource's status and the runtime's second port. Must not know: what is expected.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from e2e.errors import StepFailed
from e2e.terminal import Terminal

__all__ = ["NAME", "NAMESPACE", "Pod", "Stack"]

NAME: Final = "agent-memory"
NAMESPACE: Final = "ai"
_PODS: Final = f"pods -n {NAMESPACE} -l app.kubernetes.io/name=memorystack,app.kubernetes.io/instance={NAME}"


@dataclass(frozen=True)
class Pod:
    """What is the same for as long as nothing restarts it."""

    name: str
    uid: str
    restarts: int


class Stack:
    """`agent-memory` in `ai`."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    @property
    def resource(self) -> dict[str, Any]:
        """The whole object."""
        return self._terminal.get(f"memorystack -n {NAMESPACE} {NAME}")

    @property
    def status(self) -> dict[str, Any]:
        """Empty while there is none."""
        found: dict[str, Any] = self.resource.get("status", {})
        return found

    def features(self) -> dict[str, Any]:
        """Those of the spec."""
        found: dict[str, Any] = self.resource["spec"].get("features", {})
        return found

    def pods(self) -> frozenset[Pod]:
        """Those that run, both Deployments'."""
        return frozenset(_pod(item) for item in self._items() if not item["metadata"].get("deletionTimestamp"))

    def leased(self) -> list[str]:
        """Names of pods that hold flags of their own."""
        notes = ((item["metadata"]["name"], item["metadata"].get("annotations") or {}) for item in self._items())
        return [name for name, given in notes if "memorystack.dev/flags" in given]

    def evidence(self, pod: str, *, history: bool = False) -> dict[str, Any]:
        """What the pod says of itself; empty when it cannot be asked right now."""
        with suppress(StepFailed):
            path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}:9090/proxy/internal/evidence?history={int(history)}"
            found: dict[str, Any] = self._terminal.raw(path)
            return found
        return {}

    def served(self) -> dict[str, tuple[str, str]]:
        """Pod -> revision of the flags that it serves, and where it has them from (file, lease)."""
        asked = {pod.name: self.evidence(pod.name) for pod in self.pods()}
        return {name: (said.get("flags", ""), said.get("source", "")) for name, said in asked.items()}

    def idle(self) -> bool:
        """Nothing is under way, and the newest spec was seen."""
        found = self.resource
        status = found.get("status", {})
        seen = status.get("observedGeneration") == found["metadata"]["generation"]
        return bool(seen and status.get("phase") == "Idle" and status["wanted"] == status["stable"]["revision"])

    def ended(self, known: int) -> dict[str, Any] | None:
        """The newest line of the history once it has more than `known`, and every pod serves what came of it."""
        lines = self.status.get("history") or []
        return lines[-1] if len(lines) > known and lines[-1].get("everywhereAt") else None

    def _items(self) -> list[dict[str, Any]]:
        return list(self._terminal.get(_PODS)["items"])


def _pod(item: dict[str, Any]) -> Pod:
    restarts = sum(one["restartCount"] for one in item["status"].get("containerStatuses", ()))
    return Pod(item["metadata"]["name"], item["metadata"]["uid"], restarts)
