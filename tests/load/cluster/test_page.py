"""docs/benchmark.md and its report."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from load.bars import RULES, Bar
from load.cluster import page, report
from load.cluster.__main__ import EXPERIMENTS, PUBLISHED, TITLES
from load.cluster.experiment import Experiment, carry_out
from load.cluster.rivals import comparison


def test_the_page_when_read_then_its_table_is_what_the_report_says() -> None:
    text = page.PAGE.read_text()
    assert page.with_tables(text, report.read(PUBLISHED), TITLES) == text, "run: make bench-cluster ARGS=--page"


def test_the_report_when_read_then_its_bars_are_what_its_raw_runs_give() -> None:
    for key, found in report.read(PUBLISHED).items():
        assert len(found["runs"]) == EXPERIMENTS[key].runs, key
        for bar, shown in zip(EXPERIMENTS[key].bars(found["runs"]), found["bars"], strict=True):
            about = json.loads(json.dumps(dict(bar.about)))
            assert {**report.bar_as_json(bar), "about": about} == shown, key
            assert shown["met"] is (shown["value"] is not None and RULES[shown["rule"]](shown["value"], shown["bar"]))


def experiment(measure: Any) -> Experiment:
    def bars(runs: Any) -> list[Bar]:
        good = [r["x"] for r in runs if "problem" not in r]
        return [Bar("x, most", max(good, default=None), "<=", 2, "s", {"least": 1.0, "most": 2.0})]

    return Experiment("z", "A title", "so many pods", 3, nullcontext, measure, bars, lambda _: {"y": 7.25}, at_once=2)


def test_runs_when_some_fail_then_all_are_in_the_outcome_in_order_with_the_reason() -> None:
    def measure(_place: object, number: int) -> dict[str, Any]:
        if number == 1:
            pytest.fail("no verdict")
        return {"x": number}

    said: list[str] = []
    outcome = carry_out(experiment(measure), None, 3, said.append)
    assert [run.get("x") for run in outcome.runs] == [0, None, 2]
    assert "no verdict" in outcome.runs[1]["problem"]
    assert "3 of 3" in said[-1]
    assert outcome.machine["cores"] >= 1


def test_the_table_when_made_then_tells_value_extremes_bar_and_whether_it_is_met(tmp_path: Path) -> None:
    outcome = carry_out(experiment(lambda _, n: {"x": n + 0.5}), None, 3, lambda _: None)
    path = tmp_path / "reports" / "r.json"
    report.write(path, {"z": report.recorded(outcome)})
    text = page.table(report.read(path), {})
    assert "### z. A title" in text
    assert "3 runs, 2 at once" in text
    assert "| x, most | **2.5 s** (1 to 2) | <= 2 s | **not met** |" in text
    assert "| y | 7.25 | | |" in text


def test_an_experiment_when_it_is_measured_again_then_the_rows_of_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    one = report.recorded(carry_out(experiment(lambda _, n: {"x": n}), None, 1, lambda _: None))
    report.write(path, {"b": one})
    report.write(path, {**report.read(path), "a": one})
    assert list(report.read(path)) == ["a", "b"]


def test_the_page_when_made_anew_then_only_what_is_between_the_marks_changes() -> None:
    (begin, end), (first, last) = page.marks("bars"), page.marks("rivals")
    text = f"x\n{begin}\nold\n{end}\ny\n{first}\n{last}\nz"
    made = page.with_tables(text, {}, {"x": "One"})
    assert made.startswith(f"x\n{begin}\n\n### x. One\n\nNot measured yet.\n\n{end}\ny\n{first}\n\n|")
    assert made.endswith(f"|\n\n{last}\nz")
    assert "| **MemoryStack, a flag on 1 of 4 pods (node)** | - | - | - | - | - |" in made
    assert page.with_tables(made, {}, {"x": "One"}) == made


def test_the_comparison_when_ours_was_measured_then_has_medians_extremes_and_counts() -> None:
    fast = {"firstCanaryAnswer": 0.5, "verdict": 5.0, "lastBadAnswer": 5.2, "badAboveHealthy": 20.0}
    slow = {**fast, "verdict": 7.04}
    idle = {"stacks": 200, "megabytes": 99.0, "megabytesAfterRestart": 104.8576, "cores": 0.0012}
    found = {
        "a": {"runs": [fast, slow, {"problem": "no verdict"}]},
        "c": {"runs": [{"outcome": "Promoted"}] * 29 + [{"outcome": "RolledBack"}]},
        "d": {"runs": [{"outcome": "Open"}] * 10},
        "f": {"runs": [{"lastAnswerUnderTheFlag": 29.0}, {"lastAnswerUnderTheFlag": 29.46}]},
        "g": {"runs": [idle, {"stacks": 500}]},
    }
    text = comparison(found)
    assert "(API server)** | 0.5 (0.5-0.5) | 6.0 (5.0-7.0) | 5.2 (5.2-5.2) | 20.0 (20.0-20.0) | 1 of 30 |" in text
    assert "| 6 of 6 | 5 of 5 | 0 of 10 |" in text
    assert "| 29.5 s after the kill, without its return |" in text
    assert "| 100 MiB, 0.001 cores |" in text
