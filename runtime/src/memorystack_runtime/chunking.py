"""Cuts a text into pieces that join to the very same text again. Knows characters; nothing of embedding."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from semchunk.semchunk import chunkerify

__all__ = ["chunk"]


def chunk(text: str, characters: int) -> list[str]:
    """Pieces of about `characters` at most, cut at paragraphs, sentences and words where possible.

    `"".join(chunk(t, n)) == t`: the white space between two pieces stays at the end of the first.
    """
    if len(text) <= characters:
        return [text]
    cutter: Any = chunkerify(len, chunk_size=characters, memoize=False)
    _, offsets = cutter(text, offsets=True)
    starts = [0, *(start for start, _ in offsets[1:]), len(text)]
    pieces = (text[a:b] for a, b in pairwise(starts))
    return [piece for piece in pieces if piece]
