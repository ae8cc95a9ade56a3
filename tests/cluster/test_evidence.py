"""What the pods show decides, and only that: slow for one reason or another, broken, silent, or without any traffic."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from support.stacks import BAD, EVEN, GOOD, RULES_OF_STUBS, Stack

LONG = {"steps": [{"weight": 34, "minDuration": "10m"}]}


def addresses(stack: Stack) -> dict[str, str]:
    """Pod -> its address."""
    return {p["metadata"]["name"]: p["status"]["podIP"] for p in stack.pods() if p["status"].get("podIP")}


def control(address: str, **changes: Any) -> None:
    httpx.put(f"http://{address}:9090/control", json=changes, trust_env=False, timeout=5).raise_for_status()


def crash_two(stack: Stack, name: str) -> None:
    """One that has the flags crashes; so does the next one that gets them."""
    crash(stack, name)
    stack.wait(lambda: serving(stack), "nobody takes its place")
    crash(stack, serving(stack)[0])


def crash(stack: Stack, name: str) -> None:
    with pytest.raises(httpx.HTTPError):
        control(addresses(stack)[name], crash=True)
    stack.wait(lambda: restarts(stack, name) > 0, "the crash is not counted")


def serving(stack: Stack) -> list[str]:
    """Pods that say that they serve under the flags."""
    revision, found = stack.rollout.get("revision", ""), []
    for name, address in addresses(stack).items():
        try:
            answer = httpx.get(f"http://{address}:9090/internal/evidence", trust_env=False, timeout=2)
        except httpx.HTTPError:
            continue  # it is down
        found += [name] if answer.json()["flags"] == revision else []
    return found


def restarts(stack: Stack, name: str) -> int:
    (pod,) = [p for p in stack.pods() if p["metadata"]["name"] == name]
    return int(pod["status"]["containerStatuses"][0]["restartCount"])


def hang(stack: Stack, name: str) -> None:
    control(addresses(stack)[name], hang=True)


def fail_fast(stack: Stack, name: str) -> None:
    control(addresses(stack)[name], rules=[{"p95Ms": 5, "failedShare": 0.045}])


@pytest.mark.parametrize(
    ("breaks", "reason", "words"),
    [
        (crash_two, "PodsCrashing", "restarted"),
        (hang, "P95OverBudget", "budget of 250ms"),
        (fail_fast, "ErrorsOverBudget", "failed"),
    ],
    ids=["crashes", "never answers", "fails fast"],
)
def test_a_canary_when_its_pods_break_then_is_taken_back_for_its_own_reason(
    stack: Stack, breaks: Callable[[Stack, str], None], reason: str, words: str
) -> None:
    """R8."""
    with stack.canary(rate=120):
        (pod,) = stack.leased()
        breaks(stack, pod)
        stack.wait_for("Rejected")
    assert (stack.last["outcome"], stack.last["reason"]) == ("RolledBack", reason)
    assert words in stack.last["message"]
    assert stack.leased() == []
    assert stack.events() == ["RolloutStarted", "StageStarted", "RolledBack"]


def test_a_canary_when_nobody_sends_traffic_then_waits_with_a_remedy_and_is_neither_promoted_nor_rejected(
    stack: Stack,
) -> None:
    """R7."""
    stack.apply()
    stack.wait_idle()
    stack.apply(features=GOOD)
    stack.wait_for("Waiting")
    stack.wait(lambda: "has served no request yet: send traffic" in stack.status["message"], "nothing is said")
    assert "promote by hand" in stack.status["message"]
    stack.assert_ready()
    assert stack.condition("Ready")["reason"] == "WaitingNoTraffic"
    assert not stack.condition("Reconciling"), "GitOps tools would wait for it, and time out"
    assert not stack.status.get("history")
    with stack.traffic():
        assert stack.wait_ended(1)["outcome"] == "Promoted"


@pytest.mark.parametrize("kind", ["Refuses", "Silent"])
def test_evidence_when_it_cannot_be_read_then_the_canary_is_held_and_goes_on_once_it_can(
    stack: Stack, kind: str
) -> None:
    """R6: of its first two minutes; what follows is tests/operator/core/test_scenarios.py."""
    with stack.canary():
        before = stack.rollout
        for address in addresses(stack).values():
            control(address, evidence=kind)
        stack.wait(lambda: stack.condition("MetricsAvailable").get("status") == "False", "blindness is not told")
        assert "cannot be read" in stack.condition("MetricsAvailable")["message"]
        assert stack.condition("RolloutHealthy")["status"] != "False", "blindness is no verdict"
        stack.wait_for("Waiting")
        blind = stack.rollout
        assert (blind["id"], blind["step"], blind["flippedAt"]) == (before["id"], 0, before["flippedAt"])
        assert stack.leased() == before["pods"]
        for address in addresses(stack).values():
            control(address, evidence="Answers")
        stack.wait_for("Progressing")
        seen = stack.counted
        stack.wait(lambda: stack.counted > seen, "evidence does not go on")
    assert stack.condition("MetricsAvailable")["status"] == "True"
    assert not stack.status.get("history")
    assert stack.events() == ["RolloutStarted", "StageStarted"]


def test_all_pods_when_slow_then_the_flag_is_withdrawn_at_once_and_not_rejected(stack: Stack) -> None:
    """R5b: until it is withdrawn; what follows is tests/operator/core/test_scenarios.py."""
    with stack.canary(rate=100):
        for address in addresses(stack).values():
            control(address, rules=[{"p95Ms": 900}])
        stack.wait_for("Withdrawn")
        stack.wait(lambda: not stack.leased(), "the flag stays")
    assert stack.rollout["withdrawnReason"] == "EnvironmentOverBudget"
    assert not stack.status.get("rejected")
    assert stack.events() == ["RolloutStarted", "StageStarted", "FlagsWithdrawn"]
    assert stack.condition("RolloutHealthy")["status"] != "False"


def test_two_operations_when_one_is_over_then_it_decides_and_the_other_is_not_called_passed(stack: Stack) -> None:
    """R9."""
    budgets = [{"operation": "recall", "p95": "250ms"}, {"operation": "store", "p95": "250ms"}]
    stack.apply(rollout={**stack.spec["rollout"], "budgets": budgets})
    stack.wait_idle()
    with stack.traffic():
        stack.apply(features=BAD)
        stack.wait_for("Rejected")
    assert stack.last["reason"] == "P95OverBudget"
    assert stack.last["message"].startswith("recall over its budget")
    assert "store" in stack.last["message"]
    assert "not judged" in stack.last["message"]


def test_an_edit_of_the_steps_when_a_stage_is_under_way_then_counts_from_the_next_one_on(stack: Stack) -> None:
    """R13."""
    rules = [*RULES_OF_STUBS, {"when": EVEN, "p95Ms": 60}]
    stack.spec["template"] = {"env": [{"name": "STUB_BEHAVIOUR", "value": json.dumps({"rules": rules})}]}
    slow = {**stack.spec["rollout"], "order": ["cache", "parallelIngest"], **LONG}
    stack.apply(rollout=slow)
    stack.wait_idle()
    with stack.traffic():
        stack.apply(features={**EVEN, **GOOD})
        stack.wait(lambda: stack.counted > 20, "nothing is counted")
        edited = [{"weight": 67, "minDuration": "10m"}]
        refused = stack.plane.kubectl(
            *("-n", stack.namespace, "patch", "mstack", stack.name, "--type=merge", "-p"),
            json.dumps({"spec": {"rollout": {"steps": [{"weight": 120, "minDuration": "1s"}]}}}),
            check=False,
        )
        assert refused.returncode == 1
        assert "spec.rollout.steps[0].weight" in refused.stderr
        stack.apply(rollout={**slow, "steps": edited})
        stack.wait(lambda: stack.status["observedGeneration"] == stack.get()["metadata"]["generation"], "unseen")
        assert [s["weight"] for s in stack.rollout["plan"]] == [34]
        assert len(stack.leased()) == 1
        stack.kubectl("annotate", "mstack", stack.name, "memorystack.dev/action=promote@r13")
        stack.wait_idle()
    assert stack.events().count("PromotedByHand") == 1
