"""Supervised processes, their files and what is left of them: real processes, faults put in by hand."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from support.world import stack

from memorystack_operator.core import Child, Observations, Status, decide
from memorystack_operator.core.render import render
from memorystack_operator.core.surge import Surge
from memorystack_operator.local import daemon as daemon_module
from memorystack_operator.local import supervisor as supervisor_module
from memorystack_operator.local.cluster import _read_status, open_source
from memorystack_operator.local.daemon import Daemon
from memorystack_operator.local.errors import CannotStart
from memorystack_operator.local.pods import Identity, environment_of, template_of
from memorystack_operator.local.ports import free_ports
from memorystack_operator.local.remains import end_remains, record
from memorystack_operator.local.state import StateFolder, write_atomically
from memorystack_operator.local.supervisor import LocalPod, Supervisor
from memorystack_runtime.contract import LEASE_FILE, Features, FlagLease

SLEEPER = (sys.executable, "-c", "import time; time.sleep(60)")
BROKEN = (sys.executable, "-c", "print('no such flag', flush=True); raise SystemExit(3)")
LEASE = FlagLease(epoch=1, revision="r", features=Features(), renewal=1)


async def until(condition, seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_module, "BACKOFF_SECONDS", (0.02,) * 5)


@pytest.fixture
def children() -> tuple[Child, ...]:
    return tuple(decide(stack(), Status(), Observations((), 1, True), datetime.now(UTC)).children)


@pytest.fixture
async def pods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, children) -> AsyncIterator[Supervisor]:
    """Three pods that are processes which do nothing."""
    monkeypatch.setattr(supervisor_module, "RUNTIME", SLEEPER)
    folder = StateFolder(tmp_path / "mem")
    folder.make()
    made = Supervisor(folder, "mem", {}, asyncio.Event())
    made.secrets = {"keys": {"keys": b"x"}}
    made.apply(children)
    for _ in range(3):
        await made._tick()
    yield made
    await made.stop()


def file_of(pod: LocalPod, name: str) -> str:
    return (pod.who.folder / "config" / name).read_text()


class FullDisk:
    """The first `failures` writes fail."""

    def __init__(self, failures: int) -> None:
        self.failures = failures

    def __call__(self, path: Path, text: str, **how) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError(28, "No space left on device")
        write_atomically(path, text, **how)


async def test_a_process_is_started_again_although_starting_it_failed_once(tmp_path: Path):
    logs = tmp_path / "logs"
    logs.mkdir()
    one = Daemon("one", SLEEPER, logs / "one.log")
    await one.start()
    logs.rename(tmp_path / "away")
    os.kill(one.pid, signal.SIGKILL)
    await until(lambda: one.restarts)
    await asyncio.sleep(0.1)
    assert one.pid is None
    (tmp_path / "away").rename(logs)
    await until(lambda: one.pid)
    assert not one.failing
    await one.stop(1)
    assert one.pid is None


async def test_a_process_that_ignores_the_polite_signal_is_killed_after_its_grace(tmp_path: Path):
    code = "import signal,time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    one = Daemon("one", (sys.executable, "-c", code), tmp_path / "one.log")
    await one.start()
    await until(lambda: one.last_line() == "deaf")
    pid = one.pid
    await one.stop(0.2)
    assert not psutil.pid_exists(pid)


async def test_a_log_that_is_too_long_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(daemon_module, "LOG_BYTES", 10)
    (tmp_path / "one.log").write_text("a long day's talk")
    one = Daemon("one", SLEEPER, tmp_path / "one.log")
    assert one.last_line() == "a long day's talk"
    await one.start()
    assert one.last_line() == ""
    assert (tmp_path / "one.old.log").read_text() == "a long day's talk"
    await one.stop(1)


async def test_a_pod_that_dies_at_each_start_is_named_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, children
):
    monkeypatch.setattr(supervisor_module, "RUNTIME", BROKEN)
    folder = StateFolder(tmp_path / "mem")
    folder.make()
    pods = Supervisor(folder, "mem", {}, asyncio.Event())
    pods.secrets = {"keys": {"keys": b"x"}}
    pods.apply(children)
    task = asyncio.create_task(pods.run())
    await until(lambda: "no such flag" in pods.problem)
    assert pods.problem.startswith("mem-")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await pods.stop()


async def test_the_supervisor_outlives_what_nobody_foresaw_and_says_so(pods: Supervisor, monkeypatch):
    async def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(pods, "_tick", broken)
    task = asyncio.create_task(pods.run())
    await until(lambda: "ZeroDivisionError" in pods.problem)
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_stable_flags_that_could_not_be_written_are_written_at_the_next_round(
    pods: Supervisor, monkeypatch: pytest.MonkeyPatch, children
):
    config = next(c for c in children if c["kind"] == "ConfigMap")
    changed = ({**config, "data": {**config["data"], "flags.json": "new"}},)
    monkeypatch.setattr(supervisor_module, "write_atomically", FullDisk(1))
    with pytest.raises(OSError, match="No space"):
        pods.apply(changed)
    pods.apply(changed)
    assert [file_of(p, "flags.json") for p in pods.pods] == ["new"] * 3


async def test_a_lease_that_could_not_be_taken_back_is_taken_back_at_the_next_round(
    pods: Supervisor, monkeypatch: pytest.MonkeyPatch
):
    pod = pods.pods[1]
    pods.lend({pod.name: LEASE})
    assert FlagLease.model_validate_json(file_of(pod, LEASE_FILE)) == LEASE
    monkeypatch.setattr(supervisor_module, "write_atomically", FullDisk(1))
    with pytest.raises(OSError, match="No space"):
        pods.lend({})
    assert pod.lease == LEASE
    pods.lend({})
    assert (pod.lease, file_of(pod, LEASE_FILE)) == (None, "")


@pytest.mark.parametrize(
    ("sick", "leased", "leaves"),
    [(None, None, "mem-2"), (None, "mem-2", "mem-1"), ("mem-0", "mem-2", "mem-0"), ("mem-0", None, "mem-0")],
)
async def test_scaling_down_takes_the_sick_then_the_young_and_spares_the_canary(
    pods: Supervisor, monkeypatch: pytest.MonkeyPatch, children, sick, leased, leaves
):
    """R14b"""

    async def unchanged(_: LocalPod) -> None:
        """Readiness is set by hand here."""

    monkeypatch.setattr(pods, "_look", unchanged)
    for pod in pods.pods:
        pod.ready = pod.name != sick
    pods.lend({leased: LEASE} if leased else {})
    deployment = next(c for c in children if c["kind"] == "Deployment")
    pods.apply(({**deployment, "spec": {**deployment["spec"], "replicas": 2}},))
    await pods._tick()
    assert [p.name for p in pods.pods if p.going] == [leaves]
    await until(lambda: len(pods.pods) == 2)
    assert pods.settled


async def test_a_second_deployment_is_one_more_process_that_goes_when_it_is_rendered_no_more(
    pods: Supervisor, monkeypatch: pytest.MonkeyPatch, children
):
    """R20"""

    async def unchanged(_: LocalPod) -> None:
        """Readiness is set by hand here."""

    monkeypatch.setattr(pods, "_look", unchanged)
    surging = Status(stable=decide(stack(), Status(), Observations(), datetime.now(UTC)).status.stable)
    surging = surging.model_copy(update={"surge": Surge(since=datetime.now(UTC))})
    pods.apply(render(stack(), surging))
    for _ in range(3):
        await pods._tick()
    assert [(p.name, p.surge) for p in pods.pods][3:] == [("mem-canary-3", True)]
    assert (len(pods.pods), pods.replicas, pods.settled) == (4, 3, True)
    pods.pods[3].ready = True
    await pods._tick()
    assert f"{pods.pods[3].host}:{pods.pods[3].port}" in pods._folder.backends.read_text()
    pods.apply(children)
    await pods._tick()
    assert [p.name for p in pods.pods if p.going] == ["mem-canary-3"]
    assert pods._folder.backends.read_text() == ""
    await until(lambda: len(pods.pods) == 3)
    assert not any(p.going for p in pods.pods)


async def test_a_late_answer_does_not_take_a_pod_out_and_three_do(pods: Supervisor, monkeypatch: pytest.MonkeyPatch):
    pod, answers = pods.pods[0], [True, False, False, True, False, False, False, True]

    async def answer(_: LocalPod, path: str) -> bool:
        assert path == ("/healthz" if pod.ready else "/readyz")
        return answers.pop(0)

    monkeypatch.setattr(pods, "_answers", answer)
    seen = []
    while answers:
        await pods._look(pod)
        seen.append(pod.ready)
    assert seen == [True, True, True, True, True, True, False, True]
    os.kill(pod.daemon.pid, signal.SIGKILL)
    await until(lambda: pod.daemon.pid is None)
    await pods._look(pod)
    assert not pod.ready


async def test_a_pod_gets_only_the_machines_own_variables_from_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, children
):
    for name in ("HTTPS_PROXY", "http_proxy", "MEMORY_CACHE_MAX_SIZE", "MEMORYSTACK_LOG_LEVEL", "MY_PATH", "HOMES"):
        monkeypatch.setenv(name, "from-the-shell")
    for name in ("LC_NOTE", "TMPDIR", "SSL_CERT_FILE", "PYTHONHASHSEED"):
        monkeypatch.setenv(name, "kept")
    template = template_of(next(c for c in children if c["kind"] == "Deployment"))
    found = environment_of(template, Identity("mem-0", "u", tmp_path), {"keys": {"keys": b"x"}})
    assert "from-the-shell" not in found.values()
    assert {name for name, value in found.items() if value == "kept"} == {
        "LC_NOTE",
        "TMPDIR",
        "SSL_CERT_FILE",
        "PYTHONHASHSEED",
    }
    assert found["PATH"] == os.environ["PATH"]
    assert found["MEMORYSTACK_QDRANT_URL"]


async def test_a_secret_of_the_shell_reaches_neither_a_pod_nor_an_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, children
):
    """Read from the processes themselves, by an API of the operating system."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-the-shell")
    monkeypatch.setattr(supervisor_module, "RUNTIME", SLEEPER)
    folder = StateFolder(tmp_path / "mem")
    folder.make()
    pods = Supervisor(folder, "mem", {}, asyncio.Event())
    pods.secrets = {"keys": {"keys": b"x"}}
    pods.apply(children)
    await pods._tick()
    engine = Daemon("engine", SLEEPER, tmp_path / "engine.log")
    await engine.start()
    try:
        for pid, own in ((pods.pods[0].daemon.pid, "MEMORYSTACK_QDRANT_URL"), (engine.pid, "PATH")):
            seen = psutil.Process(pid).environ()
            assert own in seen
            assert "of-the-shell" not in seen.values()
    finally:
        await engine.stop(1)
        await pods.stop()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', '{"version": 1, "uid": "u", "generation": "x"}'])
