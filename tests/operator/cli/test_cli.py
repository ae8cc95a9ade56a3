"""The commands as people meet them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import click
import pytest
from click.testing import CliRunner
from rich.console import Console
from support.reports import change

from memorystack_operator.cli import VERBS, main
from memorystack_operator.cli.doors import folder_of
from memorystack_operator.cli.picture import picture
from memorystack_operator.cli.screen import Screen
from memorystack_operator.cli.story.check import check_report, verdict_on
from memorystack_operator.cli.story.report import DemoReport, Seconds, Starvation, change_report
from memorystack_operator.cli.view import draw
from memorystack_operator.core import Event, Status
from memorystack_operator.local.errors import LocalError
from memorystack_operator.local.machine import Machine
from memorystack_operator.local.report import ArmView, EventLine, PodView, Question, Report

EXAMPLE = Path(__file__).parents[3] / "examples" / "memorystack.yaml"


def run(*words: str):
    return CliRunner().invoke(main, list(words))


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_and_its_exit_codes_or_an_example(verb: str):
    done = run(verb, "--help")
    assert done.exit_code == 0
    assert "Exit codes" in done.output
    command = main.get_command(click.Context(main), verb)
    assert isinstance(command, click.Command)
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.help, f"{verb} {parameter.opts[0]} has no help"


def test_the_overview_lists_every_verb_and_an_unknown_one_is_refused():
    done = run("--help")
    assert all(verb in done.output for verb in VERBS)
    assert "Exit codes" in done.output
    assert run("dance").exit_code == 2
    assert "0.1" in run("--version").output


def test_validate_tells_good_from_bad(tmp_path: Path):
    assert "a valid MemoryStack agent-memory" in run("validate", "-f", str(EXAMPLE)).output
    bad = tmp_path / "bad.yaml"
    bad.write_text(EXAMPLE.read_text().replace("replicas: 3", "replicas: x"))
    done = run("validate", "-f", str(bad))
    assert done.exit_code == 2
    assert "spec.replicas" in done.output


def test_validate_tells_programs_the_name_or_every_problem(tmp_path: Path):
    good = run("validate", "-f", str(EXAMPLE), "--output", "json")
    assert (good.exit_code, json.loads(good.output)["name"]) == (0, "agent-memory")
    bad = tmp_path / "bad.yaml"
    bad.write_text(EXAMPLE.read_text().replace("replicas: 3", "replicas: x\n  colour: red"))
    done = run("validate", "-f", str(bad), "--output", "json")
    told = json.loads(done.output)
    assert (done.exit_code, told["valid"]) == (2, False)
    assert {p["field"] for p in told["problems"]} == {"spec.replicas", "spec.colour"}
    assert all(p["message"] for p in told["problems"])


WRONG = [
    ("up", "-f", "x", "--port", "0"),
    ("up", "-f", "x", "--port", "70000"),
    ("up", "-f", "x", "--embedder-capacity", "0"),
    ("up", "-f", "x", "--embedder-latency-ms", "-1"),
    ("load", "--recalls", "-1"),
    ("load", "--repeat", "1.5"),
    ("load", "--budget-ms", "0"),
    ("load", "--seconds", "0"),
    ("load", "--chunks", "8"),
    ("load", "--chunks", "5-2"),
    ("load", "--chunks", "0-2"),
    ("demo", "--port", "-1"),
]


@pytest.mark.parametrize("words", WRONG, ids=[" ".join(w[-2:]) for w in WRONG])
def test_a_value_that_makes_no_sense_is_wrong_usage_and_named(words: tuple[str, ...]):
    done = run(*words)
    assert done.exit_code == 2
    assert words[-2] in done.output


@pytest.mark.parametrize("verb", ["status", "explain", "promote", "abort", "retry", "pause", "resume", "down"])
def test_without_a_stack_every_verb_says_so(tmp_path: Path, verb: str):
    done = run(verb, "--state-dir", str(tmp_path))
    assert done.exit_code == 1
    assert "memorystack up" in done.output


def test_of_several_stacks_one_must_be_named(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "counters.json").write_text("{}")
    with pytest.raises(LocalError, match="a, b"):
        folder_of(tmp_path, None)
    assert folder_of(tmp_path, "a").root == tmp_path / "a"


# -- views --------------------------------------------------------------------


def sample(**fields) -> Report:
    from support.world import FLAG, rollout, settled_world

    world = settled_world(200)
    world.edit(features=FLAG, rollout=rollout(steps=[{"weight": 34, "minDuration": "50s"}]))
    world.run(60, until=lambda w: bool(w.flagged))
    world.run(10)
    base = {
        "name": "mem",
        "file": "f",
        "gateway": "http://127.0.0.1:8080",
        "at": datetime(2026, 1, 1, tzinfo=UTC),
        "status": world.status,
        "share": 0.33,
        "pods": (
            PodView(
                name="mem-1", address="a", internal_url="u", ready=True, arm="canary", flags="f", restarts=0, lag_ms=1
            ),
        ),
        "arms": (
            ArmView(operation="store", arm="stable", requests=100, bad=60, p95_ms=1000, budget_ms=250),
            ArmView(operation="store", arm="canary", requests=100, bad=0, p95_ms=80, budget_ms=250),
            ArmView(operation="recall", arm="canary", requests=0, bad=0, p95_ms=None, budget_ms=None),
        ),
        "questions": (Question(operation="store", name="better", fraction=0.4, holds=False),),
    }
    return Report(**{**base, **fields})


def shown(report: Report, events=()) -> str:
    console = Console(width=140, record=True, file=open("/dev/null", "w"))
    with console.file:
        console.print(draw(report, list(events)))
        return console.export_text()


def test_the_live_view_shows_arms_budgets_evidence_stage_and_events():
    text = shown(sample(), [EventLine(at="2026-01-01T10:00:00", type="Normal", reason="StageStarted", message="hello")])
    for part in (
        "Progressing",
        "parallelIngest",
        "canary",
        "80 ms",
        "250 ms",
        "> 1 s",
        "60.0 %",
        "40 %",
        "StageStarted",
        "33 %",
        "step 1/1",
    ):
        assert part in text


def test_a_refused_save_and_a_problem_are_shown():
    text = shown(sample(refusal="spec.replicas: is missing", problem="no pod", status=Status(), questions=()))
    assert "spec.replicas" in text
    assert "no pod" in text


def test_the_picture_of_the_live_view_is_well_formed_and_fetches_nothing():
    text = picture(sample(), [])
    words = " ".join("".join(ElementTree.fromstring(text).itertext()).split())
    assert "parallelIngest" in words
    assert not re.search(r"url\((?!#)|href|@import|@font-face", text)


@pytest.mark.parametrize(("output", "part"), [("plain", "RolledBack"), ("json", '"reason":"RolledBack"')])
def test_events_are_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str], output: str, part: str):
    screen = Screen(output)
    screen.say("a sentence")
    screen.tell(Event("RolledBack", "why", "Warning"))
    out = capsys.readouterr().out
    assert part in out
    assert "a sentence" in out


def test_without_a_terminal_auto_is_plain():
    assert Screen("auto").output == "plain"
    assert Screen("live").output == "live"


# -- the demo's report --------------------------------------------------------


GOOD = (change("parallelIngest", "Promoted"), change("httpPool", "RolledBack"))
STARVED = Starvation(samples=30, mean_idle_percent=2.0, starved_share=0.9)
CASES = [
    ("as told", GOOD, True),
    ("nothing was tried", (), False),
    ("one was not tried", GOOD[:1], False),
    ("the bad one was promoted", (GOOD[0], change("httpPool", "Promoted")), False),
    ("inconclusive without a reason", (GOOD[0], change("httpPool", "Inconclusive")), False),
    ("inconclusive and starved", (GOOD[0], change("httpPool", "Inconclusive", starvation=STARVED)), True),
    ("starved in words only", (GOOD[0], change("httpPool", "Inconclusive", starvation=Starvation(samples=30))), False),
    ("no evidence behind it", (GOOD[0], change("httpPool", "RolledBack", evidence={})), False),
    ("too few requests", (change("parallelIngest", "Promoted", canary_requests=3), GOOD[1]), False),
    (
        "too late",
        (GOOD[0], change("httpPool", "RolledBack", seconds=Seconds(to_flip=1, to_verdict=90, to_everywhere=91))),
        False,
    ),
    ("never everywhere", (GOOD[0], change("httpPool", "RolledBack", seconds=Seconds(to_flip=1, to_verdict=9))), False),
]


@pytest.mark.parametrize(("changes", "holds"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_a_report_holds_when_it_is_as_told_or_shows_the_starvation(tmp_path: Path, changes, holds: bool):
    path = tmp_path / "demo.json"
    path.write_text(DemoReport(started_at=datetime.now(UTC), changes=changes).model_dump_json(by_alias=True))
    assert (check_report(path) == []) is holds
    done = run("demo", "--check", str(path))
    assert done.exit_code == (0 if holds else 1)
    told = json.loads(run("demo", "--check", str(path), "--output", "json").output)
    assert (told["holds"], bool(told["problems"])) == (holds, not holds)


def test_a_report_that_is_none_does_not_hold(tmp_path: Path):
    assert "no report" in check_report(tmp_path / "none")[0]
    (tmp_path / "bad").write_text('{"outcome": "AsExpected"}')
    assert "not a report" in check_report(tmp_path / "bad")[0]


def test_a_change_without_a_verdict_is_reported_as_such():
    found = change_report("httpPool", "RolledBack", datetime.now(UTC), None, Starvation())
    assert found.outcome == "NoVerdict"
    assert not found.as_expected
    assert verdict_on(DemoReport(started_at=datetime.now(UTC), changes=(found,)))


def test_headroom_is_the_mean_of_the_last_minute():
    machine = Machine()
    assert machine.headroom.idle_percent == 100.0
    for idle in (50.0, 0.0):
        machine.take(idle)
    assert machine.headroom.idle_percent == 25.0
    assert machine.headroom.starved_share == 0.5
    assert machine.last_idle == 0.0
