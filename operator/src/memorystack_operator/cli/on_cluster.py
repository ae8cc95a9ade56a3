"""One stack of a cluster, for people: its status as a report, its events, and actions by annotation.

Knows: the API's paths. Must not know: how anything is shown. It reads what the operator wrote, and asks no pod.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from memorystack_operator.api.spec import MemoryStack
from memorystack_operator.core import Status
from memorystack_operator.core.standing import reversal_of, standing_of
from memorystack_operator.core.state import ArmsP95
from memorystack_operator.local.errors import LocalError
from memorystack_operator.local.report import ArmView, EventLine, PodView, Report, questions_of, share_of
from memorystack_operator.shell.api_server import ApiFailure, ApiServer, Json, Refused
from memorystack_operator.shell.cluster import Conflict
from memorystack_operator.shell.credentials import CannotConnect, Door
from memorystack_operator.shell.records import PodRecord, record_of
from memorystack_operator.shell.resources import EVENTS, PODS, STACKS

__all__ = ["ClusterStack", "open_stack"]

ANSWER_SECONDS: Final = 15.0
POLL_SECONDS: Final = 0.2
MANAGER: Final = "memorystack-cli"
ACTION: Final = "memorystack.dev/action"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ClusterStack:
    """Every method raises LocalError with a sentence."""

    door: Door
    namespace: str
    name: str

    @property
    def where(self) -> str:
        """For people."""
        context = self.door.context
        return f"{self.namespace}/{self.name}" + (f", context {context}" if context else "")

    def report(self) -> Report:
        """As the operator wrote it last."""
        body, pods = self._ask(self._read)
        stack, status = _parsed(body)
        return Report(
            name=self.name,
            file="",
            gateway=self.where,
            at=datetime.now(UTC),
            status=status,
            problem=_problem(status),
            pods=tuple(_pod(p, status) for p in pods if not p.leaving),
            arms=_arms(stack, status),
            share=share_of(status),
            questions=questions_of(stack.spec, status),
            pairs=standing_of(stack.spec, status.rollout),
            reversal=reversal_of(stack.spec, status.rollout),
        )

    def known(self) -> tuple[MemoryStack, Status]:
        """The resource and its status."""
        return _parsed(self._ask(self._read)[0])

    def events(self, last: int) -> list[EventLine]:
        """The newest, oldest first."""

        async def read(api: ApiServer) -> Json:
            wanted = f"regarding.kind={STACKS.kind},regarding.name={self.name}"
            return await api.get(EVENTS.path(self.namespace), fieldSelector=wanted)

        found = [_event(item) for item in self._ask(read).get("items") or ()]
        return sorted(found, key=lambda e: e.at)[-last:] if last else []

    def submit(self, verb: str) -> str:
        """Asks by annotation, and waits for the acknowledgement; its text, `Reason: message`."""
        text = f"{verb}@{uuid.uuid4().hex[:8]}"
        path = STACKS.path(self.namespace, self.name)

        async def ask(api: ApiServer) -> str:
            patch = {"metadata": {"annotations": {ACTION: text}}}
            await api.write("PATCH", path, patch, content="application/merge-patch+json", fieldManager=MANAGER)
            until = time.monotonic() + ANSWER_SECONDS
            while time.monotonic() < until:
                status = (await api.get(path)).get("status") or {}
                if status.get("lastAction") == text:
                    return str(status.get("lastActionResult", ""))
                await asyncio.sleep(POLL_SECONDS)
            msg = (
                f"{verb} was not acknowledged within {ANSWER_SECONDS:g} s: does the operator run? it is done as soon as "
                f"the operator comes back; take it back with kubectl annotate mstack {self.name} {ACTION}-"
            )
            raise LocalError(msg)

        return self._ask(ask)

    async def _read(self, api: ApiServer) -> tuple[Json, list[PodRecord]]:
        selector = f"app.kubernetes.io/name=memorystack,app.kubernetes.io/instance={self.name}"
        stack, pods = await asyncio.gather(
            api.get(STACKS.path(self.namespace, self.name)),
            api.get(PODS.path(self.namespace), labelSelector=selector),
        )
        found = [record_of(PODS, item) for item in pods.get("items") or ()]
        return stack, [p for p in found if isinstance(p, PodRecord)]

    def _ask(self, work: Callable[[ApiServer], Awaitable[T]]) -> T:
        return _ask(self.door, work, f"{self.namespace}/{self.name}")


def open_stack(name: str | None, namespace: str | None, context: str | None, kubeconfig: str | None) -> ClusterStack:
    """The named stack, or the only one of the namespace. Raises LocalError listing the choice."""
    door = Door(kubeconfig, context)
    where = namespace or door.namespace

    async def names(api: ApiServer) -> Json:
        return await api.get(STACKS.path(where))

    if name is None:
        found = [str(item["metadata"]["name"]) for item in _ask(door, names, where).get("items") or ()]
        if len(found) != 1:
            choice = f"several MemoryStacks ({', '.join(sorted(found))}): name one" if found else "no MemoryStack"
            msg = f"in namespace {where} there is {choice}; another namespace is chosen with -n"
            raise LocalError(msg)
        (name,) = found
    return ClusterStack(door, where, name)


def _ask(door: Door, work: Callable[[ApiServer], Awaitable[T]], what: str) -> T:
    async def asked() -> T:
        async with ApiServer(door.configuration) as api:
            return await work(api)

    try:
        return asyncio.run(asked())
    except CannotConnect as error:
        raise LocalError(str(error)) from None
    except Refused as error:
        if error.status == 404 and not error.reason:  # of a path, not of an object
            msg = "this cluster serves no MemoryStacks: install the operator's chart, or kubectl apply -f crds/"
            raise LocalError(msg) from None
        if error.status == 404:
            msg = f"{what} is not there ({error}): kubectl get memorystacks -A lists what is"
            raise LocalError(msg) from None
        raise LocalError(f"the API server refused {what}: {error}") from None
    except (ApiFailure, Conflict) as error:
        raise LocalError(f"the API server cannot be asked about {what}: {error}") from None


def _parsed(body: Json) -> tuple[MemoryStack, Status]:
    status = body.pop("status", None) or {}
    try:
        return MemoryStack.model_validate(body, extra="ignore"), Status.model_validate(status)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        msg = f"{body['metadata']['name']} cannot be understood by this release ({where}: {first['msg']}): use a newer one"
        raise LocalError(msg) from None


def _problem(status: Status) -> str:
    return next((f"{c.reason}: {c.message}" for c in status.conditions if c.type == "Stalled"), "")


def _pod(pod: PodRecord, status: Status) -> PodView:
    lent = pod.arm == "canary"
    stable = status.stable.revision if status.stable else ""
    return PodView(
        name=pod.key.name,
        address=pod.ip,
        internal_url="",
        ready=pod.ready,
        arm="canary" if lent else "stable",
        flags=status.rollout.revision if lent and status.rollout else stable,
        restarts=pod.restarts,
        lag_ms=0.0,
    )


def _arms(stack: MemoryStack, status: Status) -> tuple[ArmView, ...]:
    """What was counted since the flip; nothing is counted while no stage is under way."""
    budgets = stack.spec.rollout.wire_budgets().p95_ms
    evidence = status.rollout.evidence if status.rollout else {}
    took = status.rollout.p95_ms if status.rollout else {}
    made = []
    for operation, budget in budgets.items():
        known = evidence.get(operation)
        if known is None:
            continue
        p95 = took.get(operation, ArmsP95())
        for arm, requests, bad, p95_ms in (
            ("stable", known.stable_requests, known.stable_bad, p95.stable),
            ("canary", known.canary_requests, known.canary_bad, p95.canary),
        ):
            made.append(
                ArmView(operation=operation, arm=arm, requests=requests, bad=bad, p95_ms=p95_ms, budget_ms=budget)
            )
    return tuple(made)


def _event(item: dict[str, Any]) -> EventLine:
    series = item.get("series") or {}
    at = series.get("lastObservedTime") or item.get("eventTime") or item["metadata"].get("creationTimestamp") or ""
    return EventLine(
        at=str(at),
        type=str(item.get("type", "")),
        reason=str(item.get("reason", "")),
        message=str(item.get("note", "")),
    )
