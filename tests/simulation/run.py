"""Runs cells on all cores. The results depend on the seeds alone: neither on the number of workers nor on their order."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from multiprocessing import get_context

from simulation.cells import Cell, Summary, play, summary
from simulation.course import Story

__all__ = ["run_all"]

CHUNK = 5


def run_all(cells: Sequence[Cell], workers: int | None = None, *, quiet: bool = False) -> dict[Cell, list[Summary]]:
    """A summary of each cell's stories (two where two engines are compared), with a line on stderr as time goes by."""
    tasks = [(i, first) for i, cell in enumerate(cells) for first in range(0, cell.runs, CHUNK)]
    # Long cells are spread, so that the end is not one worker's.
    tasks.sort(key=lambda task: task[1])
    found: dict[int, dict[int, list[list[Story]]]] = {i: {} for i in range(len(cells))}
    global _CELLS  # the workers are forked with it
    _CELLS = cells
    with get_context("fork").Pool(workers or os.cpu_count()) as pool:
        progress = _progress(len(tasks), quiet=quiet)
        for index, first, stories in pool.imap_unordered(_chunk, tasks):
            found[index][first] = stories
            next(progress)
    return {cell: _summed(found[i]) for i, cell in enumerate(cells)}


_CELLS: Sequence[Cell] = ()


def _chunk(task: tuple[int, int]) -> tuple[int, int, list[list[Story]]]:
    index, first = task
    cell = _CELLS[index]
    return index, first, [play(cell, run) for run in range(first, min(first + CHUNK, cell.runs))]


def _summed(chunks: dict[int, list[list[Story]]]) -> list[Summary]:
    runs = [stories for first in sorted(chunks) for stories in chunks[first]]
    return [summary([stories[which] for stories in runs]) for which in range(len(runs[0]))]


def _progress(total: int, *, quiet: bool) -> Iterator[None]:
    started, told = time.monotonic(), 0.0
    for done in range(1, total + 1):
        elapsed = time.monotonic() - started
        if not quiet and (elapsed - told > 10 or done == total):
            left = elapsed / done * (total - done)
            print(f"simulate: {done} of {total} chunks, {elapsed:.0f} s, about {left:.0f} s left", file=sys.stderr)
            told = elapsed
        yield
    yield
