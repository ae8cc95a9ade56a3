"""Makes the rendered children so: server-side apply where a live object differs, nothing where it does not.

Knows: names, owners and preconditions. Must not know: what the children are for. An object that somebody else owns is
never touched; it becomes a trouble that a condition names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from memorystack_operator.core import Child, Trouble
from memorystack_operator.shell.api_server import ApiServer, Json, Refused
from memorystack_operator.shell.drift import differs
from memorystack_operator.shell.records import DEPLOYMENT, MANAGER, ChildRecord, record_of
from memorystack_operator.shell.resources import DEPLOYMENTS, Resource, resource_of
from memorystack_operator.shell.schedule import Key
from memorystack_operator.shell.store import Store
from memorystack_operator.shell.telemetry import Telemetry

__all__ = ["APPLY", "RENDERED", "Applied", "Children"]

APPLY: Final = "application/apply-patch+yaml"
RENDERED: Final = "memorystack.dev/rendered"
"""Hash of what was applied: it tells that a field has left the rendering, which no comparison with the live object can."""
SCALE_MANAGER: Final = "memorystack-scale"


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of it."""

    written: tuple[str, ...] = ()
    """Kinds of the children that were created or changed."""
    troubles: tuple[Trouble, ...] = ()


@dataclass(frozen=True, slots=True)
class _Wanted:
    resource: Resource
    key: Key
    body: Mapping[str, Any]
    revision: str

    @property
    def surge(self) -> bool:
        """The second Deployment: the stack serves without it."""
        return self.resource is DEPLOYMENTS and self.body["spec"]["selector"]["matchLabels"].get(DEPLOYMENT) == "canary"


class Children:
    """Those of one stack."""

    def __init__(self, api: ApiServer, store: Store, telemetry: Telemetry) -> None:
        self._api = api
        self._store = store
        self._telemetry = telemetry
        self._equal: dict[tuple[Resource, Key], tuple[str, str]] = {}
        """The rendering and the live version that were found equal last; the server may write a value in its own way."""

    async def make(self, stack: Key, uid: str, children: Sequence[Child]) -> Applied:
        """Raises Unreachable, NotLeading, Conflict, and Refused for what may pass by itself."""
        wanted = [_wanted(child) for child in children]
        if wanted:
            await self._remove_others(stack, uid, wanted)
        written: list[str] = []
        troubles: list[Trouble] = []
        for one in wanted:
            try:
                live = await self._live(one)
                if live is not None and live.owner != uid and not self._orphan(live, stack):
                    troubles.append(_foreign(one, live))
                elif live is None or not self._is_so(one, live):
                    await self._apply(one, live)
                    written.append(one.resource.kind)
            except Refused as error:
                if not error.final and error.status != 404:
                    raise
                troubles.append(_refused(one, error))
        return Applied(tuple(written), tuple(troubles))

    async def _live(self, one: _Wanted) -> ChildRecord | None:
        """From the watch, or asked for where the watch knows none: a foreign object need not carry our labels."""
        known = self._store.child(one.resource, one.key)
        if known is not None:
            return known
        try:
            return _child(one.resource, await self._api.get(one.resource.path(*one.key)))
        except Refused as error:
            if error.status == 404:
                return None
            raise

    def _orphan(self, live: ChildRecord, stack: Key) -> bool:
        """Ours by its labels and nobody's by its owners: the stack was deleted with `--cascade=orphan` and made again."""
        return not live.owner and self._store.child(live.resource, live.key) is not None and live.stack == stack

    def _is_so(self, one: _Wanted, live: ChildRecord) -> bool:
        place = (one.resource, one.key)
        if self._equal.get(place) == (one.revision, live.version):
            return True
        if differs(one.body, orjson.loads(live.body)):
            return False
        self._equal[place] = (one.revision, live.version)
        return True

    async def _apply(self, one: _Wanted, live: ChildRecord | None) -> None:
        """Forced on what is ours; a new object is not forced, so that one made meanwhile by others is not taken."""
        body = dict(one.body)
        if live is not None:
            await self._hand_over_replicas(one, live)
            body["metadata"] = {**body["metadata"], "uid": live.uid}
        answer = await self._api.write(
            "PATCH",
            one.resource.path(*one.key),
            body,
            content=APPLY,
            fieldManager=MANAGER,
            force="false" if live is None else "true",
        )
        record = _child(one.resource, answer)
        self._store.put(record)
        self._equal[one.resource, one.key] = (one.revision, record.version)
        self._telemetry.wrote(one.resource.kind)

    async def _hand_over_replicas(self, one: _Wanted, live: ChildRecord) -> None:
        """An autoscaler takes over: the count gets another owner first, or dropping it would leave one pod (measured)."""
        if one.resource is not DEPLOYMENTS or "replicas" in one.body["spec"] or not live.sets_replicas:
            return
        scale = {
            "apiVersion": "autoscaling/v1",
            "kind": "Scale",
            "metadata": {"name": one.key.name, "namespace": one.key.namespace},
            "spec": {"replicas": live.replicas},
        }
        path = one.resource.path(*one.key, "scale")
        await self._api.write("PATCH", path, scale, content=APPLY, fieldManager=SCALE_MANAGER, force="true")

    async def _remove_others(self, stack: Key, uid: str, wanted: Sequence[_Wanted]) -> None:
        """Children of this stack that are rendered no more."""
        names = {(one.resource, one.key) for one in wanted}
        for live in self._store.children(stack):
            if live.owner != uid or (live.resource, live.key) in names:
                continue
            condition = {"preconditions": {"uid": live.uid, "resourceVersion": live.version}}
            try:
                await self._api.write("DELETE", live.resource.path(*live.key), condition)
            except Refused as error:
                if error.status != 404:
                    raise
            self._store.drop(live.resource, live.key, live.order)
            self._telemetry.wrote(live.resource.kind)


def _wanted(child: Child) -> _Wanted:
    text = orjson.dumps(child, option=orjson.OPT_SORT_KEYS)
    revision = hashlib.sha256(text).hexdigest()[:16]
    meta = child["metadata"]
    marked = {**child, "metadata": {**meta, "annotations": {**meta.get("annotations", {}), RENDERED: revision}}}
    return _Wanted(
        resource_of(child["apiVersion"], child["kind"]), Key(meta["namespace"], meta["name"]), marked, revision
    )


def _child(resource: Resource, body: Json) -> ChildRecord:
    record = record_of(resource, body)
    if not isinstance(record, ChildRecord):
        raise TypeError(resource.kind)
    return record


def _foreign(one: _Wanted, live: ChildRecord) -> Trouble:
    whose = "has another owner" if live.owner else "was made by somebody else"
    what = f"{one.resource.kind} {one.key.name}"
    text = f"{what} {whose} and is not taken over: delete or rename it, or rename the stack"
    return Trouble("ForeignObject", text, one.surge)


def _refused(one: _Wanted, error: Refused) -> Trouble:
    what = f"{one.resource.kind} {one.key.name}"
    return Trouble(
        "ChildRefused", f"{what} was refused by the API server ({error.status}): {str(error)[:500]}", one.surge
    )
