"""R20 on a real API server: one replica is compared with the pod of a second Deployment, which goes when the stage has ended."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx
import pytest
from support.cluster import ControlPlane
from support.operating import Operator, grant
from support.stacks import BAD, GOOD, Stack

QUICK = ("--surge-seconds", "1", "--surge-timeout-seconds", "8")
LONG = [{"weight": 10, "minDuration": "10m"}]


@pytest.fixture(scope="module")
def operator(served: ControlPlane, home: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """As every module's, but a surge pod is warm after a second."""
    account = grant(served, home, "operator")
    with Operator(account, home, tmp_path_factory.mktemp("operator"), "--surge-seconds", "1") as one:
        yield one


@pytest.fixture
def alone(stack: Stack) -> Stack:
    """A stack of one pod, at rest."""
    stack.apply(replicas=1)
    stack.wait_idle()
    return stack


def second(stack: Stack) -> dict[str, Any]:
    """The second Deployment; empty when there is none."""
    return stack.child(f"apis/apps/v1/deployments/{stack.name}-canary")


def uid(stack: Stack) -> str:
    (pod,) = stack.uids()
    return pod


def gone(stack: Stack) -> None:
    """The second Deployment and its pod."""
    stack.wait(lambda: not second(stack), "the second Deployment stays")
    stack.wait(lambda: len(stack.pods()) == 1, "the surge pod stays")


def test_a_good_flag_of_one_replica_when_tried_then_is_promoted_beside_a_surge_pod_that_goes(alone: Stack) -> None:
    before = uid(alone)
    (original,) = (p["metadata"]["name"] for p in alone.pods())
    with alone.traffic() as traffic:
        alone.apply(features=GOOD)
        alone.wait(lambda: second(alone), "no second Deployment is made")
        alone.wait(alone.leased, "no pod gets the flags")
        assert alone.leased() == [original]
        scale = alone.get()["status"]
        assert (scale["replicas"], scale["progress"]["weight"]) == (1, "50%")
        alone.wait_ended(1)
        gone(alone)
        alone.wait_idle()
    assert (alone.last["outcome"], alone.last["stage"]) == ("Promoted", "parallelIngest")
    assert alone.last["judged"]["recall"]["stableRequests"] > 0
    assert uid(alone) == before
    assert all(a.status == 200 for a in traffic.answers)
    assert alone.events() == [
        "SurgePodStarted",
        "RolloutStarted",
        "StageStarted",
        "StagePromoted",
        "RolloutCompleted",
        "SurgePodRemoved",
    ]


def test_a_bad_flag_of_one_replica_when_tried_then_is_taken_back_and_half_of_the_answers_were_good(
    alone: Stack,
) -> None:
    before = uid(alone)
    with alone.traffic() as traffic:
        alone.apply(features=BAD)
        alone.wait_for("Rejected")
        gone(alone)
    spoilt, ended = alone.status["wanted"], datetime.fromisoformat(alone.last["endedAt"]).timestamp()
    assert alone.last["reason"] == "P95OverBudget"
    assert len({a.pod for a in traffic.answers if a.flags == spoilt}) == 1
    assert not [a for a in traffic.answers if a.flags == spoilt and a.at > ended + 2], "bad answers after the verdict"
    began = min(a.at for a in traffic.answers if a.flags == spoilt)
    during = [a.flags == spoilt for a in traffic.answers if began <= a.at <= ended]
    assert 0.3 < sum(during) / len(during) < 0.7
    assert uid(alone) == before


def kill_once_told(operator: Operator, stack: Stack, event: str) -> None:
    """Not between the record and its Event: that would lose it (test_crashes)."""
    stack.wait(lambda: event in stack.events(), f"{event} is not told")
    operator.end(signal.SIGKILL)


def test_a_trial_of_one_replica_when_the_operator_is_killed_twice_then_ends_all_the_same(
    alone: Stack, operator: Operator
) -> None:
    with alone.traffic(seconds=180):
        alone.apply(features=GOOD)
        alone.wait(lambda: second(alone), "no second Deployment is made")
        kill_once_told(operator, alone, "SurgePodStarted")
        operator.start().wait_ready()
        alone.wait(alone.leased, "no pod gets the flags", 120)
        kill_once_told(operator, alone, "RolloutStarted")
        operator.start().wait_ready()
        alone.wait_ended(1, 120)
        gone(alone)
    assert alone.last["outcome"] == "Promoted"
    assert [alone.events().count(r) for r in ("SurgePodStarted", "RolloutStarted", "SurgePodRemoved")] == [1, 1, 1]


