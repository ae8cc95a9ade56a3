"""Real text to store and to ask for, cut evenly. Knows texts; nothing of traffic."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from memorystack_operator.local.errors import CannotStart

__all__ = ["CHUNK_CHARACTERS", "Corpus", "from_folder", "from_topics"]

CHUNK_CHARACTERS: Final = 800
ENDINGS: Final = (".md", ".rst", ".txt")
MAX_CHARACTERS: Final = 20_000_000
_PARAGRAPH: Final = re.compile(r"\n\s*\n")
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True, slots=True)
class Corpus:
    """Paragraphs of one big text."""

    paragraphs: tuple[str, ...]

    def document(self, chance: random.Random, fewest: int, most: int) -> str:
        """Neighbouring paragraphs, as long as `fewest` to `most` chunks of about 800 characters, evenly drawn."""
        # Chunks end at sentences, so they hold about two thirds of what they may.
        wanted = round((chance.randint(fewest, most) - 0.4) * CHUNK_CHARACTERS * 2 / 3)
        start = chance.randrange(len(self.paragraphs))
        parts, size = [], 0
        for i in range(start, start + 10_000):
            part = self.paragraphs[i % len(self.paragraphs)]
            parts.append(part[: wanted - size])
            size += len(parts[-1]) + 2
            if size >= wanted:
                break
        return "\n\n".join(parts)

    def question(self, chance: random.Random) -> str:
        """A sentence of the text, as somebody would ask for it."""
        sentence = chance.choice(_SENTENCE.split(chance.choice(self.paragraphs)))
        words = " ".join(sentence.split())[:200]
        return words or "memory"


def from_topics() -> Corpus:
    """Python's own documentation topics, which every installation has."""
    from pydoc_data.topics import topics  # noqa: PLC0415 -- 700 KB that only this needs

    return _corpus("\n\n".join(topics.values()), "pydoc_data.topics")


def from_folder(path: Path, say: Callable[[str], None]) -> Corpus:
    """All .md, .rst and .txt files below a folder in the order of their names, up to 20 million characters.

    `say` is told of each file that is left out: it cannot be read, or it is not UTF-8 text. Raises CannotStart.
    """
    if not path.is_dir():
        msg = f"--from {path}: no such folder; name one with {', '.join(ENDINGS)} files, or topics"
        raise CannotStart(msg)
    texts, room = [], MAX_CHARACTERS
    for file in _files(path):
        if room <= 0:
            say(f"--from {path}: {MAX_CHARACTERS / 1e6:g} million characters are enough; the rest is left out")
            break
        text = _text(file, room, say)
        texts.append(text)
        room -= len(text)
    return _corpus("\n\n".join(texts), f"--from {path}")


def _files(path: Path) -> Iterator[Path]:
    """One after the other, as the folder may be a whole disk; hidden folders hold no prose."""
    for folder, inner, names in os.walk(path):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        files = (Path(folder, name) for name in sorted(names) if name.endswith(ENDINGS))
        yield from (file for file in files if file.is_file())


def _text(file: Path, room: int, say: Callable[[str], None]) -> str:
    """The first `room` characters; nothing of a file that is no text."""
    try:
        with file.open(encoding="utf-8") as opened:
            text = opened.read(room)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        say(f"{file}: left out ({why})")
        return ""
    if "\0" in text:
        say(f"{file}: left out (not UTF-8 text)")
        return ""
    return text


def _corpus(text: str, source: str) -> Corpus:
    paragraphs = tuple(p.strip() for p in _PARAGRAPH.split(text) if len(p.strip()) > 40)
    if len(paragraphs) < 10:
        msg = f"{source}: too little text (ten paragraphs of more than 40 characters are needed, parted by empty lines)"
        raise CannotStart(msg)
    return Corpus(paragraphs)
