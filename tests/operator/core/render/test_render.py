"""The children of a stack, golden and by their rules."""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from support.world import FLAG, World, rollout, stack

from memorystack_operator.api import load
from memorystack_operator.api.spec import Spec
from memorystack_operator.core import Status
from memorystack_operator.core.observe import RELEASE_IMAGE
from memorystack_operator.core.render import CHILDREN, render, second_deployment, template_revision
from memorystack_operator.core.render.names import part_name
from memorystack_runtime.contract import Budgets, FlagsFile
from memorystack_runtime.settings import PREFIX, Settings

GOLDEN = Path(__file__).parent / "golden"
EXAMPLES = Path(__file__).parents[4] / "examples"
FULL = {
    "image": "registry.example/memory:1",
    "qdrant": {
        "url": "https://q:6333",
        "apiKeySecretRef": {"name": "q", "key": "k"},
        "caSecretRef": {"name": "ca", "key": "ca.crt"},
    },
    "redis": {"urlSecretRef": {"name": "r", "key": "url"}},
    "embedder": {"url": "http://e/v1", "model": "m", "dimensions": 8, "apiKeySecretRef": {"name": "e", "key": "k"}},
    "auth": {"apiKeysSecretRef": {"name": "keys", "key": "keys"}},
    "template": {
        "env": [
            {"name": "A", "value": "1"},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "b", "key": "k"}}},
            {"name": "MEMORYSTACK_POD_NAME", "value": "forged"},
        ],
        "resources": {"limits": {"memory": "1Gi", "cpu": 1}},
        "labels": {"team": "x", "app.kubernetes.io/name": "forged"},
        "annotations": {"note": "y"},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        "serviceAccountName": "own",
        "imagePullSecrets": [{"name": "pull"}],
    },
}
MANAGED = {
    "replicas": None,
    "autoscaling": {"minReplicas": 2, "maxReplicas": 5},
    "qdrant": {"managed": {"storage": "10Gi", "storageClassName": "fast"}},
    "redis": {"managed": {}},
    "embedder": {"managed": {}},
    "networkPolicy": {"clients": [{"podSelector": {"matchLabels": {"app": "agent"}}}]},
    "podMonitor": {"labels": {"release": "prometheus"}},
    "template": {"imagePullSecrets": [{"name": "pull"}]},
}
CASES = {"minimal": {}, "full": FULL, "managed": MANAGED}


def rendered(**spec) -> list[dict]:
    world = World(stack(**spec))
    world.tick()
    return list(world.decision.children)


def children(**spec) -> dict[str, dict]:
    return {c["kind"]: c for c in rendered(**spec)}


def revision(**spec) -> str:
    return template_revision(stack(**spec), RELEASE_IMAGE)


def test_nothing_is_rendered_before_anything_was_adopted():
    assert render(stack(), Status()) == ()


@pytest.mark.parametrize("name", CASES)
def test_the_children_are_the_golden_ones(name: str):
    """MEMORYSTACK_WRITE_GOLDEN=1 writes them anew; look at the difference before you commit it."""
    made = yaml.safe_dump_all(rendered(**CASES[name]), sort_keys=False)
    path = GOLDEN / f"{name}.yaml"
    if os.environ.get("MEMORYSTACK_WRITE_GOLDEN"):
        path.write_text(made)
    assert made == path.read_text()


@pytest.mark.parametrize(
    "edit",
    [
        {"features": FLAG},
        {"replicas": 7},
        {"rollout": rollout(budgets=[{"operation": "store", "p95": "1s"}])},
        {"rollout": rollout(paused=True)},
        {"replicas": None, "autoscaling": {"maxReplicas": 9}},
        {"networkPolicy": {}},
        {"podMonitor": {}},
    ],
)
def test_flags_budgets_and_replicas_never_enter_the_template(edit: dict):
    assert revision() == revision(**edit)


@pytest.mark.parametrize("part", sorted(FULL))
def test_everything_else_does(part: str):
    assert revision() != revision(**{part: FULL[part]})


def test_every_field_of_the_spec_reaches_a_child_or_steers_the_rollout():
    reaching = {"features", *FULL, *MANAGED, "replicas"}
    steering = {"rollout"}
    assert {f.alias for f in Spec.model_fields.values()} == reaching | steering


def test_every_variable_is_one_that_the_runtime_knows():
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    names = {v["name"] for v in _container(children(**FULL))["env"]}
    assert names - {"A", "B"} <= known


def test_secrets_are_only_referred_to():
    text = json.dumps(children(**FULL))
    assert "secretKeyRef" in text
    assert "forged" not in json.dumps(_container(children(**FULL))["env"])


def test_selectors_never_hold_the_arm_and_the_service_takes_all_pods():
    found = children()
    assert found["Deployment"]["spec"]["selector"]["matchLabels"]["memorystack.dev/deployment"] == "main"
    assert "memorystack.dev/deployment" not in found["Service"]["spec"]["selector"]
    assert "arm" not in json.dumps(found["Deployment"]["spec"]["selector"])
    assert [p["name"] for p in found["Service"]["spec"]["ports"]] == ["http"]


