"""One pod's life: its files, its process, its health, its status in the API, and its end.

Knows: the order of these. Must not know: the node, or other pods.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import aiohttp
import structlog
from support.kubelet.account import account_access
from support.kubelet.api import Api, ApiError, Object
from support.kubelet.images import UnknownImage, command_of
from support.kubelet.probes import Health, Probe, Question, probes_of
from support.kubelet.status import PodState, is_ready, stamp, status_of
from support.kubelet.volumes import Missing, Sources, gather, mounted, write_mounted

from memorystack_operator.local.daemon import Daemon
from memorystack_operator.local.errors import CannotStart
from memorystack_operator.local.pods import Identity, environment_of, pod_template

__all__ = ["PodLife"]

TICK_SECONDS: Final = 0.1
ADDRESS: Final = ("MEMORYSTACK_HOST", "MEMORYSTACK_OPERATOR_RUN_HEALTH_HOST")
"""Variables that tell our programs where to listen: all pods share one network here."""
RESYNC_SECONDS: Final = 60.0
"""A ConfigMap alone arrives only then; any change of the pod brings it at once, as measured on a real kubelet."""
AGAIN_SECONDS: Final = 1.0
_REFUSALS: Final = (ApiError, aiohttp.ClientError, TimeoutError, OSError)
_log = structlog.get_logger(__name__)


class PodLife:
    """From its binding to its end."""

    def __init__(self, api: Api, pod: Object, address: str, folder: Path, web: aiohttp.ClientSession) -> None:
        self.pod = pod
        self.address = address
        metadata = pod["metadata"]
        self._api = api
        self._web = web
        self._folder = folder / metadata["uid"]
        self._who = Identity(
            metadata["name"], metadata["uid"], self._folder, namespace=metadata["namespace"], address=address
        )
        self._path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        self._changed = asyncio.Event()
        self._began = time.time()
        self._flips: dict[str, tuple[bool, float]] = {}
        self._files: dict[tuple[str, str], bytes] = {}
        self._told: PodState | None = None
        self._daemon: Daemon | None = None
        self._health: Health | None = None
        self._seen: dict[str, str] = {}
        # A kubelet that begins again counts on: what ran before has been killed with its predecessor.
        before = (pod.get("status") or {}).get("containerStatuses") or [{}]
        self._restarts = int(before[0].get("restartCount", -1)) + 1 if before[0].get("state", {}).get("running") else 0

    def update(self, pod: Object) -> None:
        """The API has a newer one. Where others wrote another readiness into it, as for a node that was late, it is told again."""
        self.pod = pod
        if self._told and is_ready(pod) != self._told.ready:
            self._told = None
        self._changed.set()

    @property
    def _ending(self) -> bool:
        return bool(self.pod["metadata"].get("deletionTimestamp"))

    async def run(self) -> None:
        """Until the pod is deleted; a cancellation ends the process at once."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            await self._create()
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._keep_files()), group.create_task(self._keep_watch())]
                while not self._ending:
                    await self._wait_for_change(None)
                await self._say_goodbye()
                for task in tasks:
                    task.cancel()
        finally:
            if self._daemon:
                await self._daemon.stop(0)

    async def _create(self) -> None:
        """Returns when the process is started, or the pod is to end."""
        while not self._ending:
            try:
                await self._spawn(await gather(self._api, self.pod))
                return
            except Missing as missing:
                if missing.volume:
                    await self._event(
                        "FailedMount", f'MountVolume.SetUp failed for volume "{missing.volume}": {missing}'
                    )
                    await self._tell(PodState("Waiting", "ContainerCreating", mounted=False))
                else:
                    await self._tell(PodState("Waiting", "CreateContainerConfigError", str(missing)))
            except UnknownImage as error:
                await self._tell(PodState("Waiting", "ErrImagePull", str(error)))
            except (CannotStart, KeyError, ValueError) as error:
                await self._tell(PodState("Waiting", "CreateContainerConfigError", str(error)))
            except _REFUSALS as error:
                _log.warning("pod_not_read", pod=self._who.name, why=str(error))
            await self._wait_for_change(AGAIN_SECONDS)

    async def _spawn(self, sources: Sources) -> None:
        spec = self.pod["spec"]
        if len(spec["containers"]) != 1 or spec.get("initContainers") or spec.get("restartPolicy") != "Always":
            msg = "this kubelet runs pods of one container that is always restarted"
            raise CannotStart(msg)
        template = pod_template(spec)
        for volume in template.mounts:
            (self._folder / volume).mkdir(parents=True, exist_ok=True)
        self._write(sources)
        container = spec["containers"][0]
        own = dict.fromkeys(ADDRESS, self.address) | await account_access(self._api, self.pod, self._folder)
        env = {**environment_of(template, self._who, sources.secrets), **own}
        daemon = Daemon(self._who.name, command_of(container), self._folder / "log", env)
        await self._tell(PodState("Waiting", "ContainerCreating"))
        await daemon.start()
        self._daemon = daemon

    def _write(self, sources: Sources) -> None:
        files = mounted(self.pod, sources)
        write_mounted(self._folder, self._files, files)
        self._files = files

    async def _keep_files(self) -> None:
        """A kubelet looks again when the pod's object changes, and now and then."""
        told: Object = {}
        at = time.monotonic()
        while True:
            if self.pod["metadata"] != told or time.monotonic() - at > RESYNC_SECONDS:
                told, at = self.pod["metadata"], time.monotonic()
                try:
                    self._write(await gather(self._api, self.pod))
                except (Missing, *_REFUSALS) as error:
                    _log.warning("files_stay", pod=self._who.name, why=str(error))
                    told = {}
                    await asyncio.sleep(AGAIN_SECONDS)
            await asyncio.sleep(TICK_SECONDS / 2)

    async def _keep_watch(self) -> None:
        """Asks its probes, and tells the API what has changed."""
        while self._daemon:
            await self._probe(self._daemon)
            await self._tell(self._state(self._daemon))
            await asyncio.sleep(TICK_SECONDS)

    async def _probe(self, daemon: Daemon) -> None:
        if daemon.pid is None:
            self._health = None
            return
        began = daemon.started_at
        if self._health is None or self._health.began != began:
            self._health = Health(probes_of(self.pod["spec"]["containers"][0]), began)
        health = self._health
        for name in health.due(time.time()):
            good = await self._ask(health.probes[name])
            health.answer(name, time.time(), good=good)
            if health.doomed:
                await self._kill(daemon, name)

    async def _kill(self, daemon: Daemon, name: Question) -> None:
        await self._event("Unhealthy", f"{name} failed: the container will be restarted")
        if daemon.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(daemon.pid, signal.SIGKILL)
        self._health = None
        await asyncio.sleep(TICK_SECONDS)

    async def _ask(self, probe: Probe) -> bool:
        with suppress(aiohttp.ClientError, TimeoutError, OSError):
            async with asyncio.timeout(probe.timeout):
                if probe.path:
                    async with self._web.get(f"http://{self.address}:{probe.port}{probe.path}") as answer:
                        return answer.status < 400
                _, writer = await asyncio.open_connection(self.address, probe.port)
                writer.close()
                return True
        return False

    def _state(self, daemon: Daemon) -> PodState:
        restarts = self._restarts + daemon.restarts
        health = self._health
        if daemon.pid is None or health is None:
            why = f"back-off restarting failed container: {daemon.last_line()}"
            return PodState(
                "Waiting", "CrashLoopBackOff", why, False, False, restarts, daemon.exit_code, daemon.started_at
            )
        return PodState(
            "Running",
            ready=health.ready,
            started=health.started,
            restarts=restarts,
            exit_code=daemon.exit_code,
            began=daemon.started_at,
        )

    async def _say_goodbye(self) -> None:
        """preStop, SIGTERM, SIGKILL when the grace is over; then the object goes."""
        grace = float(self.pod["metadata"].get("deletionGracePeriodSeconds") or 0)
        end = time.monotonic() + grace
        daemon = self._daemon
        if daemon:
            if daemon.pid is not None:
                await asyncio.sleep(min(grace, _pre_stop(self.pod)))
            await daemon.stop(max(0.0, end - time.monotonic()))
            final = PodState("Terminated", exit_code=0, began=daemon.started_at, ended=time.time())
            await self._tell(final)
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": self._who.uid}}
        for _ in range(30):
            try:
                await self._api.delete(self._path, body)
                return
            except ApiError as error:
                if error.code in {404, 409}:
                    return  # somebody else was faster
                _log.warning("pod_not_removed", pod=self._who.name, why=str(error))
            except _REFUSALS as error:
                _log.warning("pod_not_removed", pod=self._who.name, why=repr(error))
            await asyncio.sleep(AGAIN_SECONDS)

    async def _tell(self, state: PodState) -> None:
        """Only what has changed; what could not be told is tried again by the next look."""
        if state == self._told:
            return
        status = status_of(self.pod, state, self.address, self._began, self._flips, time.time())
        body: dict[str, Any] = {"metadata": {"uid": self._who.uid}, "status": status}
        try:
            await self._api.patch(f"{self._path}/status", body)
            self._told = state
        except _REFUSALS as error:
            _log.warning("status_not_told", pod=self._who.name, why=str(error))

    async def _event(self, reason: str, message: str) -> None:
        """Once for each reason and message."""
        if self._seen.get(reason) == message:
            return
        self._seen[reason] = message
        now = stamp(time.time())
        metadata = self.pod["metadata"]
        about = {"kind": "Pod", "apiVersion": "v1", **{k: metadata[k] for k in ("namespace", "name", "uid")}}
        body = {
            "metadata": {"generateName": f"{metadata['name']}.", "namespace": metadata["namespace"]},
            "involvedObject": about,
            "reason": reason,
            "message": message,
            "type": "Warning",
            "source": {"component": "kubelet"},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        with suppress(*_REFUSALS):
            await self._api.post(f"/api/v1/namespaces/{metadata['namespace']}/events", body)

    async def _wait_for_change(self, seconds: float | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        self._changed.clear()


def _pre_stop(pod: Object) -> float:
    hook = pod["spec"]["containers"][0].get("lifecycle", {}).get("preStop", {})
    return float(hook.get("sleep", {}).get("seconds", 0))
