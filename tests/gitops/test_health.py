"""What Argo CD makes of a stack, in every phase: its health script, run in Lua 5.1 without the libraries that it lacks there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from lupa.lua51 import LuaRuntime
from support.stories import STORIES, resource

from memorystack_operator.api.status import Phase
from memorystack_operator.core.conditions import BY_A_PERSON

EXAMPLES = Path(__file__).parents[2] / "examples" / "gitops"
SCRIPT = (EXAMPLES / "argocd" / "health.lua").read_text()


def argo(body: dict[str, Any]) -> tuple[str, str]:
    """Status and message, without the libraries that Argo CD's sandbox lacks."""
    lua = LuaRuntime(unpack_returned_tuples=True)
    lua.execute('debug.setmetatable("", nil) string, math, io, os, debug, require, coroutine = nil')
    lua.globals().obj = lua.table_from(body, recursive=True)
    made = lua.execute(SCRIPT)
    return str(made["status"]), str(made["message"])


@pytest.mark.parametrize("story", STORIES)
def test_argo_cd_when_a_stack_is_so_then_shows_it(story: str) -> None:
    status, message = argo(resource(story))
    assert status == STORIES[story].shown, resource(story)["status"]
    assert len(message) > 5
    assert message != "None"


def test_the_stories_when_counted_then_tell_of_every_phase() -> None:
    assert {resource(s)["status"].get("phase") for s in STORIES} - {None} == {p.value for p in Phase}


def test_the_ways_of_waiting_that_the_script_knows_then_are_the_operators() -> None:
    known = {f"Waiting{reason.removeprefix('Waiting')}" for reason in BY_A_PERSON}
    for reason in known:
        assert f"{reason} = true" in SCRIPT
    assert SCRIPT.count("= true") == len(known)


def test_argo_cds_config_map_when_read_then_holds_the_script_word_for_word() -> None:
    config = yaml.safe_load((EXAMPLES / "argocd" / "argocd-cm.yaml").read_text())
    assert config["data"] == {"resource.customizations.health.memorystack.dev_MemoryStack": SCRIPT}
