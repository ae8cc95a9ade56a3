"""Completion by the shells' own protocol: the script that `memorystack completion` prints, and what it asks for at a key."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from memorystack_operator.cli import VERBS, main

COMMAND = Path(sys.executable).with_name("memorystack")


def asked(shell: str, line: str) -> list[tuple[str, str]]:
    """What a shell is told at the end of a line: words and their help."""
    words = line.split(" ")
    at = words[-1] if shell == "fish" else str(len(words) - 1)
    wanted = {"_MEMORYSTACK_COMPLETE": f"{shell}_complete", "COMP_WORDS": line, "COMP_CWORD": at}
    said = subprocess.run(
        [COMMAND], env={**os.environ, **wanted}, capture_output=True, text=True, check=True, timeout=30
    ).stdout.splitlines()
    if shell == "zsh":
        return [(said[i + 1], said[i + 2]) for i in range(0, len(said), 3)]
    parts = [line.split(",", 1)[1].partition("\t") for line in said]
    return [(word, text) for word, _, text in parts]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_asks_for_completions_of_its_shell(shell: str):
    printed = CliRunner().invoke(main, ["completion", shell])
    assert printed.exit_code == 0
    assert f"_MEMORYSTACK_COMPLETE={shell}_complete" in printed.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_is_told_the_verbs_their_options_and_their_choices(shell: str):
    assert [word for word, _ in asked(shell, "memorystack ")] == list(VERBS)
    assert [word for word, _ in asked(shell, "memorystack de")] == ["demo", "demo-interference"]
    assert "--stage" in [word for word, _ in asked(shell, "memorystack explain --st")]
    assert [word for word, _ in asked(shell, "memorystack explain --stage ")] == ["httpPool", "parallelIngest", "cache"]
    assert "--version" in [word for word, _ in asked(shell, "memorystack --")]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_a_shell_that_shows_help_is_told_the_line_of_the_overview(shell: str):
    assert asked(shell, "memorystack promo") == [("promote", VERBS["promote"][1])]


def test_bash_completes_a_verb_by_the_script_itself(tmp_path: Path):
    script = tmp_path / "script"
    script.write_text(CliRunner().invoke(main, ["completion", "bash"]).output)
    code = """
    source "$1"
    COMP_WORDS=(memorystack expl) COMP_CWORD=1
    _memorystack_completion memorystack
    echo "${COMPREPLY[@]}"
    """
    path = f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}"
    bash = shutil.which("bash")
    assert bash
    done = subprocess.run(
        [bash, "--norc", "-c", code, "bash", script], env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert done.stdout.split() == ["explain"], done.stderr
