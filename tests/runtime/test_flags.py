"""Which flags are in force: files, leases and their clock."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support.clock import Clock

from memorystack_runtime.contract import Budgets, Features, FlagLease, FlagsFile, HttpPool, ParallelIngest, revision_of
from memorystack_runtime.flags import Effective, FlagBoard

BUDGETS = Budgets(revision="b1", p95_ms={"recall": 100})


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Board:
    def __init__(self, folder: Path, clock: Clock, environment: Features | None = None) -> None:
        self.folder = folder
        self.seen: list[Effective] = []
        self.board = FlagBoard(folder, environment, self.seen.append, clock)

    def write(self, name: str, text: str) -> Effective:
        (self.folder / name).write_text(text)
        self.board.poll()
        return self.board.current

    def lease(self, **fields) -> Effective:
        base = {"epoch": 1, "revision": "canary", "features": Features(), "ttl_seconds": 30, "renewal": 1}
        return self.write("lease.json", FlagLease(**{**base, **fields}).model_dump_json(by_alias=True))


STABLE = FlagsFile(revision="stable", features=Features(http_pool=HttpPool(enabled=True))).model_dump_json(
    by_alias=True
)


def test_lease_outranks_file_outranks_environment_outranks_default(tmp_path: Path, clock: Clock):
    environment = Features(http_pool=HttpPool(connections=3))
    assert Board(tmp_path, clock).board.current.source == "default"
    board = Board(tmp_path, clock, environment)
    assert (board.board.current.source, board.board.current.features) == ("environment", environment)
    assert board.write("flags.json", STABLE).source == "file"
    assert board.lease().source == "lease"
    assert board.write("lease.json", "").source == "file"


def test_a_lease_that_is_not_renewed_ends_after_its_time(tmp_path: Path, clock: Clock):
    """R16"""
    board = Board(tmp_path, clock)
    board.write("flags.json", STABLE)
    board.lease(renewal=1)
    clock.now += 29
    assert board.lease(renewal=2).source == "lease"
    clock.now += 29
    board.board.poll()
    assert board.board.current.source == "lease"
    clock.now += 2
    board.board.poll()
    assert board.board.current.revision == "stable"
    assert board.lease(renewal=3).source == "lease"


def test_a_lease_that_lay_there_at_the_start_does_not_count_until_it_changes(tmp_path: Path, clock: Clock):
    """R16"""
    Board(tmp_path, clock).lease(renewal=1)
    board = Board(tmp_path, clock)
    board.board.poll()
    assert board.board.current.source == "default"
    assert board.lease(renewal=2).source == "lease"


def test_the_lease_of_an_old_leader_is_ignored(tmp_path: Path, clock: Clock):
    board = Board(tmp_path, clock)
    assert board.lease(epoch=5).epoch == 5
    assert board.lease(epoch=4, revision="old").revision == "canary"


@pytest.mark.parametrize("text", ["{", '{"revision": 1}', "[]", "\xff"])
def test_a_file_that_makes_no_sense_leaves_the_last_good_value(tmp_path: Path, clock: Clock, text: str):
    board = Board(tmp_path, clock)
    board.write("flags.json", STABLE)
    board.write("budgets.json", BUDGETS.model_dump_json(by_alias=True))
    for name in ("flags.json", "budgets.json", "lease.json"):
        (tmp_path / name).write_bytes(text.encode("latin-1"))
        board.board.poll()
    assert board.board.current.revision == "stable"
    assert board.board.current.budgets == BUDGETS


def test_an_unchanged_file_tells_nobody(tmp_path: Path, clock: Clock):
    board = Board(tmp_path, clock)
    board.write("flags.json", STABLE)
    told = len(board.seen)
    for _ in range(5):
        board.board.poll()
    (tmp_path / "flags.json").write_text(STABLE)
    board.board.poll()
    assert len(board.seen) == told


def test_a_vanished_file_is_an_empty_one(tmp_path: Path, clock: Clock):
    board = Board(tmp_path, clock)
    board.lease()
    (tmp_path / "lease.json").unlink()
    board.board.poll()
    assert board.board.current.source == "default"


async def test_a_change_is_seen_within_a_fifth_of_a_second(tmp_path: Path):
    seen: list[Effective] = []
    board = FlagBoard(tmp_path, None, seen.append)
    task = asyncio.create_task(board.run())
    (tmp_path / "flags.json").write_text(STABLE)
    async with asyncio.timeout(1):
        while board.current.revision != "stable":
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_without_a_folder_there_are_only_defaults(clock: Clock):
    assert FlagBoard(None, None, lambda _: None, clock).current.revision == revision_of(Features())


def test_what_is_in_force_is_told_whole(tmp_path: Path, clock: Clock):
    board = Board(tmp_path, clock)
    base = Effective(Features(), revision_of(Features()), "default", Budgets(), 0)
    board.write("budgets.json", BUDGETS.model_dump_json(by_alias=True))
    budgeted = Effective(Features(), base.revision, "default", BUDGETS, 0)
    stable = Effective(Features(http_pool=HttpPool(enabled=True)), "stable", "file", BUDGETS, 0)
    board.write("flags.json", STABLE)
    lent = Features(parallel_ingest=ParallelIngest(concurrency=4))
    board.lease(features=lent, epoch=3)
    board.write("lease.json", "")
    assert board.seen == [
        base,
        budgeted,
        stable,
        Effective(lent, "canary", "lease", BUDGETS, 3),
        Effective(stable.features, "stable", "file", BUDGETS, 3),
    ]
    assert board.board.current == board.seen[-1]
    (tmp_path / "flags.json").unlink()
    fresh = Board(tmp_path, clock)
    fresh.lease(epoch=0)
    assert fresh.board.current.epoch == 0
    fresh.lease(epoch=2, renewal=2)
    assert fresh.write("lease.json", "") == Effective(Features(), base.revision, "default", BUDGETS, 2)


def test_a_lease_holds_to_the_end_of_its_time_and_no_longer(tmp_path: Path, clock: Clock):
    board = Board(tmp_path, clock)
    board.lease(ttl_seconds=10)
    clock.now += 10
    board.board.poll()
    assert board.board.current.source == "lease"
    clock.now += 0.01
    with capture_logs() as logs:
        board.board.poll()
    assert board.board.current.source == "default"
    assert logs == [{"event": "lease_expired", "log_level": "warning", "revision": "canary", "epoch": 1}]


def test_the_lease_of_an_old_leader_is_told_with_both_epochs(tmp_path: Path, clock: Clock):
    board = Board(tmp_path, clock)
    board.lease(epoch=5)
    with capture_logs() as logs:
        board.lease(epoch=4)
    assert logs == [{"event": "lease_of_an_old_leader_ignored", "log_level": "warning", "epoch": 4, "known": 5}]


def test_a_file_that_makes_no_sense_is_named_with_the_reason(tmp_path: Path, clock: Clock):
    board = Board(tmp_path, clock)
    with capture_logs() as logs:
        board.write("flags.json", "{")
    (line,) = logs
    assert (line["event"], line["log_level"], line["file"]) == ("file_ignored", "error", "flags.json")
    assert line["why"] == "1 validation error for FlagsFile"
    assert line["remedy"] == "the last good value stays"


def test_a_file_of_the_same_size_and_another_text_is_read(tmp_path: Path, clock: Clock):
    board = Board(tmp_path, clock)
    board.write("flags.json", STABLE)
    assert board.write("flags.json", STABLE.replace('"stable"', '"stabil"')).revision == "stabil"
