"""What is free goes back to the machine, and threads share one arena: asked of glibc itself, in processes of their own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import suppress

import pytest

from memorystack_operator.shell import memory

FREED = """
import psutil
from memorystack_operator.shell.memory import give_back
mine = psutil.Process().memory_info
blocks = [b"x" * 60_000 for _ in range(1000)]
pin = b"x" * 60_001  # above all others: the heap's end cannot move down by itself
del blocks
before = mine().rss
give_back()
print((before - mine().rss) / 1e6)
"""
ARENAS = """
import ctypes, sys, tempfile, threading
from memorystack_operator.shell.memory import one_arena
if sys.argv[1] == "one":
    one_arena()
begun = threading.Barrier(5)
def work():
    kept = b"x" * 50_000
    begun.wait()
threads = [threading.Thread(target=work) for _ in range(4)]
[t.start() for t in threads]
begun.wait()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
with tempfile.NamedTemporaryFile() as file:
    out = libc.fopen(file.name.encode(), b"w")
    libc.malloc_info(0, ctypes.c_void_p(out))
    libc.fclose(ctypes.c_void_p(out))
    print(file.read().count(b"<heap nr="))
"""


def test_memory_when_it_was_freed_below_something_kept_then_giving_back_makes_the_process_smaller() -> None:
    assert float(_said(FREED)) > 40


def test_threads_when_arenas_are_limited_then_they_share_the_one_that_is_there() -> None:
    assert int(_said(ARENAS, "one")) == 1
    assert int(_said(ARENAS, "many")) > 1


async def test_memory_is_given_back_again_and_again_but_not_before_the_start_is_over(monkeypatch: pytest.MonkeyPatch):
    given = []
    monkeypatch.setattr(memory, "give_back", lambda: given.append(1))
    monkeypatch.setattr(memory, "PAUSE_SECONDS", 0.001)
    started = asyncio.Event()
    running = asyncio.create_task(memory.keep_small(started))
    await asyncio.sleep(0.01)
    assert not given
    started.set()
    async with asyncio.timeout(5):
        while len(given) < 3:
            await asyncio.sleep(0.001)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


def _said(program: str, *words: str) -> str:
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    return done.stdout
