"""Makes processes equal to the Deployments: as many as asked for, of its newest template, started again when they die.

Knows: processes, readiness and rolling over. Must not know: flags' meaning or rollouts; it carries leases to files.
"""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import httpx
import structlog

from memorystack_operator.core import Child
from memorystack_operator.local.daemon import Daemon
from memorystack_operator.local.errors import CannotStart
from memorystack_operator.local.pods import Identity, PodTemplate, Secrets, environment_of, template_of, write_files
from memorystack_operator.local.ports import address_of, free_ports
from memorystack_operator.local.state import StateFolder, write_atomically
from memorystack_runtime.contract import LEASE_FILE, FlagLease

__all__ = ["LocalPod", "Supervisor"]

TICK_SECONDS: Final = 0.1
GRACE_SECONDS: Final = 12.0
PROBES: Final = 3
RUNTIME: Final = (sys.executable, "-m", "memorystack_runtime.app")
_log = structlog.get_logger(__name__)


@dataclass(eq=False)
class LocalPod:
    """A process that stands for a pod."""

    index: int
    who: Identity
    host: str
    port: int
    internal_port: int
    template: PodTemplate
    daemon: Daemon
    created_at: datetime
    ready: bool = False
    lease: FlagLease | None = None
    surge: bool = False
    """Of the second Deployment."""
    config: Mapping[str, str] = field(default_factory=dict)
    """What its flags and budgets files hold."""
    going: bool = False
    silent: int = 0
    """Probes in a row that it did not answer."""

    @property
    def name(self) -> str:
        """Unique among the stack's pods."""
        return self.who.name

    @property
    def internal_url(self) -> str:
        """The second port."""
        return f"http://{self.host}:{self.internal_port}"


