"""The cluster port's side on Kubernetes. Knows the watch's records and the API server; nothing of decisions.

It reads from what the watch brought and never waits for it; what a stale reading could spoil, a version guards: the
status, pods and deletions carry preconditions, and a child is applied with the uid it was seen with.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import orjson
from pydantic import ValidationError

from memorystack_operator.api.errors import InvalidResource, Problem, problems_of
from memorystack_operator.api.spec import MemoryStack
from memorystack_operator.core import Child, Event, Observations, PodSeen, Status, Trouble
from memorystack_operator.core.conditions import refused
from memorystack_operator.core.observe import RELEASE_IMAGE, Warming
from memorystack_operator.core.render.names import second_name
from memorystack_operator.shell.api_server import ApiServer, Refused
from memorystack_operator.shell.children import Children
from memorystack_operator.shell.cluster import Conflict
from memorystack_operator.shell.events import tell
from memorystack_operator.shell.lending import Expected, Lending
from memorystack_operator.shell.records import MANAGER, PodRecord, StackRecord, record_of
from memorystack_operator.shell.resources import DEPLOYMENTS, STACKS
from memorystack_operator.shell.schedule import Key
from memorystack_operator.shell.scrape import Scraper
from memorystack_operator.shell.store import Store
from memorystack_operator.shell.telemetry import Telemetry
from memorystack_operator.shell.troubles import trouble_of_readiness
from memorystack_runtime.contract import BUDGETS_FILE, FLAGS_FILE, Budgets, EvidenceReport, FlagLease, FlagsFile

__all__ = ["KubeCluster", "Surroundings"]

UNCONFIRMED: Final = timedelta(seconds=1)
TROUBLED: Final = timedelta(seconds=15)


@dataclass(frozen=True)
class Surroundings:
    """What the adapters of all stacks share."""

    api: ApiServer
    store: Store
    scraper: Scraper
    telemetry: Telemetry
    epoch: Callable[[], int]
    instance: str
    """Name of this process, for events."""
    touch_seconds: float = 5.0
    image: str = RELEASE_IMAGE
    """The runtime's, of stacks that name none."""
    slow_start: timedelta = timedelta(seconds=30)
    """A pod that is not ready for longer is asked why."""
    warming: Warming = field(default_factory=Warming)
    """The rule for surge pods."""
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    clock: Callable[[], float] = time.monotonic


class KubeCluster:
    """Implements shell.cluster.Cluster for one stack."""

    def __init__(self, key: Key, around: Surroundings) -> None:
        self._key = key
        self._around = around
        self._children = Children(around.api, around.store, around.telemetry)
        self._lending = Lending(around.api, around.store, around.telemetry, around.clock, around.touch_seconds)
        self._parsed: tuple[str, MemoryStack, Status] | None = None
        self._reports: dict[str, EvidenceReport | None] = {}
        self._stable: Expected | None = None
        self._troubles: tuple[Trouble, ...] = ()
        self._unconfirmed = False
        self._changed_troubles = False

    def now(self) -> datetime:
        """This process's clock."""
        return self._around.now()

    @property
    def soon(self) -> timedelta | None:
        """When to look again for reasons of the world that no decision knows of; None: there are none."""
        if self._changed_troubles:
            return timedelta()
        if self._unconfirmed:
            return UNCONFIRMED
        return TROUBLED if self._troubles else None

    async def stack(self) -> tuple[MemoryStack, Status, str] | None:
        """As the watch knows it. Raises InvalidResource for one that cannot be understood."""
        record = self._around.store.stack(self._key)
        if record is None or record.deleting:
            return None
        if self._parsed is None or self._parsed[0] != record.version:
            self._parsed = (record.version, *_parse(record))
        version, stack, status = self._parsed
        return stack, status, version

    async def observe(self, stack: MemoryStack, *, history: bool) -> Observations:
        """The pods of both Deployments, and what they answer."""
        store = self._around.store
        pods = self._pods()
        urls = {p.key.name: _url(p) for p in pods if p.ready and p.ip}
        self._reports = await self._around.scraper.read(urls, history=history)
        self._around.telemetry.unread(sum(r is None for r in self._reports.values()))
        deployment = store.deployment(self._key)
        return Observations(
            pods=tuple(_seen(p, self._reports.get(p.key.name)) for p in pods),
            epoch=self._around.epoch(),
            settled=deployment is not None and deployment.settled,
            replicas=deployment.replicas if deployment else None,
            troubles=(*self._troubles, *await self._found(stack, pods)),
            image=self._around.image,
            warming=self._around.warming,
        )

    async def _found(self, stack: MemoryStack, pods: Sequence[PodRecord]) -> list[Trouble]:
        """What keeps pods from serving; of a surge pod it is marked, as the stack serves without it."""
        main = self._around.store.deployment(self._key)
        second = self._around.store.child(DEPLOYMENTS, Key(self._key.namespace, second_name(stack)))
        found = [*await self._unready([p for p in pods if p.deployment == "main"]), main.trouble if main else None]
        extra = [*await self._unready([p for p in pods if p.deployment != "main"]), second.trouble if second else None]
        return [*(t for t in found if t), *(replace(t, surge=True) for t in extra if t)]

    async def _unready(self, pods: Sequence[PodRecord]) -> list[Trouble | None]:
        """Why pods do not serve, those that have had the time to."""
        now = self.now()
        late = [p for p in pods if not p.ready and now - p.created_at >= self._around.slow_start]
        waits = {p.key.name: _url(p) for p in late if p.ip and p.trouble is None}
        said = await self._around.scraper.problems(waits)
        asked = [trouble_of_readiness(name, problems) for name, problems in said.items()]
        return [*(p.trouble for p in pods if not p.ready), *asked, *(_addressless(p) for p in late)]

    async def write_status(self, stack: MemoryStack, status: Status, version: str) -> str:
        """Whole, upon that version only."""
        text = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        new = await self._patch_status(version, {"op": "add", "path": "/status", "value": text})
        self._parsed = (new, stack, status)
        self._around.telemetry.stack_is(*self._key, status)
        return new

    async def apply(self, stack: MemoryStack, children: Sequence[Child]) -> None:
        """By server-side apply, where something differs."""
        self._stable = _stable_of(children) or self._stable
        applied = await self._children.make(self._key, stack.metadata.uid, children)
        self._changed_troubles = applied.troubles != self._troubles
        self._troubles = applied.troubles

    async def lend(self, stack: MemoryStack, flags: Mapping[str, FlagLease]) -> None:
        """By merge patches of the pods."""
        del stack
        self._unconfirmed = await self._lending.make(self._pods(), flags, self._stable, self._reports)

    async def tell(self, stack: MemoryStack, event: Event, at: datetime) -> None:
        """As an Event."""
        await tell(self._around.api, stack, event, self._around.instance, at)
        if self._parsed:
            self._around.telemetry.told(event, self._parsed[2])

    async def refuse(self, error: InvalidResource) -> None:
        """Says in the conditions what cannot be understood, once; nothing else is touched, and leases run out."""
        record = self._around.store.stack(self._key)
        if record is None:
            return
        body = orjson.loads(record.body)
        status = body.get("status") or {}
        generation = int(body["metadata"].get("generation", 0))
        message = "; ".join(str(p) for p in error.problems)[:1000]
        conditions = refused(status.get("conditions"), generation, message, self.now())
        wanted = [c.model_dump(mode="json", by_alias=True) for c in conditions]
        if status.get("conditions") == wanted and status.get("observedGeneration") == generation:
            return
        value = {**status, "conditions": wanted, "observedGeneration": generation, "message": message}
        await self._patch_status(record.version, {"op": "add", "path": "/status", "value": value})

    async def _patch_status(self, version: str, change: Mapping[str, object]) -> str:
        patch = [{"op": "replace", "path": "/metadata/resourceVersion", "value": version}, change]
        path = STACKS.path(*self._key, "status")
        content = "application/json-patch+json"
        try:
            answer = await self._around.api.write("PATCH", path, patch, content=content, fieldManager=MANAGER)
        except Conflict:
            await self._refresh()
            raise
        record = record_of(STACKS, answer)
        self._around.store.put(record)
        self._around.telemetry.wrote("MemoryStack")
        return record.version

    async def _refresh(self) -> None:
        """The watch may be behind; without this the same race would be lost again and again."""
        try:
            self._around.store.put(record_of(STACKS, await self._around.api.get(STACKS.path(*self._key))))
        except Refused as error:
            if error.status != 404:
                raise

    def _pods(self) -> list[PodRecord]:
        return [p for p in self._around.store.pods(self._key) if p.deployment in ("main", "canary") and not p.leaving]


