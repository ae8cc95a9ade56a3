"""Pairs of windows as the live view shows them."""

from __future__ import annotations

import pytest
from rich.console import Console

from memorystack_operator.cli.pairs_view import draw_pairs, draw_reversal
from memorystack_operator.core.standing import Lean, Reversal, Standing


def shown(**fields) -> str:
    leans = (
        Lean(operation="recall", name="harms", fraction=0.43, holds=False),
        Lean(operation="recall", name="cleared", fraction=1.0, holds=True),
    )
    base = {"kind": "Switchback", "pair": 5, "window": 2, "flags": "on", "counting": True, "played": "worse in 4"}
    return printed(draw_pairs(Standing(**{**base, "leans": leans, **fields})))


def printed(drawing) -> str:
    with open("/dev/null", "w") as nowhere:
        console = Console(width=100, record=True, file=nowhere)
        console.print(drawing)
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


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        ("on", "0 2 back on the older value, the others keep the promoted one"),
        ("off", "every pod serves the promoted value; the older one is for 0 2"),
    ],
)
def test_a_reverse_canary_says_which_pods_have_what_and_what_the_arms_say(flags: str, part: str):
    ways = (("regressed", 0.4), ("over", 1.0), ("same", 0.0))
    leans = tuple(Lean(operation="recall", name=name, fraction=f, holds=f == 1.0) for name, f in ways)
    pods = ("mem-0", "mem-2")
    text = printed(draw_reversal(Reversal(number=2, operation="recall", pods=pods, flags=flags, leans=leans), "mem"))
    for wanted in (
        "reverse canary 2",
        part,
        "promoted value is worse",
        "is over budget",
        "no difference that matters",
        "40 %",
    ):
        assert wanted in text
