"""An operator that dies after every single write that it makes, and is started again, comes to the same end as one that lives.

What was in its memory is lost each time, and of two writes that belong together only the first has happened: if something that
is needed later were nowhere on record, some life would miss it.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.cluster import ControlPlane
from support.fault_proxy import Fault, FaultProxy
from support.operating import Operator, grant
from support.stacks import BAD, GOOD, Stack

pytestmark = pytest.mark.long

SWIFT = ("--lease-seconds", "1", "--renew-seconds", "0.7", "--retry-seconds", "0.1")
FEWEST, MOST = 12, 80
"""Lives: with fewer hardly anything was tried. It is two dozen."""
LIFE_SECONDS = 60.0
QUIET_SECONDS = 6.0
TOLD = ["RolloutStarted", "StageStarted", "StagePromoted", "StageStarted", "RolledBack"]
"""By one that lives. A death between the record and its Event loses the Event."""


def is_write(method: str, path: str) -> bool:
    return method != "GET" and "/leases" not in path


@pytest.fixture
def proxy(served: ControlPlane) -> Iterator[FaultProxy]:
    with FaultProxy(served) as one:
        yield one


@pytest.fixture
def operator(served: ControlPlane, namespace: str, proxy: FaultProxy, tmp_path: Path) -> Iterator[Operator]:
    """It meets the API server by way of the proxy only."""
    account = proxy.kubeconfig(grant(served, namespace, "operator"), tmp_path / "kubeconfig")
    with Operator(account, namespace, tmp_path, *SWIFT) as one:
        yield one


def live_for_one_write(operator: Operator, proxy: FaultProxy) -> bool:
    """Whether it made one; then it was killed before it had the answer."""
    first, others = Fault(is_write, after=True), Fault(is_write, status=503, times=10_000)
    proxy.faults[:] = [first, others]
    operator.start()
    end = time.monotonic() + LIFE_SECONDS
    while not first.hits and time.monotonic() < end:
        time.sleep(0.01)
    operator.end(signal.SIGKILL)
    return bool(first.hits)


def test_an_operator_when_killed_after_each_of_its_writes_then_promotes_and_takes_back_as_if_it_lived(
    served: ControlPlane, api: httpx.Client, namespace: str, operator: Operator, proxy: FaultProxy
) -> None:
    """R15, R21."""
    stack = Stack(served, api, namespace, "mem")
    stack.apply()
    stack.wait_idle()
    pods, deployment = stack.uids(), stack.deployment["metadata"]["generation"]
    operator.end(signal.SIGKILL)
    stack.apply(features={**GOOD, **BAD}, rollout={**stack.spec["rollout"], "order": ["parallelIngest", "httpPool"]})
    wrote: list[bool] = []
    with stack.traffic(250, 600):
        while stack.phase != "Rejected" or stack.leased():
            assert len(wrote) < MOST, "it does not come to an end"
            wrote.append(live_for_one_write(operator, proxy))
        proxy.faults.clear()
        operator.start().wait_ready()
        operator.until(lambda: operator.leads, "it does not lead")
        time.sleep(QUIET_SECONDS)
    assert sum(wrote) >= FEWEST
    ends = [(line["stage"], line["outcome"], line["reason"]) for line in stack.status["history"]]
    assert [end[:2] for end in ends] == [("parallelIngest", "Promoted"), ("httpPool", "RolledBack")]
    assert ends[1][2] == "P95OverBudget"
    assert (stack.phase, stack.leased(), stack.uids()) == ("Rejected", [], pods)
    assert stack.deployment["metadata"]["generation"] == deployment, "the Deployment was written"
    assert not Counter(stack.events()) - Counter(TOLD), "told twice"
