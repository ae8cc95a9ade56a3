"""What a file may hold, and how it is refused: each time a sentence that names the field and the remedy."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from memorystack_operator import api
from memorystack_operator.api import InvalidResource, MemoryStack, load, parse
from memorystack_operator.api.durations import format_duration, parse_duration

EXAMPLES = Path(__file__).parents[3] / "examples"
GOOD = (EXAMPLES / "memorystack.yaml").read_text()


def refusal(text: str) -> str:
    with pytest.raises(InvalidResource) as caught:
        parse(text, "f.yaml")
    return str(caught.value)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda p: p.name)
def test_every_example_is_valid(path: Path):
    assert load(path).stack.kind == "MemoryStack"


EDITS = [
    ("p95: 250ms", "p95: 250", "spec.rollout.budgets[0].p95", "250ms"),
    ("p95: 250ms", "p95: 250 ms", "spec.rollout.budgets[0].p95", "no spaces"),
    ("p95: 250ms", "p95: 1ms", "spec.rollout.budgets[0].p95", "between 5ms and 10m"),
    ("timeout: 20m", "timeout: 30d", "spec.rollout.analysis.timeout", "720h"),
    ("timeout: 20m", "timeout: 3 days", "spec.rollout.analysis.timeout", "720h"),
    ("timeout: 20m", "timeout: 1s", "spec.rollout.analysis.timeout", "between"),
    ("keepAlive: 4s", "keepAlive: 1.5s", "spec.features.httpPool.keepAlive", "whole numbers"),
    ("weight: 34", "weigth: 34", "spec.rollout.steps[0].weigth", "did you mean weight?"),
    ("weight: 34", "weight: 100", "spec.rollout.steps[0].weight", "less than or equal to 99"),
    ("{weight: 34, minDuration: 10s}", "{pause: {}, weight: 5}", "spec.rollout.steps[0]", "exactly one of weight and pause"),
    ("{weight: 34, minDuration: 10s}", "{pause: {}, minDuration: 5s}", "spec.rollout.steps[0]", "remove it"),
    ("{weight: 34, minDuration: 10s}", "{minDuration: 5s}", "spec.rollout.steps[0]", "neither is given"),
    ("{weight: 34, minDuration: 10s}", "{pause: {}}", "spec.rollout", "no step has a weight"),
    ("replicas: 3", "autoscaling: {}", "spec.autoscaling.maxReplicas", "is missing"),
    ("replicas: 3", "autoscaling: {minReplicas: 4, maxReplicas: 3}", "spec.autoscaling", "4 is above 3"),
    ("replicas: 3", "replicas: 3\n  autoscaling: {maxReplicas: 5}", "spec", "both are given"),
    ("replicas: 3", "", "spec", "neither is given: give exactly one of replicas and autoscaling"),
    ("replicas: 3", "replicas: 3\n  tuning: {}", "spec.tuning", "not supported by this version"),
    ("replicas: 3", "replicas: 0", "spec.replicas", "greater than or equal to 1"),
    ("    url: http://qdrant.data:6333", "    managed: {storage: 1Gi}\n    url: http://a", "spec.qdrant", "both are given"),
    ("    url: http://qdrant.data:6333", "    managed: {}", "spec.qdrant.managed.storage", "is missing"),
    ("    url: http://qdrant.data:6333", "    managed: {storage: lots}", "spec.qdrant.managed.storage", "pattern"),
    ("    url: http://qdrant.data:6333", "    managed: {storage: 1Gi}\n    caSecretRef: {name: a, key: b}", "spec.qdrant", "belong to a url"),
    ("    url: redis://redis.data:6379/0", "    url: redis://a\n    managed: {}", "spec.redis", "both are given"),
    ("    url: http://embedder.ai:8080/v1\n", "    managed: {}\n", "spec.embedder", "belong to a url"),
    ("    model: bge-small-en-v1.5\n", "", "spec.embedder", "add model and dimensions"),
    ("replicas: 3", "replicas: 3\n  template: {env: [{name: A}]}", "spec.template.env[0]", "exactly one of value and valueFrom"),
    ("replicas: 3", "replicas: 3\n  template: {env: [{name: A, value: x}, {name: A, value: y}]}", "spec.template", "more than once"),
    ("http://qdrant.data:6333", "qdrant.data:6333", "spec.qdrant.url", "http://host:port"),
    ("redis://redis.data:6379/0", "http://redis", "spec.redis.url", "redis://host:6379/0"),
    ("    url: redis://redis.data:6379/0", "    {}", "spec.redis", "exactly one of url, urlSecretRef and managed"),
    ("auth:\n", "auth:\n    disabled: true\n", "spec.auth", "both are given"),
    ("    apiKeysSecretRef: {name: agent-memory-keys, key: keys}", "    {}", "spec.auth", "neither is given"),
    ('"0.01"', "0.01", "spec.rollout.analysis.falseRollbackRate", "in quotes"),
    ('"0.01"', '"0.9"', "spec.rollout.analysis.falseRollbackRate", "at most 0.5"),
    ('"0.01"', '"1%"', "spec.rollout.analysis.falseRollbackRate", "pattern"),
    ("{operation: recall, p95: 250ms}", "{operation: store, p95: 250ms}", "spec.rollout", "more than once"),
    ("{operation: recall, p95: 250ms}", "{operation: dream, p95: 250ms}", "spec.rollout.budgets[0].operation", "'recall' or 'store'"),
    ("[httpPool, parallelIngest, cache]", "[cache, cache]", "spec.rollout", "cache stands there more than once"),
    ("dimensions: 384", "dimensions: many", "spec.embedder.dimensions", "integer"),
    ("name: agent-memory\n", "name: Agent_Memory\n", "metadata.name", "pattern"),
    ("kind: MemoryStack", "kind: Deployment", "kind", "MemoryStack"),
    ("memorystack.dev/v1alpha1", "memorystack.dev/v9", "apiVersion", "memorystack.dev/v1alpha1"),
    ("replicas: 3", "replicas: 3\n  replicas: 4", "line 14", "stands there twice"),
    ("replicas: 3", "replicas: [", "line", "is not YAML"),
    ("kind: Secret", "kind: ConfigMap", "document 2", "'ConfigMap' is not served"),
    ("  name: agent-memory-keys\nstringData", "  labels: {}\nstringData", "metadata.name", "missing from the Secret"),
    ("stringData:\n  keys:", "data:\n  keys:", "data.keys", "not base64"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "field", "remedy"), EDITS, ids=[f"{e[1].strip()[:30]}" for e in EDITS])
def test_a_bad_value_is_refused_by_field_and_remedy(before: str, after: str, field: str, remedy: str):
    assert before in GOOD
    said = refusal(GOOD.replace(before, after, 1))
    assert field in said
    assert remedy in said


def test_steps_that_fall_are_refused():
    text = GOOD.replace("- {weight: 34, minDuration: 10s}", "- {weight: 34}\n      - {weight: 20}")
    assert "20 follows 34" in refusal(text)


def test_all_problems_are_told_at_once():
    said = refusal(GOOD.replace("replicas: 3", "replicas: none").replace("p95: 250ms", "p95: 250"))
    assert "spec.replicas" in said
    assert "budgets[1].p95" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("---\n", "is empty"),
        ("- 1\n", "is no object"),
        ("just words", "is no object"),
        (GOOD + "---\n" + GOOD.split("---")[0], "holds 2 MemoryStacks"),
        ("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n", "holds 0 MemoryStacks"),
        ("a: &x [*x]\nkind: 1", "not"),
    ],
)
def test_a_file_that_holds_something_else_is_refused(text: str, said: str):
    assert said in refusal(text)


def test_the_file_itself_may_be_wrong(tmp_path: Path):
    cases = {
        "missing.yaml": "does not exist",
        ".": "is a folder",
        "latin.yaml": "not UTF-8",
        "big.yaml": "larger than 1 MiB",
    }
    (tmp_path / "latin.yaml").write_bytes(b"a: \xff\xfe")
    (tmp_path / "big.yaml").write_text("#" * (1 << 20) + "##")
    for name, said in cases.items():
        with pytest.raises(InvalidResource, match=said):
            load(tmp_path / name)


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.yaml"
    path.write_text(GOOD)

    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(InvalidResource, match="Permission denied"):
        load(path)


def test_a_secret_is_read_and_never_shown():
    loaded = parse(GOOD + "---\napiVersion: v1\nkind: Secret\nmetadata: {name: b}\ndata: {k: aHVzaA==}\n")
    assert loaded.secrets[1].data == {"k": b"hush"}
    assert "hush" not in repr(loaded)
    assert "demo:" in loaded.secrets[0].data["keys"].decode()


def test_an_unknown_field_without_a_likeness_lists_what_is_known():
    said = refusal(GOOD.replace("replicas: 3", "replicas: 3\n  zzz: 1"))
    assert "spec.zzz" in said
    assert "replicas" in said


def test_a_status_in_the_file_is_let_pass():
    parse(GOOD.replace("spec:\n", "status: {phase: Idle}\nspec:\n", 1))


def test_the_resource_survives_a_round_trip():
    stack = parse(GOOD).stack
    assert MemoryStack.model_validate(stack.model_dump(mode="json", by_alias=True)) == stack


@pytest.mark.parametrize(
    ("text", "seconds"), [("250ms", 0.25), ("90s", 90), ("1m30s", 90), ("720h", 2_592_000), ("1h1ms", 3600.001)]
)
def test_durations_are_go_s_without_fractions(text: str, seconds: float):
    assert parse_duration(text) == timedelta(seconds=seconds)
    assert parse_duration(format_duration(parse_duration(text))) == parse_duration(text)


def test_the_shortest_duration_is_nothing():
    assert format_duration(timedelta()) == "0s"
    assert parse_duration(timedelta(seconds=1)) == timedelta(seconds=1)


def test_the_face_is_complete():
    assert len(set(api.__all__)) == len(api.__all__)
    assert all(hasattr(api, name) for name in api.__all__)
