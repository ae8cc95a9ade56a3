"""Bringing a cluster up, sharing it, and taking it down: what a test run and `make cluster-up|down` do.

Knows: the folder and the keeper's process. Must not know: what a cluster is made of.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psutil
from support.cluster.errors import ClusterError
from support.cluster.folder import KEPT, ClusterFolder, KeeperRecord
from support.cluster.programs import CONTROL_PLANE, programs

from memorystack_operator.local.remains import end_remains

__all__ = ["down", "hold", "up"]

_TESTS: Final = Path(__file__).parents[2]
END_SECONDS: Final = 60.0


@contextmanager
def hold(folder: ClusterFolder, port: int = 0, *, node: bool = False) -> Iterator[KeeperRecord]:
    """The cluster of that folder for the length of the block; it is brought up by the first and goes after the last.

    It also goes when all its holders are killed. Raises ClusterError.
    """
    _prepare(node=node)
    path = _join(folder, port, kept=False, node=node)
    try:
        yield _wait(folder)
    finally:
        path.unlink(missing_ok=True)


def up(folder: ClusterFolder, port: int = 0, *, node: bool = False) -> KeeperRecord:
    """Brings it up until somebody says down. Raises ClusterError, also when it is up already."""
    running = folder.read_keeper()
    if running and (folder.holders / KEPT).exists():
        msg = f"a cluster is up already ({running.url}, pid {running.pid}): use it, or end it with make cluster-down"
        raise ClusterError(msg)
    _prepare(node=node)
    path = _join(folder, port, kept=True, node=node)
    try:
        return _wait(folder)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def down(folder: ClusterFolder) -> bool:
    """Ends whatever is there and removes the folder; whether there was anything. Also after a crash."""
    if not folder.root.exists():
        return False
    with folder.locked():
        keeper = folder.read_keeper()
        shutil.rmtree(folder.holders, ignore_errors=True)
        if keeper:
            _end(keeper)
        found = end_remains(folder.remains)
        was = keeper is not None or found > 0 or folder.keeper.exists()
        if (folder.root / "node").exists():  # else the keeper has done it
            from support.node import cgroups

            cgroups.remove(cgroups.name_for(folder.root))
        shutil.rmtree(folder.root)
        return was


def _prepare(*, node: bool) -> None:
    """All that takes minutes, while somebody looks on. Raises ClusterError."""
    if not node:
        programs(CONTROL_PLANE)
        return
    from support.node import prepare  # only here: it stands on this package

    prepare()


def _join(folder: ClusterFolder, port: int, *, kept: bool, node: bool) -> Path:
    with folder.locked():
        keeper = folder.read_keeper()
        if keeper and keeper.phase == "Ending":
            _wait_for_end(keeper)
            keeper = None
        path = folder.join(kept=kept)
        if keeper is None:
            try:
                _start_keeper(folder, port, node=node)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
        return path


def _start_keeper(folder: ClusterFolder, port: int, *, node: bool) -> None:
    """Returns as soon as the keeper has written itself down. Raises ClusterError."""
    end_remains(folder.remains)
    for path in (folder.failure, folder.keeper, *folder.stopped.iterdir()):
        path.unlink(missing_ok=True)
    with (folder.logs / "keeper.log").open("ab") as log:
        started = subprocess.run(
            [
                sys.executable,
                "-m",
                "support.cluster.keeper",
                str(folder.root),
                str(port),
                "node" if node else "processes",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=_TESTS,
            start_new_session=True,  # a Ctrl-C in the terminal is for whoever holds the cluster
            check=False,
        )
    if started.returncode:
        raise ClusterError(_why(folder))


def _wait(folder: ClusterFolder) -> KeeperRecord:
    """Until it is up; what is ready is said as it comes."""
    while keeper := folder.read_keeper():
        if keeper.phase == "Up":
            return keeper
        time.sleep(0.05)
    raise ClusterError(_why(folder))


def _why(folder: ClusterFolder) -> str:
    with suppress(OSError):
        return folder.failure.read_text()
    with suppress(OSError):
        return f"the cluster's keeper died: {(folder.logs / 'keeper.log').read_text()[-1000:]}"
    return "the cluster's keeper died and left no word"


def _end(keeper: KeeperRecord) -> None:
    with suppress(psutil.Error):
        process = psutil.Process(keeper.pid)
        process.terminate()
        with suppress(psutil.TimeoutExpired):
            process.wait(END_SECONDS)
            return
        process.kill()
        process.wait(END_SECONDS)


def _wait_for_end(keeper: KeeperRecord) -> None:
    with suppress(psutil.Error):
        psutil.Process(keeper.pid).wait(END_SECONDS)