def test_a_record_that_cannot_be_read_stops_the_start_and_is_kept(tmp_path: Path, text: str):
    """A fresh start would approve what was rejected."""
    folder = StateFolder(tmp_path / "mem")
    folder.make()
    folder.status.write_text(text)
    with pytest.raises(CannotStart, match=r"record .* cannot be read"):
        open_source(folder, tmp_path / "stack.yaml")
    assert folder.status.read_text() == text


def test_a_status_that_cannot_be_read_stops_the_start(tmp_path: Path):
    folder = StateFolder(tmp_path / "mem")
    folder.make()
    folder.status.write_text('{"version": 1, "status": {"phase": "Dreaming"}}')
    with pytest.raises(CannotStart, match="approved"):
        _read_status(folder)
    folder.status.unlink()
    assert _read_status(folder) == (Status(), 0)


def test_ports_asked_for_together_differ():
    assert len(set(free_ports("127.0.0.1", 50))) == 50


def test_only_what_is_recorded_and_still_the_same_process_is_ended(tmp_path: Path):
    ours, theirs = (subprocess.Popen(SLEEPER) for _ in range(2))
    path = tmp_path / "processes.json"
    try:
        record(path, [ours.pid])
        other = {"pid": theirs.pid, "created": psutil.Process(theirs.pid).create_time() - 100}
        path.write_text(path.read_text()[:-1] + f', {{"pid": {other["pid"]}, "created": {other["created"]}}}]')
        assert end_remains(path) == 1
        assert not psutil.pid_exists(ours.pid)
        assert theirs.poll() is None
        assert end_remains(path) == 0
    finally:
        for one in (ours, theirs):
            one.kill()
            one.wait()


def test_a_folder_that_cannot_be_written_is_named_before_anything_starts(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotStart, match="cannot be written"):
        StateFolder(tmp_path / "file" / "mem").make()
    folder = StateFolder(tmp_path / "mem")
    (folder.root / "lock").mkdir(parents=True)
    with pytest.raises(CannotStart, match="cannot be written"), folder.held():
        pass


def test_a_durable_write_that_fails_leaves_the_old_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "status.json"
    write_atomically(path, "old", durable=True)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, "new", durable=True)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["status.json"]
