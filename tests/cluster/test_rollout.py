"""Rollouts on a real API server: the operator is a process under its own rights, the pods are stubs, the traffic is real."""

from __future__ import annotations

import json
from datetime import datetime

from support.stacks import BAD, GOOD, Stack, notes
from support.traffic import Traffic


def test_a_new_stack_when_applied_then_serves_all_flags_of_its_spec_without_any_analysis(stack: Stack) -> None:
    """R1."""
    stack.apply(features=BAD)
    stack.wait_ready(60)
    stack.wait_idle()
    status = stack.status
    assert status["stable"]["features"]["httpPool"]["enabled"] is True
    assert not status.get("history")
    assert not [reason for reason in stack.events() if reason != "RolloutCompleted"]
    assert {c["type"]: c["status"] for c in status["conditions"]} == {
        "Ready": "True",
        "RolloutHealthy": "True",
        "MetricsAvailable": "True",
    }
    assert all(c["observedGeneration"] == 1 for c in status["conditions"])
    assert stack.leased() == []
    path = f"/apis/memorystack.dev/v1alpha1/namespaces/{stack.namespace}/memorystacks/{stack.name}/scale"
    scale = json.loads(stack.kubectl("get", "--raw", path))
    assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (3, 3)
    labels = f"app.kubernetes.io/name=memorystack,app.kubernetes.io/instance={stack.name}"
    assert scale["status"]["selector"] == f"{labels},memorystack.dev/deployment=main"


def test_a_good_flag_when_tried_then_is_promoted_and_no_pod_restarts(stack: Stack) -> None:
    stack.apply()
    stack.wait_idle()
    before = stack.uids()
    with stack.traffic() as traffic:
        stack.apply(features=GOOD)
        stack.wait(stack.leased, "no pod gets the flags")
        (canary,) = stack.leased()
        stack.wait_ended(1)
        stack.wait_idle()
    assert (stack.last["outcome"], stack.last["stage"]) == ("Promoted", "parallelIngest")
    assert stack.status["stable"]["features"]["parallelIngest"]["concurrency"] == 4
    assert stack.uids() == before
    assert sum(p["status"]["containerStatuses"][0]["restartCount"] for p in stack.pods()) == 0
    assert served_before_the_verdict(stack, traffic, stack.status["stable"]["revision"]) == {canary}
    assert all(a.status == 200 for a in traffic.answers)
    assert stack.leased() == []
    assert not [p for p in stack.pods() if "controller.kubernetes.io/pod-deletion-cost" in notes(p)]
    assert not [p for p in stack.pods() if "memorystack.dev/arm" in p["metadata"]["labels"]]
    assert stack.events() == ["RolloutStarted", "StageStarted", "StagePromoted", "RolloutCompleted"]


def test_a_bad_flag_when_tried_then_is_rolled_back_and_told_and_forgotten_when_git_goes_back(stack: Stack) -> None:
    """R5a and R11."""
    stack.apply()
    stack.wait_idle()
    before, stable = stack.uids(), stack.status["stable"]
    with stack.traffic() as traffic:
        stack.apply(features=BAD)
        stack.wait_for("Rejected")
        spoilt = stack.status["wanted"]
        ended = datetime.fromisoformat(stack.last["endedAt"]).timestamp()
        stack.wait(lambda: "httpPool rejected: " in stack.status["message"], "the rejection is not told")
        told = rejected_as_told(stack)
        stack.apply(features={})
        stack.wait_idle()
    assert "httpPool" in told
    assert not [a for a in traffic.answers if a.flags == spoilt and a.at > ended + 2], "bad answers after the verdict"
    assert len({a.pod for a in traffic.answers if a.flags == spoilt}) == 1
    assert (stack.status["rejected"], stack.status["stable"]) == ([], stable)
    assert stack.condition("RolloutHealthy")["status"] == "True"
    assert stack.events() == ["RolloutStarted", "StageStarted", "RolledBack"]
    assert stack.uids() == before


def rejected_as_told(stack: Stack) -> str:
    """Condition, event, history and columns agree; the columns' text."""
    reason, last = "P95OverBudget", stack.last
    assert (last["outcome"], last["reason"]) == ("RolledBack", reason)
    for part in ("budget of 250ms", "worse than stable", "canary", "stable", "evidence"):
        assert part in last["message"]
    health = stack.condition("RolloutHealthy")
    assert (health["status"], health["reason"], health["message"]) == ("False", reason, f"httpPool: {last['message']}")
    assert stack.condition("Ready")["status"] == "True"
    assert not stack.condition("Stalled")
    assert not stack.condition("Reconciling")
    event = next(e for e in stack.said() if e["reason"] == "RolledBack")
    assert (event["type"], event["reportingController"]) == ("Warning", "memorystack.dev/operator")
    assert event["note"] == f"httpPool taken back ({reason}): {last['message']}"
    assert event["metadata"]["managedFields"][0]["manager"] == "memorystack-operator"
    told = stack.kubectl("get", "mstack", stack.name, "-o", "wide").splitlines()
    assert told[1].split()[:3] == [stack.name, "True", "Rejected"]
    assert "recall " in told[1]
    return told[1]


def served_before_the_verdict(stack: Stack, traffic: Traffic, revision: str) -> set[str]:
    """Pods that served the flags of the last stage before it ended."""
    ended = datetime.fromisoformat(stack.last["endedAt"]).timestamp()
    return {a.pod for a in traffic.answers if a.flags == revision and a.at < ended}


def test_two_flags_in_one_commit_when_the_second_is_bad_then_only_the_second_is_taken_back(stack: Stack) -> None:
    """R21."""
    stack.apply(rollout={**stack.spec["rollout"], "order": ["parallelIngest", "httpPool"]})
    stack.wait_idle()
    with stack.traffic():
        stack.apply(features={**GOOD, **BAD})
        stack.wait_ended(2)
        stack.wait_for("Rejected")
    found = [(line["stage"], line["outcome"]) for line in stack.status["history"]]
    assert found == [("parallelIngest", "Promoted"), ("httpPool", "RolledBack")]
    serving = stack.status["stable"]["features"]
    assert (serving["parallelIngest"]["concurrency"], serving["httpPool"]["enabled"]) == (4, False)


def test_a_third_version_when_it_comes_amid_the_second_s_canary_then_that_has_left_every_pod_before(
    stack: Stack,
) -> None:
    """R10."""
    second, third = ({"parallelIngest": {"concurrency": c}} for c in (2, 3))
    stack.apply()
    stack.wait_idle()
    with stack.traffic() as traffic:
        stack.apply(features=second)
        stack.wait(lambda: (stack.status.get("rollout") or {}).get("firstCanaryRequestAt"), "v2 serves nothing")
        v2 = stack.status["rollout"]["revision"]
        stack.apply(features=third)
        stack.wait(lambda: stack.status["history"], "v2 is not superseded")
        stack.wait(lambda: (stack.status.get("rollout") or {}).get("firstCanaryRequestAt"), "v3 serves nothing")
        v3 = stack.status["rollout"]["revision"]
    assert v2 != v3
    old = max(a.at - a.milliseconds / 1000 for a in traffic.answers if a.flags == v2)
    new = min(a.at - a.milliseconds / 1000 for a in traffic.answers if a.flags == v3)
    assert old < new, "v3 was served while v2 still was"
    assert stack.last["outcome"] == "Superseded"
    assert stack.events()[:4] == ["RolloutStarted", "StageStarted", "Superseded", "RolloutStarted"]