def test_a_trial_of_one_replica_when_it_is_aborted_or_scaled_up_then_the_surge_pod_goes(alone: Stack) -> None:
    steps = {**alone.spec["rollout"], "steps": LONG}
    with alone.traffic(rate=60, seconds=180):
        alone.apply(features=GOOD, rollout=steps)
        alone.wait(alone.leased, "no pod gets the flags")
        alone.kubectl("annotate", "mstack", alone.name, "memorystack.dev/action=abort@1")
        gone(alone)
        assert alone.leased() == []
        alone.apply(features={"parallelIngest": {"concurrency": 5}})
        alone.wait(alone.leased, "no pod gets the flags")
        canary = alone.leased()
        alone.apply(replicas=2)
        alone.wait(lambda: not second(alone), "the second Deployment stays")
        alone.wait(lambda: len(alone.pods()) == 2, "two pods are wanted")
        assert alone.leased() == canary
    assert [line["outcome"] for line in alone.status["history"]] == ["Aborted"]


@pytest.mark.parametrize("own", [False, True], ids=["the surge pod", "its own pod"])
def test_one_replica_when_a_pod_is_evicted_amid_the_trial_then_the_flag_waits_and_never_serves_everybody(
    alone: Stack, own: bool
) -> None:
    """R14b: of a surge pod, the flag leaves with it, and comes back when another is warm; else it waits for the next own pod."""
    held: set[str] = set()

    def leased() -> list[str]:
        held.update(alone.leased())
        return alone.leased()

    with alone.canary() as traffic:
        (original,) = leased()
        (surge,) = {p["metadata"]["name"] for p in alone.pods()} - {original}
        before, seen = alone.rollout, alone.counted
        assert alone.evict(original if own else surge) == 201
        alone.wait(lambda: not leased() or leased() != [original], "the flag stays")
        alone.wait(lambda: len(leased()) == 1 and alone.rollout.get("pods") == leased(), "the flag does not come back")
        alone.wait(lambda: alone.counted > seen, "evidence does not go on")
        after = alone.rollout
        assert (after["id"], after["step"], after["state"]) == (before["id"], before["step"], "Progressing")
        assert (leased() == [original]) is not own
        assert not [name for name in held if name.startswith(f"{alone.name}-canary-")], "the surge pod is the control"
        alone.wait(lambda: len(alone.pods()) == 2, "two pods are wanted")
    assert all(a.status == 200 for a in traffic.answers)


def test_an_autoscaled_stack_at_one_pod_when_a_flag_is_tried_then_the_autoscaler_sees_the_main_deployment_only(
    stack: Stack,
) -> None:
    del stack.spec["replicas"]
    stack.apply(autoscaling={"minReplicas": 1, "maxReplicas": 3})
    stack.wait_idle()
    with stack.traffic():
        stack.apply(features=GOOD)
        stack.wait(stack.leased, "no pod gets the flags")
        scaler = stack.child(f"apis/autoscaling/v2/horizontalpodautoscalers/{stack.name}")
        assert scaler["spec"]["scaleTargetRef"]["name"] == stack.name
        assert (second(stack)["spec"]["replicas"], stack.deployment["spec"]["replicas"]) == (1, 1)
        budget = stack.child(f"apis/policy/v1/poddisruptionbudgets/{stack.name}")
        assert budget["spec"]["maxUnavailable"] == 1
        stack.wait_ended(1)
        gone(stack)
    assert stack.last["outcome"] == "Promoted"


def test_one_replica_when_a_quota_leaves_no_room_then_serves_on_and_the_flag_waits_until_there_is(
    served: ControlPlane, api: httpx.Client, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with served.namespace("mem") as home:
        stack = Stack(served, api, home, "mem", replicas=1)
        account = grant(served, home, "operator")
        with Operator(account, home, tmp_path_factory.mktemp("operator"), *QUICK):
            stack.apply()
            stack.wait_idle()
            stack.kubectl("create", "quota", "one", "--hard=pods=1")
            stack.wait(lambda: used(stack) == "1", "the quota counts nothing")
            with stack.traffic(seconds=300):
                refused_for_now(stack)
                stack.kubectl("delete", "quota", "one")
                stack.wait_ended(1, 120)
                gone(stack)
        assert stack.last["outcome"] == "Promoted"


def refused_for_now(stack: Stack) -> None:
    """The flag waits, and it is said why; nothing else has changed."""
    before, told = uid(stack), set[str]()
    stack.apply(features=GOOD)
    stack.wait(lambda: told.add(stalled(stack)) or waits(stack), "it is not given up", 90)
    assert told == {""}
    assert "exceeded quota" in stack.status["message"]
    assert not second(stack)
    assert stack.condition("Ready")["status"] == "True"
    assert (stack.leased(), uid(stack)) == ([], before)
    assert "SurgePodNotReady" in stack.events()


def used(stack: Stack) -> str:
    """Pods that the quota counts."""
    status = stack.child("api/v1/resourcequotas/one").get("status") or {}
    return str((status.get("used") or {}).get("pods", ""))


def stalled(stack: Stack) -> str:
    return str(stack.condition("Stalled").get("reason", ""))


def waits(stack: Stack) -> bool:
    return bool(stack.condition("Ready").get("reason") == "WaitingNoControlArm")
