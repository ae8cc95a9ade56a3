"""Faults of the API server, between it and the operator: what was begun is ended as without them, once, and by nobody's hand.

A proxy stands where a load balancer would.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.cluster import ControlPlane
from support.fault_proxy import Fault, FaultProxy
from support.operating import Operator, grant
from support.stacks import BAD, EVEN, GOOD, Stack, notes

SWIFT = ("--lease-seconds", "6", "--renew-seconds", "4", "--retry-seconds", "0.5", "--relist-seconds", "3")
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


class EveryThird:
    """Fits each third write but those of the leader's Lease: more, and only the growing pauses would be tested."""

    def __init__(self) -> None:
        self.writes = 0

    def __call__(self, method: str, path: str) -> bool:
        if method == "GET" or "/leases" in path:
            return False
        self.writes += 1
        return self.writes % 3 == 1


FAULTS: Mapping[str, Mapping[str, Any]] = {
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
    assert operator.metric(missed) > before  # two lists in a row missed something; of the other one it may be a pod
    proxy.close_watches()  # no half of an event is to reach the operator
    time.sleep(0.5)
    proxy.mute = False
    operator.until(lambda: operator.asked("/healthz") == 200, "it does not recover", 60)
    stack.wait_idle()


def test_a_stack_when_it_is_stuck_in_a_call_then_the_operator_calls_itself_sick_until_it_goes_on(
    served: ControlPlane, namespace: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    """A write is given up after 4.5 s, so what counts as stuck is less here; /healthz is what the kubelet asks."""
    by_proxy = proxy.kubeconfig(grant(served, namespace, "operator"), tmp_path / "kubeconfig")
    with served.api() as api, Operator(by_proxy, namespace, tmp_path, "--stuck-seconds", "2") as operator:
        stack = Stack(served, api, namespace, "mem")
        stack.apply()
        stack.wait_idle()
        assert operator.asked("/healthz") == 200
        path = f"/namespaces/{namespace}/memorystacks/mem/status"
        proxy.faults.append(Fault(lambda method, asked: method != "GET" and path in asked, times=1000, silent=60))
        stack.apply(features=EVEN)
        operator.until(lambda: operator.asked("/healthz") == 503, "it does not notice")
        operator.until(lambda: operator.asked("/readyz") == 503, "it calls itself ready")
        proxy.faults.clear()
        operator.until(lambda: operator.asked("/healthz") == operator.asked("/readyz") == 200, "it does not recover")
        with stack.traffic():
            assert stack.wait_ended(1)["outcome"] == "Promoted"


def test_a_canary_when_the_operators_token_is_replaced_then_goes_on_without_a_break(
    stack: Stack, served: ControlPlane, proxy: FaultProxy, operator: Operator, token: Path
) -> None:
    with stack.canary(counted=10):
        before, lent = stack.rollout, stack.leased()
        old = token.read_text()
        served.service_account(stack.namespace, "operator", make=False)
        token.write_text(new_token(served, stack.namespace))
        proxy.revoked.add(f"Bearer {old}")
        proxy.close_watches()  # an open stream outlives its token
        seen = stack.counted
        stack.wait(lambda: stack.counted > seen, "evidence does not go on", 40)
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
