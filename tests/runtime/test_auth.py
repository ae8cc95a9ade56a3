"""API keys: which are admitted, how the file is read, and what is said when it cannot be."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support.clock import Clock

from memorystack_runtime.auth import ApiKeys, OpenDoor, door_of, parse_keys
from memorystack_runtime.errors import Misconfigured


@pytest.fixture
def clock() -> Clock:
    return Clock()


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


@pytest.mark.parametrize("key", ["right", None, "", "righ", "Right", "right ", "\udcff"])
def test_only_the_very_key_is_admitted(tmp_path: Path, key: str | None):
    """M11"""
    path = tmp_path / "keys"
    path.write_text(f"# who\nfirst:{digest('other')}\n\n{digest('right')}  # plain\n")
    assert ApiKeys(path).admits(key) is (key == "right")


def test_a_changed_file_counts_after_a_second_and_a_broken_one_keeps_the_last_good_keys(tmp_path: Path, clock: Clock):
    path = tmp_path / "keys"
    path.write_text(digest("a"))
    keys = ApiKeys(path, clock)
    path.write_text(digest("b"))
    assert keys.admits("a")
    clock.now += 1.1
    assert keys.admits("b")
    for text in ("nonsense", ""):
        path.write_text(text)
        clock.now += 1.1
        assert keys.admits("b")
    path.unlink()
    clock.now += 1.1
    assert keys.admits("b")


@pytest.mark.parametrize("text", ["", "# nobody", "name:abc", "x" * 64, "A" * 64])
def test_a_file_of_something_else_is_refused_without_repeating_it(text: str):
    with pytest.raises(Misconfigured) as caught:
        parse_keys(text)
    assert "API keys" in str(caught.value)
    assert "abc" not in str(caught.value)


def test_exactly_one_of_keys_and_open_must_be_said(tmp_path: Path):
    assert isinstance(door_of(None, disabled=True), OpenDoor)
    assert door_of(None, disabled=True).admits(None)
    for path, disabled in ((None, False), (tmp_path / "k", True)):
        with pytest.raises(Misconfigured, match="exactly one"):
            door_of(path, disabled=disabled)
    with pytest.raises(Misconfigured, match="cannot be read"):
        door_of(tmp_path / "missing", disabled=False)


def test_each_key_of_the_file_is_admitted_wherever_it_stands(tmp_path: Path):
    path = tmp_path / "keys"
    path.write_text("\n".join(digest(key) for key in ("first", "second", "third")))
    keys = ApiKeys(path)
    assert [keys.admits(key) for key in ("first", "second", "third", "fourth")] == [True, True, True, False]


def test_no_key_is_not_the_empty_key(tmp_path: Path):
    path = tmp_path / "keys"
    path.write_text(digest(""))
    assert (ApiKeys(path).admits(None), ApiKeys(path).admits("")) == (False, True)


def test_keys_bear_the_name_of_their_line_or_its_number():
    assert parse_keys(f"me:{digest('a')}\n# x\n{digest('b')}") == {digest("a"): "me", digest("b"): "key-3"}


def test_a_bad_line_is_named_by_number_and_with_the_command_that_makes_a_good_one():
    with pytest.raises(Misconfigured) as caught:
        parse_keys(f"{digest('a')}\nnonsense")
    assert str(caught.value) == (
        "API keys, line 2: write name:hash, where hash is the key's SHA-256 in 64 lower-case hex digits "
        "(printf %s KEY | sha256sum)"
    )
    with pytest.raises(Misconfigured) as caught:
        parse_keys("# nobody")
    assert str(caught.value) == "API keys: the file holds no key; add a line name:hash"


def test_a_file_that_cannot_be_read_again_is_told_and_looked_at_each_second(tmp_path: Path, clock: Clock):
    path = tmp_path / "keys"
    path.write_text(digest("a"))
    keys = ApiKeys(path, clock)
    path.write_text("nonsense")
    clock.now += 1.0
    with capture_logs() as logs:
        keys.admits("a")
        keys.admits("a")
    (line,) = logs
    assert (line["event"], line["log_level"]) == ("api_keys_not_reloaded", "error")
    assert line["why"].startswith("API keys, line 1: ")
    assert line["remedy"] == "the last good keys stay in force"


def test_neither_or_both_of_keys_and_open_is_told_with_both_variables(tmp_path: Path):
    with pytest.raises(Misconfigured) as caught:
        door_of(None, disabled=False)
    assert str(caught.value) == (
        "say who may use the API, by exactly one of MEMORYSTACK_API_KEYS_FILE (a file of name:sha256 lines) "
        "and MEMORYSTACK_AUTH_DISABLED=true"
    )
    with pytest.raises(Misconfigured) as caught:
        door_of(tmp_path / "missing", disabled=False)
    assert str(caught.value).startswith(f"MEMORYSTACK_API_KEYS_FILE: {tmp_path / 'missing'} cannot be read (")
    assert str(caught.value).endswith("); mount the Secret with the keys there")