def _parse(record: StackRecord) -> tuple[MemoryStack, Status]:
    """Leniently: fields of a newer CRD are let pass, values that this operator cannot understand are not."""
    body = orjson.loads(record.body)
    status = body.pop("status", None) or {}
    try:
        stack = MemoryStack.model_validate(body, extra="ignore")
    except ValidationError as error:
        raise InvalidResource(problems_of(error, MemoryStack)) from None
    try:
        return stack, Status.model_validate(status)
    except ValidationError as error:
        # Taking it as empty would adopt every flag of the spec unjudged.
        first = problems_of(error, Status)[0]
        remedy = "run the operator's release that wrote it, or delete the status to adopt the spec as it is"
        raise InvalidResource([Problem(f"status.{first.path}", f"{first.message}: {remedy}")]) from None


def _seen(pod: PodRecord, report: EvidenceReport | None) -> PodSeen:
    return PodSeen(
        name=pod.key.name,
        uid=pod.uid,
        created_at=pod.created_at,
        ready=pod.ready,
        node=pod.node,
        restarts=pod.restarts,
        lease=_lease(pod.lease),
        evidence=report,
        surge=pod.deployment == "canary",
    )


def _lease(text: str) -> FlagLease | None:
    try:
        return FlagLease.model_validate_json(text, extra="ignore") if text else None
    except ValidationError:
        return None  # written by hand: it is replaced or removed


def _url(pod: PodRecord) -> str:
    host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
    return f"http://{host}:{pod.internal_port}"


def _addressless(pod: PodRecord) -> Trouble | None:
    """Volumes of a missing Secret show in no field of a pod, and Secrets are not ours to read: so the wait is named."""
    if not pod.node or pod.ip or pod.trouble:
        return None
    text = "has no address yet: its volumes or its network are not ready; do the Secrets that the spec names exist?"
    return Trouble("PodNotStarting", f"pod {pod.key.name} {text}")


def _stable_of(children: Sequence[Child]) -> Expected | None:
    """The revisions in the rendered ConfigMap."""
    data = next((c["data"] for c in children if c["kind"] == "ConfigMap" and FLAGS_FILE in c.get("data", {})), None)
    if data is None:
        return None
    flags = FlagsFile.model_validate_json(data[FLAGS_FILE])
    return Expected(flags.revision, Budgets.model_validate_json(data[BUDGETS_FILE]).revision)
