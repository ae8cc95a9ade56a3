"""A pod's status as a kubelet writes it. Pure: states in, JSON out; a condition's time changes only when it flips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

__all__ = ["PodState", "is_ready", "stamp", "status_of"]

Container = Literal["Waiting", "Running", "Terminated"]
_CONDITIONS: Final = ("Initialized", "ContainersReady", "Ready")


@dataclass(frozen=True, slots=True)
class PodState:
    """All that a pod's status depends on."""

    container: Container
    reason: str = ""
    message: str = ""
    ready: bool = False
    started: bool = False
    restarts: int = 0
    exit_code: int | None = None
    """Of the last run that ended."""
    began: float = 0.0
    """The container's start in Unix seconds."""
    ended: float = 0.0
    mounted: bool = True
    """Its volumes are there; before that a pod has no network, and so no address."""


def is_ready(body: Mapping[str, Any]) -> bool:
    """Whether a pod or a node is called ready."""
    conditions = (body.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def stamp(seconds: float) -> str:
    """Unix seconds as the API writes them."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def status_of(
    pod: Mapping[str, Any],
    state: PodState,
    address: str,
    began: float,
    flips: dict[str, tuple[bool, float]],
    now: float,
) -> dict[str, Any]:
    """`flips` remembers each condition's value and since when, and is kept up to date here."""
    values = {"Initialized": True, "ContainersReady": state.ready, "Ready": state.ready}
    conditions = []
    for name in _CONDITIONS:
        if name not in flips or flips[name][0] != values[name]:
            flips[name] = (values[name], now)
        conditions.append(_condition(name, *flips[name], state))
    return {
        "phase": "Pending" if state.container == "Waiting" and not state.restarts else "Running",
        "startTime": stamp(began),
        "hostIP": "127.0.0.1",
        **({"podIP": address, "podIPs": [{"ip": address}]} if state.mounted else {}),
        "conditions": conditions,
        "containerStatuses": [_container(pod["spec"]["containers"][0], pod["metadata"]["uid"], state)],
    }


def _condition(name: str, value: bool, since: float, state: PodState) -> dict[str, Any]:
    found: dict[str, Any] = {"type": name, "status": str(value), "lastTransitionTime": stamp(since)}
    if value:
        return {**found, "reason": None, "message": None}
    why = "PodCompleted" if state.container == "Terminated" else "ContainersNotReady"
    return {**found, "reason": why, "message": "containers with unready status"}


def _container(container: Mapping[str, Any], uid: str, state: PodState) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": container["name"],
        "image": container["image"],
        "imageID": container["image"],
        "containerID": f"process://{uid}-{state.restarts}",
        "ready": state.ready,
        "started": state.started,
        "restartCount": state.restarts,
        "state": _state(state),
    }
    if state.exit_code is not None and state.container != "Terminated":
        found["lastState"] = {"terminated": _terminated(state)}
    return found


def _state(state: PodState) -> dict[str, Any]:
    if state.container == "Running":
        return {"running": {"startedAt": stamp(state.began)}}
    if state.container == "Terminated":
        return {"terminated": _terminated(state)}
    return {
        "waiting": {"reason": state.reason, "message": state.message} if state.message else {"reason": state.reason}
    }


def _terminated(state: PodState) -> dict[str, Any]:
    code = state.exit_code or 0
    # A signal's death is 128 and its number, as a shell and a kubelet count.
    return {
        "exitCode": 128 - code if code < 0 else code,
        "reason": "Completed" if code == 0 else "Error",
        "startedAt": stamp(state.began),
        "finishedAt": stamp(state.ended or state.began),
    }
