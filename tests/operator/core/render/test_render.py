"""The children of a stack, golden and by their rules."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml
from support.world import FLAG, World, rollout, stack

from memorystack_operator.api import load
from memorystack_operator.api.spec import Spec
from memorystack_operator.core import Status
from memorystack_operator.core.render import CHILDREN, render, template_revision
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
        "env": [{"name": "A", "value": "1"}, {"name": "MEMORYSTACK_POD_NAME", "value": "forged"}],
        "resources": {"limits": {"memory": "1Gi"}},
        "labels": {"team": "x", "app.kubernetes.io/name": "forged"},
        "annotations": {"note": "y"},
        "nodeSelector": {"disk": "ssd"},
        "serviceAccountName": "own",
    },
}


def children(**spec) -> dict[str, dict]:
    world = World(stack(**spec))
    world.tick()
    return {c["kind"]: c for c in world.decision.children}


def test_nothing_is_rendered_before_anything_was_adopted():
    assert render(stack(), Status()) == ()


@pytest.mark.parametrize("name", ["minimal", "full"])
def test_the_children_are_the_golden_ones(name: str):
    """MEMORYSTACK_WRITE_GOLDEN=1 writes them anew; look at the difference before you commit it."""
    made = yaml.safe_dump_all(children(**(FULL if name == "full" else {})).values(), sort_keys=False)
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
    ],
)
def test_flags_budgets_and_replicas_never_enter_the_template(edit: dict):
    assert template_revision(stack()) == template_revision(stack(**edit))


@pytest.mark.parametrize("part", sorted(FULL))
def test_everything_else_does(part: str):
    assert template_revision(stack()) != template_revision(stack(**{part: FULL[part]}))


def test_every_field_of_the_spec_reaches_a_child_or_steers_the_rollout():
    reaching = {"replicas", "features", *FULL}
    steering = {"rollout"}
    assert {f.alias for f in Spec.model_fields.values()} == reaching | steering


def test_every_variable_is_one_that_the_runtime_knows():
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    rendered = {v["name"] for v in _container(children(**FULL))["env"]}
    assert rendered - {"A"} <= known


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


def test_pods_meet_pod_security_restricted():
    pod = children()["Deployment"]["spec"]["template"]["spec"]
    container = pod["containers"][0]["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["capabilities"] == {"drop": ["ALL"]}
    assert container["readOnlyRootFilesystem"]
    assert not container["allowPrivilegeEscalation"]


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
    assert len(children()) == len(CHILDREN)


def test_the_examples_render():
    for path in EXAMPLES.glob("*.yaml"):
        assert template_revision(load(path).stack)


def _container(found: dict[str, dict]) -> dict:
    return found["Deployment"]["spec"]["template"]["spec"]["containers"][0]
