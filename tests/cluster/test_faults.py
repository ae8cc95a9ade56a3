"""Faults of the API server, between it and the operator: what was begun is ended as without them, once, and by nobody's hand.

The proxy stands where a load balancer would; the outage is a real one, of a control plane of its own. Its length may be set, as the
rule is the same for two minutes: MEMORYSTACK_TEST_OUTAGE_SECONDS=120.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.cluster import ControlPlane
from support.fault_proxy import Fault, FaultProxy
from support.operating import BAD, GOOD, Operator, Stack, grant, notes, serve_the_kind

SWIFT = ("--lease-seconds", "6", "--renew-seconds", "4", "--retry-seconds", "0.5", "--relist-seconds", "3")
EVEN = {"cache": {"maxSize": 200}}
LONG = {"steps": [{"weight": 34, "minDuration": "10m"}]}
LEASE_SECONDS = 30
"""Of the flags."""
OUTAGE_SECONDS = float(os.environ.get("MEMORYSTACK_TEST_OUTAGE_SECONDS", "36"))
WHOLE = ["RolloutStarted", "StageStarted", "StagePromoted", "RolloutCompleted"]


@pytest.fixture(scope="module")
def proxy(served: ControlPlane) -> Iterator[FaultProxy]:
    with FaultProxy(served) as one:
        yield one


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file in which the operator's token is, as it is in a pod."""
    return tmp_path_factory.mktemp("account") / "token"


@pytest.fixture(scope="module")
def operator(
    served: ControlPlane, home: str, proxy: FaultProxy, token: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operator]:
    """It meets the API server by way of the proxy only."""
    folder = tmp_path_factory.mktemp("operator")
    by_proxy = proxy.kubeconfig(grant(served, home, "operator"), folder / "kubeconfig", token)
    with Operator(by_proxy, home, folder, *SWIFT) as one:
        one.until(lambda: one.leads, "it does not lead")
        yield one


@pytest.fixture(autouse=True)
def sound(request: pytest.FixtureRequest) -> Iterator[None]:
    """No fault outlives its test."""
    yield
    if "proxy" in request.fixturenames:
        found: FaultProxy = request.getfixturevalue("proxy")
        found.faults.clear()
        found.forgotten, found.mute = "", False


def rollout(stack: Stack) -> dict[str, Any]:
    found: dict[str, Any] = stack.status.get("rollout") or {}
    return found


def counted(stack: Stack) -> int:
    """Requests of the canary on record."""
    evidence = rollout(stack).get("evidence") or {}
    return int(evidence.get("recall", {}).get("canaryRequests", 0))


class EveryThird:
    """Fits each third write but those of the leader's Lease: more, and only the growing pauses would be tested."""

    def __init__(self) -> None:
        self.writes = 0

    def __call__(self, method: str, path: str) -> bool:
        if method == "GET" or "/leases" in path:
            return False
        self.writes += 1
        return self.writes % 3 == 1


FAULTS = {
    "409": {"status": 409},
    "429": {"status": 429, "headers": {"Retry-After": "1"}},
    "500": {"status": 500},
    "cut": {},
    "cut after it took effect": {"after": True},
}


@pytest.mark.parametrize("how", FAULTS)
def test_a_rollout_when_every_third_write_fails_then_ends_as_without_and_tells_each_change_once(
    stack: Stack, proxy: FaultProxy, operator: Operator, how: str
) -> None:
    fault = Fault(EveryThird(), times=10_000, **FAULTS[how])
    stack.apply()
    stack.wait_idle()
    before, written = stack.uids(), stack.deployment["metadata"]["generation"]
    proxy.faults.append(fault)
    with stack.traffic():
        stack.apply(features=GOOD)
        stack.wait_ended(1)
        stack.wait_idle()
        stack.wait(lambda: stack.events()[-1:] == WHOLE[-1:], "the end is not told")
    assert fault.hits > 2
    assert stack.events() == WHOLE
    assert [(line["stage"], line["outcome"]) for line in stack.status["history"]] == [("parallelIngest", "Promoted")]
    assert stack.uids() == before
    assert stack.deployment["metadata"]["generation"] == written, "written again, though nothing changed"
    stack.wait(lambda: not marked(stack), "marks stay on pods")
    assert operator.asked("/healthz") == 200


def marked(stack: Stack) -> list[str]:
    """Pods that look like a canary's."""
    keys = {"memorystack.dev/flags", "controller.kubernetes.io/pod-deletion-cost"}
    return [
        p["metadata"]["name"]
        for p in stack.pods()
        if keys & set(notes(p)) or "memorystack.dev/arm" in p["metadata"]["labels"]
    ]


