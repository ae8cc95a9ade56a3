"""Real text to store and to ask for, cut evenly. Knows texts; nothing of traffic."""

from __future__ import annotations

import random
import re
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


def from_folder(path: Path) -> Corpus:
    """All .md, .rst and .txt files below a folder, up to 20 MB. Raises CannotStart."""
    if not path.is_dir():
        msg = f"--from {path}: no such folder; name one with {', '.join(ENDINGS)} files, or topics"
        raise CannotStart(msg)
    texts, size = [], 0
    for file in sorted(path.rglob("*")):
        if file.suffix in ENDINGS and file.is_file() and size < MAX_CHARACTERS:
            texts.append(file.read_text(errors="replace"))
            size += len(texts[-1])
    return _corpus("\n\n".join(texts), f"--from {path}")


def _corpus(text: str, source: str) -> Corpus:
    paragraphs = tuple(p.strip() for p in _PARAGRAPH.split(text) if len(p.strip()) > 40)
    if len(paragraphs) < 10:
        msg = f"{source}: too little text (ten paragraphs of 40 characters are needed)"
        raise CannotStart(msg)
    return Corpus(paragraphs)
