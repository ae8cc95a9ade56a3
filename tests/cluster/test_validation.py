"""What a person reads who applies a resource that makes no sense: every rule of the definition, asked of a real API server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from pydantic import ValidationError
from support.cluster import ControlPlane

from memorystack_operator.api.crd import CRD_FILE
from memorystack_operator.api.spec import MemoryStack

CRD = Path(__file__).parents[2] / "crds" / CRD_FILE
PATH = "/apis/memorystack.dev/v1alpha1/namespaces/default/memorystacks"
SPEC: Mapping[str, Any] = {
    "replicas": 3,
    "qdrant": {"url": "http://qdrant:6333"},
    "embedder": {"url": "http://embedder/v1", "model": "m", "dimensions": 64},
    "auth": {"disabled": True},
}
SECRET = {"name": "keys", "key": "keys"}
GONE = None
"""Removes the field, as in a merge patch."""
TIMES = {
    "rollout.budgets[0].p95": ("rollout", "budgets", lambda t: [{"operation": "recall", "p95": t}], "5ms", "10m"),
    "rollout.stabilization": ("rollout", "stabilization", lambda t: t, "0s", "8760h"),
    "rollout.steps[0].minDuration": ("rollout", "steps", lambda t: [{"weight": 9, "minDuration": t}], "0s", "168h"),
    "rollout.analysis.interval": ("rollout", "analysis", lambda t: {"interval": t}, "1s", "5m"),
    "rollout.analysis.timeout": ("rollout", "analysis", lambda t: {"timeout": t}, "1m", "168h"),
    "features.httpPool.keepAlive": ("features", "httpPool", lambda t: {"keepAlive": t}, "100ms", "10m"),
    "features.cache.ttl": ("features", "cache", lambda t: {"ttl": t}, "100ms", "24h"),
}
BEYOND = {"5ms": "4ms", "1s": "999ms", "1m": "59s", "100ms": "99ms", "10m": "601s", "8760h": "8761h", "168h": "10081m"}
BEYOND |= {"5m": "301s", "24h": "86401s"}


def merged(whole: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    """As a merge patch does it."""
    made = {key: value for key, value in whole.items() if part.get(key, value) is not GONE}
    for key, value in part.items():
        if isinstance(value, Mapping):
            made[key] = merged(whole.get(key) or {}, value)
        elif value is not GONE:
            made[key] = value
    return made


def steps(*given: Mapping[str, Any]) -> dict[str, Any]:
    return {"rollout": {"steps": list(given)}}


def env(**given: Any) -> dict[str, Any]:
    return {"template": {"env": [{"name": "NOTE", **given}]}}


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"replicas": GONE}, "spec.replicas", "give exactly one of replicas and autoscaling"),
    ({"autoscaling": {"maxReplicas": 4}}, "spec.replicas", "give exactly one of replicas and autoscaling"),
    (
        {"replicas": GONE, "autoscaling": {"minReplicas": 5, "maxReplicas": 4}},
        "spec.autoscaling.minReplicas",
        "minReplicas must not be above maxReplicas",
    ),
    ({"qdrant": {"url": "qdrant:6333"}}, "spec.qdrant.url", "is no URL: write http://host:port or https://host:port"),
    ({"qdrant": {"url": "http://"}}, "spec.qdrant.url", "is no URL: write http://host:port or https://host:port"),
    ({"qdrant": {"url": GONE}}, "spec.qdrant", "give exactly one of url and managed"),
    ({"qdrant": {"managed": {"storage": "1Gi"}}}, "spec.qdrant", "give exactly one of url and managed"),
    (
        {"qdrant": {"url": GONE, "managed": {"storage": "1Gi"}, "apiKeySecretRef": SECRET}},
        "spec.qdrant",
        "apiKeySecretRef and caSecretRef belong to a url: remove them",
    ),
    (
        {"qdrant": {"url": GONE, "managed": {"storage": "1Gi"}, "caSecretRef": SECRET}},
        "spec.qdrant",
        "apiKeySecretRef and caSecretRef belong to a url: remove them",
    ),
    ({"redis": {"url": "http://redis"}}, "spec.redis.url", "is no Redis URL: write redis://host:6379/0"),
    ({"redis": {}}, "spec.redis", "give exactly one of url, urlSecretRef and managed: {}"),
    ({"redis": {"url": "redis://r", "managed": {}}}, "spec.redis", "give exactly one of url, urlSecretRef and managed"),
    ({"embedder": {"url": "embedder"}}, "spec.embedder.url", "is no URL: write http://host:port or https://host:port"),
    ({"embedder": GONE}, "spec.embedder", "Required value"),
    ({"embedder": {"managed": {}}}, "spec.embedder", "give exactly one of url and managed: {}"),
    ({"embedder": {"model": GONE}}, "spec.embedder", "add model and dimensions"),
    ({"embedder": {"dimensions": GONE}}, "spec.embedder", "add model and dimensions"),
    (
        {"embedder": {"url": GONE, "managed": {}}},
        "spec.embedder",
        "model, dimensions and apiKeySecretRef belong to a url: remove them",
    ),
    ({"auth": {"disabled": GONE}}, "spec.auth", "give exactly one of apiKeysSecretRef and disabled: true"),
    ({"auth": {"disabled": False}}, "spec.auth", "give exactly one of apiKeysSecretRef and disabled: true"),
    ({"auth": {"apiKeysSecretRef": SECRET}}, "spec.auth", "give exactly one of apiKeysSecretRef and disabled: true"),
    (steps({"pause": {}}), "spec.rollout.steps", "no step has a weight: add one"),
    (steps({"weight": 50}, {"weight": 10}), "spec.rollout.steps", "weights must rise from step to step"),
    (steps({"weight": 50}, {"pause": {}}, {"weight": 50}), "spec.rollout.steps", "weights must rise from step to step"),
    (steps({}), "spec.rollout.steps[0]", "give exactly one of weight and pause: {}"),
    (steps({"weight": 9, "pause": {}}), "spec.rollout.steps[0]", "give exactly one of weight and pause: {}"),
    (
        steps({"weight": 9}, {"pause": {}, "minDuration": "5s"}),
        "spec.rollout.steps[1].minDuration",
        "a pause waits for a person: remove it",
    ),
    (
        {"rollout": {"analysis": {"falseRollbackRate": "0.0"}}},
        "spec.rollout.analysis.falseRollbackRate",
        'must be above 0 and at most 0.5, in quotes, as "0.01"',
    ),
    (
        {"rollout": {"analysis": {"falsePromotionRate": "0.51"}}},
        "spec.rollout.analysis.falsePromotionRate",
        'must be above 0 and at most 0.5, in quotes, as "0.01"',
    ),
    (env(), "spec.template.env[0]", "give exactly one of value and valueFrom"),
    (
        env(value="a", valueFrom={"secretKeyRef": SECRET}),
        "spec.template.env[0]",
        "give exactly one of value and valueFrom",
    ),
    *(
        ({section: {field: make(beyond)}}, f"spec.{path}", f"must be between {low} and {high}")
        for path, (section, field, make, low, high) in TIMES.items()
        for beyond in (BEYOND.get(low), BEYOND[high])
        if beyond
    ),
    ({"rollout": {"stabilization": "30d"}}, "spec.rollout.stabilization", "should match"),
    ({"rollout": {"order": ["cache", "cache"]}}, "spec.rollout.order[1]", "Duplicate value"),
    (
        {"rollout": {"budgets": [{"operation": "recall", "p95": t} for t in ("1s", "2s")]}},
        "spec.rollout.budgets[1]",
        "Duplicate value",
    ),
]
ACCEPTED: list[dict[str, Any]] = [
    {},
    {"replicas": GONE, "autoscaling": {"minReplicas": 4, "maxReplicas": 4}},
    {"replicas": GONE, "autoscaling": {"maxReplicas": 4}},
    {"qdrant": {"url": "https://qdrant:6333", "apiKeySecretRef": SECRET, "caSecretRef": SECRET}},
    {"qdrant": {"url": GONE, "managed": {"storage": "1Gi"}}},
    {"redis": {"url": "redis://r"}},
    {"redis": {"url": "rediss://r"}},
    {"redis": {"urlSecretRef": SECRET}},
    {"redis": {"managed": {}}},
    {"embedder": {"apiKeySecretRef": SECRET}},
    {"embedder": GONE} | {"embedder": {"url": GONE, "model": GONE, "dimensions": GONE, "managed": {}}},
    {"auth": {"disabled": GONE, "apiKeysSecretRef": SECRET}},
    {"auth": {"disabled": False, "apiKeysSecretRef": SECRET}},
    steps({"weight": 1}, {"pause": {}}, {"weight": 99, "minDuration": "0s"}),
    {"rollout": {"analysis": {"falseRollbackRate": "0.5", "falsePromotionRate": "0.000001"}}},
    env(value=""),
    env(valueFrom={"secretKeyRef": SECRET}),
    *({section: {field: make(limit)}} for section, field, make, low, high in TIMES.values() for limit in (low, high)),
]


def resource(change: Mapping[str, Any]) -> dict[str, Any]:
    meta = {"name": "mem", "namespace": "default"}
    spec = merged(SPEC, change)
    return {"apiVersion": "memorystack.dev/v1alpha1", "kind": "MemoryStack", "metadata": meta, "spec": spec}


def valid(body: Mapping[str, Any]) -> bool:
    """For the command line, which reads the same file without a cluster."""
    try:
        MemoryStack.model_validate(body)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(("change", "field", "said"), REFUSED, ids=lambda v: v if isinstance(v, str) else "")
def test_a_bad_resource_when_applied_then_is_refused_by_field_and_remedy(
    api: httpx.Client, change: dict[str, Any], field: str, said: str
) -> None:
    answer = api.post(PATH, json=resource(change), params={"dryRun": "All"})
    assert answer.status_code == 422, answer.text
    causes = [f"{c['field']}: {c['message']}" for c in answer.json()["details"]["causes"]]
    assert any(c.startswith(f"{field}: ") and said in c for c in causes), causes
    assert not valid(resource(change))


@pytest.mark.parametrize("change", ACCEPTED, ids=str)
def test_a_good_resource_when_applied_then_is_taken(api: httpx.Client, change: dict[str, Any]) -> None:
    answer = api.post(PATH, json=resource(change), params={"dryRun": "All"})
    assert answer.status_code == 201, answer.text
    assert valid(resource(change))
    assert answer.json()["status"] == {"observedGeneration": -1}


def rules_of(node: Mapping[str, Any]) -> Iterator[str]:
    """Every rule's sentence below a node of the definition."""
    for key, value in node.items():
        if key == "x-kubernetes-validations":
            yield from (rule["message"] for rule in value)
        elif isinstance(value, Mapping):
            yield from rules_of(value)


