"""What the operator keeps of the objects that it watches: slim, frozen records instead of whole objects.

Knows: Kubernetes' field names. Must not know: what is decided by them. A field that is missing, or of a shape that a
newer server may bring, gives the record's default, never an error.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from memorystack_operator.core.observe import Trouble
from memorystack_operator.shell.resources import DEPLOYMENTS, PODS, STACKS, Resource
from memorystack_operator.shell.schedule import Key
from memorystack_operator.shell.troubles import trouble_of_deployment, trouble_of_pod
from memorystack_runtime.contract import ANNOTATION_FLAGS

__all__ = [
    "ARM",
    "COST",
    "MANAGER",
    "TOUCHED",
    "ChildRecord",
    "PodRecord",
    "Record",
    "StackRecord",
    "record_of",
]

MANAGER: Final = "memorystack-operator"
ARM: Final = "memorystack.dev/arm"
TOUCHED: Final = "memorystack.dev/touched"
COST: Final = "controller.kubernetes.io/pod-deletion-cost"
INSTANCE: Final = "app.kubernetes.io/instance"
DEPLOYMENT: Final = "memorystack.dev/deployment"
_DROPPED: Final = ("managedFields", "selfLink", "generateName")


@dataclass(frozen=True, slots=True)
class Record:
    """What all have in common. `stack` is the stack that the object belongs to, by its labels."""

    resource: Resource
    key: Key
    stack: Key
    uid: str
    version: str

    @property
    def order(self) -> int:
        """Grows with each change of an object (KEP-5504; etcd's revision in every server that there is)."""
        return int(self.version) if self.version.isdigit() else 0


@dataclass(frozen=True, slots=True)
class WholeRecord(Record):
    """One whose object is kept, and not only some of its fields."""

    packed: bytes
    """Compressed: a Deployment takes 5 KB of JSON, is read a few times an hour, and there may be thousands."""

    @property
    def body(self) -> bytes:
        """As JSON."""
        return zlib.decompress(self.packed)


@dataclass(frozen=True, slots=True)
class StackRecord(WholeRecord):
    """`body` has apiVersion, kind, metadata, spec and status."""

    deleting: bool


@dataclass(frozen=True, slots=True)
class PodRecord(Record):
    """A pod of a stack."""

    deployment: str
    """`main`, or `canary`."""
    created_at: datetime
    leaving: bool
    """Being deleted, or ended for good."""
    ready: bool
    node: str
    ip: str
    internal_port: int
    restarts: int
    lease: str
    arm: str
    cost: str
    touched: str
    trouble: Trouble | None


@dataclass(frozen=True, slots=True)
class ChildRecord(WholeRecord):
    """Any other child. `body` lacks what only the server needs."""

    owner: str
    """Uid of the controlling owner; empty: none."""
    settled: bool
    """Of a Deployment: every wanted pod is of its newest template, and none is on its way out."""
    sets_replicas: bool
    """Of a Deployment: our server-side apply owns `spec.replicas`."""
    replicas: int
    trouble: Trouble | None


def record_of(resource: Resource, body: Mapping[str, Any]) -> Record:
    """Of an object as the API server gave it."""
    meta = body.get("metadata") or {}
    labels = meta.get("labels") or {}
    key = Key(str(meta.get("namespace", "")), str(meta.get("name", "")))
    stack = key if resource is STACKS else Key(key.namespace, str(labels.get(INSTANCE, "")))
    who = Record(resource, key, stack, str(meta.get("uid", "")), str(meta.get("resourceVersion", "")))
    if resource is STACKS:
        return StackRecord(*_fields(who), _packed(resource, body, status=True), deleting="deletionTimestamp" in meta)
    if resource is PODS:
        return _pod(who, body, meta, labels)
    return _child(who, body, meta)


def _fields(who: Record) -> tuple[Resource, Key, Key, str, str]:
    return who.resource, who.key, who.stack, who.uid, who.version


def _pod(who: Record, body: Mapping[str, Any], meta: Mapping[str, Any], labels: Mapping[str, Any]) -> Record:
    status, spec = body.get("status") or {}, body.get("spec") or {}
    notes = meta.get("annotations") or {}
    conditions = {c.get("type"): c.get("status") for c in status.get("conditions") or ()}
    return PodRecord(
        *_fields(who),
        deployment=str(labels.get(DEPLOYMENT, "")),
        created_at=_moment(meta.get("creationTimestamp")),
        leaving="deletionTimestamp" in meta or status.get("phase") in ("Succeeded", "Failed"),
        ready=conditions.get("Ready") == "True",
        node=str(spec.get("nodeName", "")),
        ip=str(status.get("podIP", "")),
        internal_port=_internal_port(spec),
        restarts=sum(int(c.get("restartCount", 0)) for c in status.get("containerStatuses") or ()),
        lease=str(notes.get(ANNOTATION_FLAGS, "")),
        arm=str(labels.get(ARM, "")),
        cost=str(notes.get(COST, "")),
        touched=str(notes.get(TOUCHED, "")),
        trouble=trouble_of_pod(body),
    )


def _internal_port(spec: Mapping[str, Any]) -> int:
    ports = [p for c in spec.get("containers") or () for p in c.get("ports") or ()]
    return next((int(p["containerPort"]) for p in ports if p.get("name") == "internal"), 9090)


def _child(who: Record, body: Mapping[str, Any], meta: Mapping[str, Any]) -> ChildRecord:
    owner: Mapping[str, Any] = next((o for o in meta.get("ownerReferences") or () if o.get("controller")), {})
    spec, status = body.get("spec") or {}, body.get("status") or {}
    wanted = int(spec.get("replicas") or 0)
    settled = (
        int(status.get("observedGeneration", 0)) >= int(meta.get("generation", 0))
        and int(status.get("replicas", 0)) == int(status.get("updatedReplicas", 0)) == wanted
    )
    is_deployment = who.resource is DEPLOYMENTS
    return ChildRecord(
        *_fields(who),
        owner=str(owner.get("uid", "")),
        packed=_packed(who.resource, body, status=False),
        settled=settled or not is_deployment,
        sets_replicas=is_deployment and _sets_replicas(meta),
        replicas=wanted,
        trouble=trouble_of_deployment(body) if is_deployment else None,
    )


def _sets_replicas(meta: Mapping[str, Any]) -> bool:
    return any(
        entry.get("manager") == MANAGER
        and entry.get("operation") == "Apply"
        and "f:replicas" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
        for entry in meta.get("managedFields") or ()
    )


def _packed(resource: Resource, body: Mapping[str, Any], *, status: bool) -> bytes:
    """The items of a list carry neither apiVersion nor kind; without them each child would look changed at every start."""
    kept: dict[str, Any] = {"apiVersion": resource.api_version, "kind": resource.kind}
    kept |= {k: v for k, v in body.items() if k != "metadata" and (status or k != "status")}
    kept["metadata"] = {k: v for k, v in (body.get("metadata") or {}).items() if k not in _DROPPED}
    return zlib.compress(orjson.dumps(kept), 1)


def _moment(text: object) -> datetime:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
