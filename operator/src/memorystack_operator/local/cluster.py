"""The cluster port's side on this machine. Knows the folder, the file and the supervisor; nothing of decisions."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from memorystack_operator.api import MemoryStack
from memorystack_operator.core import Child, Event, Observations, PodSeen, Status
from memorystack_operator.local.actions import read_action
from memorystack_operator.local.errors import CannotStart
from memorystack_operator.local.source import Source
from memorystack_operator.local.state import StateFolder, write_atomically
from memorystack_operator.local.supervisor import Supervisor
from memorystack_operator.shell.cluster import Conflict
from memorystack_operator.shell.scrape import Scraper
from memorystack_runtime.contract import EvidenceReport, FlagLease

__all__ = ["LocalCluster", "open_source"]


class LocalCluster:
    """Implements shell.cluster.Cluster."""

    def __init__(
        self, folder: StateFolder, source: Source, supervisor: Supervisor, scraper: Scraper, epoch: int
    ) -> None:
        self.reports: dict[str, EvidenceReport | None] = {}
        self.on_event: Callable[[Event], None] = lambda _: None
        self._folder = folder
        self._source = source
        self._supervisor = supervisor
        self._scraper = scraper
        self._epoch = epoch
        self._status, self._version = _read_status(folder)

    def now(self) -> datetime:
        """This machine's clock."""
        return datetime.now(UTC)

    async def stack(self) -> tuple[MemoryStack, Status, str] | None:
        """From the file as it is now."""
        self._source.read()
        self._supervisor.secrets = _secrets(self._folder, self._source)
        stack = self._source.stack
        action = read_action(self._folder)
        if action:
            annotations = {**stack.metadata.annotations, "memorystack.dev/action": action}
            metadata = stack.metadata.model_copy(update={"annotations": annotations})
            stack = stack.model_copy(update={"metadata": metadata})
        return stack, self._status, str(self._version)

    async def observe(self, stack: MemoryStack, *, history: bool) -> Observations:
        """The processes, and what they answer."""
        del stack
        pods = [p for p in self._supervisor.pods if not p.going]
        urls = {p.name: p.internal_url for p in pods if p.ready}
        self.reports = await self._scraper.read(urls, history=history)
        seen = tuple(
            PodSeen(
                name=p.name,
                uid=p.who.uid,
                created_at=p.created_at,
                ready=p.ready,
                node=p.host,
                restarts=p.daemon.restarts,
                lease=p.lease,
                evidence=self.reports.get(p.name),
                surge=p.surge,
            )
            for p in pods
        )
        return Observations(
            pods=seen, epoch=self._epoch, settled=self._supervisor.settled, replicas=self._supervisor.replicas
        )

    async def write_status(self, stack: MemoryStack, status: Status, version: str) -> str:
        """Durable when this returns."""
        if version != str(self._version):
            raise Conflict
        record = {
            "version": self._version + 1,
            "generation": self._source.generation,
            "uid": stack.metadata.uid,
            "spec": self._source.spec_text,
            "status": status.model_dump(mode="json", by_alias=True),
        }
        write_atomically(self._folder.status, json.dumps(record), durable=True)
        self._status, self._version = status, self._version + 1
        return str(self._version)

    async def apply(self, stack: MemoryStack, children: Sequence[Child]) -> None:
        """Processes follow in the supervisor's own time."""
        del stack
        self._supervisor.apply(tuple(children))

    async def lend(self, stack: MemoryStack, flags: Mapping[str, FlagLease]) -> None:
        """Into the pods' lease files."""
        del stack
        self._supervisor.lend(flags)

    async def tell(self, stack: MemoryStack, event: Event, at: datetime) -> None:
        """As a line of JSON."""
        del stack
        moment = at.isoformat(timespec="milliseconds")
        line = {"at": moment, "type": event.kind, "reason": event.reason, "message": event.message}
        self._folder.keep_events([json.dumps(line)])
        self.on_event(event)


def open_source(folder: StateFolder, path: Path) -> Source:
    """The file, with the uid and the generation it had when it ran here last. Raises InvalidResource, CannotStart."""
    record = _record(folder)
    if not record:
        return Source(path, str(uuid.uuid4()), 0, "")
    try:
        return Source(path, str(record["uid"]), int(record["generation"]), str(record["spec"]))
    except (ValueError, KeyError, TypeError) as error:
        raise CannotStart(_damaged(folder, error)) from None


def _read_status(folder: StateFolder) -> tuple[Status, int]:
    record = _record(folder)
    try:
        return (Status.model_validate(record["status"]), int(record["version"])) if record else (Status(), 0)
    except (ValueError, KeyError, TypeError) as error:
        raise CannotStart(_damaged(folder, error)) from None


def _record(folder: StateFolder) -> dict[str, Any]:
    """Empty where nothing ran yet. Raises CannotStart: without the record a rejected flag would be taken as approved."""
    try:
        record = json.loads(folder.status.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CannotStart(_damaged(folder, error)) from None
    if not isinstance(record, dict):
        raise CannotStart(_damaged(folder, "it is no JSON object"))
    return record


def _damaged(folder: StateFolder, why: object) -> str:
    return (
        f"the stack's record {folder.status} cannot be read ({str(why).splitlines()[0]}): put a good copy there, or move "
        "it away, and every flag of the file is taken as approved"
    )


def _secrets(folder: StateFolder, source: Source) -> dict[str, Mapping[str, bytes]]:
    """Of the same file, and of `secrets/<name>/<key>` in the state folder."""
    found: dict[str, Mapping[str, bytes]] = {s.name: s.data for s in source.loaded.secrets}
    for path in sorted(folder.secrets.glob("*/*")):
        if path.is_file():
            found[path.parent.name] = {**found.get(path.parent.name, {}), path.name: path.read_bytes()}
    return found
