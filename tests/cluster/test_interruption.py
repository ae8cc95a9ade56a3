"""The operator dies, the stack is deleted: at the worst moment. What lives on must be safe, and what comes back must go on."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.cluster import ControlPlane
from support.operating import Operator, grant
from support.stacks import Stack

SWIFT = ("--lease-seconds", "3", "--renew-seconds", "2", "--retry-seconds", "0.3")


@pytest.fixture
def mortal(served: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Operator]:
    """An operator to be killed; its turn is over after three seconds."""
    with Operator(grant(served, namespace, "operator"), namespace, tmp_path, *SWIFT) as one:
        yield one


@pytest.fixture
def canary(served: ControlPlane, api: httpx.Client, namespace: str, mortal: Operator) -> Iterator[Stack]:
    """A stack in the middle of a step that does not end by itself, under traffic."""
    del mortal
    stack = Stack(served, api, namespace, "mem")
    with stack.canary():
        yield stack


def flags_of(stack: Stack) -> dict[str, str]:
    """What each ready pod says that it serves."""
    found = {}
    for pod in stack.pods():
        address = pod["status"].get("podIP")
        try:
            report = httpx.get(f"http://{address}:9090/internal/evidence", trust_env=False, timeout=2).json()
        except httpx.HTTPError:
            continue
        found[pod["metadata"]["name"]] = report["flags"]
    return found


def test_an_operator_when_killed_amid_a_canary_and_restarted_then_goes_on_with_the_same_step_and_its_evidence(
    canary: Stack, mortal: Operator
) -> None:
    """R15."""
    before, seen, lent = canary.rollout, canary.counted, canary.leased()
    target = before["revision"]
    mortal.end(signal.SIGKILL)
    mortal.start().wait_ready()
    mortal.until(lambda: mortal.leads, "nobody leads")
    canary.wait(lambda: canary.counted > seen, "no evidence is added", 40)
    after = canary.rollout
    for field in ("id", "step", "state", "flippedAt", "firstCanaryRequestAt", "appliedAt", "pods", "startedAt"):
        assert after[field] == before[field], field
    assert after["stepSeconds"] >= before["stepSeconds"]
    assert canary.leased() == lent
    assert [flags_of(canary)[name] for name in lent] == [target]
    assert canary.events() == ["RolloutStarted", "StageStarted"]


def test_flags_when_the_operator_is_dead_then_run_out_by_themselves_and_return_on_the_same_step_with_it(
    canary: Stack, mortal: Operator
) -> None:
    """R16, and R15 after a long absence."""
    before, (name,) = canary.rollout, canary.leased()
    stable = canary.status["stable"]["revision"]
    mortal.end(signal.SIGKILL)
    died = time.monotonic()
    assert flags_of(canary)[name] == before["revision"]
    canary.wait(lambda: set(flags_of(canary).values()) == {stable}, "the flags do not run out", 45)
    assert time.monotonic() - died < 33, "longer than the lease"
    # A pod that starts now finds the annotation of a dead operator, which must not arm it.
    address = next(p["status"]["podIP"] for p in canary.pods() if p["metadata"]["name"] == name)
    with pytest.raises(httpx.HTTPError):
        httpx.put(f"http://{address}:9090/control", json={"crash": True}, trust_env=False, timeout=5)
    canary.wait(lambda: flags_of(canary).get(name) == stable, "it does not come back")
    time.sleep(1)
    assert canary.leased() == [name]
    assert flags_of(canary)[name] == stable
    mortal.start().wait_ready()
    canary.wait(lambda: before["revision"] in flags_of(canary).values(), "the flags do not return", 30)
    after = canary.rollout
    assert (after["id"], after["step"], after["flippedAt"]) == (before["id"], before["step"], before["flippedAt"])
    assert after["evidence"]["recall"]["canaryRequests"] >= before["evidence"]["recall"]["canaryRequests"]
    assert canary.events() == ["RolloutStarted", "StageStarted"]


def test_a_stack_when_deleted_amid_a_canary_then_all_its_children_go_and_nothing_hangs(
    canary: Stack, mortal: Operator
) -> None:
    """R14."""
    assert not canary.get()["metadata"].get("finalizers")
    began = time.monotonic()
    canary.kubectl("delete", "mstack", "mem", "--wait", "--timeout=30s")
    kinds = "deployments,replicasets,pods,services,configmaps,poddisruptionbudgets,serviceaccounts"
    left = ["configmap/kube-root-ca.crt", "serviceaccount/default", "serviceaccount/operator"]
    canary.wait(
        lambda: canary.kubectl("get", kinds, "-o", "name").split() == left,
        "children stay",
        40,
    )
    assert time.monotonic() - began < 40
    assert mortal.asked("/healthz") == 200
    assert not mortal.said("reconcile_failed")
