"""Canary pods are lost, evicted or scaled away, and the operator is replaced by another release: the share is never silently zero."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from support.cluster import ControlPlane
from support.operating import Operator, grant
from support.stacks import EVEN, Stack


@pytest.fixture
def canary(stack: Stack) -> Iterator[Stack]:
    """In a long step, under traffic."""
    with stack.canary():
        yield stack


def deleted(stack: Stack, name: str) -> None:
    stack.kubectl("delete", "pod", name, "--wait=false")


def evicted(stack: Stack, name: str) -> None:
    """Another would be refused until the next pod serves, so a drain waits."""
    (other, *_) = {p["metadata"]["name"] for p in stack.pods()} - {name}
    assert stack.evict(name) == 201
    assert stack.evict(other) == 429


def killed_at_once(stack: Stack, name: str) -> None:
    """As with a node that died."""
    stack.kubectl("delete", "pod", name, "--wait=false", "--grace-period=0", "--force")


@pytest.mark.parametrize("leaves", [deleted, evicted, killed_at_once], ids=lambda f: f.__name__)
def test_a_canary_pod_when_it_leaves_then_another_takes_its_place_and_the_same_step_goes_on(
    canary: Stack, leaves: Callable[[Stack, str], None]
) -> None:
    (name,) = canary.leased()
    before, seen = canary.rollout, canary.counted
    leaves(canary, name)
    canary.wait(lambda: canary.rollout.get("pods", [name]) not in ([name], []), "nobody takes its place")
    canary.wait(lambda: canary.leased() == canary.rollout["pods"], "the flags are not lent")
    canary.wait(lambda: canary.counted > seen, "evidence does not go on")
    after = canary.rollout
    assert (after["id"], after["step"], after["state"]) == (before["id"], before["step"], "Progressing")
    canary.wait(lambda: len(canary.pods()) == 3, "the pod is not replaced")
    assert canary.events() == ["RolloutStarted", "StageStarted"]


def test_a_canary_when_all_pods_are_drained_one_by_one_then_is_refilled_and_never_silently_nobody(
    canary: Stack,
) -> None:
    """R14b."""
    old, before = [p["metadata"]["name"] for p in canary.pods()], canary.rollout
    told: set[tuple[bool, str]] = set()

    def gone(pod: str) -> bool:
        """As kubectl does it: again and again until the disruption budget allows it."""
        found = canary.rollout
        told.add((bool(found.get("pods")), found.get("reason", "")))
        return canary.evict(pod) in (201, 404)

    for pod in old:
        canary.wait(lambda pod=pod: gone(pod), f"{pod} may not leave")
    canary.wait(lambda: not set(old) & {p["metadata"]["name"] for p in canary.pods()}, "old pods stay")
    canary.wait(lambda: canary.leased() == canary.rollout.get("pods", ()), "the flags are not lent")
    seen = canary.counted
    canary.wait(lambda: canary.counted > seen, "evidence does not go on")
    after = canary.rollout
    assert (after["id"], after["step"], after["state"]) == (before["id"], before["step"], "Progressing")
    waits = {"DeploymentNotSettled", "CanaryPodsMissing", "MetricsUnavailable", "FlagsSettling"}
    assert {reason for some, reason in told if not some} <= waits
    assert canary.events() == ["RolloutStarted", "StageStarted"]


@pytest.fixture
def former(served: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Operator]:
    """Of one release."""
    with Operator(
        grant(served, namespace, "operator"), namespace, tmp_path, "--runtime-image", "memorystack-stub:1"
    ) as one:
        yield one


def test_an_operator_when_replaced_by_another_release_then_nothing_is_rolled_out_and_no_pod_restarts(
    served: ControlPlane, api: httpx.Client, namespace: str, tmp_path: Path, former: Operator
) -> None:
    """R19: its runtime's image is another one, too."""
    stack = Stack(served, api, namespace, "mem")
    del stack.spec["image"]
    stack.apply(features=EVEN)
    stack.wait_idle()
    before = stack.uids(), stack.deployment["metadata"]["generation"], stack.status["stable"]
    assert former.end() == 0
    account = served.folder.kubeconfigs / f"{namespace}.operator"
    with Operator(account, namespace, tmp_path, "--runtime-image", "memorystack-stub:2") as later:
        later.until(lambda: later.leads, "it does not lead")
        rounds = 'controller_runtime_reconcile_total{controller="memorystack",result="requeue_after"}'
        later.until(lambda: later.metric(rounds) > 0, "it does not look")
        stack.wait_idle()
        assert (stack.uids(), stack.deployment["metadata"]["generation"], stack.status["stable"]) == before
        assert stack.events() == []
        # A template of the user's own takes the new release's image with it.
        stack.apply(template={**stack.spec["template"], "annotations": {"team": "owls"}})
        stack.wait(lambda: not before[0] & stack.uids(), "the pods are not replaced")
    images = {c["image"] for p in stack.pods() for c in p["spec"]["containers"]}
    assert images == {"memorystack-stub:2"}
