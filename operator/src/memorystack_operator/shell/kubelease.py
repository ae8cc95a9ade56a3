"""The leader's Lease as an object of the API. Knows the two shapes; nothing of elections."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from memorystack_operator.shell.api_server import ApiServer, Json, Refused
from memorystack_operator.shell.leader import LeaseRecord
from memorystack_operator.shell.resources import LEASES
from memorystack_operator.shell.schedule import Key

__all__ = ["KubeLease"]


@dataclass(frozen=True, slots=True)
class KubeLease:
    """Implements shell.leader.LeaseStore; its `api` must not ask who leads."""

    api: ApiServer
    key: Key

    async def read(self) -> LeaseRecord | None:
        """Raises Refused, Unreachable."""
        try:
            return _record(await self.api.get(LEASES.path(*self.key)))
        except Refused as error:
            if error.status == 404:
                return None
            raise

    async def write(self, record: LeaseRecord) -> LeaseRecord:
        """Raises Conflict, Refused, Unreachable."""
        body = _body(record, self.key)
        if record.version:
            return _record(await self.api.write("PUT", LEASES.path(*self.key), body))
        return _record(await self.api.write("POST", LEASES.path(self.key.namespace), body))


def _record(body: Json) -> LeaseRecord:
    spec = body.get("spec") or {}
    return LeaseRecord(
        holder=str(spec.get("holderIdentity") or ""),
        transitions=int(spec.get("leaseTransitions") or 0),
        renewed=_moment(spec.get("renewTime")),
        acquired=_moment(spec.get("acquireTime")),
        seconds=int(spec.get("leaseDurationSeconds") or 0),
        version=str(body["metadata"]["resourceVersion"]),
    )


def _body(record: LeaseRecord, key: Key) -> Json:
    meta = {"name": key.name, "namespace": key.namespace}
    return {
        "apiVersion": LEASES.api_version,
        "kind": LEASES.kind,
        "metadata": {**meta, "resourceVersion": record.version} if record.version else meta,
        "spec": {
            "holderIdentity": record.holder,
            "leaseTransitions": record.transitions,
            "leaseDurationSeconds": record.seconds,
            "renewTime": _micro(record.renewed),
            "acquireTime": _micro(record.acquired),
        },
    }


def _micro(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _moment(text: object) -> datetime:
    return datetime.fromisoformat(str(text)) if text else datetime.fromtimestamp(0, UTC)
