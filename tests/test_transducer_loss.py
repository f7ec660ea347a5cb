"""The transducer loss against a sum over every path, in double precision, and under padding."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from contracts import check_refused, check_second_derivative, loss_and_gradient

from speechrnn import losses


def brute_force(logits, target):
    """-log of the summed probability of every order in which `target` and a blank for each frame can be written."""
    logs = tf.nn.log_softmax(logits)
    paths = []
    for places in itertools.combinations(range(len(logits) + len(target) - 1), len(target)):  # a blank is the last
        time, written, total = 0, 0, tf.constant(0.0, tf.float64)
        for step in range(len(logits) + len(target)):
            if step in places:
                total += logs[time, written, target[written]]
                written += 1
            else:
                total += logs[time, written, 0]
                time += 1
        paths.append(total)
    return -tf.reduce_logsumexp(paths)


def reference(logits, target):
    """Loss and gradient by the forward and backward variables of equations 16 to 20, cell by cell."""
    logs = logits.astype("float64")
    logs -= logs.max(-1, keepdims=True)
    logs -= np.log(np.exp(logs).sum(-1, keepdims=True))
    frames, places = len(logits), len(target) + 1
    alpha, beta = np.full((frames, places), -np.inf), np.full((frames + 1, places + 1), -np.inf)
    beta[frames, places - 1] = 0.0
    for t, u in itertools.product(range(frames), range(places)):
        ways = [0.0] if t == u == 0 else []
        ways += [alpha[t - 1, u] + logs[t - 1, u, 0]] if t else []
        ways += [alpha[t, u - 1] + logs[t, u - 1, target[u - 1]]] if u else []
        alpha[t, u] = np.logaddexp.reduce(ways)
    for t, u in itertools.product(reversed(range(frames)), reversed(range(places))):
        ways = [beta[t + 1, u] + logs[t, u, 0]]
        ways += [beta[t, u + 1] + logs[t, u, target[u]]] if u < places - 1 else []
        beta[t, u] = np.logaddexp.reduce(ways)
    gradient = np.exp(alpha + beta[:-1, :-1] - beta[0, 0])[..., None] * np.exp(logs)
    gradient[..., 0] -= np.exp(alpha + beta[1:, :-1] + logs[..., 0] - beta[0, 0])
    for u, symbol in enumerate(target):
        gradient[:, u, symbol] -= np.exp(alpha[:, u] + beta[:-1, u + 1] + logs[:, u, symbol] - beta[0, 0])
    return -beta[0, 0], gradient


@pytest.fixture
def ragged():
    """Rows with more labels than frames, with none, and with one frame."""
    rng = np.random.default_rng(5)
    target = np.zeros((4, 6), "int32")
    for row, length in enumerate((6, 2, 0, 5)):
        target[row, :length] = rng.integers(1, 5, length)
    return target, rng.normal(size=(4, 9, 7, 5)).astype("float32"), np.array([3, 9, 7, 1], "int32")


@pytest.mark.parametrize("target", [(), (1,), (2, 1), (1, 1), (1, 2, 1, 1, 2)], ids=str)
@pytest.mark.parametrize("frames", [1, 4])
def test_loss_and_gradient_are_those_of_the_sum_over_all_paths(target, frames):
    logits = np.random.default_rng(frames).normal(size=(1, frames, len(target) + 1, 3))
    expected = loss_and_gradient(lambda x: brute_force(x[0], target), logits)
    padded = np.array([target], "int32").reshape(1, -1)
    found = loss_and_gradient(lambda x: losses.transducer(padded, x, [frames]), logits.astype("float32"))
    np.testing.assert_allclose(found[0], [expected[0]], rtol=1e-5)
    np.testing.assert_allclose(found[1], expected[1], atol=1e-6)


@pytest.mark.parametrize("padding", [0.0, np.nan, np.inf])
def test_padding_changes_neither_loss_nor_gradient(ragged, padding):
    target, logits, frames = ragged
    lengths = (target > 0).sum(1)
    broken = logits.copy()
    for row, (length, places) in enumerate(zip(frames, lengths + 1, strict=True)):
        broken[row, length:], broken[row, :, places:] = padding, padding
    loss, gradient = loss_and_gradient(lambda x: losses.transducer(target, x, frames), broken)
    for row, (length, labels) in enumerate(zip(frames, lengths, strict=True)):
        expected = reference(logits[row, :length, : labels + 1], target[row, :labels])
        np.testing.assert_allclose(loss[row], expected[0], rtol=1e-5)
        np.testing.assert_allclose(gradient[row, :length, : labels + 1], expected[1], atol=1e-5)
        assert not gradient[row, length:].any() and not gradient[row, :, labels + 1 :].any()


@pytest.mark.parametrize("scale", [0.1, 30.0], ids=["flat", "certain"])
def test_long_rows_are_exact(scale):
    rng = np.random.default_rng(3)
    target = np.zeros((2, 40), "int32")
    target[0], target[1, :39] = rng.integers(1, 6, 40), rng.integers(1, 6, 39)
    logits, frames = (scale * rng.normal(size=(2, 300, 41, 6))).astype("float32"), np.array([300, 133], "int32")
    loss, gradient = loss_and_gradient(lambda x: losses.transducer(target, x, frames), logits)
    for row, length in enumerate(frames):
        labels = target[row][target[row] > 0]
        expected = reference(logits[row, :length, : len(labels) + 1], labels)
        np.testing.assert_allclose(loss[row], expected[0], rtol=1e-5)
        np.testing.assert_allclose(gradient[row, :length, : len(labels) + 1], expected[1], atol=2e-4)


def test_a_row_without_frames_is_impossible_unless_it_says_nothing():
    loss, gradient = loss_and_gradient(
        lambda x: losses.transducer([[0], [1]], x, [0, 0]), np.zeros((2, 4, 2, 3), "float32")
    )
    np.testing.assert_array_equal(loss, [0.0, np.inf])
    assert not gradient.any()


@pytest.mark.parametrize("value", [-np.inf, np.nan])
def test_what_is_forbidden_or_no_number_shows_in_its_own_row_alone(ragged, value):
    target, logits, frames = ragged
    broken = logits.copy()
    broken[1, :, 0, target[1, 0]] = value
    expected = loss_and_gradient(lambda x: losses.transducer(target, x, frames), logits)
    loss, gradient = loss_and_gradient(lambda x: losses.transducer(target, x, frames), broken)
    if np.isnan(value):
        assert np.isnan(loss[1]) and np.isnan(gradient[1]).any()
    else:
        assert np.isinf(loss[1]) and not gradient[1].any()
    np.testing.assert_allclose(np.delete(loss, 1), np.delete(expected[0], 1), rtol=1e-6)
    np.testing.assert_allclose(np.delete(gradient, 1, 0), np.delete(expected[1], 1, 0), atol=1e-6)


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize(
    ("target", "frames", "said"),
    [
        ([[5, 0]], 9, "Labels must lie from 1 to 4"),
        ([[0, 2]], 9, "before their padding"),
        ([[1, 1]], 10, "`frames` must lie"),
    ],
)
def test_targets_that_a_transducer_cannot_mean_are_refused(target, frames, said, graph):
    check_refused(losses.transducer, (target, np.zeros((1, 9, 3, 5), "float32"), [frames]), said, graph=graph)


def test_logits_without_a_place_for_every_label_are_refused():
    with pytest.raises(ValueError, match=r"must be `\(batch, frames, labels \+ 1, vocabulary\)`"):
        losses.transducer([[1, 2]], tf.zeros((1, 9, 2, 5)), [9])


def test_the_second_derivative_of_the_transducer_loss(ragged):
    target, logits, frames = ragged
    check_second_derivative(lambda logits: losses.transducer(target, logits, frames), logits)


def test_the_mean_leaves_out_rows_that_weigh_nothing_and_adds_ctc_of_the_encoder(ragged, rng):
    target, logits, frames = ragged
    alone, weight = rng.normal(size=(4, 9, 5)).astype("float32"), np.array([1, 1, 0, 1], "float32")
    rows, beside = losses.transducer(target, logits, frames).numpy(), losses.ctc(target, alone, frames).numpy()
    assert np.isinf(beside[[0, 3]]).all()  # more labels than frames: impossible for CTC alone
    found = losses.Transducer(ctc=0.5)(target, logits, weight, frames, alone)
    np.testing.assert_allclose(found, rows[[0, 1, 3]].mean() + 0.5 * beside[1], rtol=1e-5)
    with pytest.raises(ValueError, match="`consistency` is of CTC"):
        losses.Transducer(consistency=0.2)
