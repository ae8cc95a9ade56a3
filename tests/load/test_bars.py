"""What `make bench` does with its numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from load.__main__ import PAGE, ROOT, run
from load.bars import Bar, table


@pytest.mark.parametrize(
    ("value", "rule", "bar", "met"),
    [
        (1.9, "<", 2, True),
        (2.0, "<", 2, False),
        (1.5, "<=", 1.5, True),
        (2, "=", 1, False),
        (40.0, ">=", 40, True),
        (39.9, ">=", 40, False),
        (None, "<", 2, False),
    ],
)
def test_a_bar_is_met_as_its_rule_says(value: float | None, rule: str, bar: float, met: bool):
    assert Bar("x", value, rule, bar).met is met


async def fast() -> list[Bar]:
    return [Bar("fast", 0.5, "<", 1, "s")]


async def slow() -> list[Bar]:
    return [Bar("slow", 1.5, "<", 1, "s")]


async def broken_part() -> list[Bar]:
    pytest.fail("the stack is not ready")


def test_the_figures_in_the_documentation_are_those_of_the_committed_run_and_all_bars_are_met():
    report = json.loads((ROOT / "docs" / "reports" / "bench.json").read_text())
    assert table(report) in PAGE.read_text()
    assert report["met"]
    assert all(Bar(b["name"], b["value"], b["rule"], b["bar"]).met for b in report["bars"])


@pytest.mark.parametrize(
    ("measures", "code"), [((fast,), 0), ((fast, slow), 1), ((broken_part, fast), 1)], ids=["met", "missed", "broken"]
)
async def test_a_missed_bar_is_said_by_the_exit_code_and_the_report_is_written_whole(
    tmp_path: Path, measures: tuple, code: int
):
    path = tmp_path / "bench.json"
    assert await run(measures, path) == code
    report = json.loads(path.read_text())
    assert report["met"] is (code == 0)
    assert len(report["bars"]) == len(measures)
    assert all({"name", "value", "bar", "met"} <= set(bar) for bar in report["bars"])
    assert {"name": "fast", "value": 0.5, "rule": "<", "bar": 1, "unit": "s", "met": True, "about": {}} in report[
        "bars"
    ]


async def test_what_could_not_be_measured_is_named_with_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    await run((broken_part,), tmp_path / "bench.json")
    (bar,) = json.loads((tmp_path / "bench.json").read_text())["bars"]
    assert (bar["name"], bar["value"], bar["met"]) == ("broken part", None, False)
    assert "the stack is not ready" in bar["about"]["problem"]
    assert "MISSED  broken part" in capsys.readouterr().out
