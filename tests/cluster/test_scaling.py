"""Pods come and go while a flag is tried: the canary is kept or refilled, and nobody ever has fewer pods than asked for."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from support.stacks import Stack

EVEN = {"cache": {"maxSize": 200}}
"""A flag that changes nothing of a stub's latency."""
PAUSED = [{"weight": 25, "minDuration": "1s"}, {"pause": {}}, {"weight": 50, "minDuration": "1s"}]
LONG = [{"weight": 25, "minDuration": "10m"}]


@pytest.fixture
def four(stack: Stack) -> Stack:
    """A stack of four pods, at rest."""
    stack.apply(replicas=4)
    stack.wait_idle()
    return stack


def sizes_since(api: httpx.Client, stack: Stack, version: str) -> set[int]:
    """`spec.replicas` of each version of the main Deployment since that one: a watch of the past misses none."""
    path = f"/apis/apps/v1/namespaces/{stack.namespace}/deployments"
    query = {"watch": "1", "fieldSelector": f"metadata.name={stack.name}", "resourceVersion": version}
    with api.stream("GET", path, params={**query, "timeoutSeconds": "1"}) as answer:
        events = [json.loads(line) for line in answer.iter_lines()]
    assert events, "nothing happened to the Deployment"
    return {event["object"]["spec"]["replicas"] for event in events}


def ready(stack: Stack) -> int:
    """Pods that serve."""
    return sum(
        c["type"] == "Ready" and c["status"] == "True" for p in stack.pods() for c in p["status"].get("conditions", ())
    )


def begin(stack: Stack, steps: list[dict[str, Any]]) -> str:
    """A canary under way; its pod."""
    stack.apply(features=EVEN, rollout={**stack.spec["rollout"], "steps": steps})
    stack.wait(lambda: stack.counted > 10, "nothing is counted")
    (pod,) = stack.leased()
    return pod


def test_a_paused_canary_when_the_stack_grows_and_shrinks_then_share_pod_and_evidence_are_kept(four: Stack) -> None:
    """R12."""
    with four.traffic(rate=60, seconds=180):
        first = begin(four, PAUSED)
        four.wait_for("Paused")
        seen = four.counted
        four.apply(replicas=8)
        four.wait(lambda: len(four.leased()) == 2, "two of eight pods are a quarter")
        assert first in four.leased()
        assert four.counted >= seen
        four.apply(replicas=4)
        four.wait(lambda: ready(four) == len(four.pods()) == 4, "it does not shrink")
        four.wait(lambda: four.leased() == [first], "the first canary pod is kept, alone")
        four.wait_for("Paused")
        assert four.counted >= seen
        four.kubectl("annotate", "mstack", four.name, "memorystack.dev/action=promote@r12")
        four.wait_idle()
    assert [(line["stage"], line["outcome"]) for line in four.status["history"]] == [("cache", "Promoted")]


def test_a_canary_when_the_stack_shrinks_then_the_others_leave_first(four: Stack) -> None:
    """R14b."""
    with four.traffic(rate=60, seconds=120):
        pod = begin(four, LONG)
        seen = four.counted
        four.apply(replicas=2)
        four.wait(lambda: len(four.pods()) == 2, "it does not shrink")
        assert four.leased() == [pod]
        four.wait(lambda: four.counted > seen, "evidence does not go on")
    assert four.events() == ["RolloutStarted", "StageStarted"]


def test_a_canary_when_all_pods_are_restarted_then_waits_and_goes_on_with_another(
    four: Stack, api: httpx.Client
) -> None:
    """R14b."""
    version = four.deployment["metadata"]["resourceVersion"]
    with four.traffic(rate=60, seconds=120) as traffic:
        begin(four, LONG)
        old, id_before = four.uids(), four.rollout["id"]
        told = set()
        four.kubectl("rollout", "restart", f"deployment/{four.name}")
        four.wait(lambda: told.add(four.status["message"]) or not old & four.uids(), "pods stay")
        four.wait(lambda: ready(four) == len(four.pods()) == 4, "it does not settle")
        seen = four.counted
        four.wait(lambda: four.counted > seen, "evidence does not go on")
        assert len(four.leased()) == 1
        assert four.rollout["id"] == id_before
    assert any("still rolling out; the step's clock stands still" in text for text in told)
    assert sizes_since(api, four, version) == {4}
    assert all(a.status == 200 for a in traffic.answers)
    assert four.events() == ["RolloutStarted", "StageStarted"]


def test_autoscaling_when_turned_on_and_off_amid_a_canary_then_there_are_never_fewer_pods(
    four: Stack, api: httpx.Client
) -> None:
    """R14b. Dropping `replicas` from the apply before somebody else owns it takes a live stack to one pod."""
    scaler = f"apis/autoscaling/v2/horizontalpodautoscalers/{four.name}"
    version = four.deployment["metadata"]["resourceVersion"]
    with four.traffic(rate=60, seconds=120) as traffic:
        pod = begin(four, LONG)
        spec = {key: value for key, value in four.spec.items() if key != "replicas"}
        four.spec = spec
        four.apply(autoscaling={"minReplicas": 4, "maxReplicas": 6})
        four.wait(lambda: four.child(scaler), "no autoscaler is made")
        four.wait(lambda: "memorystack-scale" in owners_of_replicas(four), "the count is not handed over")
        four.wait(lambda: "memorystack-operator" not in owners_of_replicas(four), "the operator still owns the count")
        assert four.deployment["spec"]["replicas"] == 4
        four.spec = {key: value for key, value in four.spec.items() if key != "autoscaling"}
        four.apply(replicas=4)
        four.wait(lambda: not four.child(scaler), "the autoscaler stays")
        four.wait(lambda: "memorystack-operator" in owners_of_replicas(four), "nobody counts the pods")
        assert four.leased() == [pod]
        seen = four.counted
        four.wait(lambda: four.counted > seen, "evidence does not go on")
    assert sizes_since(api, four, version) == {4}
    assert all(a.status == 200 for a in traffic.answers)


def owners_of_replicas(stack: Stack) -> set[str]:
    """Field managers of the main Deployment's count."""
    return {
        entry["manager"]
        for entry in stack.deployment["metadata"]["managedFields"]
        if "f:replicas" in entry["fieldsV1"].get("f:spec", {})
    }
