"""The fewest edits, counted as jiwer counts them."""

import functools

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechrnn.metrics import edits

TOKENS = st.lists(st.sampled_from("abc"), max_size=9)


def numbers(found):
    return found.hits, found.substitutions, found.deletions, found.insertions


def naive_distance(reference, hypothesis):
    @functools.cache
    def distance(i, j):
        if not i or not j:
            return i + j
        return min(
            distance(i - 1, j - 1) + (reference[i - 1] != hypothesis[j - 1]),
            distance(i - 1, j) + 1,
            distance(i, j - 1) + 1,
        )

    return distance(len(reference), len(hypothesis))


@given(TOKENS, TOKENS)
def test_the_distance_is_that_of_the_recursion(reference, hypothesis):
    assert edits.align(reference, hypothesis).errors == naive_distance(reference, hypothesis)


@given(TOKENS, TOKENS)
def test_the_pairs_spell_both_sides_and_agree_with_the_counts(reference, hypothesis):
    found = edits.align(reference, hypothesis)
    assert [left for left, _ in found.pairs if left is not None] == reference
    assert [right for _, right in found.pairs if right is not None] == hypothesis
    assert found.hits == sum(left == right for left, right in found.pairs)
    assert found.deletions == sum(right is None for _, right in found.pairs)
    assert found.insertions == sum(left is None for left, _ in found.pairs)
    assert found.reference_length == len(reference)
    assert numbers(edits.counts(reference, hypothesis)) == numbers(found)


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=40), st.lists(st.sampled_from("abc"), max_size=40))
def test_every_count_is_jiwers(reference, hypothesis):
    assert numbers(edits.align(reference, hypothesis)) == numbers(
        jiwer.process_words(" ".join(reference), " ".join(hypothesis))
    )


@given(
    st.text("ab c", min_size=1, max_size=30).map(str.strip).filter(bool), st.text("ab c", max_size=30).map(str.strip)
)
def test_characters_are_counted_as_jiwer_counts_them(reference, hypothesis):
    assert numbers(edits.counts(reference, hypothesis)) == numbers(jiwer.process_characters(reference, hypothesis))


@pytest.mark.parametrize(
    ("reference", "hypothesis", "rate"),
    [([], [], 0.0), ([], ["a"], float("inf")), (["a"], [], 1.0), (["a"], ["b", "a", "c"], 2.0)],
)
def test_empty_sides_have_a_rate(reference, hypothesis, rate):
    assert edits.align(reference, hypothesis).rate == rate


def test_the_rate_of_a_corpus_comes_from_summed_counts():
    found = [edits.counts("abcd", "abcd"), edits.counts(["e"], ["f"])]
    assert sum(found, edits.Edits()).rate == 1 / 5
