"""What can be said of `make e2e` without a node: whether its report holds, and how it reads the readme."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from e2e.__main__ import NAMES_JUDGED
from e2e.check import problems_of
from e2e.readme import never_typed, printed_otherwise, shown
from e2e.report import Report, Step


def test_a_readme_when_it_shows_a_command_out_of_order_then_it_counts_as_never_typed() -> None:
    commands = [command for command, _ in shown()]
    assert never_typed(commands) == []
    assert never_typed([commands[1], commands[0], *commands[2:]]) != []
    assert commands[-1] in never_typed(commands[:-1])


def test_a_transcript_when_read_then_output_belongs_to_the_command_above_it() -> None:
    text = "## In a cluster\n\n```\n$ one\n$ two -p 'x'\nNAME   READY\na      True\n```\n\nWords.\n\n## Next\n\n```\n$ not here\n```\n"
    assert shown(text) == [("one", ""), ("two -p 'x'", "NAME   READY\na      True")]


@pytest.mark.parametrize(
    ("printed", "other"),
    [
        ("NAME   P95   AGE\na      recall 81ms   1h2m", []),
        ("NAME   P95   AGE\na      store 81ms   1h2m", ["two"]),
        ("NAME   P95   AGE", ["two"]),
    ],
    ids=["other-numbers", "another-word", "a-line-less"],
)
def test_a_transcript_when_a_command_printed_something_else_then_it_is_named(printed: str, other: list[str]) -> None:
    text = "## In a cluster\n\n```\n$ one\n$ two\nNAME   P95   AGE\na      recall 79ms   5m53s\n```\n"
    assert printed_otherwise([("one", "anything"), ("else", ""), ("two", printed)], text) == other


NAMES = ("install", "good flag", "kill operator", "readme")
GONE_WRONG = {"problem": "no verdict", "samples": 60, "idle_percent": 50.0, "starved_share": 0.1}
STARVED = {**GONE_WRONG, "idle_percent": 3.0}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"good flag": GONE_WRONG}, ["good flag: no verdict"]),
        ({"good flag": STARVED}, []),
        ({"kill operator": STARVED}, ["kill operator: no verdict"]),
        ({"good flag": STARVED, "install": GONE_WRONG}, ["install: no verdict"]),
    ],
    ids=["as-expected", "a-wrong-verdict", "starved", "starved-but-not-a-verdict", "starved-and-something-else"],
)
def test_a_report_when_a_step_went_wrong_then_only_a_starved_verdict_is_excused(
    tmp_path: Path, changes: dict[str, dict[str, Any]], found: list[str]
) -> None:
    report = Report("short", NAMES, steps=[Step(name, 1.0, {}, **changes.get(name, {})) for name in NAMES])
    report.write(tmp_path / "e2e.json")
    assert problems_of(tmp_path / "e2e.json", NAMES, NAMES_JUDGED, ["readme"]) == found


def test_a_report_when_it_ends_early_then_what_was_not_reached_is_named(tmp_path: Path) -> None:
    report = Report("short", NAMES, steps=[Step("install", 1.0, {}), Step("good flag", 1.0, {}, **STARVED)])
    report.write(tmp_path / "e2e.json")
    found = problems_of(tmp_path / "e2e.json", NAMES, NAMES_JUDGED, ["readme"])
    assert found == ["kill operator: was not reached"]


@pytest.mark.parametrize(("reached", "passed"), [(0, False), (3, False), (4, True)])
def test_a_report_when_a_run_was_interrupted_then_it_does_not_say_that_it_passed(reached: int, passed: bool) -> None:
    assert Report("short", NAMES, steps=[Step(name, 1.0, {}) for name in NAMES[:reached]]).passed is passed


def test_a_report_when_there_is_none_then_it_does_not_hold(tmp_path: Path) -> None:
    assert "no report of a story" in problems_of(tmp_path / "e2e.json", NAMES, NAMES_JUDGED, ["readme"])[0]
