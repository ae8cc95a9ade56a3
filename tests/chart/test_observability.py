"""The dashboard and the alerts: everything that they ask for exists, under that name and with those labels."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml
from support.chart import CHART, rendered

from memorystack_operator.api.status import Phase
from memorystack_operator.shell.telemetry import Telemetry
from memorystack_runtime.admission import Admission
from memorystack_runtime.contract import Budgets
from memorystack_runtime.evidence import Ledger
from memorystack_runtime.flags import FlagBoard
from memorystack_runtime.memory import MemoryService, MemoryStats
from memorystack_runtime.telemetry import Telemetry as RuntimeTelemetry

DASHBOARD = json.loads((CHART / "files" / "dashboard.json").read_text())
ALERTS = [r for g in yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())["groups"] for r in g["rules"]]
WORDS = {"by", "or", "and", "unless", "on", "ignoring", "group_left", "sum", "max", "rate", "increase", "absent"} | {
    "histogram_quantile",
    "label_values",
}
TARGET = {"namespace", "pod"}
"""Labels that Prometheus puts on every series of a scraped pod."""


def known() -> dict[str, set[str]]:
    """Series -> labels, of the operator and of a runtime that has served one request."""
    found: dict[str, set[str]] = {}
    for collector in Telemetry().registry._collector_to_names:
        one = cast("Any", collector)
        for name in _series(one._name, one._type):
            found[name] = {*one._labelnames, *(["le"] if name.endswith("_bucket") else [])}
    for family in _runtime().collect():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def _series(name: str, kind: str) -> Iterator[str]:
    parts = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}[kind]
    yield from (name + part for part in parts)


def _runtime() -> Any:
    ledger = Ledger()
    board = FlagBoard(None, None, lambda e: ledger.revise(e.revision, Budgets(revision="b")))
    ledger.admit("recall").done()
    stats = MemoryStats(**{f.name: 0 for f in fields(MemoryStats)})
    memory = cast("MemoryService", SimpleNamespace(stats=lambda: stats))
    return RuntimeTelemetry(ledger, board, memory, Admission(1))._registry


KNOWN = known()


def queries() -> Iterator[tuple[str, str]]:
    """(where, PromQL) of everything that is asked."""
    for alert in ALERTS:
        yield alert["alert"], alert["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]


def selectors(query: str) -> Iterator[tuple[str, set[str]]]:
    """(series, labels in its braces)."""
    bare = re.sub(r'"[^"]*"', '""', query)
    grouped = re.sub(r"\b(by|ignoring|on)\s*\([^)]*\)|\[[^]]*\]|(?<=label_values\()|,\s*namespace\)", "", bare)
    for name, braces in re.findall(r"([a-z_][a-z0-9_]*)\s*(\{[^}]*\})?", grouped):
        if name not in WORDS:
            yield name, set(re.findall(r"([a-z_]+)\s*(?:=~|!=|!~|=)", braces))


def grouping(query: str) -> set[str]:
    """Labels that it groups by."""
    return {label.strip() for found in re.findall(r"\bby\s*\(([^)]*)\)", query) for label in found.split(",")}


@pytest.mark.parametrize(("where", "query"), list(queries()))
def test_a_query_when_compared_with_the_telemetry_then_asks_for_what_is_there(where: str, query: str) -> None:
    asked = list(selectors(re.sub(r"\{[^{}]*\}", lambda m: re.sub(r'"[^"]*"', '""', m[0]), query)))
    assert asked, where
    for name, labels in asked:
        assert name in KNOWN, f"{where}: there is no series {name}"
        assert labels <= KNOWN[name] | TARGET, f"{where}: {name} has no label {labels - KNOWN[name]}"
    labels = {label for name, _ in asked for label in KNOWN[name]}
    assert grouping(query) <= labels | TARGET, f"{where} groups by what no series of it has"


def test_a_query_when_it_names_what_is_not_there_then_the_check_above_would_tell() -> None:
    assert list(selectors('sum by (a) (rate(nothing_total{x="y{z"}[5m]))')) == [("nothing_total", {"x"})]
    assert "memorystack_rollout_phase" in KNOWN
    assert KNOWN["memorystack_request_duration_seconds_bucket"] == {"le", "operation", "revision"}


def test_the_phases_that_alerts_name_then_exist() -> None:
    named = set(re.findall(r'phase="(\w+)"', " ".join(a["expr"] for a in ALERTS)))
    assert named
    assert named <= {p.value for p in Phase}


def test_each_alert_when_read_then_says_what_it_is_and_what_to_do() -> None:
    assert len({a["alert"] for a in ALERTS}) == len(ALERTS)
    for alert in ALERTS:
        assert alert["alert"].startswith("MemoryStack")
        assert alert["labels"]["severity"] in {"critical", "warning", "info"}
        assert set(alert["annotations"]) == {"summary", "description", "runbook"}, alert["alert"]
        for text in alert["annotations"].values():
            assert len(text) > 10, alert["alert"]
            assert text[-1] == ".", alert["alert"]


def test_the_dashboard_when_laid_out_then_no_two_panels_overlap() -> None:
    cells: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        mine = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & mine, panel["title"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        assert panel["type"] == "row" or panel["description"], panel["title"]
        cells |= mine
    ids = [p["id"] for p in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_files_when_rendered_then_arrive_unchanged() -> None:
    """Grafana's and Prometheus' own braces are not Helm's."""
    metrics = {"prometheusRule": {"enabled": True}, "dashboard": {"enabled": True}}
    found = {kind: body for (kind, _, _), body in rendered(metrics=metrics).items()}
    assert json.loads(found["ConfigMap"]["data"]["memorystack.json"]) == DASHBOARD
    assert [r for g in found["PrometheusRule"]["spec"]["groups"] for r in g["rules"]] == ALERTS
    assert "{{ $labels.namespace }}" in str(found["PrometheusRule"])