def test_every_rule_when_the_tables_above_are_read_then_is_refused_in_one_of_them() -> None:
    said = [said for _, _, said in REFUSED]
    others = ("cannot be changed after the volume was made", "metadata.name must begin with a letter")
    for message in rules_of(yaml.safe_load(CRD.read_text())):
        assert any(part in message for part in (*said, *others)), message


@pytest.mark.parametrize("name", ["1st", "a.b", "a" * 54], ids=["digit", "dot", "long"])
def test_a_name_from_which_children_cannot_be_named_when_applied_then_is_refused(api: httpx.Client, name: str) -> None:
    body = resource({})
    body["metadata"]["name"] = name
    answer = api.post(PATH, json=body, params={"dryRun": "All"})
    assert answer.status_code == 422
    assert "metadata.name must begin with a letter, hold only small letters, digits and dashes" in answer.text
    assert not valid(body)


@pytest.mark.parametrize("field", ["storage", "storageClassName"])
def test_a_volume_when_it_is_to_change_then_the_remedy_is_told(
    api: httpx.Client, served: ControlPlane, field: str
) -> None:
    with served.namespace() as namespace:
        path = PATH.replace("/default/", f"/{namespace}/")
        managed = {"storage": "1Gi", "storageClassName": "fast"}
        body = resource({"qdrant": {"url": GONE, "managed": managed}})
        body["metadata"]["namespace"] = namespace
        api.post(path, json=body).raise_for_status()
        change = {"spec": {"qdrant": {"managed": {field: "2Gi"}}}}
        kind = {"content-type": "application/merge-patch+json"}
        answer = api.patch(f"{path}/mem", json=change, headers=kind, params={"dryRun": "All"})
        assert answer.status_code == 422
        assert "make a new stack, or grow the PersistentVolumeClaim by hand" in answer.text


