"""Words as vectors: which words are one term, and how much a term weighs."""

from __future__ import annotations

import pytest

from memorystack_runtime.sparse import SparseVector, of_document, of_query


def test_sparse_vectors_are_sorted_stemmed_and_without_stop_words():
    vector = of_document("The running dogs run and the dog runs")
    assert len(vector.indices) == 2
    assert list(vector.indices) == sorted(vector.indices)
    assert set(of_query("dogs").indices) <= set(vector.indices)
    assert of_query("the and of").indices == ()
    assert len(of_document("word " * 200).values) == 1


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        # BM25's term part with k1 1.2, b 0.5 and 80 terms as the usual length, by hand.
        ("owl", [2.2 / (1 + 1.2 * (0.5 + 0.5 / 80))]),
        ("owl owl owl", [3 * 2.2 / (3 + 1.2 * (0.5 + 0.5 * 3 / 80))]),
        ("owl " * 80, [80 * 2.2 / (80 + 1.2)]),
    ],
)
def test_a_term_weighs_more_the_more_often_it_comes_and_the_shorter_the_text(text: str, weights: list[float]):
    assert list(of_document(text).values) == pytest.approx(weights, abs=0.00005)


def test_weights_are_rounded_and_terms_are_the_same_in_every_process():
    assert of_document("Owls hunt") == SparseVector((570054983, 2561709901), (1.3622, 1.3622))


def test_each_term_of_a_question_counts_once_and_as_much():
    assert of_query("owl OWLS mouse").values == (1.0, 1.0)
