"""Startup, readiness and liveness as a kubelet understands them: when to ask, and what the answers add up to.

Knows: periods and thresholds, the time given to it. Must not know: HTTP or processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Health", "Probe", "Question", "probes_of"]

Question = Literal["startupProbe", "readinessProbe", "livenessProbe"]


@dataclass(frozen=True, slots=True)
class Probe:
    """Seconds and counts, with Kubernetes' defaults."""

    path: str
    """Empty: a connection is enough."""
    port: int
    period: float = 10.0
    timeout: float = 1.0
    delay: float = 0.0
    failures: int = 3


def probes_of(container: Mapping[str, Any]) -> dict[Question, Probe]:
    """The container's probes, with the names of ports resolved."""
    ports = {p.get("name"): p["containerPort"] for p in container.get("ports", ())}
    found: dict[Question, Probe] = {}
    questions: tuple[Question, ...] = ("startupProbe", "readinessProbe", "livenessProbe")
    for name in questions:
        wanted = container.get(name)
        if not wanted:
            continue
        action = wanted.get("httpGet") or wanted["tcpSocket"]
        found[name] = Probe(
            path=action.get("path", "/") if "httpGet" in wanted else "",
            port=ports.get(action["port"], action["port"]),
            period=wanted.get("periodSeconds", 10),
            timeout=wanted.get("timeoutSeconds", 1),
            delay=wanted.get("initialDelaySeconds", 0),
            failures=wanted.get("failureThreshold", 3),
        )
    return found


@dataclass
class Health:
    """Of one run of a container, which began at `began` (seconds of any steady clock)."""

    probes: Mapping[Question, Probe]
    began: float
    started: bool = False
    ready: bool = False
    doomed: bool = False
    """A startup or liveness probe failed too often: the container is to be ended."""
    _next: dict[Question, float] = field(default_factory=dict)
    _failed: dict[Question, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.started = "startupProbe" not in self.probes
        self.ready = self.started and "readinessProbe" not in self.probes
        self._next = {name: self.began + probe.delay for name, probe in self.probes.items()}

    def due(self, now: float) -> list[Question]:
        """What is to be asked now; until it has started only that."""
        names: tuple[Question, ...] = ("readinessProbe", "livenessProbe") if self.started else ("startupProbe",)
        return [name for name in names if name in self.probes and self._next[name] <= now]

    def answer(self, name: Question, now: float, *, good: bool) -> None:
        """An answer came at `now`."""
        self._next[name] = now + self.probes[name].period
        self._failed[name] = 0 if good else self._failed.get(name, 0) + 1
        given_up = self._failed[name] >= self.probes[name].failures
        if name == "startupProbe":
            self.started = self.started or good
            self.ready = self.started and "readinessProbe" not in self.probes
        elif name == "readinessProbe":
            self.ready = good or (self.ready and not given_up)
        if name != "readinessProbe" and given_up:
            self.doomed = True