def test_a_person_when_kubectl_refuses_a_file_then_reads_field_and_remedy_in_one_line(served: ControlPlane) -> None:
    text = yaml.safe_dump(resource(steps({"weight": 50}, {"weight": 10})))
    done = served.kubectl("apply", "--dry-run=server", "-f", "-", stdin=text, check=False)
    assert done.returncode == 1
    assert 'The MemoryStack "mem" is invalid' in done.stderr
    assert "spec.rollout.steps: Invalid value" in done.stderr
    assert "weights must rise from step to step" in done.stderr


def test_a_misspelt_field_when_applied_by_kubectl_then_is_named(served: ControlPlane) -> None:
    text = yaml.safe_dump(resource({"replica": 4}))
    done = served.kubectl("apply", "--dry-run=server", "-f", "-", stdin=text, check=False)
    assert done.returncode == 1
    assert 'unknown field "spec.replica"' in done.stderr


def test_explain_when_asked_for_any_field_then_has_text(served: ControlPlane) -> None:
    """Through the server's OpenAPI, where kubectl reads it: each property of the published schema tells what it is."""
    with served.api() as client:
        published = client.get("/openapi/v3/apis/memorystack.dev/v1alpha1").raise_for_status().json()
    schema = published["components"]["schemas"]["dev.memorystack.v1alpha1.MemoryStack"]
    silent = list(_silent(schema["properties"]["spec"], "spec")) + list(
        _silent(schema["properties"]["status"], "status")
    )
    assert silent == []
    said = served.kubectl("explain", "memorystack.spec.rollout.analysis.falseRollbackRate").stdout
    assert "FIELD: falseRollbackRate <string>" in said
    assert "DESCRIPTION:\n    " in said


