"""docs/operations.md names every word that a stack's status, events and exit codes can hold, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import memorystack_operator
from memorystack_operator.api.status import EventReason, Phase
from memorystack_operator.cli import main
from memorystack_operator.core.reasons import REASONS
from memorystack_operator.core.state import RolloutState
from memorystack_operator.core.verdict import Reason
from memorystack_operator.local.state import StateFolder
from memorystack_operator.shell.troubles import REMEDIES

SOURCE = Path(memorystack_operator.__file__).parent
PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
NO_REASONS = {"Paired", "Better", "Guard", "BETWEEN", "DURING"}
"""Values of the spec that guards ask for, and their package's public names."""


def tables() -> dict[str, list[str]]:
    """Heading of a table's first column, numbered where it comes again -> the words of that column."""
    found: dict[str, list[str]] = {}
    for block in re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE):
        first, _, *rows = (line.split("|")[1].strip() for line in block.splitlines())
        name = first if first not in found else f"{first} {sum(key.startswith(first) for key in found) + 1}"
        found[name] = [row.strip("`") for row in rows]
    return found


TABLES = tables()


def words(path: Path) -> Iterator[str]:
    """Strings of a module that begin with a capital and hold no blank."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"[A-Z]\w+", node.value):
            yield node.value


def troubles(path: Path) -> Iterator[str]:
    """What a module says that a stack is stalled by."""
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.Call)
            and getattr(node.func, "id", "") == "Trouble"
            and isinstance(node.args[0], ast.Constant)
        ):
            yield str(node.args[0].value)


def test_every_phase_is_there():
    assert sorted(TABLES["phase"]) == sorted(str(phase) for phase in Phase)


def test_every_event_is_there():
    assert sorted(TABLES["event"]) == sorted(str(reason) for reason in EventReason)


def test_every_reason_that_a_guard_or_the_verdict_can_give_is_there():
    given = {word for path in (SOURCE / "core" / "guards").glob("*.py") for word in words(path)} - NO_REASONS
    given |= {str(reason) for reason in Reason} - {Reason.TIMED_OUT}  # the guard says Inconclusive
    told = {*TABLES["reason"], *TABLES["reason 2"]}
    assert given == told


def test_every_end_that_explain_has_words_for_is_among_the_ends():
    assert set(REASONS) - {str(state) for state in RolloutState} <= {*TABLES["reason"], "Inconclusive"}


def test_every_reason_to_be_stalled_is_there():
    given = {"InvalidSpec", "FlagsNotApplied", *REMEDIES}
    given |= {reason for path in (SOURCE / "shell").glob("*.py") for reason in troubles(path)}
    assert given == set(TABLES["reason 3"])


def test_every_condition_is_there_with_its_own_reasons():
    told = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", PAGE.split("## Conditions")[1], re.MULTILINE))
    for kind, reason in (
        ("Ready", "PodsNotReady"),
        ("Ready", "WaitingForPerson"),
        ("RolloutHealthy", "NothingRejected"),
        ("RolloutHealthy", "WorseThanStable"),
        ("MetricsAvailable", "NoPods"),
    ):
        assert f"`{reason}`" in told[kind]
    assert set(TABLES["condition"]) == {"Ready", "Reconciling", "Stalled", "RolloutHealthy", "MetricsAvailable"}


@pytest.mark.parametrize("verb", main.list_commands(click.Context(main)))
def test_every_exit_code_of_a_verbs_help_is_there(verb: str):
    text = main.get_command(click.Context(main), verb).help
    codes = re.findall(r"\b(\d{1,3}) [a-z(]", text.partition("Exit codes:")[2])
    assert set(codes) <= set(TABLES["code"]), verb


def test_every_file_of_a_stacks_folder_is_there():
    folder = StateFolder(Path("x"))
    named = {path.name for name, path in vars(folder).items() if name != "root"} | {"lock"}
    assert named == set(TABLES["file"])