@contextmanager
def watches_that_break(proxy: FaultProxy) -> Iterator[None]:
    """All of them, twice a second, for the length of the block."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(0.5):
            proxy.close_watches()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_rollout_when_watches_break_and_their_history_is_gone_then_nothing_is_lost(
    stack: Stack, proxy: FaultProxy, operator: Operator
) -> None:
    """410 Gone: kopf lists again, which tells of no deletion; the operator's own list does."""
    stack.apply()
    stack.wait_idle()
    pid = operator.process.pid if operator.process else 0
    ghost = Stack(stack.plane, stack._api, stack.namespace, f"{stack.name}-2")
    ghost.apply()
    ghost.wait_idle()
    proxy.forgotten = "memorystacks"
    series = f'memorystack_rollout_phase{{namespace="{ghost.namespace}",phase="Idle",stack="{ghost.name}"}}'
    assert operator.metric(series) == 1
    with watches_that_break(proxy), stack.traffic():
        ghost.delete()
        stack.apply(features=BAD)
        stack.wait_for("Rejected")
        operator.until(lambda: operator.metric(series) == 0, "it still tells of what was deleted")
    assert proxy.gone > 2
    assert stack.events() == ["RolloutStarted", "StageStarted", "RolledBack"]
    assert operator.asked("/healthz") == 200
    assert operator.process
    assert operator.process.pid == pid


def test_watches_when_they_fall_silent_then_lists_take_their_place_and_the_operator_calls_itself_sick(
    stack: Stack, proxy: FaultProxy, operator: Operator
) -> None:
    """Sick, so that the kubelet starts it again: what it lists, it knows later than a watch would tell."""
    stack.apply()
    stack.wait_idle()
    proxy.mute = True
    missed = 'memorystack_watch_missed_total{resource="memorystacks"}'
    before, edits = operator.metric(missed), iter(range(2, 50))

    def sick() -> bool:
        if not stack.status["observedGeneration"] < stack.get()["metadata"]["generation"]:
            stack.apply(rollout={**stack.spec["rollout"], "maxErrorPercent": next(edits)})
        return operator.asked("/healthz") == 503

    operator.until(sick, "it does not notice", 90)
    assert operator.asked("/readyz") == 503
    assert operator.metric(missed) >= before + 2
    proxy.close_watches()  # no half of an event is to reach the operator
    time.sleep(0.5)
    proxy.mute = False
    operator.until(lambda: operator.asked("/healthz") == 200, "it does not recover", 60)
    stack.wait_idle()


def test_a_canary_when_the_operators_token_is_replaced_then_goes_on_without_a_break(
    stack: Stack, served: ControlPlane, proxy: FaultProxy, operator: Operator, token: Path
) -> None:
    stack.spec["rollout"] = {**stack.spec["rollout"], **LONG}
    stack.apply()
    stack.wait_idle()
    with stack.traffic(rate=60):
        stack.apply(features=EVEN)
        stack.wait(lambda: counted(stack) > 10, "nothing is counted")
        before, lent = rollout(stack), stack.leased()
        old = token.read_text()
        served.service_account(stack.namespace, "operator", make=False)
        token.write_text(new_token(served, stack.namespace))
        proxy.revoked.add(f"Bearer {old}")
        proxy.close_watches()  # an open stream outlives its token
        seen = counted(stack)
        stack.wait(lambda: counted(stack) > seen, "evidence does not go on", 40)
        stack.apply(features={})
        stack.wait(lambda: not stack.leased(), "what git says is not seen")
    assert operator.leads
    assert stack.last["outcome"] == "Superseded"
    assert (len(lent), before["step"]) == (1, 0)
    assert operator.asked("/readyz") == 200
    proxy.revoked.clear()


def new_token(plane: ControlPlane, namespace: str) -> str:
    """Another one of the operator's account."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/operator/token"
    with plane.api() as api:
        answer = api.post(path, json={"spec": {"expirationSeconds": 3600}})
    found: str = answer.json()["status"]["token"]
    return found


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
        stack.spec["rollout"] = {**stack.spec["rollout"], **LONG}
        with Operator(grant(plane, namespace, "operator"), namespace, tmp_path, *SWIFT[:6]) as operator:
            stack.apply()
            stack.wait_idle()
            with stack.traffic(rate=40, seconds=OUTAGE_SECONDS + 240) as traffic:
                stack.apply(features=EVEN)
                stack.wait(lambda: counted(stack) > 20, "nothing is counted")
                before, uids, seen = rollout(stack), stack.uids(), counted(stack)
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
                stack.wait(lambda: before["revision"] in flags_of(stack, addresses).values(), "no flags again", 60)
                stack.wait(lambda: counted(stack) > seen, "evidence does not go on")
            after = rollout(stack)
            for field in ("id", "step", "state", "flippedAt", "pods"):
                assert after[field] == before[field], field
            assert stack.uids() == uids
            assert stack.events() == ["RolloutStarted", "StageStarted"]
            assert all(a.status == 200 for a in traffic.answers)
            assert operator.asked("/readyz") == 200
