"""One-off commands from another terminal: the annotation `memorystack.dev/action`, as a file."""

from __future__ import annotations

import json
import time
import uuid
from typing import Final

from memorystack_operator.core import Status
from memorystack_operator.local.errors import LocalError, NotRunning
from memorystack_operator.local.remains import is_same_process
from memorystack_operator.local.state import Running, StateFolder, write_atomically

__all__ = ["ANSWER_SECONDS", "is_running", "read_action", "running_or_raise", "submit"]

ANSWER_SECONDS: Final = 15.0


def is_running(folder: StateFolder) -> bool:
    """Whether the process that said to hold the folder lives."""
    running = folder.read_running()
    return running is not None and is_same_process(running.pid, running.created)


def running_or_raise(folder: StateFolder) -> Running:
    """Who holds the folder. Raises NotRunning."""
    running = folder.read_running()
    if running is None or not is_running(folder):
        msg = f"no stack is running in {folder.root}: start one with memorystack up -f FILE, or point --state-dir to it"
        raise NotRunning(msg)
    return running


def submit(folder: StateFolder, verb: str) -> str:
    """Asks, and waits for the acknowledgement; its text, `Reason: message`. Raises NotRunning, LocalError."""
    running_or_raise(folder)
    text = f"{verb}@{uuid.uuid4().hex[:8]}"
    write_atomically(folder.action, json.dumps({"action": text}))
    until = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < until:
        status = read_status(folder)
        if status and status.last_action == text:
            return status.last_action_result
        time.sleep(0.05)
    msg = f"{verb} was not acknowledged within {ANSWER_SECONDS:g} s: look at memorystack status"
    raise LocalError(msg)


def read_action(folder: StateFolder) -> str:
    """`verb@id`, or nothing."""
    try:
        return str(json.loads(folder.action.read_text())["action"])
    except (OSError, ValueError, KeyError):
        return ""


def read_status(folder: StateFolder) -> Status | None:
    """The status on record."""
    try:
        return Status.model_validate(json.loads(folder.status.read_text())["status"])
    except (OSError, ValueError, KeyError):
        return None
