"""Near texts score near; the same text has the same vector everywhere."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from memorystack_runtime.dev.embedder import embed

EXAMPLES = [
    (
        "The deploy of the billing service failed on Friday",
        "billing deployment failures last Friday",
        "My cat sleeps on the warm windowsill",
    ),
    ("Alice prefers tea over coffee in the morning", "Does Alice like tea?", "Does Bob own a bicycle?"),
    (
        "Kubernetes pods are restarted when the liveness probe fails",
        "a failing liveness probe restarts the pod",
        "how to bake sourdough bread",
    ),
    ("We moved the database to Frankfurt", "Where is the database?", "Where is the printer?"),
    ("the user asked for dark mode", "user prefers dark theme", "the invoice was paid in euros"),
    ("Python generators yield values lazily", "lazy evaluation with generators", "SQL joins combine rows of tables"),
    ("Er trinkt gerne grünen Tee", "grüner Tee", "ein schnelles Auto"),
]


def likeness(one: str, other: str) -> float:
    return float(embed(one, 384) @ embed(other, 384))


@pytest.mark.parametrize(("text", "near", "far"), EXAMPLES, ids=[row[1] for row in EXAMPLES])
def test_near_text_is_nearer_than_far_text(text: str, near: str, far: str) -> None:
    assert likeness(text, near) > likeness(text, far) + 0.1


def test_a_question_finds_its_document_among_all() -> None:
    documents = [row[0] for row in EXAMPLES]
    for text, question, _ in EXAMPLES:
        assert max(documents, key=lambda document: likeness(document, question)) == text


def test_order_of_words_counts_a_little() -> None:
    text = "the dog bites the tall man"
    assert 0.5 < likeness(text, "the tall man bites the dog") < 0.999


@pytest.mark.parametrize(
    "text", ["tea", "TEA time", "a", "...", " ", "x" * 10_000, "日本語のテキスト", "the the the", "😀"]
)
@pytest.mark.parametrize("dimensions", [1, 8, 384])
def test_every_text_has_a_vector_of_length_one(text: str, dimensions: int) -> None:
    vector = embed(text, dimensions)
    assert vector.dtype == np.float32
    assert vector.shape == (dimensions,)
    assert float(np.linalg.norm(vector)) == pytest.approx(1.0, abs=1e-5)


def test_case_does_not_count() -> None:
    assert likeness("Billing Service", "billing service") == pytest.approx(1.0)


def test_vectors_are_the_same_in_every_process() -> None:
    code = "from memorystack_runtime.dev.embedder import embed; print(embed('green tea in the morning', 384).tobytes().hex())"
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert said.stdout.strip() == embed("green tea in the morning", 384).tobytes().hex()
