"""What is kept of watched objects, and what is read from fields that may be missing or odd."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from memorystack_operator.shell.records import ChildRecord, PodRecord, StackRecord, record_of
from memorystack_operator.shell.resources import CHILDREN, DEPLOYMENTS, PODS, STACKS, resource_of
from memorystack_operator.shell.schedule import Key
from memorystack_operator.shell.troubles import trouble_of_readiness

LABELS = {"app.kubernetes.io/instance": "mem", "memorystack.dev/deployment": "main", "memorystack.dev/arm": "canary"}


def pod(**status: Any) -> PodRecord:
    meta = {
        "name": "mem-1",
        "namespace": "ai",
        "uid": "u",
        "resourceVersion": "7",
        "labels": LABELS,
        "creationTimestamp": "2026-01-02T03:04:05Z",
        "annotations": {
            "memorystack.dev/flags": "{}",
            "memorystack.dev/touched": "1",
            "controller.kubernetes.io/pod-deletion-cost": "100",
        },
    }
    spec = {"nodeName": "n", "containers": [{"ports": [{"name": "internal", "containerPort": 9191}]}]}
    made = record_of(PODS, {"metadata": meta, "spec": spec, "status": status})
    assert isinstance(made, PodRecord)
    return made


def deployment(wanted: int, **status: int) -> ChildRecord:
    meta = {"name": "mem", "namespace": "ai", "generation": 3}
    made = record_of(DEPLOYMENTS, {"metadata": meta, "spec": {"replicas": wanted}, "status": status})
    assert isinstance(made, ChildRecord)
    return made


def test_a_child_when_it_comes_from_a_list_then_is_the_same_as_from_a_watch():
    """A list says once what its items are, and not in each."""
    bare = {"metadata": {"name": "mem", "namespace": "ai"}, "spec": {"replicas": 3}}
    for resource in CHILDREN:
        whole = {"apiVersion": resource.api_version, "kind": resource.kind, **bare}
        listed, watched = record_of(resource, bare), record_of(resource, whole)
        assert isinstance(listed, ChildRecord)
        assert isinstance(watched, ChildRecord)
        assert orjson.loads(listed.body) == orjson.loads(watched.body) == whole


def test_a_pod_when_it_serves_then_all_that_decisions_need_is_kept():
    found = pod(
        podIP="10.0.0.1",
        conditions=[{"type": "Ready", "status": "True"}],
        containerStatuses=[{"restartCount": 2}, {"restartCount": 1}],
    )
    assert (found.stack, found.deployment, found.node) == (Key("ai", "mem"), "main", "n")
    assert (found.ready, found.leaving, found.ip, found.internal_port, found.restarts) == (
        True,
        False,
        "10.0.0.1",
        9191,
        3,
    )
    assert (found.lease, found.arm, found.cost, found.touched) == ("{}", "canary", "100", "1")
    assert found.created_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert found.order == 7


def test_a_pod_when_next_to_nothing_is_known_then_nothing_fails():
    found = record_of(PODS, {"metadata": {"name": "p", "creationTimestamp": "soon", "resourceVersion": "new-kind"}})
    assert isinstance(found, PodRecord)
    assert (found.ready, found.leaving, found.ip, found.internal_port, found.order) == (False, False, "", 9090, 0)
    assert found.created_at == datetime.fromtimestamp(0, UTC)


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_when_it_has_ended_for_good_then_is_leaving(phase: str):
    assert pod(phase=phase).leaving


CONDITION = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are free."}
WAITING = [
    ("ErrImagePull", "no such image", "ImageNotPullable", "no such image: check spec.image"),
    ("ImagePullBackOff", "", "ImageNotPullable", "ImagePullBackOff: check spec.image"),
    ("CreateContainerConfigError", 'secret "keys" not found', "SecretMissing", "create it, the pod then starts"),
    ("CreateContainerConfigError", "couldn't find key k in Secret", "SecretMissing", "couldn't find key k"),
    ("CreateContainerError", "no entrypoint", "ContainerConfigInvalid", "no entrypoint: mend what the message names"),
    ("CrashLoopBackOff", "back-off", "CrashLooping", "ended 4 times, last with exit code 13; back-off: look at"),
]


@pytest.mark.parametrize(("waits", "text", "reason", "said"), WAITING)
def test_a_pod_when_its_container_cannot_start_then_the_trouble_is_named_with_its_remedy(
    waits: str, text: str, reason: str, said: str
):
    status = {
        "state": {"waiting": {"reason": waits, "message": text}},
        "restartCount": 4,
        "lastState": {"terminated": {"exitCode": 13}},
    }
    found = pod(containerStatuses=[status]).trouble
    assert found is not None
    assert found.reason == reason
    assert found.message.startswith("pod mem-1: ")
    assert said in found.message


def test_a_pod_when_it_only_starts_then_there_is_no_trouble():
    assert pod(containerStatuses=[{"state": {"waiting": {"reason": "ContainerCreating"}}}]).trouble is None


def test_a_pod_when_no_node_takes_it_then_the_scheduler_s_words_are_told_once():
    found = pod(conditions=[CONDITION]).trouble
    assert found is not None
    assert found.message == "pod mem-1: 0/3 nodes are free: free or add nodes, or change spec.template"


def test_a_deployment_when_pods_are_refused_then_is_a_trouble():
    meta = {"name": "mem", "namespace": "ai"}
    said = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}
    found = record_of(DEPLOYMENTS, {"metadata": meta, "status": {"conditions": [{"type": "Available"}, said]}})
    assert isinstance(found, ChildRecord)
    assert found.trouble is not None
    assert found.trouble.message == "Deployment mem: exceeded quota: mend what the message names"


def test_a_pod_that_waits_for_others_when_asked_then_names_them_in_a_fixed_order():
    found = trouble_of_readiness("mem-1", {"redis": "is away", "qdrant": "does not answer"})
    assert found is not None
    assert found.reason == "DependencyDown"
    assert "pod mem-1 is not ready: qdrant: does not answer; redis: is away: " in found.message
    assert trouble_of_readiness("mem-1", {}) is None


SETTLED = {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2}


@pytest.mark.parametrize(
    ("change", "settled"),
    [
        ({}, True),
        ({"observedGeneration": 2}, False),
        ({"replicas": 3}, False),
        ({"updatedReplicas": 1}, False),
        ({"replicas": 1, "updatedReplicas": 1}, False),
    ],
    ids=["all there", "not seen yet", "one too many", "one old", "one missing"],
)
def test_a_deployment_is_settled_when_each_wanted_pod_is_of_its_newest_template(change: dict[str, int], settled: bool):
    assert deployment(2, **{**SETTLED, **change}).settled is settled


def test_a_child_of_another_kind_is_always_settled():
    found = record_of(resource_of("v1", "Service"), {"metadata": {"name": "mem"}, "spec": {"replicas": 9}})
    assert isinstance(found, ChildRecord)
    assert found.settled


@pytest.mark.parametrize(
    ("manager", "operation", "fields", "ours"),
    [
        ("memorystack-operator", "Apply", {"f:spec": {"f:replicas": {}}}, True),
        ("memorystack-operator", "Apply", {"f:spec": {"f:template": {}}}, False),
        ("memorystack-operator", "Update", {"f:spec": {"f:replicas": {}}}, False),
        ("memorystack-scale", "Apply", {"f:spec": {"f:replicas": {}}}, False),
    ],
)
def test_the_count_of_pods_is_ours_only_where_our_apply_owns_it(
    manager: str, operation: str, fields: dict[str, Any], ours: bool
):
    entry = {"manager": manager, "operation": operation, "fieldsV1": fields}
    found = record_of(DEPLOYMENTS, {"metadata": {"name": "mem", "managedFields": [entry]}})
    assert isinstance(found, ChildRecord)
    assert found.sets_replicas is ours


def test_a_stack_when_kept_then_has_its_status_and_none_of_the_server_s_own_notes():
    meta = {"name": "mem", "namespace": "ai", "managedFields": [{}], "deletionTimestamp": "2026-01-02T03:04:05Z"}
    found = record_of(STACKS, {"metadata": meta, "spec": {"replicas": 2}, "status": {"phase": "Idle"}})
    assert isinstance(found, StackRecord)
    assert (found.stack, found.deleting) == (Key("ai", "mem"), True)
    kept = orjson.loads(found.body)
    assert kept["status"] == {"phase": "Idle"}
    assert "managedFields" not in kept["metadata"]


def test_a_kind_that_nobody_listed_when_rendered_then_the_remedy_is_told():
    with pytest.raises(LookupError, match=r"batch/v1 Job is not in shell\.resources\.CHILDREN: add it there"):
        resource_of("batch/v1", "Job")


def test_paths_are_the_api_s_own():
    assert PODS.path("ai", "p") == "/api/v1/namespaces/ai/pods/p"
    assert DEPLOYMENTS.path() == "/apis/apps/v1/deployments"
    assert DEPLOYMENTS.path("ai", "mem", "scale") == "/apis/apps/v1/namespaces/ai/deployments/mem/scale"
    assert (PODS.group, PODS.version, DEPLOYMENTS.group, DEPLOYMENTS.version) == ("", "v1", "apps", "v1")
    assert len({r.plural for r in CHILDREN}) == len(CHILDREN)
