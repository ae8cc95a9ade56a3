"""`memorystack` and `kubectl memorystack` on a real API server: what they show, and the sentence when something is not there."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import httpx
import pytest
import yaml
from support.cluster import ControlPlane
from support.cluster.programs import program
from support.operating import Operator, grant, serve_the_kind
from support.person import Person
from support.stacks import BAD, EVEN, GOOD, Stack


@pytest.fixture(scope="module")
def canary(served: ControlPlane, api: httpx.Client, home: str, operator: Operator) -> Iterator[Stack]:
    """A stack in a long step, under traffic."""
    del operator
    one = Stack(served, api, home, "seen")
    with one.canary(seconds=400, counted=50):
        yield one


@pytest.fixture
def person(served: ControlPlane, tmp_path: Path) -> Person:
    """An administrator."""
    return Person(served.kubeconfig, tmp_path)


def test_status_when_a_canary_serves_then_both_arms_are_shown_with_their_p95(canary: Stack, person: Person) -> None:
    canary.wait(lambda: p95_on_record(canary), "no p95 is on record")
    told = person.json("status", canary.name, "-n", canary.namespace)
    arms = {arm["arm"]: arm for arm in told["arms"] if arm["operation"] == "recall"}
    assert set(arms) == {"canary", "stable"}
    for arm in arms.values():
        assert arm["requests"] > 0
        assert 60 < arm["p95Ms"] < 400, "a stub's p95 is 150 ms"
    assert [e["reason"] for e in told["events"]] == ["RolloutStarted", "StageStarted"]
    shown = person.told("status", canary.name, "-n", canary.namespace)
    rows = {line.split()[1]: line for line in shown.splitlines() if " recall " in line and " ms " in line}
    assert set(rows) == {"canary", "stable"}
    for row in rows.values():
        assert row.count(" ms") == 2, "p95 and budget"
    (pod,) = canary.leased()
    assert pod.removeprefix(f"{canary.name}-") in rows["canary"]
    assert "Progressing  cache" in shown


def p95_on_record(stack: Stack) -> bool:
    found = (stack.rollout.get("p95Ms") or {}).get("recall") or {}
    return found.get("canary") is not None and found.get("stable") is not None


def part_of(view: BinaryIO, until: float) -> bytes:
    ready, _, _ = select.select([view], [], [], max(0.0, until - time.monotonic()))
    assert ready, "it has not come so far, or it goes on, long after it should"
    return view.read(65536)


def test_status_when_watched_on_a_terminal_then_is_drawn_again_until_ctrl_c(canary: Stack, person: Person) -> None:
    screen, terminal = pty.openpty()
    argv = ["memorystack", "status", canary.name, "-n", canary.namespace, "--watch"]
    env = {**person.env, "TERM": "xterm", "COLUMNS": "160", "LINES": "40"}
    with os.fdopen(screen, "rb", 0) as view:
        process = subprocess.Popen(argv, stdin=terminal, stdout=terminal, stderr=terminal, env=env, cwd=person.folder)
        os.close(terminal)
        try:
            drawn = b""
            until = time.monotonic() + 40
            while drawn.count(b"p95") < 3:
                drawn += part_of(view, until)
            process.send_signal(signal.SIGINT)
            with suppress(OSError):  # the terminal's other end is closed
                while part := part_of(view, until):
                    drawn += part
            assert process.wait(20) == 1
        finally:
            process.kill()
    assert b"Traceback" not in drawn
    assert b"canary" in drawn


def test_kubectl_when_asked_for_the_plugin_then_shows_the_same_stack(canary: Stack, person: Person) -> None:
    done = person.runs(str(program("kubectl")), "memorystack", "status", canary.name, "-n", canary.namespace)
    assert done.returncode == 0, done.stderr
    assert f"in the cluster: {canary.namespace}/{canary.name}" in done.stderr
    assert "Progressing  cache" in done.stdout


def test_plan_when_a_file_changes_then_tells_stages_and_times_from_the_cluster_and_changes_nothing(
    canary: Stack, person: Person
) -> None:
    before = canary.get()["metadata"]["resourceVersion"]
    generation = canary.get()["metadata"]["generation"]
    file = person.folder / "new.yaml"
    body = {**canary.manifest(), "spec": {**canary.spec, "features": {**EVEN, **GOOD, **BAD}}}
    file.write_text(yaml.safe_dump(body))
    told = person.json("plan", "-f", str(file), "-n", canary.namespace)
    stages = {stage["name"] for stage in told["outlook"]["stages"]}
    assert {"parallelIngest", "httpPool"} <= stages
    assert "parallelIngest" in person.told("plan", "-f", str(file), "-n", canary.namespace)
    assert canary.get()["metadata"]["generation"] == generation
    assert before


def test_explain_when_a_flag_was_taken_back_then_tells_what_why_and_on_which_numbers(
    stack: Stack, person: Person
) -> None:
    stack.apply()
    stack.wait_idle()
    with stack.traffic():
        stack.apply(features=BAD)
        stack.wait_for("Rejected")
    told = person.json("explain", stack.name, "-n", stack.namespace)
    assert (told["stage"], told["reason"]) == ("httpPool", "P95OverBudget")
    (recall,) = [op for op in told["judged"] if op["operation"] == "recall"]
    assert recall["canaryBad"] > 0
    shown = person.told("explain", stack.name, "-n", stack.namespace)
    assert "over its budget" in shown
    assert "P95OverBudget" in shown


def without(served: ControlPlane, namespace: str, *verbs: str) -> Path:
    """A kubeconfig of an account that may do only this with stacks and pods."""
    rule = {"apiGroups": ["memorystack.dev", ""], "resources": ["memorystacks", "pods"], "verbs": list(verbs)}
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "reader", "namespace": namespace},
        "rules": [rule],
    }
    subject = {"kind": "ServiceAccount", "name": "reader", "namespace": namespace}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "reader", "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [subject],
    }
    path = served.service_account(namespace, "reader")
    if verbs:
        served.apply(role, binding)
    return path


def test_a_verb_when_there_is_no_such_stack_then_says_so_and_what_lists_them(
    served: ControlPlane, namespace: str, person: Person
) -> None:
    told = person.refused("status", "nobody", "-n", namespace)
    assert f"{namespace}/nobody is not there" in told
    assert "kubectl get memorystacks -A" in told
    assert f"in namespace {namespace} there is no MemoryStack" in person.refused("explain", "-n", namespace)
    assert "nobody is not there" in person.refused("promote", "nobody", "-n", namespace)


def test_a_verb_when_there_is_no_kubeconfig_or_cluster_then_says_how_to_name_one(tmp_path: Path) -> None:
    nobody = Person(None, tmp_path)
    told = nobody.refused("status", "mem", "-n", "ai")
    assert "no cluster to talk to" in told
    assert "--kubeconfig" in told
    away = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "a", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "a", "user": {"token": "x"}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "current-context": "a",
    }
    (tmp_path / "away").write_text(yaml.safe_dump(away))
    told = nobody.refused("status", "mem", "-n", "ai", "--kubeconfig", str(tmp_path / "away"))
    assert "the API server cannot be asked about ai/mem" in told


def test_a_verb_when_it_is_not_allowed_then_says_what_is_forbidden(
    served: ControlPlane, namespace: str, api: httpx.Client, tmp_path: Path
) -> None:
    stranger = Person(without(served, namespace), tmp_path)
    told = stranger.refused("status", "mem", "-n", namespace)
    assert "refused" in told
    assert "forbidden" in told
    Stack(served, api, namespace, "mem").apply()
    reader = Person(without(served, namespace, "get", "list"), tmp_path)
    reader.told("explain", "mem", "-n", namespace)
    told = reader.refused("promote", "mem", "-n", namespace)
    assert 'memorystacks.memorystack.dev "mem" is forbidden' in told


def test_an_action_when_no_operator_runs_then_says_that_nobody_answered_and_how_to_take_it_back(
    served: ControlPlane, namespace: str, api: httpx.Client, person: Person
) -> None:
    Stack(served, api, namespace, "mem").apply()
    told = person.refused("pause", "mem", "-n", namespace)
    assert "does the operator run?" in told
    assert "kubectl annotate mstack mem memorystack.dev/action-" in told


def test_a_cluster_when_it_does_not_serve_the_kind_then_command_and_operator_say_so_and_the_operator_waits_for_it(
    own_control_plane: ControlPlane, tmp_path: Path
) -> None:
    plane = own_control_plane
    told = Person(plane.kubeconfig, tmp_path).refused("status", "mem", "-n", "default")
    assert "serves no MemoryStacks" in told
    assert "crds/" in told
    with plane.namespace() as namespace, plane.api() as api:
        account = grant(plane, namespace, "operator")
        operator = Operator(account, namespace, tmp_path).start()
        try:
            operator.until(lambda: operator.said("waiting_for_the_kind"), "it does not say what it waits for")
            (said,) = operator.said("waiting_for_the_kind")
            assert (said["brand"], said["remedy"]) == ("brAInwav", "install the chart's CRD, or crds/")
            assert operator.asked("/readyz") == 503
            serve_the_kind(plane)
            operator.wait_ready()
            one = Stack(plane, api, namespace, "mem")
            one.apply()
            one.wait_idle()
        finally:
            operator.__exit__()


def lines_of(operator: Operator) -> list[dict[str, Any]]:
    return [json.loads(line) for line in operator.log.read_text().splitlines()]


def test_the_operators_log_when_read_then_each_line_is_json_with_time_level_event_and_brand(
    canary: Stack, operator: Operator
) -> None:
    del canary
    found = lines_of(operator)
    assert found
    assert all({"timestamp", "level", "event", "brand"} <= set(line) for line in found)