def test_the_config_map_holds_the_stable_flags_and_not_the_wanted_ones():
    world = World(stack())
    world.run(3)
    world.edit(features=FLAG)
    world.tick()
    data = next(c for c in world.decision.children if c["kind"] == "ConfigMap")["data"]
    flags = FlagsFile.model_validate_json(data["flags.json"])
    assert flags.features.parallel_ingest.concurrency == 0
    assert flags.revision == world.status.stable.revision
    assert Budgets.model_validate_json(data["budgets.json"]).p95_ms == {"recall": 250, "store": 250}


@pytest.mark.parametrize("name", CASES)
def test_every_pod_meets_pod_security_restricted(name: str):
    pods = [c["spec"]["template"]["spec"] for c in rendered(**CASES[name]) if "template" in c.get("spec", {})]
    assert len(pods) == (4 if name == "managed" else 1)
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod["automountServiceAccountToken"]
        for container in pod["containers"]:
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["securityContext"]["readOnlyRootFilesystem"]
            assert not container["securityContext"]["allowPrivilegeEscalation"]


def test_names_and_owners_are_the_same_each_time():
    one, other = children(), children()
    assert one == other
    for child in one.values():
        (owner,) = child["metadata"]["ownerReferences"]
        assert owner["controller"]
        assert not owner["blockOwnerDeletion"]
        assert child["metadata"]["name"].startswith("mem")


def test_a_service_account_of_ones_own_is_not_made():
    assert "ServiceAccount" not in children(**FULL)
    assert len(rendered(**MANAGED)) == len(CHILDREN) - 1  # without a surge pod


def test_managed_parts_are_found_by_the_runtime_and_are_in_nobody_else_s_service():
    found = rendered(**MANAGED)
    env = {v["name"]: v.get("value") for v in _container(children(**MANAGED))["env"]}
    services = {f"{c['metadata']['name']}.{c['metadata']['namespace']}" for c in found if c["kind"] == "Service"}
    for name in ("QDRANT", "REDIS", "EMBEDDER"):
        host = urlsplit(env[f"MEMORYSTACK_{name}_URL"]).hostname
        assert host in services
    own = next(c for c in found if c["kind"] == "Service" and c["metadata"]["name"] == "mem")["spec"]["selector"]
    for child in found:
        labels = child.get("spec", {}).get("template", {}).get("metadata", {}).get("labels", {})
        is_runtime = labels.get("app.kubernetes.io/component") == "runtime"
        assert not labels or (own.items() <= labels.items()) == is_runtime


def test_a_volume_outlives_its_stack():
    found = children(**MANAGED)["StatefulSet"]["spec"]
    assert found["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert "ownerReferences" not in found["volumeClaimTemplates"][0]["metadata"]


def test_an_autoscaler_owns_the_number_of_pods():
    found = children(replicas=None, autoscaling={"minReplicas": 2, "maxReplicas": 5})
    assert "replicas" not in found["Deployment"]["spec"]
    scaler = found["HorizontalPodAutoscaler"]["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 5)
    assert scaler["scaleTargetRef"]["name"] == found["Deployment"]["metadata"]["name"]


def test_the_second_deployment_has_pods_of_the_same_template_and_a_selector_of_its_own():
    world = World(stack())
    world.tick()
    second = second_deployment(world.stack, world.status, 1)
    main = next(c for c in world.decision.children if c["kind"] == "Deployment")
    service = next(c for c in world.decision.children if c["kind"] == "Service")
    assert second["metadata"]["name"] == "mem-canary"
    labels = second["spec"]["template"]["metadata"]["labels"]
    assert second["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert not main["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert service["spec"]["selector"].items() <= labels.items()
    pods = [json.dumps(d["spec"]["template"]["spec"]["containers"]) for d in (main, second)]
    assert pods[0] == pods[1]


def test_names_of_managed_parts_fit_where_a_stateful_set_puts_them():
    long = stack().model_copy(update={"metadata": stack().metadata.model_copy(update={"name": "a" * 53})})
    other = long.model_copy(update={"metadata": long.metadata.model_copy(update={"name": "a" * 52 + "b"})})
    names = {part_name(s, part) for s in (long, other) for part in ("qdrant", "redis", "embedder")}
    assert len(names) == 6
    assert all(len(name) <= 52 for name in names)
    assert part_name(stack(), "qdrant") == "mem-qdrant"


def test_clients_of_the_namespace_are_let_in_where_none_are_named():
    (policy,) = [c for c in rendered(networkPolicy={}) if c["kind"] == "NetworkPolicy"]
    api, internal = policy["spec"]["ingress"]
    assert api["from"] == [{"podSelector": {}}]
    assert [p["port"] for p in internal["ports"]] == ["internal"]


def test_the_examples_render():
    for path in EXAMPLES.glob("*.yaml"):
        assert template_revision(load(path).stack, RELEASE_IMAGE)


def _container(found: dict[str, dict]) -> dict:
    return found["Deployment"]["spec"]["template"]["spec"]["containers"][0]
