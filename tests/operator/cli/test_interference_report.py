"""When the report of `memorystack demo-interference` holds."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import pytest
from click.testing import CliRunner

from memorystack_operator.api.status import SwitchbackResult
from memorystack_operator.cli import main
from memorystack_operator.cli.story.engine import ENGINE, engine_hash
from memorystack_operator.cli.story.interference import TRIALS, InterferenceReport, TrialReport, problems_of, told
from memorystack_operator.cli.story.report import Starvation

STARVED = Starvation(samples=30, mean_idle_percent=2.0, starved_share=0.9)


def pairs(worse: int, log_e: float) -> SwitchbackResult:
    return SwitchbackResult(
        number=1, operation="recall", worse=worse, better=0, tied=0, discarded=0, log_e=log_e, needed=4.19
    )


def flooding(**fields) -> TrialReport:
    base = {
        "name": "flooding", "stage": "parallelIngest", "guilty": True, "withdrawn_reason": "EnvironmentOverBudget",
        "flip_to_withdrawal_seconds": 26.0, "outcome": "RolledBack", "reason": "HarmsSharedDependency", "message": "m",
        "withdrawal_to_outcome_seconds": 220.0, "switchback": pairs(8, 4.3),
    }  # fmt: skip
    return TrialReport(**{**base, **fields})


def flapping(**fields) -> TrialReport:
    base = {"name": "flapping", "stage": "cache", "guilty": False, "outcome": "Cleared", "reason": "EnvironmentCleared"}
    return flooding(**{**base, "switchback": pairs(0, -3.0), **fields})


CASES = [
    ("as told", (flooding(), flapping()), ""),
    ("nothing was tried", (), "was not tried"),
    ("the innocent was not tried", (flooding(),), "flapping: was not tried"),
    ("the guilty was cleared", (flooding(outcome="Cleared", reason="EnvironmentCleared"), flapping()), "flooding: Cleared"),
    ("the innocent was convicted", (flooding(), flapping(outcome="RolledBack", reason="HarmsSharedDependency")), "flapping: R"),
    ("for another reason", (flooding(reason="P95OverBudget"), flapping()), "P95OverBudget"),
    ("never withdrawn", (flooding(flip_to_withdrawal_seconds=None), flapping()), "never withdrawn"),
    ("withdrawn too late", (flooding(flip_to_withdrawal_seconds=61.0), flapping()), "only 61 s after"),
    ("convicted without evidence", (flooding(switchback=pairs(7, 3.9)), flapping()), "prove nothing"),
    ("convicted without a switchback", (flooding(switchback=None), flapping()), "prove nothing"),
    ("cleared against the evidence", (flooding(), flapping(switchback=pairs(8, 4.3))), "convict it"),
]  # fmt: skip


def written(path: Path, *trials: TrialReport, engine: str = "") -> Path:
    report = InterferenceReport(engine=engine or engine_hash(), started_at=datetime.now(UTC), trials=trials)
    path.write_text(report.model_dump_json(by_alias=True))
    return path


@pytest.mark.parametrize(("trials", "problem"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_the_report_holds_only_when_the_guilty_was_convicted_and_the_innocent_was_not(tmp_path: Path, trials, problem):
    """R5c"""
    done = CliRunner().invoke(main, ["demo-interference", "--check", str(written(tmp_path / "r.json", *trials))])
    assert done.exit_code == (1 if problem else 0), done.output
    assert problem in done.output


def test_a_report_of_another_engine_is_stale_even_if_it_is_as_told(tmp_path: Path):
    path = written(tmp_path / "r.json", flooding(), flapping(), engine="0123456789ab")
    done = CliRunner().invoke(main, ["demo-interference", "--check", str(path)])
    assert done.exit_code == 1
    assert "made by engine 0123456789ab" in done.output
    assert "run make demo-interference" in done.output


def test_every_module_of_the_engine_is_in_its_hash():
    core = files("memorystack_operator.core")
    assert all(core.joinpath(f"{name}.py").is_file() for name in ENGINE)
    assert len(engine_hash()) == 12


def test_an_innocent_flag_may_be_withdrawn_late_since_the_environment_chooses_when():
    assert problems_of(InterferenceReport(started_at=datetime.now(UTC), trials=(flooding(), flapping(flip_to_withdrawal_seconds=90.0)))) == []  # fmt: skip


def test_one_trial_alone_is_judged_by_itself():
    report = InterferenceReport(started_at=datetime.now(UTC), trials=(flooding(),))
    assert problems_of(report, [t for t in TRIALS if t.name == "flooding"]) == []


def test_starvation_that_the_report_shows_explains_a_story_that_went_wrong(tmp_path: Path):
    path = written(tmp_path / "r.json", flooding(outcome="NoVerdict", starvation=STARVED), flapping())
    assert CliRunner().invoke(main, ["demo-interference", "--check", str(path)]).exit_code == 0


@pytest.mark.parametrize(
    ("content", "said"), [(None, "no report there"), ("{}", "not a report of this demo"), ("[", "not a report")]
)
def test_what_is_no_report_does_not_hold(tmp_path: Path, content: str | None, said: str):
    path = tmp_path / "r.json"
    if content is not None:
        path.write_text(content)
    done = CliRunner().invoke(main, ["demo-interference", "--check", str(path)])
    assert done.exit_code == 1
    assert said in done.output


def test_a_trial_is_told_in_one_sentence():
    assert "withdrawn 26 s after the flip (EnvironmentOverBudget), 220 s later RolledBack" in told(flooding())
    assert "never withdrawn" in told(flooding(flip_to_withdrawal_seconds=None))


def test_the_committed_report_is_as_told_on_a_machine_that_was_not_starved():
    """Whether it is of this very engine is asked by .ci/run, which makes a new one where it is not."""
    committed = Path(__file__).parents[3] / "docs" / "reports" / "interference.json"
    report = InterferenceReport.model_validate_json(committed.read_text())
    assert problems_of(report) == []
    assert report.outcome == "AsExpected"
    assert not any(trial.starvation.starved for trial in report.trials)