def _silent(node: Mapping[str, Any], path: str) -> Iterator[str]:
    if not node.get("description"):
        yield path
    for name, child in node.get("properties", {}).items():
        yield from _silent(child, f"{path}.{name}")
    items = node.get("items")
    if isinstance(items, Mapping) and "properties" in items:
        yield from _silent(items, f"{path}[]")


def test_the_definition_when_read_by_kubectl_then_its_columns_are_those_of_a_new_resource(served: ControlPlane) -> None:
    with served.namespace() as namespace:
        text = yaml.safe_dump(resource({}) | {"metadata": {"name": "mem", "namespace": namespace}})
        served.kubectl("apply", "-f", "-", stdin=text)
        shown = served.kubectl("get", "mstack", "-n", namespace).stdout.splitlines()
        assert shown[0].split() == ["NAME", "READY", "PHASE", "STEP", "WEIGHT", "CANARY", "P95", "AGE"]
        assert served.kubectl("get", "memory", "-n", namespace, "-o", "name").stdout.strip() == (
            "memorystack.memorystack.dev/mem"
        )
        # kstatus: an object that nobody has looked at must not look healthy.
        waited = served.kubectl(
            "wait", "--for=condition=Ready", "--timeout=1s", "mstack/mem", "-n", namespace, check=False
        )
        assert waited.returncode == 1