class Supervisor:
    """The pods of one stack. `overrides` are variables that local engines replace."""

    def __init__(self, folder: StateFolder, name: str, overrides: Mapping[str, str], wake: asyncio.Event) -> None:
        self.pods: list[LocalPod] = []
        self.problem = ""
        self.secrets: Secrets = {}
        self._folder = folder
        self._name = name
        self._overrides = dict(overrides)
        self._wake = wake
        self._template: PodTemplate | None = None
        self._second: PodTemplate | None = None
        self._config: Mapping[str, str] = {}
        self._client = httpx.AsyncClient(timeout=2.0, trust_env=False)
        self._stops: set[asyncio.Task[None]] = set()

    def apply(self, children: tuple[Child, ...]) -> None:
        """What is wanted from now on; files change at once, processes as the ticks go."""
        # Of managed parts there are local engines; the main Deployment bears the stack's own name.
        deployments = {c["metadata"]["name"]: c for c in children if c["kind"] == "Deployment"}
        found = {c["kind"]: c for c in children if c["kind"] != "Deployment"}
        if "ConfigMap" in found:
            self._config = dict(found["ConfigMap"]["data"])
            for pod in self.pods:
                self._write_config(pod)
        if self._name in deployments:
            self._template = template_of(deployments[self._name], found.get("HorizontalPodAutoscaler"))
        second = deployments.get(f"{self._name}-canary")
        self._second = template_of(second) if second else None

    @property
    def replicas(self) -> int | None:
        """Pods that are wanted; None before anything was applied."""
        return self._template.replicas if self._template else None

    def lend(self, flags: Mapping[str, FlagLease]) -> None:
        """Each pod's lease file holds what is named for it, or nothing."""
        for pod in self.pods:
            lease = flags.get(pod.name)
            if lease != pod.lease:
                text = lease.model_dump_json(by_alias=True) if lease else ""
                write_atomically(pod.who.folder / "config" / LEASE_FILE, text)
                pod.lease = lease  # only now: a write that failed is tried again

    @property
    def settled(self) -> bool:
        """Every wanted pod runs the newest template, and none is on its way out."""
        wanted = self._template
        pods = [p for p in self.pods if not p.surge]
        current = [p for p in pods if p.template == wanted and not p.going]
        return wanted is not None and len(current) == wanted.replicas == len(pods)

    async def run(self) -> None:
        """Ticks for ever."""
        while True:
            try:
                await self._tick()
                self.problem = self._crashing()
            except (CannotStart, OSError) as error:
                if str(error) != self.problem:
                    _log.error("pods_not_started", why=str(error))
                self.problem = str(error)
                await asyncio.sleep(1)
            except Exception as error:
                # Without this loop nothing would be started again, and nobody would be told.
                _log.exception("supervisor_failed", error=str(error))
                self.problem = f"the supervisor failed ({error!r}): see the log of memorystack up"
                await asyncio.sleep(1)
            await asyncio.sleep(TICK_SECONDS)

    async def stop(self) -> None:
        """Drains all pods."""
        self._publish([])
        await asyncio.gather(*(pod.daemon.stop(GRACE_SECONDS) for pod in self.pods), *self._stops)
        self.pods.clear()
        await self._client.aclose()

    async def _tick(self) -> None:
        await asyncio.gather(*(self._look(pod) for pod in self.pods))
        self._publish(self.pods)
        if self._template is not None:
            await self._scale(self._template, surge=False)
        if self._second is not None:
            await self._scale(self._second, surge=True)
        for pod in self.pods:
            if pod.surge and not pod.going and self._second is None:
                self._retire(pod)

    async def _scale(self, template: PodTemplate, *, surge: bool) -> None:
        """One step towards one Deployment."""
        pods = [p for p in self.pods if p.surge is surge and not p.going]
        current = [p for p in pods if p.template == template]
        old = [p for p in pods if p.template != template]
        more = 1 if old else 0
        if len(current) < template.replicas and len(current) + len(old) < template.replicas + more:
            await self._start(template, surge=surge)
        elif old and sum(p.ready for p in current) + len(old) > template.replicas:
            # Never fewer ready pods than asked for: an old one goes only when a new one has taken its place.
            self._retire(next((p for p in old if not p.ready), old[0]))
        elif len(current) > template.replicas:
            # One that does not serve goes first, then the youngest, but not the one that carries the flags.
            self._retire(max(current, key=lambda p: (not p.ready, p.lease is None, p.created_at)))

    def _crashing(self) -> str:
        """Names a process that dies again and again, with its last words; nothing while all is well."""
        for pod in self.pods:
            if not pod.ready and not pod.going and pod.daemon.failing:
                return (
                    f"{pod.name} does not start: {pod.daemon.last_line() or 'it said nothing'} (see {pod.daemon.log})"
                )
        return ""

    async def _start(self, template: PodTemplate, *, surge: bool) -> None:
        used = {p.index for p in self.pods}
        index = next(i for i in range(len(used) + 1) if i not in used)
        name = f"{self._name}-canary-{index}" if surge else f"{self._name}-{index}"
        who = Identity(name, str(uuid.uuid4()), self._folder.pods / name)
        write_files(template, who, self.secrets)
        host = address_of(index)
        port, internal = free_ports(host, 2)
        own = {
            "MEMORYSTACK_HOST": host,
            "MEMORYSTACK_PORT": str(port),
            "MEMORYSTACK_INTERNAL_PORT": str(internal),
        }
        env = {**environment_of(template, who, self.secrets), **self._overrides, **own}
        daemon = Daemon(name, RUNTIME, self._folder.logs / f"{name}.log", env)
        pod = LocalPod(index, who, host, port, internal, template, daemon, datetime.now(UTC), surge=surge)
        (who.folder / "config" / LEASE_FILE).unlink(missing_ok=True)
        self._write_config(pod)
        await daemon.start()
        self.pods.append(pod)

    def _retire(self, pod: LocalPod) -> None:
        """It leaves the gateway first, then drains."""
        pod.going, pod.ready = True, False
        self._publish(self.pods)

        async def end() -> None:
            await asyncio.sleep(0.3)  # the gateway reads its list twenty times a second
            await pod.daemon.stop(GRACE_SECONDS)
            self.pods.remove(pod)
            self._wake.set()

        task = asyncio.create_task(end())
        self._stops.add(task)
        task.add_done_callback(self._stops.discard)

    async def _look(self, pod: LocalPod) -> None:
        if pod.going:
            return
        ready = False
        if pod.daemon.pid is not None:
            # A pod that is up is asked for its liveness only: its dependencies are the stack's matter, not its own.
            ready = await self._answers(pod, "/healthz" if pod.ready else "/readyz")
            pod.silent = 0 if ready else pod.silent + 1
            # As a kubelet's probe: one late answer of a busy process must not take it out, or move a canary.
            ready = ready or (pod.ready and pod.silent < PROBES)
        if ready != pod.ready:
            pod.ready = ready
            self._wake.set()

    async def _answers(self, pod: LocalPod, path: str) -> bool:
        with suppress(httpx.HTTPError):
            return (await self._client.get(pod.internal_url + path)).is_success
        return False

    def _write_config(self, pod: LocalPod) -> None:
        if pod.config == self._config:
            return
        for name, text in self._config.items():
            write_atomically(pod.who.folder / "config" / name, text)
        pod.config = self._config  # only now: a write that failed is tried again

    def _publish(self, pods: list[LocalPod]) -> None:
        lines = "".join(f"{p.host}:{p.port}\n" for p in pods if p.ready)
        path = self._folder.backends
        if not path.exists() or path.read_text() != lines:
            write_atomically(path, lines)
