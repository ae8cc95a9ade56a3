"""Engines as processes: started, waited for, ended; and a face that is complete and cheap."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import httpx
import pytest

from memorystack_runtime import dev
from memorystack_runtime.dev import (
    EngineFailedError,
    end,
    engine_command,
    start,
    start_async,
    start_command,
    wait_until_ready,
)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_command_turns_options_into_flags() -> None:
    argv = engine_command("embedder", "127.0.0.1", 7001, latency_ms=5, max_batch=8)
    said = "-m memorystack_runtime.dev.embedder --host 127.0.0.1 --port 7001 --latency-ms 5 --max-batch 8"
    assert " ".join(argv[1:]) == said
    assert engine_command("qdrant", path=Path("data"))[-2:] == ["--path", "data"]


def test_started_engine_answers_and_is_gone_after_the_block() -> None:
    with start("embedder") as engine:
        assert httpx.get(f"{engine.url}/healthz").status_code == 200
        assert engine.pid == engine.process.pid
    assert gone(engine.pid)
    assert engine.process.returncode == 0


async def test_started_engine_is_gone_after_an_error_in_the_block() -> None:
    with pytest.raises(ZeroDivisionError):
        async with start_async("embedder") as engine:
            raise ZeroDivisionError
    assert gone(engine.pid)


def test_engine_ends_by_itself_when_its_parent_is_killed() -> None:
    code = (
        "import os, signal; from memorystack_runtime.dev import start\n"
        "with start('embedder') as engine:\n"
        "    print(engine.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, timeout=20, check=False)
    pid = int(done.stdout)
    assert done.returncode == -signal.SIGKILL
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([handle], [], [], 10)[0]  # readable once the process has ended
    finally:
        os.close(handle)


def test_wait_names_the_url_and_the_reason() -> None:
    with pytest.raises(EngineFailedError, match=r"http://127.0.0.1:1 did not answer within 0.1 s: .*refused"):
        wait_until_ready("http://127.0.0.1:1", 0.1)


def test_engine_that_says_nothing_is_ended() -> None:
    argv = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(EngineFailedError, match=r"it said nothing \(exit code -15\)"), start_command(argv, timeout=0.2):
        pass


def test_process_that_ignores_sigterm_is_killed() -> None:
    code = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('x', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"x\n"
        assert end(process, grace=0.2) == -9


def test_face_is_complete_and_imports_no_server() -> None:
    public = {name for name, value in vars(dev).items() if name[0] != "_" and not isinstance(value, ModuleType)}
    assert public - {"annotations"} == set(dev.__all__)
    code = "import sys, memorystack_runtime.dev; print(sorted({'uvicorn', 'starlette', 'numpy', 'qdrant_edge', 'redis'} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
