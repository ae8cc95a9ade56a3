"""What was known of a stack when a test gave up on it, as text for its failure. Knows the API's objects; asks nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

__all__ = ["described"]

STATUS_CHARACTERS = 4000


def described(status: Mapping[str, Any], pods: Sequence[Mapping[str, Any]], events: Sequence[str]) -> str:
    """The end of the status, a line for each pod, and the events' reasons."""
    lines = [yaml.safe_dump(dict(status))[-STATUS_CHARACTERS:], *map(_pod, pods), f"events: {list(events)}"]
    return "\n".join(lines)


def _pod(pod: Mapping[str, Any]) -> str:
    """Its image, what its container does, and every condition that does not hold."""
    meta, status = pod["metadata"], pod.get("status") or {}
    container = (status.get("containerStatuses") or [{}])[0]
    against = [f"{c['type']}: {c.get('message', '')}" for c in status.get("conditions") or () if c["status"] != "True"]
    leaving = ", is leaving" if meta.get("deletionTimestamp") else ""
    does = container.get("state") or "nothing is told of its container"
    return f"pod {meta['name']} ({pod['spec']['containers'][0]['image']}{leaving}): {does}, {against or 'ready'}"
