"""`memorystack demo` as a command: its report, its exit code and what it says, beside a story that is told at once."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner, Result
from support.reports import change

from memorystack_operator.cli import demo as demo_module
from memorystack_operator.cli import main
from memorystack_operator.cli.story import play as play_module
from memorystack_operator.cli.story.check import check_report
from memorystack_operator.cli.story.report import ChangeReport, Starvation
from memorystack_operator.local.errors import LocalError

GOOD = (change("parallelIngest", "Promoted"), change("httpPool", "RolledBack"))
STARVED = Starvation(samples=30, mean_idle_percent=2.0, starved_share=0.9)
Told = Callable[..., Result]


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    """Runs the command with a story that ends with these changes."""
    file = tmp_path / "stack.yaml"
    file.write_text("kind: MemoryStack\n")

    def run(*words: str, changes: tuple[ChangeReport, ...] = GOOD) -> Result:
        async def play(stage, tell) -> None:
            story = tell.__self__
            story.changes.extend(changes)
            story.before, story.frame, story.cores = {"store": {"p95": 900.0}}, "<svg/>", 2
            (stage.file.parent / "load.json").write_text('{"dropped": 3}')

        monkeypatch.setattr(demo_module, "play", play)
        argv = ["demo", "-f", str(file), "--state-dir", str(tmp_path / "state"), "--output", "plain", *words]
        return CliRunner().invoke(main, argv)

    return run


def report_of(tmp_path: Path) -> dict:
    return json.loads((tmp_path / "state" / "demo.json").read_text())


def test_a_story_as_told_leaves_a_report_and_a_picture_and_exits_with_0(told: Told, tmp_path: Path):
    svg = tmp_path / "view.svg"
    done = told("--svg", str(svg))
    assert done.exit_code == 0, done.output
    found = report_of(tmp_path)
    assert (found["outcome"], found["cores"], found["load"]) == ("AsExpected", 2, {"dropped": 3})
    assert found["before"] == {"store": {"p95": 900.0}}
    assert [c["name"] for c in found["changes"]] == ["parallelIngest", "httpPool"]
    assert svg.read_text() == "<svg/>"
    assert "httpPool: RolledBack (r). m" in done.output
    assert str(tmp_path / "state" / "demo.json") in done.output


def test_a_story_that_went_otherwise_says_what_and_exits_with_1(told: Told, tmp_path: Path):
    done = told(changes=(GOOD[0], change("httpPool", "Promoted")))
    assert done.exit_code == 1
    assert "not as told: httpPool: Promoted (r), expected RolledBack" in done.output
    assert report_of(tmp_path)["outcome"] == "Unexpected"


def test_a_starved_machine_is_said_with_its_numbers_and_exits_with_75(told: Told, tmp_path: Path):
    done = told(changes=(GOOD[0], change("httpPool", "Inconclusive", starvation=STARVED)))
    assert done.exit_code == 75
    assert "httpPool: mean idle CPU 2 %, 90 % of the seconds below 5 %" in done.output
    assert "inconclusive: the machine was starved" in done.output
    assert report_of(tmp_path)["outcome"] == "Starved"


def test_the_report_of_a_run_that_was_really_starved_holds_by_its_numbers_alone(tmp_path: Path):
    """Eight busy processes beside `make demo` on one core; it ended with 75."""
    path = Path(__file__).parents[3] / "docs" / "reports" / "starved.json"
    assert check_report(path) == []
    done = CliRunner().invoke(main, ["demo", "--check", str(path)])
    assert (done.exit_code, "the report holds (Starved)" in done.output) == (0, True)
    report = json.loads(path.read_text())
    for change_ in report["changes"]:
        assert change_["starvation"]["meanIdlePercent"] < 8
        change_["starvation"] = {"samples": 200, "meanIdlePercent": 40, "largestLagMs": 20}
    fine = tmp_path / "demo.json"
    fine.write_text(json.dumps(report))
    done = CliRunner().invoke(main, ["demo", "--check", str(fine)])
    assert (done.exit_code, "NoVerdict" in done.output) == (1, True)


def test_an_older_report_is_gone_when_the_story_does_not_end(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert told().exit_code == 0

    async def broken(*_: object) -> None:
        raise LocalError("port 8080 is taken")

    monkeypatch.setattr(demo_module, "play", broken)
    argv = ["demo", "-f", str(tmp_path / "stack.yaml"), "--state-dir", str(tmp_path / "state")]
    done = CliRunner().invoke(main, argv)
    assert done.exit_code == 1
    assert "port 8080 is taken" in done.output
    assert not (tmp_path / "state" / "demo.json").exists()


def test_the_file_that_is_missing_is_wrong_usage_with_the_remedy(told: Told, tmp_path: Path):
    (tmp_path / "stack.yaml").unlink()
    done = told()
    assert done.exit_code == 2
    assert "name a file with -f" in done.output


async def test_a_story_that_was_interrupted_leaves_with_the_signals_number(monkeypatch: pytest.MonkeyPatch):
    said: list[str] = []

    async def up(*_: object, **__: object) -> signal.Signals:
        return signal.SIGTERM

    async def nothing() -> None:
        """No traffic to end."""

    monkeypatch.setattr(play_module, "run_up", up)
    stage = SimpleNamespace(
        screen=SimpleNamespace(say=said.append, tell=None, show=None), options=None, end_load=nothing
    )
    with pytest.raises(click.exceptions.Exit) as left:
        await play_module.play(stage, None)
    assert left.value.exit_code == 128 + signal.SIGTERM
    assert "interrupted (SIGTERM)" in said[0]
