"""Pairs of windows as the live view shows them."""

from __future__ import annotations

import pytest
from rich.console import Console

from memorystack_operator.cli.pairs_view import draw_pairs
from memorystack_operator.core.standing import Lean, Standing


def shown(**fields) -> str:
    leans = (
        Lean(operation="recall", name="harms", fraction=0.43, holds=False),
        Lean(operation="recall", name="cleared", fraction=1.0, holds=True),
    )
    base = {"kind": "Switchback", "pair": 5, "window": 2, "flags": "on", "counting": True, "played": "worse in 4"}
    console = Console(width=100, record=True, file=open("/dev/null", "w"))
    with console.file:
        console.print(draw_pairs(Standing(**{**base, "leans": leans, **fields})))
        return console.export_text()


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        ({}, ("pair 5, window 2 of 2", "flags on", "counting", "worse in 4", "harmed by the flag", "43 %", "100 %")),
        ({"flags": "off", "counting": False}, ("flags off", "settling")),
        ({"flags": "waiting", "counting": False}, ("waiting: the world cannot be measured", "flags off")),
    ],
)
def test_the_window_and_what_the_pairs_say_so_far_are_shown(fields: dict, parts: tuple[str, ...]):
    text = shown(**fields)
    for part in parts:
        assert part in text


def test_the_keys_of_a_proof_have_words_of_their_own():
    names = ("own", "shared", "proved")
    leans = tuple(Lean(operation="store", name=name, fraction=0.5, holds=False) for name in names)
    text = shown(kind="Proving", leans=leans)
    for part in ("no harm of its own", "no harm to shared parts", "proved, all in all"):
        assert part in text
