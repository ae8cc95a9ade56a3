"""Stacks at rest cost nothing but the leader's Lease: no write to the API, whoever looks how often."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime

import httpx
import pytest
from support.cluster import ControlPlane
from support.operating import Operator, grant
from support.stacks import Stack

STACKS = 50
QUIET_SECONDS = 15.0
"""Within it the operator looks at each stack, and lists everything, two or three times: as in half an hour by default."""
OFTEN = ("--idle-seconds", "5", "--relist-seconds", "5")
WRITING = {"create", "update", "patch", "delete", "deletecollection"}


@pytest.fixture(scope="module")
def operator(served: ControlPlane, home: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    account = grant(served, home, "operator")
    with Operator(account, home, tmp_path_factory.mktemp("operator"), *OFTEN) as one:
        yield one


def test_fifty_stacks_when_at_rest_then_nothing_is_written_but_the_lease(
    served: ControlPlane, api: httpx.Client, home: str, operator: Operator
) -> None:
    stacks = [
        Stack(served, api, home, f"s{n}", replicas=1, image="memorystack-still:1", template={}) for n in range(STACKS)
    ]
    for stack in stacks:
        api.post(stack.path.rpartition("/")[0], json=stack.manifest()).raise_for_status()
    for stack in stacks:
        stack.wait_idle()
    operator.until(lambda: not recent(served, home, 3.0), "writes do not end")
    began = time.time()
    rounds = operator.metric('controller_runtime_reconcile_total{controller="memorystack",result="requeue_after"}')
    time.sleep(QUIET_SECONDS)
    after = operator.metric('controller_runtime_reconcile_total{controller="memorystack",result="requeue_after"}')
    assert recent(served, home, time.time() - began) == Counter()
    assert recent(served, home, time.time() - began, of="leases")
    assert after - rounds >= STACKS, "nobody looked"
    cpu, megabytes = operator.usage()
    assert megabytes < 160, f"{cpu:.1f} s of CPU, {megabytes:.0f} MB"
    assert_a_restart_writes_nothing(served, home, operator)


def assert_a_restart_writes_nothing(plane: ControlPlane, home: str, operator: Operator) -> None:
    """It must find every child as it left it, by lists, which are of another form than a watch's events."""
    operator.end()
    began = time.time()
    operator.start().wait_ready()
    looked = 'controller_runtime_reconcile_total{controller="memorystack",result="requeue_after"}'
    operator.until(lambda: operator.metric(looked) >= STACKS, "it does not look at every stack")
    assert recent(plane, home, time.time() - began) == Counter()


def recent(plane: ControlPlane, namespace: str, seconds: float, of: str = "") -> Counter[str]:
    """What the operator wrote in the last seconds: its Leases, or all else."""
    since = time.time() - seconds
    found: Counter[str] = Counter()
    for entry in plane.audited(f"system:serviceaccount:{namespace}:operator"):
        if entry["verb"] not in WRITING:
            continue
        resource = entry["objectRef"]["resource"]
        at = datetime.fromisoformat(entry["requestReceivedTimestamp"]).timestamp()
        if at > since and (resource == of if of else resource != "leases"):
            found[f"{entry['verb']} {resource}"] += 1
    return found
