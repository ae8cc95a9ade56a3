"""Two operators: one leads, the other waits; and one that was asleep while its turn ended finds itself shut out."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import httpx
import pytest
from support.cluster import ControlPlane
from support.operating import Operator, grant
from support.stacks import BAD, Stack, notes

SWIFT = ("--lease-seconds", "3", "--renew-seconds", "2", "--retry-seconds", "0.3")


@pytest.fixture
def first(served: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Operator]:
    """It leads."""
    with Operator(grant(served, namespace, "first"), namespace, tmp_path, *SWIFT) as one:
        one.until(lambda: one.leads, "it does not lead")
        yield one


@pytest.fixture
def second(served: ControlPlane, namespace: str, tmp_path: Path, first: Operator) -> Iterator[Operator]:
    """It waits, under another account, so that the audit log tells them apart."""
    del first
    with Operator(grant(served, namespace, "second"), namespace, tmp_path, *SWIFT) as one:
        yield one


@pytest.fixture
def canary(served: ControlPlane, api: httpx.Client, namespace: str, first: Operator) -> Iterator[Stack]:
    """A stack in the middle of a long step, under traffic."""
    del first
    stack = Stack(served, api, namespace, "mem", replicas=2)
    with stack.canary(50, rate=40, counted=10):
        yield stack


def written(plane: ControlPlane, namespace: str, account: str, since: float) -> list[str]:
    """What that account wrote into the namespace since then, but its Leases."""
    return [
        f"{verb} {uri}" for at, verb, uri in _writes(plane, namespace, account) if at > since and "/leases" not in uri
    ]


def given_back(plane: ControlPlane, namespace: str, account: str) -> float:
    """When that account, which has ended, last wrote the Lease."""
    return max(at for at, _, uri in _writes(plane, namespace, account) if "/leases" in uri)


def _writes(plane: ControlPlane, namespace: str, account: str) -> Iterator[tuple[float, str, str]]:
    """(seconds, verb, URI)."""
    for line in plane.audited(f"system:serviceaccount:{namespace}:{account}"):
        if line["verb"] in {"create", "update", "patch", "delete"}:
            yield _seconds(line["requestReceivedTimestamp"]), line["verb"], line["requestURI"]


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def epoch_of(stack: Stack) -> int:
    """Of the lease that a pod holds; 0: none does."""
    leases = [
        json.loads(notes(p)["memorystack.dev/flags"]) for p in stack.pods() if "memorystack.dev/flags" in notes(p)
    ]
    return max((int(lease["epoch"]) for lease in leases), default=0)


def test_a_second_operator_when_the_first_leads_then_is_ready_and_writes_nothing_and_follows_at_once(
    canary: Stack, first: Operator, second: Operator, served: ControlPlane, namespace: str
) -> None:
    assert (first.leads, second.leads) == (True, False)
    assert second.asked("/readyz") == 200
    epoch, before = epoch_of(canary), canary.status["rollout"]
    assert first.end() == 0
    ended = time.monotonic()
    second.until(lambda: second.leads, "it does not follow")
    assert time.monotonic() - ended < 2.5, "the Lease was not given back"
    canary.wait(lambda: epoch_of(canary) == epoch + 1, "the lease of the flags is not renewed by the second")
    after = canary.status["rollout"]
    assert (after["id"], after["step"], after["flippedAt"]) == (before["id"], before["step"], before["flippedAt"])
    assert written(served, namespace, "first", 0)
    assert not written(served, namespace, "first", given_back(served, namespace, "first")), "the second leads already"
    assert canary.events() == ["RolloutStarted", "StageStarted"]


def test_an_operator_when_stopped_for_three_leases_and_continued_then_writes_nothing_any_more(
    canary: Stack, first: Operator, second: Operator, served: ControlPlane, namespace: str
) -> None:
    epoch = epoch_of(canary)
    first.send(signal.SIGSTOP)
    second.until(lambda: second.leads, "it does not take over")
    canary.wait(lambda: epoch_of(canary) == epoch + 1, "the lease of the flags is not renewed by the second")
    time.sleep(6)
    # Work that the first has not seen: had it still a say, two would write now.
    canary.apply(features=BAD)
    canary.wait(lambda: canary.status.get("history"), "the second does not act")
    continued = time.time()
    first.send(signal.SIGCONT)
    first.until(lambda: not first.leads, "it still believes to lead")
    canary.wait_for("Rejected")
    time.sleep(1)
    assert written(served, namespace, "first", continued) == []
    assert written(served, namespace, "second", continued)
    assert second.leads
    assert first.asked("/readyz") == 200
    assert [line["outcome"] for line in canary.status["history"]] == ["Superseded", "RolledBack"]
