"""Best-path decoding against the definition, frame by frame."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechrnn.decoding import greedy


def by_definition(logits):
    """Symbols, starts, ends and confidences by a loop over runs of equal frames."""
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    found, frame = [], 0
    for symbol, run in itertools.groupby(logits.argmax(axis=1)):
        length = len(list(run))
        if symbol:
            each = probabilities[frame : frame + length, symbol]
            found.append((symbol, frame, frame + length, np.prod(each) ** (1 / length)))
        frame += length
    return found


@given(st.integers(0, 30), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_equals_the_definition(frames, vocabulary, seed):
    logits = np.random.default_rng(seed).normal(scale=3, size=(frames, vocabulary)).astype(np.float32)
    path, expected = greedy(logits), by_definition(logits.astype(np.float64))
    assert len(path) == len(expected)
    for index, (symbol, start, end, confidence) in enumerate(expected):
        assert (path.ids[index], path.start_frames[index], path.end_frames[index]) == (symbol, start, end)
        assert path.confidences[index] == pytest.approx(confidence, rel=1e-5)


def test_no_frames_give_no_symbols():
    path = greedy(np.zeros((0, 5), np.float32))
    assert len(path) == 0
    assert path.confidences.shape == path.start_frames.shape == (0,)


def test_a_symbol_twice_needs_a_blank_between():
    eye = np.eye(3) * 5
    assert greedy(eye[[1, 1, 1]]).ids.tolist() == [1]
    assert greedy(eye[[1, 0, 1]]).ids.tolist() == [1, 1]


def test_large_and_masked_logits_stay_finite():
    path = greedy(np.array([[1e4, 2e4, -np.inf], [0.0, 1e-3, -np.inf]], np.float32))
    assert path.ids.tolist() == [1]
    assert 0 < path.confidences[0] <= 1


@pytest.mark.parametrize("shape", [(3,), (1, 3, 2), (4, 0)])
def test_wrong_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"\(frames, vocabulary\)"):
        greedy(np.zeros(shape))


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_a_frame_without_probabilities_is_refused_and_placed(value):
    logits = np.zeros((4, 3))
    logits[2] = value
    with pytest.raises(ValueError, match=f"Received: {value} in frame 2"):
        greedy(logits)


def test_nan_is_refused_and_placed():
    logits = np.zeros((4, 3))
    logits[2, 1] = np.nan
    with pytest.raises(ValueError, match="NaN from frame 2"):
        greedy(logits)
