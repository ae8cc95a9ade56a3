"""A demo that is told to stop before its end: real processes, real signals."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.up import Up, gone

EXAMPLES = Path(__file__).parents[3] / "examples"


class Demo(Up):
    """One of the demos instead of `up`."""

    words: tuple[str, ...] = ()

    def argv(self) -> list[str]:
        return [*self.words, "--port", str(self.port), "--state-dir", str(self.state), "--output", "plain"]

    def said(self) -> str:
        return (self.folder / "out").read_text()


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    made = Demo(tmp_path)
    yield made
    if made.process and made.process.poll() is None:
        made.end(signal.SIGKILL)


@pytest.mark.parametrize(
    ("verb", "file", "report", "number", "code"),
    [
        ("demo", "memorystack.yaml", "demo.json", signal.SIGINT, 130),
        ("demo-interference", "interference.yaml", "interference.json", signal.SIGTERM, 143),
    ],
)
def test_an_interrupted_demo_says_so_leaves_nothing_running_and_no_report(
    demo: Demo, verb: str, file: str, report: str, number: int, code: int
):
    demo.words = (verb, "-f", str(EXAMPLES / file))
    demo.state.mkdir()
    (demo.state / report).write_text("of yesterday")
    demo.launch()
    demo.wait(lambda: "traffic begins" in demo.said(), "no traffic")
    demo.wait(lambda: any("load" in p.cmdline() for p in demo.family()), "no load")
    family = demo.family()
    assert demo.end(number) == code
    assert gone(family)
    assert f"interrupted ({signal.Signals(number).name})" in demo.said()
    assert "not as told" not in demo.said()
    assert not (demo.state / report).exists()
