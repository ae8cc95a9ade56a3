"""The Node object and its Lease: what makes the scheduler and the controller manager believe that there is a machine.

Knows: two kinds. Must not know: pods.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import aiohttp
from support.kubelet.api import Api, ApiError, Object
from support.kubelet.status import is_ready

__all__ = ["keep_alive", "register"]

LEASE_SECONDS: Final = 40
RENEW_SECONDS: Final = 10
CAPACITY: Final = {"cpu": "64", "memory": "256Gi", "pods": "500", "ephemeral-storage": "100Gi"}
"""Far more than the machine has: a pod here is a process, and its requests reserve nothing."""
_LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


async def register(api: Api, name: str, labels: Mapping[str, str]) -> None:
    """Makes the Node, or takes over the one of that name, and says that it is ready."""
    own = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", **labels}
    with contextlib.suppress(ApiError):
        await api.post("/api/v1/nodes", {"metadata": {"name": name, "labels": own}})
    await api.patch(f"/api/v1/nodes/{name}", {"metadata": {"labels": own}})
    await _renew(api, name)
    await api.patch(f"/api/v1/nodes/{name}/status", _status())


async def keep_alive(api: Api, name: str) -> None:
    """Renews the Lease for ever. After a stop of the machine others have written that the node is not ready: it is told again."""
    while True:
        await asyncio.sleep(RENEW_SECONDS)
        with contextlib.suppress(ApiError, aiohttp.ClientError, TimeoutError, OSError):
            await _renew(api, name)
            if not is_ready(await api.get(f"/api/v1/nodes/{name}")):
                await api.patch(f"/api/v1/nodes/{name}/status", _status())


async def _renew(api: Api, name: str) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {"holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now}
    try:
        await api.patch(f"{_LEASES}/{name}", {"spec": spec})
    except ApiError as error:
        if error.code != 404:
            raise
        with contextlib.suppress(ApiError):
            await api.post("/api/v1/namespaces", {"metadata": {"name": "kube-node-lease"}})
        await api.post(_LEASES, {"metadata": {"name": name}, "spec": spec})


def _status() -> Object:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "message": "pods are processes here",
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }
    return {
        "status": {
            "capacity": CAPACITY,
            "allocatable": CAPACITY,
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "conditions": [ready],
            "nodeInfo": {"kubeletVersion": "process-kubelet", "operatingSystem": "linux"},
        }
    }
