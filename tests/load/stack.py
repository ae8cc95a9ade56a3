"""A real stack of three pods under `memorystack up`: how soon a change of a flag is in force in every one of them."""

from __future__ import annotations

import asyncio
import signal
import tempfile
import threading
import time
from pathlib import Path

import httpx
from load.bars import Bar
from support.up import STACK, Up

from memorystack_operator.local.actions import submit
from memorystack_operator.local.state import StateFolder
from memorystack_runtime.contract import EVIDENCE_PATH

__all__ = ["flag_change"]

CHANGES = 5
PODS = 3


async def flag_change() -> list[Bar]:
    """From the command `promote` to the last pod's own report of the new revision; the slowest of five."""
    with tempfile.TemporaryDirectory() as folder:
        took = await asyncio.to_thread(_measured, Up(Path(folder)))
    about = {"seconds": [round(s, 3) for s in took]}
    return [Bar("flag in every pod, slowest", round(max(took), 3), "<", 1, "s", about)]


def _measured(up: Up) -> list[float]:
    up.file.write_text(STACK.replace("replicas: 2", f"replicas: {PODS}"))
    up.launch()
    try:
        up.wait(lambda: up.ready == PODS and up.report.status.phase == "Idle", "not ready")
        urls = [pod.internal_url for pod in up.report.pods]
        return [_one_change(up, urls, i) for i in range(CHANGES)]
    finally:
        up.end(signal.SIGTERM)


def _one_change(up: Up, urls: list[str], concurrency: int) -> float:
    up.edit(f"concurrency: {concurrency}", f"concurrency: {concurrency + 1}")
    up.wait(lambda: up.report.status.rollout, "no rollout began")
    before = _revisions(urls)
    asking = threading.Thread(target=submit, args=(StateFolder(up.state / "mem"), "promote"))
    began = time.monotonic()
    asking.start()
    while (now := _revisions(urls)) & before or len(now) > 1:
        if time.monotonic() - began > 20:
            raise TimeoutError("the flag did not reach every pod within 20 s")
        time.sleep(0.01)
    took = time.monotonic() - began
    asking.join()
    up.wait(lambda: up.report.status.phase == "Idle", "the promotion did not end")
    return took


def _revisions(urls: list[str]) -> set[str]:
    return {httpx.get(url + EVIDENCE_PATH, timeout=5).json()["flags"] for url in urls}
