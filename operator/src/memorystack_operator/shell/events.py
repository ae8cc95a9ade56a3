"""Events of a stack, events.k8s.io/v1: one for each change, none twice. Knows the API's shape; nothing of rollouts."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Final

from memorystack_operator.api import API_VERSION, KIND, MemoryStack
from memorystack_operator.core import Event
from memorystack_operator.shell.api_server import ApiServer, Json, Refused
from memorystack_operator.shell.cluster import Conflict
from memorystack_operator.shell.resources import EVENTS

__all__ = ["tell"]

CONTROLLER: Final = "memorystack.dev/operator"
NOTE_BYTES: Final = 1024
"""The API's own limit."""


async def tell(api: ApiServer, stack: MemoryStack, event: Event, instance: str, at: datetime) -> None:
    """Its name is a hash of what it says: the same of another moment adds one to its series, of the same moment nothing."""
    body = _body(stack, event, instance, at)
    namespace, name = stack.metadata.namespace, str(body["metadata"]["name"])
    try:
        await api.write("POST", EVENTS.path(namespace), body)
    except Conflict:
        await _again(api, namespace, name, at)
    except Refused as error:
        # A namespace that is being deleted takes no events, and a stack must not wait for one.
        if not error.final and error.status != 404:
            raise


async def _again(api: ApiServer, namespace: str, name: str, at: datetime) -> None:
    found = await api.get(EVENTS.path(namespace, name))
    series = found.get("series") or {}
    if _micro(at) == (series.get("lastObservedTime") or found.get("eventTime")):
        return  # it had arrived, and only the answer was lost
    series = {"series": {"count": int(series.get("count", 1)) + 1, "lastObservedTime": _micro(at)}}
    await api.write("PATCH", EVENTS.path(namespace, name), series, content="application/merge-patch+json")


def _body(stack: MemoryStack, event: Event, instance: str, now: datetime) -> Json:
    meta = stack.metadata
    rollout = f"{meta.uid}|{event.reason}|{event.message}"
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {
            "name": f"{meta.name}.{hashlib.sha256(rollout.encode()).hexdigest()[:16]}",
            "namespace": meta.namespace,
        },
        "eventTime": _micro(now),
        "type": event.kind,
        "reason": str(event.reason),
        "action": str(event.reason),
        "note": event.message.encode()[:NOTE_BYTES].decode(errors="ignore"),
        "reportingController": CONTROLLER,
        "reportingInstance": instance[:128],
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": meta.name,
            "namespace": meta.namespace,
            "uid": meta.uid,
        },
    }


def _micro(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
