"""`memorystack up` as a process: real pods, real engines, real signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from support.up import HEADERS, STACK, Up, gone


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    made = Up(tmp_path)
    yield made
    if made.process and made.process.poll() is None:
        made.end(signal.SIGKILL)


def test_a_day_in_the_life_of_a_local_stack(up: Up):
    up.start()
    up.wait(up.store, "not acknowledged")
    assert httpx.get(f"{up.url}/v1/config").status_code == 401
    assert up.config()["source"] == "file"
    out = (up.folder / "out").read_text()
    for part in ("qdrant", "embedder", "redis", "->"):
        assert part in out

    second = up.run(*up.argv())
    assert second.returncode == 1
    assert "already running" in second.stderr
    assert str(up.process.pid) in second.stderr

    up.edit("replicas: 2", "replicas: none")
    up.wait(lambda: up.report.refusal, "the bad save was not refused")
    assert "spec.replicas" in up.report.refusal
    assert up.ready == 2
    up.edit("replicas: none", "replicas: 2")
    up.wait(lambda: not up.report.refusal, "the good save was not taken")
    up.edit("name: mem}", "name: other}")
    up.wait(lambda: "metadata.name" in up.report.refusal, "the new name was not refused")
    up.edit("name: other}", "name: mem}")

    status = up.run("status", "--state-dir", str(up.state), "--svg", str(up.folder / "a.svg"))
    assert "mem" in status.stdout
    assert (up.folder / "a.svg").read_text().startswith("<svg")
    report = json.loads(up.run("status", "--state-dir", str(up.state), "--output", "json").stdout)
    assert len(report["pods"]) == 2

    up.edit("concurrency: 0", "concurrency: 4")
    up.wait(lambda: up.report.status.rollout, "no rollout began")
    assert up.run("resume", "--state-dir", str(up.state)).returncode == 1
    began = time.monotonic()
    promoted = up.run("promote", "--state-dir", str(up.state), "--output", "json")
    assert json.loads(promoted.stdout)["reason"] == "PromotedByHand"
    up.wait(lambda: up.config().get("features", {}).get("parallelIngest") == {"concurrency": 4}, "not applied")
    assert time.monotonic() - began < 10
    events = up.events()
    assert events[0] == "RolloutStarted"
    assert "PromotedByHand" in events

    family = up.family()
    assert up.end() == 0
    assert gone(family)
    assert up.run("status", "--state-dir", str(up.state)).returncode == 1
    assert "no stack is running" in up.run("down", "--state-dir", str(up.state)).stderr


def test_what_dies_comes_back(up: Up):
    """R15: SIGKILL of a pod, of the gateway, of an engine"""
    up.start()
    up.wait(up.store, "not acknowledged")
    for word in ("memorystack_runtime.app", "local.gateway", "dev.qdrant", "dev.embedder"):
        victim = up.child(word)
        victim.send_signal(signal.SIGKILL)
        victim.wait(10)
        up.wait(lambda: up.config(), f"{word} did not come back")
    up.wait(lambda: up.ready == 2, "the pod did not come back")
    assert any(p.restarts for p in up.report.pods)

    def kept() -> bool:
        try:
            return httpx.get(f"{up.url}/v1/memories/o?namespace=a", headers=HEADERS).is_success
        except httpx.HTTPError:
            return False

    up.wait(kept, "the acknowledged memory is gone")
    down = up.run("down", "--state-dir", str(up.state), "--output", "json")
    assert (down.returncode, json.loads(down.stdout)) == (0, {"name": "mem", "pid": up.process.pid, "stopped": True})
    assert up.process.wait(10) == 0


def test_scaling_and_a_new_template_keep_the_stack_serving(up: Up):
    up.start()
    up.edit("replicas: 2", "replicas: 3")
    up.wait(lambda: up.ready == 3, "not scaled up")
    old = {p.name: p.address for p in up.report.pods}
    up.edit("value: one", "value: two")

    def renewed() -> bool:
        assert up.config(), "nobody served"
        now = {p.name: p.address for p in up.report.pods if p.ready}
        return len(now) == 3 and not set(now.items()) & set(old.items())

    up.wait(renewed, "not rolled over", 60)
    health = next(c for c in up.report.status.conditions if c.type == "RolloutHealthy")
    assert health.reason == "NotJudged"
    up.edit("replicas: 3", "replicas: 1")
    up.wait(lambda: len(up.report.pods) == 1, "not scaled down")
    assert up.end(signal.SIGTERM) == 0


def test_killed_in_the_middle_it_leaves_nothing_and_the_next_one_goes_on(up: Up):
    """R15"""
    up.start()
    up.wait(up.store, "not acknowledged")
    up.edit("concurrency: 0", "concurrency: 4")
    up.wait(lambda: up.report.status.rollout, "no rollout began")
    before = up.report.status.rollout.id
    family = up.family()
    assert up.end(signal.SIGKILL) == -signal.SIGKILL
    assert gone(family)
    (up.state / "mem" / "report.json").unlink()
    up.launch()
    up.wait(lambda: up.report and up.report.status.rollout and up.ready == 2, "did not go on")
    assert up.report.status.rollout.id == before
    events = up.events()
    assert events.count("RolloutStarted") == 1
    up.wait(lambda: httpx.get(f"{up.url}/v1/memories/o?namespace=a", headers=HEADERS).is_success, "gone")
    aborted = up.run("abort", "--state-dir", str(up.state), "--name", "mem")
    assert aborted.returncode == 0
    assert "aborted by hand" in aborted.stdout
    assert up.end() == 0


@pytest.mark.parametrize(
    ("make", "code", "said"),
    [
        (lambda up: up.file.unlink(), 2, "does not exist"),
        (lambda up: up.file.write_text(""), 2, "is empty"),
        (lambda up: up.file.write_text(STACK.replace("kind: MemoryStack", "kind: Pod")), 2, "'Pod' is not served"),
        (lambda up: up.state.write_text("a file"), 2, "is a file"),
    ],
    ids=["missing", "empty", "kind", "folder"],
)
def test_a_start_that_cannot_work_is_one_sentence(up: Up, make: Callable[[Up], object], code: int, said: str):
    make(up)
    done = up.run(*up.argv())
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_port_and_a_locked_or_damaged_folder_are_named(up: Up):
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", up.port))
        taken.listen()
        done = up.run(*up.argv())
    assert done.returncode == 1
    assert f"port {up.port}" in done.stderr
    assert "--port" in done.stderr
    broken = up.state / "mem" / "qdrant" / "collections" / "memories"
    broken.mkdir(parents=True)
    (broken / "shard").write_text("not a folder")
    done = up.run(*up.argv())
    assert done.returncode == 1
    assert "qdrant does not start" in done.stderr


def test_a_missing_secret_is_named_and_mended_by_a_file(up: Up):
    up.file.write_text(STACK.split("---", maxsplit=1)[0])
    up.launch()
    up.wait(lambda: up.report and "Secret keys" in up.report.problem, "not named")
    folder = up.state / "mem" / "secrets" / "keys"
    folder.mkdir(parents=True)
    (folder / "keys").write_text(STACK.split('"')[-2])
    up.wait(lambda: up.config(), "not mended")
    assert os.stat(next((up.state / "mem" / "pods").glob("*/keys/keys"))).st_mode & 0o777 == 0o600
    assert up.end() == 0


@pytest.mark.parametrize("tell", [lambda up: up.end(signal.SIGTERM), Up.control_c], ids=["SIGTERM", "Ctrl-C"])
def test_a_request_in_flight_when_it_is_told_to_stop_is_still_answered(up: Up, tell: Callable[[Up], int]):
    """What a draining pod does must be told to its client, so the gateway and the engines go after the pods."""
    slow = up.argv()
    up.argv = lambda: [*slow, "--embedder-latency-ms", "1500"]
    up.start()
    with ThreadPoolExecutor(1) as pool:
        note = {"namespace": "a", "text": "An owl."}
        answer = pool.submit(httpx.post, f"{up.url}/v1/memories", headers=HEADERS, json=note, timeout=20)
        embedder = next(p for p in up.family() if any("dev.embedder" in part for part in p.cmdline()))
        up.wait(lambda: any(c.status == "ESTABLISHED" for c in embedder.net_connections()), "nothing is in flight")
        assert tell(up) == 0
        assert answer.result(20).status_code == 201
    assert "process_died" not in (up.folder / "out").read_text()


def test_every_process_is_written_down_for_a_next_run_to_clean_up(up: Up):
    up.start()
    path = up.state / "mem" / "processes.json"

    def complete() -> bool:
        return {e["pid"] for e in json.loads(path.read_text())} == {p.pid for p in up.family()}

    up.wait(lambda: path.exists() and complete(), "not all are recorded")
    up.child("dev.qdrant").send_signal(signal.SIGKILL)
    up.wait(complete, "the new one is not recorded")
    assert up.end() == 0
