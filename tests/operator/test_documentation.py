"""README and docs: links lead somewhere, and every command that they name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from memorystack_operator.cli import VERBS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TARGETS = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_link_within_the_repository_leads_to_a_file(page: Path):
    links = re.findall(r"\]\(([^)#\s]+)\)", page.read_text())
    for link in links:
        assert link.startswith("http") or (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_command_and_make_target_that_is_named_exists(page: Path):
    text = page.read_text()
    for verb in re.findall(r"(?:`|bin/|^)memorystack ([a-z][a-z-]+)", text, re.MULTILINE):
        assert verb in VERBS, verb
    for target in re.findall(r"(?:`|^)make ([a-z][a-z0-9-]*)", text, re.MULTILINE):
        assert target in TARGETS, target
