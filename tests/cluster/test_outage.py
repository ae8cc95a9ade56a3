"""The API server is away for longer than the leases of the flags: what serves goes on, what was tried ends by itself, and goes on later.

The outage is a real one, of a control plane of its own. It lasts for little more than a lease, as the rule is the same for two
minutes: MEMORYSTACK_TEST_OUTAGE_SECONDS=120 make test ARGS=tests/cluster/test_outage.py
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import httpx
import pytest
from support.cluster import ControlPlane
from support.operating import Operator, grant, serve_the_kind
from support.stacks import Stack

SWIFT = ("--lease-seconds", "6", "--renew-seconds", "4", "--retry-seconds", "0.5")
LEASE_SECONDS = 30
"""Of the flags."""
OUTAGE_SECONDS = float(os.environ.get("MEMORYSTACK_TEST_OUTAGE_SECONDS", "36"))


@pytest.fixture
def plane(own_control_plane: ControlPlane) -> ControlPlane:
    """One that may go down."""
    serve_the_kind(own_control_plane)
    return own_control_plane


def flags_of(stack: Stack, addresses: dict[str, str]) -> dict[str, str]:
    """What each pod says that it serves; asked without the API server."""
    found = {}
    for name, address in addresses.items():
        answer = httpx.get(f"http://{address}:9090/internal/evidence", trust_env=False, timeout=5)
        found[name] = answer.json()["flags"]
    return found


def test_the_api_server_when_away_for_longer_than_a_lease_then_flags_end_by_themselves_and_all_goes_on_with_it(
    plane: ControlPlane, tmp_path: Path
) -> None:
    with plane.namespace() as namespace, plane.api() as api:
        stack = Stack(plane, api, namespace, "mem")
        with Operator(grant(plane, namespace, "operator"), namespace, tmp_path, *SWIFT) as operator:
            with stack.canary(rate=40, seconds=OUTAGE_SECONDS + 240) as traffic:
                before, uids, seen = stack.rollout, stack.uids(), stack.counted
                addresses = {p["metadata"]["name"]: p["status"]["podIP"] for p in stack.pods()}
                stable = stack.status["stable"]["revision"]
                assert set(flags_of(stack, addresses).values()) == {stable, before["revision"]}
                with plane.outage():
                    began = time.monotonic()
                    operator.until(
                        lambda: set(flags_of(stack, addresses).values()) == {stable},
                        "the flags do not end by themselves",
                        LEASE_SECONDS + 15,
                    )
                    time.sleep(max(0.0, OUTAGE_SECONDS - (time.monotonic() - began)))
                    assert operator.asked("/healthz") == 200, "a restart would not bring the API server back"
                stack.wait(lambda: before["revision"] in flags_of(stack, addresses).values(), "no flags again")
                stack.wait(lambda: stack.counted > seen, "evidence does not go on")
            after = stack.rollout
            for field in ("id", "step", "state", "flippedAt", "pods"):
                assert after[field] == before[field], field
            assert stack.uids() == uids
            assert stack.events() == ["RolloutStarted", "StageStarted"]
            assert all(a.status == 200 for a in traffic.answers)
            assert operator.asked("/readyz") == 200
