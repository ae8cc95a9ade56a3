"""What is committed of the simulation is of this very engine, and the documents say what the report says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from simulation.cells import Cell, play
from simulation.fingerprint import engine_hash
from simulation.report import BLOCKS, documents, written
from simulation.run import run_all
from simulation.tables import blocks
from simulation.traffic import NO_EFFECT, Effect

ROOT = Path(__file__).parents[2]
REPORT = json.loads((ROOT / "docs" / "simulation.json").read_text(encoding="utf-8"))
MADE = blocks(REPORT)


def test_the_committed_report_when_the_engine_has_changed_then_make_simulate_must_run_again():
    assert REPORT["engine"] == engine_hash(), "the engine has changed since docs/simulation.json: run `make simulate`"
    assert REPORT["profile"] == "full"


@pytest.mark.parametrize("name", BLOCKS)
def test_a_document_with_marked_blocks_when_written_anew_then_stays_as_it_is(name: str):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert written(text, MADE) == text


@pytest.mark.parametrize(("name", "text"), documents(REPORT).items())
def test_a_document_that_is_the_report_itself_when_made_anew_then_is_the_committed_one(name: str, text: str):
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == text


def test_marks_in_the_documents_when_listed_then_every_block_stands_in_one_place():
    marks = [m for name in BLOCKS for m in re.findall(r"<!-- simulate:(\w+) -->", (ROOT / name).read_text("utf-8"))]
    assert sorted(marks) == sorted(MADE)


def test_a_missed_bar_when_the_documents_are_written_then_is_named_in_them():
    missed = [bar["name"] for bar in REPORT["bars"] if not bar["met"]]
    assert all(name in MADE["bars"] for name in missed)
    every = len(REPORT["bars"])
    said = f"{len(missed)} of {every} bars are missed" if missed else f"All {every} bars are met"
    assert said in " ".join(MADE["readme"].split())


def test_summaries_when_more_workers_run_the_cells_then_are_the_same():
    cells = [Cell("test", "workers", noise, 0.02, 7, NO_EFFECT, judge="switchback") for noise in ("iid", "pod10")]
    assert run_all(cells, 1, quiet=True) == run_all(cells, 2, quiet=True)


@pytest.mark.parametrize(
    ("effect", "outcome", "asked"),
    [
        (Effect(own=0.166, late=900.0), "TakenBack", {"LateRegression"}),
        (
            Effect(shared=0.15, late=900.0, blameless=True),
            "Kept",
            {"NoRegression", "EnvironmentOverBudget", "Inconclusive"},
        ),
    ],
)
def test_a_promoted_flag_when_its_pods_or_all_pods_turn_bad_then_only_its_own_harm_takes_it_back(
    effect: Effect, outcome: str, asked: set[str]
):
    (story,) = play(Cell("test", "reverse", "iid", 0.0064, 1, effect, judge="reverse"), 0)
    assert story.outcome == outcome
    assert story.reason in asked
