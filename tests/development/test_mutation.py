"""The mutation tests themselves: which mutants are tried, what counts as noticed, and what the report may say of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.mutation.modules import chosen
from support.mutation.report import interval, is_fresh, keep, scores
from support.mutation.trials import PLUGINS, ROOT, Outcome
from support.mutation.worker import ASKED, _ended

MODULE = '''
def clamped(value, low):
    """Not below `low`."""
    if value < low:
        return low
    return value


def never_called(value):
    return value + 1


class Counter:
    step = 1

    @classmethod
    def by(cls, times):
        return cls.step * times
'''
TESTS = """
import clamping


class Double(clamping.Counter):
    step = 2


def test_clamped_below_the_limit_gives_the_limit():
    assert clamping.clamped(1, 3) == 3


def test_clamped_above_the_limit_changes_nothing():
    assert clamping.clamped(5, 3) == 5


def test_a_subclass_counts_by_its_own_step():
    assert Double.by(3) == 6
"""


def _tried(folder: Path, tests: str, sample: int | None = None, seed: int = 1) -> subprocess.CompletedProcess[str]:
    (folder / "clamping.py").write_text(MODULE)
    (folder / "test_clamping.py").write_text(tests)
    settings = folder / "pytest.ini"
    settings.write_text("[pytest]\n")
    asked = {
        "modules": {"clamping": str(folder / "clamping.py")},
        "sample": sample,
        "seed": seed,
        "children": 2,
        "outcomes": str(folder / "outcomes"),
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "PYTEST"))}
    path = os.pathsep.join([str(ROOT / "tests"), str(folder)])
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *PLUGINS, "-c", str(settings), str(folder)],
        cwd=ROOT,
        env=environment | {ASKED: json.dumps(asked), "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )


def _outcome(folder: Path, tests: str = TESTS, sample: int | None = None, seed: int = 1) -> dict:
    ran = _tried(folder, tests, sample, seed)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return json.loads((folder / "outcomes").read_text())


def test_a_mutant_survives_when_no_test_fails_with_it_and_is_told_with_its_change(tmp_path: Path) -> None:
    found = _outcome(tmp_path)
    told = {(name.rpartition("__mutmut_")[0], status, change) for name, status, change in found["survivors"]}
    assert found["tried"] == found["mutants"]
    assert told == {
        ("x_clamped", "survived", "-    if value < low:\n+    if value <= low:"),
        ("x_never_called", "no tests", "-    return value + 1\n+    return value - 1"),
        ("x_never_called", "no tests", "-    return value + 1\n+    return value + 2"),
    }


def test_a_mutant_that_waits_for_too_long_is_ended_and_counts_as_noticed() -> None:
    with subprocess.Popen(["sleep", "600"]) as patient, subprocess.Popen(["sleep", "600"]) as hopeless:
        running = {patient.pid: ("patient", 9.0), hopeless.pid: ("hopeless", 0.0)}
        assert dict(_ended(running)) == {"hopeless": "timeout"}
        assert list(running) == [patient.pid]
        patient.kill()


def test_a_sample_is_the_same_for_the_same_seed_and_smaller_than_the_whole(tmp_path: Path) -> None:
    found = []
    for number, seed in enumerate((1, 1, 2)):
        folder = tmp_path / str(number)
        folder.mkdir()
        found.append(_outcome(folder, "def test_nothing():\n    import clamping\n", sample=3, seed=seed))
    first, again, other = ([name for name, _, _ in one["survivors"]] for one in found)
    assert found[0]["tried"] == 3 < found[0]["mutants"]
    assert first == again != other


def test_a_test_that_fails_without_a_mutant_ends_the_run(tmp_path: Path) -> None:
    ran = _tried(tmp_path, TESTS + "\n\ndef test_wrong():\n    assert clamping.clamped(1, 3) == 1\n")
    assert ran.returncode != 0
    assert "a test failed without any mutant" in ran.stdout + ran.stderr
    assert not (tmp_path / "outcomes").exists()


@pytest.mark.parametrize(
    ("hits", "tries", "low", "high"),
    [(0, 10, 0.0, 0.3085), (10, 10, 0.6915, 1.0), (5, 10, 0.1871, 0.8129), (81, 263, 0.2527, 0.3676)],
)
def test_the_interval_is_the_exact_one_of_clopper_and_pearson(hits: int, tries: int, low: float, high: float) -> None:
    assert interval(hits, tries) == pytest.approx((low, high), abs=5e-5)


def test_the_score_of_a_group_is_of_what_was_tried_and_weighted_of_all_there_is() -> None:
    found = scores(
        {
            "core/a.py": {"detected": 9, "tried": 10, "mutants": 10},
            "core/b.py": {"detected": 5, "tried": 10, "mutants": 90},
            "runtime/c.py": {"detected": 1, "tried": 1, "mutants": 1},
        }
    )
    assert (found["core"]["score"], found["core"]["weighted"]) == (0.7, 0.54)
    assert found["core"]["interval"] == [round(end, 3) for end in interval(14, 20)]
    assert found["runtime"]["score"] == 1.0


def test_an_entry_is_fresh_until_its_module_or_its_tests_change(tmp_path: Path) -> None:
    report = tmp_path / "mutation.json"
    module = chosen(["core/bets.py"])[0]
    assert not is_fresh(module, report)
    keep(module, Outcome(1, 2, 4, {"x": "survived"}), seed=1, path=report)
    assert is_fresh(module, report)
    assert not is_fresh(replace(module, tests=module.tests[:1]), report)
    said = json.loads(report.read_text())
    said["modules"][module.name]["source"] = "another"
    report.write_text(json.dumps(said))
    assert not is_fresh(module, report)
