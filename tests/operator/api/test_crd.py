"""The resource's definition: made from the models, structural, told in full, and small."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from click.testing import CliRunner
from pydantic import BaseModel, Field

from memorystack_operator.api.crd import CRD_FILE, definition
from memorystack_operator.api.fields import Model
from memorystack_operator.api.spec import MemoryStack
from memorystack_operator.api.structural import KEPT, structural
from memorystack_operator.cli import main
from memorystack_operator.core import ENGINE_RECORDS, Status
from memorystack_operator.core.progress import progress_of

ROOT = Path(__file__).parents[3]
CRD = ROOT / "crds" / CRD_FILE
MADE = definition(Status, opaque=ENGINE_RECORDS)
SCHEMA = MADE["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
NODE_KEYS = KEPT | {"description", "properties", "required", "items", "additionalProperties", "default"}

Node = dict[str, Any]


def nodes(node: Node, path: str) -> Iterator[tuple[str, Node]]:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in node:
        yield from nodes(node["items"], f"{path}[]")
    if isinstance(node.get("additionalProperties"), dict):
        yield from nodes(node["additionalProperties"], f"{path}{{}}")


SPEC = list(nodes(SCHEMA["properties"]["spec"], "spec"))
STATUS = list(nodes(SCHEMA["properties"]["status"], "status"))


def test_the_file_in_crds_is_not_stale():
    printed = CliRunner().invoke(main, ["crd"])
    assert printed.exit_code == 0
    assert printed.output == CRD.read_text(), "run make generate, and commit crds/"
    assert yaml.safe_load(printed.output) == MADE


def test_it_is_far_below_what_an_annotation_holds():
    assert CRD.stat().st_size < 128 << 10


def test_every_node_is_structural():
    for path, node in [("", SCHEMA), *SPEC, *STATUS]:
        assert set(node) <= NODE_KEYS, path
        assert "type" in node or node.get("x-kubernetes-int-or-string"), path
        assert not ("properties" in node and "additionalProperties" in node), path
        assert node.get("type") != "array" or "items" in node, path


def test_every_field_is_explained():
    for path, node in [*SPEC, *STATUS]:
        for name, child in node.get("properties", {}).items():
            assert len(child["description"]) > 3, f"{path}.{name} has no docstring"


def test_everything_in_the_spec_is_bounded():
    """An unbounded list or text makes the API server refuse the definition: a rule over it could cost too much."""
    for path, node in SPEC:
        if node.get("type") == "array":
            assert "maxItems" in node, path
        if node.get("type") == "string":
            assert "maxLength" in node or "enum" in node, path
        if "additionalProperties" in node:
            assert "maxProperties" in node, path


def test_every_pattern_is_one_that_go_knows():
    for path, node in SPEC:
        pattern = node.get("pattern", "")
        re.compile(pattern)
        assert not re.search(r"\(\?[=!<]|\\[1-9]", pattern), path


def test_every_rule_has_a_sentence_and_points_at_a_field_that_is_there():
    rules = [(path, node, rule) for path, node in SPEC for rule in node.get("x-kubernetes-validations", ())]
    assert len(rules) > 10
    for path, node, rule in rules:
        assert len(rule["message"]) > 10, path
        field = rule.get("fieldPath", "").removeprefix(".")
        assert not field or field in node["properties"], path


def test_lists_hold_no_defaults():
    for path, node in SPEC:
        if path.endswith("[]"):
            assert all("default" not in child for child in node.get("properties", {}).values()), path


def test_a_stack_that_nobody_looked_at_does_not_look_healthy():
    assert SCHEMA["properties"]["status"]["default"] == {"observedGeneration": -1}


def test_replicas_have_no_default():
    assert "default" not in SCHEMA["properties"]["spec"]["properties"]["replicas"]


def test_the_status_is_kept_whole_by_an_older_definition():
    for path, node in STATUS:
        if node.get("type") == "object" and "additionalProperties" not in node:
            assert node["x-kubernetes-preserve-unknown-fields"], path
        assert "enum" not in node, path


def test_names_columns_and_subresources_are_those_of_the_design():
    names, version = MADE["spec"]["names"], MADE["spec"]["versions"][0]
    assert (names["shortNames"], names["categories"], names["plural"]) == (["mstack"], ["memory"], "memorystacks")
    columns = version["additionalPrinterColumns"]
    assert [c["name"] for c in columns] == ["Ready", "Phase", "Step", "Weight", "Canary P95", "Age", "Message"]
    assert [c["name"] for c in columns if c.get("priority")] == ["Message"]
    assert version["subresources"]["scale"]["specReplicasPath"] == ".spec.replicas"
    assert version["subresources"]["status"] == {}


def test_every_column_reads_a_field_that_is_there():
    known = {path for path, _ in nodes(SCHEMA, "")}
    for column in MADE["spec"]["versions"][0]["additionalPrinterColumns"]:
        path = re.sub(r"\[\?.*?\]", "[]", column["jsonPath"])
        assert path in known or path == ".metadata.creationTimestamp", column["name"]


def test_the_models_and_the_definition_know_the_same_fields():
    told = set(SCHEMA["properties"]["spec"]["properties"])
    assert told == {f.alias for f in MemoryStack.model_fields["spec"].annotation.model_fields.values()}


class Pair(Model):
    """Two of different kinds."""

    both: tuple[int, str]
    """A pair."""


class Either(Model):
    """One of two kinds."""

    one: int | str
    """Either."""


class Tagged(Model):
    """By its kind."""

    kind: Literal["a"]
    """Always a."""
    many: Annotated[dict[Literal["x", "y"], int], Field(max_length=2)] = {}
    """By key."""


@pytest.mark.parametrize(("model", "path"), [(Pair, "Pair.both"), (Either, "Either.one")])
def test_what_has_no_structural_form_is_refused_by_its_path(model: type[BaseModel], path: str):
    with pytest.raises((TypeError, ValueError), match=path):
        structural(model)


def test_a_constant_is_an_enum_and_closed_keys_are_properties():
    made = structural(Tagged)["properties"]
    assert made["kind"]["enum"] == ["a"]
    assert set(made["many"]["properties"]) == {"x", "y"}


def test_the_columns_are_empty_while_nothing_happens():
    assert progress_of(Status()).model_dump() == {"step": "", "weight": "", "p95": ""}
