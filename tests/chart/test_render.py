"""What the chart renders: golden for its main modes, and by its rules."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from support.chart import CHART, NAMESPACE, helm, manifest, rendered

from memorystack_operator.api.crd import definition
from memorystack_operator.cli.run import main as operator
from memorystack_operator.core import ENGINE_RECORDS, Status
from memorystack_operator.core.observe import RELEASE_IMAGE
from memorystack_operator.shell.lending import patch_of
from memorystack_operator.shell.records import ARM, COST, TOUCHED
from memorystack_operator.shell.resources import CHILDREN
from memorystack_runtime.contract import ANNOTATION_FLAGS

ROOT = CHART.parents[1]
GOLDEN = Path(__file__).parent / "golden"
EVERYTHING: dict[str, Any] = {
    "replicas": 2,
    "labels": {"team": "memory", "app.kubernetes.io/name": "not-this"},
    "image": {"registry": "registry.example/team/", "digest": f"sha256:{'0' * 64}", "pullSecrets": [{"name": "pull"}]},
    "runtimeImage": {"tag": "9.9.9"},
    "serviceAccount": {"annotations": {"cloud.example/role": "r"}},
    "podAnnotations": {"a": "b"},
    "podLabels": {"c": "d"},
    "priorityClassName": "system-cluster-critical",
    "nodeSelector": {"pool": "system"},
    "tolerations": [{"operator": "Exists"}],
    "networkPolicy": {"enabled": True, "scrapers": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]},
    "metrics": {
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "prometheusRule": {"enabled": True},
        "dashboard": {"enabled": True},
    },
}
NAMESPACED: dict[str, Any] = {
    "namespaces": ["team-a", "team-b"],
    "crds": {"enabled": False},
    "podPatchPolicy": {"enabled": False},
}
MODES = {"default": {}, "everything": EVERYTHING, "namespaced": NAMESPACED}
CLUSTER_SCOPED = {
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}


def kinds(**values: Any) -> set[str]:
    return {kind for kind, _, _ in rendered(**values)}


def one(kind: str, **values: Any) -> dict[str, Any]:
    (found,) = [body for (k, _, _), body in rendered(**values).items() if k == kind]
    return found


@pytest.mark.parametrize("name", MODES)
def test_the_objects_when_rendered_then_are_the_golden_ones(name: str) -> None:
    """MEMORYSTACK_WRITE_GOLDEN=1 writes them anew; look at the difference before you commit it."""
    parts = manifest(MODES[name]).split("\n---\n")
    # The definition has a golden file of its own: crds/.
    # Helm 4 leaves more empty lines between objects than Helm 3.
    made = "\n---\n".join(p.rstrip() for p in parts if "\nkind: CustomResourceDefinition\n" not in p) + "\n"
    path = GOLDEN / f"{name}.yaml"
    if os.environ.get("MEMORYSTACK_WRITE_GOLDEN"):
        path.write_text(made)
    assert made == path.read_text()


@pytest.mark.parametrize("name", MODES)
def test_the_chart_when_linted_then_nothing_is_found(name: str, tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump(MODES[name]))
    helm("lint", "--strict", "--kube-version", "1.34.0", "--values", str(values), str(CHART))


def test_what_is_made_of_other_files_when_checked_then_is_not_stale() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "charts" / "generate.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_definition_when_rendered_then_is_the_one_in_crds_kept_on_uninstallation() -> None:
    made = one("CustomResourceDefinition")
    meta = made["metadata"]
    assert meta["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert meta["labels"]["app.kubernetes.io/managed-by"] == "Helm"
    assert {**made, "metadata": {"name": meta["name"]}} == definition(Status, opaque=ENGINE_RECORDS)
    assert "annotations" not in one("CustomResourceDefinition", crds={"keep": False})["metadata"]


def test_the_namespaced_mode_when_rendered_then_holds_roles_only() -> None:
    found = rendered(**NAMESPACED)
    assert not CLUSTER_SCOPED & {kind for kind, _, _ in found}
    assert {ns for kind, ns, _ in found if kind == "Role"} == {"team-a", "team-b", NAMESPACE}
    args = one("Deployment", **NAMESPACED)["spec"]["template"]["spec"]["containers"][0]["args"]
    assert [a for a in args if a.startswith("--namespace=")] == ["--namespace=team-a", "--namespace=team-b"]
    clusterwide = one("ClusterRole")["rules"]
    assert all(
        body["rules"] == clusterwide for (kind, ns, _), body in found.items() if kind == "Role" and ns != NAMESPACE
    )


def test_two_releases_of_one_name_in_two_namespaces_then_share_no_object() -> None:
    first = {key for key in rendered(namespace="a") if key[0] != "CustomResourceDefinition"}
    assert not first & set(rendered(namespace="b"))


def test_long_names_when_rendered_then_stay_within_63() -> None:
    for _, _, name in rendered(release="r" * 53, namespace="n" * 20):
        assert len(name) <= 63 or name.endswith("-pod-marks")  # names of policies may have 253


def test_the_rules_when_compared_with_what_is_rendered_then_cover_each_kind_and_no_secret() -> None:
    rules = one("ClusterRole")["rules"]
    whole = {
        (group, plural)
        for r in rules
        if {"list", "create"} <= set(r["verbs"])
        for group in r["apiGroups"]
        for plural in r["resources"]
    }
    assert whole == {(r.group, r.plural) for r in CHILDREN}
    assert not any("secrets" in r["resources"] or "*" in r["verbs"] + r["resources"] for r in rules)
    assert [r["verbs"] for r in rules if "memorystacks" in r["resources"]] == [["get", "list", "watch"]]


def test_the_policy_when_compared_with_the_operators_marks_then_allows_exactly_these() -> None:
    variables = {v["name"]: v["expression"] for v in one("ValidatingAdmissionPolicy")["spec"]["variables"]}
    assert set(json.loads(variables["ownNotes"].replace("'", '"'))) == {ANNOTATION_FLAGS, TOUCHED, COST}
    assert json.loads(variables["ownLabels"].replace("'", '"')) == [ARM]
    assert patch_of.__module__ == "memorystack_operator.shell.lending"  # the one place that writes them


def test_every_option_of_the_command_line_when_given_by_the_chart_then_is_known_to_it() -> None:
    container = one("Deployment", **EVERYTHING)["spec"]["template"]["spec"]["containers"][0]
    assert container["command"] == ["memorystack-operator"]
    asked = CliRunner().invoke(operator, [*container["args"], "--kubeconfig=/nowhere"])
    assert asked.exit_code == 1, asked.output  # options are read first; then there is no cluster
    assert "no cluster to talk to" in asked.output


def test_the_images_when_nothing_is_said_then_are_those_of_this_release() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    projects = [(ROOT / part / "pyproject.toml").read_text() for part in ("", "operator", "runtime")]
    versions = {re.search(r'^version = "(.+)"$', text, re.MULTILINE)[1] for text in projects}
    assert {chart["appVersion"], chart["version"]} == versions
    (version,) = versions
    container = one("Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == f"memorystack-operator:{version}"
    assert f"--runtime-image={RELEASE_IMAGE}" in container["args"]


def test_the_pod_when_rendered_then_meets_restricted_and_writes_only_to_tmp() -> None:
    pod = one("Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert [m["mountPath"] for m in container["volumeMounts"]] == ["/tmp"]


def test_two_replicas_then_bring_a_disruption_budget_and_one_does_not() -> None:
    assert "PodDisruptionBudget" not in kinds()
    assert one("PodDisruptionBudget", replicas=2)["spec"]["maxUnavailable"] == 1
    assert "PodDisruptionBudget" not in kinds(replicas=2, podDisruptionBudget={"enabled": False})


def test_labels_of_the_user_when_they_are_ours_too_then_ours_win() -> None:
    for (kind, _, _), body in rendered(**EVERYTHING).items():
        assert body["metadata"]["labels"]["app.kubernetes.io/name"] == "memorystack-operator", kind
        assert body["metadata"]["labels"]["team"] == "memory", kind


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"replcas": 2}, "replcas"),
        ({"image": {"tagg": "1"}}, "tagg"),
        ({"metrics": {"serviceMonitor": {"enable": True}}}, "enable"),
        ({"replicas": 3}, "replicas"),
        ({"namespaces": "team-a"}, "namespaces"),
        ({"operator": {"logLevel": "loud"}}, "logLevel"),
        ({"image": {"digest": "sha256:1"}}, "digest"),
        ({"metrics": {"serviceMonitor": {"enabled": True, "interval": "soon"}}}, "interval"),
        (
            {"metrics": {"serviceMonitor": {"enabled": True}, "service": {"enabled": False}}},
            "serviceMonitor.enabled needs metrics.service.enabled",
        ),
        ({"serviceAccount": {"create": False}}, "name the account in serviceAccount.name"),
    ],
)
def test_values_when_they_make_no_sense_then_are_refused_by_name(values: dict[str, Any], said: str) -> None:
    with pytest.raises(AssertionError, match=re.escape(said)):
        rendered(**values)


def test_each_value_when_looked_up_then_is_in_the_schema_and_the_other_way_round() -> None:
    """An object without `properties` is free: labels, affinities."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())

    def names(node: dict[str, Any], path: str) -> set[str]:
        if "properties" not in node or path == "resources":
            return {path}
        assert node["additionalProperties"] is False, path
        return {n for key, child in node["properties"].items() for n in names(child, f"{path}.{key}".lstrip("."))}

    def paths(node: Any, path: str, known: set[str]) -> set[str]:
        if path in known or not isinstance(node, dict):
            return {path}
        return {n for key, child in node.items() for n in paths(child, f"{path}.{key}".lstrip("."), known)}

    known = names(schema, "")
    assert paths(defaults, "", known) == known - {"global"}
