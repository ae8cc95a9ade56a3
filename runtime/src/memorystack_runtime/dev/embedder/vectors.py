"""Turns text into a vector without model weights: near texts get near vectors.

Knows: hashing of words, word pairs and character n-grams into signed buckets. Must not know: HTTP, time or queues.
The same text has the same vector in every process and on every machine (crc32, never `hash()`).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from functools import lru_cache
from typing import Final
from zlib import crc32

import numpy as np
import numpy.typing as npt

__all__ = ["Vector", "count_tokens", "embed"]

Vector = npt.NDArray[np.float32]

WORD: Final = re.compile(r"\w+")
PAIR_WEIGHT: Final = 0.35
"""A pair of neighbours says more than its words, but is rarely repeated in a question about the text."""
NGRAM_SHARE: Final = 0.6
"""Length of the part of a word's vector that stands for its spelling, so that `deploys` is near `deployed`."""
STOP_WEIGHT: Final = 0.08
STOP_WORDS: Final = frozenset(
    WORD.findall(
        """
        a about after all also am an and any are as at be because been before being but by can could did do does doing
        for from had has have having he her here him his how i if in into is it its just me more most my no nor not of
        on once only or other our out over own same she should so some such than that the their them then there these
        they this those through to too under until up very was we were what when where which while who whom why will
        with would you your
        """
    )
)


def embed(text: str, dimensions: int) -> Vector:
    """The text's vector: float32 of shape (dimensions,), length 1; a text without words is hashed whole."""
    words = WORD.findall(text.lower())
    if not words:
        words = [text]
    counts = Counter(words)
    buckets: list[npt.NDArray[np.int64]] = []
    weights: list[npt.NDArray[np.float64]] = []
    for word, count in counts.items():
        features, values = _word(word, dimensions)
        buckets.append(features)
        weights.append(values * (1.0 + math.log(count)) if count > 1 else values)
    vector = _summed(np.concatenate(buckets), np.concatenate(weights), dimensions)
    if len(words) > 1:
        vector += _pairs(words, dimensions)
    return (vector / (np.linalg.norm(vector) or 1.0)).astype(np.float32)


def count_tokens(text: str) -> int:
    """What the answer's `usage` bills: words, at least one."""
    return max(1, len(WORD.findall(text)))


@lru_cache(maxsize=32_768)
def _word(word: str, dimensions: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Buckets and signed weights of one word and its character n-grams."""
    weight = STOP_WEIGHT if word in STOP_WORDS else 1.0
    grams = sorted(_ngrams(word))
    each = weight * NGRAM_SHARE / math.sqrt(len(grams))
    hashes = [crc32(b"w" + word.encode()), *(crc32(b"g" + gram.encode()) for gram in grams)]
    buckets = np.array([value % dimensions for value in hashes], dtype=np.int64)
    signs = np.array([1.0 if value >> 31 else -1.0 for value in hashes])
    return buckets, signs * np.array([weight, *([each] * len(grams))])


def _ngrams(word: str) -> set[str]:
    marked = f"<{word}>"
    return {marked[i : i + size] for size in (3, 4, 5) for i in range(len(marked) - size + 1)} or {marked}


def _pairs(words: list[str], dimensions: int) -> npt.NDArray[np.float64]:
    """Neighbouring words, order kept; a pair that holds a stop word is damped like the stop word."""
    hashes = np.array([_hash(word) for word in words], dtype=np.uint64)
    mixed = (hashes[:-1] * np.uint64(0x9E3779B97F4A7C15)) ^ (hashes[1:] * np.uint64(0xC2B2AE3D27D4EB4F))
    mixed ^= mixed >> np.uint64(29)
    damp = np.array([STOP_WEIGHT if word in STOP_WORDS else 1.0 for word in words])
    weights = np.minimum(damp[:-1], damp[1:]) * PAIR_WEIGHT
    signs = np.where(mixed >> np.uint64(63), 1.0, -1.0)
    buckets = (mixed % np.uint64(dimensions)).astype(np.int64)
    return _summed(buckets, signs * weights, dimensions)


def _summed(
    buckets: npt.NDArray[np.int64], weights: npt.NDArray[np.float64], dimensions: int
) -> npt.NDArray[np.float64]:
    """Weights added up per bucket."""
    return np.bincount(buckets, weights, minlength=dimensions).astype(np.float64, copy=False)


@lru_cache(maxsize=32_768)
def _hash(word: str) -> int:
    return crc32(b"p" + word.encode())
