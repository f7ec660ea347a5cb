"""Promises that every layer, network and bundle keeps, as functions that tests apply to each of them."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from speechrnn.layers.steps import step_network


def ragged_features(rng, lengths, width):
    """`(values, frames)`: float32 `(batch, max, width)` with NaN in the padding, and int32 lengths."""
    values = rng.normal(size=(len(lengths), max(lengths), width)).astype("float32")
    for row, length in enumerate(lengths):
        values[row, length:] = np.nan
    return values, np.array(lengths, "int32")


def check_padding_never_changes_a_valid_frame(network, rng, width, stride, lengths=(37, 20, 5), atol=2e-5):
    """One row alone equals the same row in a batch whose padding is NaN; padded outputs are zeros."""
    values, frames = ragged_features(rng, lengths, width)
    batched = network([values, frames], training=False).numpy()
    for row, length in enumerate(lengths):
        valid = -(-length // stride)
        alone = network([values[row : row + 1, :length], frames[row : row + 1]], training=False).numpy()[0]
        assert alone.shape[0] == valid
        np.testing.assert_allclose(batched[row, :valid], alone, rtol=0, atol=atol)
        assert not batched[row, valid:].any()


def check_padding_never_changes_a_row(network, rng, width, lengths=(37, 20, 5, 1), atol=2e-5):
    """As above, for a network with one output a row; a row without a frame gives numbers too."""
    values, frames = ragged_features(rng, lengths, width)
    batched = network([values, frames], training=False).numpy()
    for row, length in enumerate(lengths):
        alone = network([values[row : row + 1, :length], frames[row : row + 1]], training=False).numpy()[0]
        np.testing.assert_allclose(batched[row], alone, rtol=0, atol=atol)
    assert np.isfinite(network([values, np.zeros_like(frames)], training=False)).all()


def check_gradients_are_finite(network, rng, width, lengths=(37, 20, 5)):
    """NaN in the padding reaches no weight's gradient, and every weight has one."""
    values, frames = ragged_features(rng, lengths, width)
    gradients = _gradients(network, values, frames)
    for variable, gradient in zip(network.trainable_variables, gradients, strict=True):
        assert gradient is not None, variable.path
        assert np.isfinite(gradient).all(), variable.path


def _gradients(network, values, frames):
    variables = [v.value for v in network.trainable_variables]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(network([values, frames], training=True) ** 2)
    return [np.asarray(g) for g in tape.gradient(loss, variables)]


def check_saved_model_is_the_same(model, inputs, path):
    """A save and a safe-mode load give equal outputs and an equal configuration."""
    expected = model(inputs, training=False)
    model.save(path)
    again = keras.saving.load_model(path, safe_mode=True)
    np.testing.assert_array_equal(again(inputs, training=False), expected)
    assert json.dumps(again.get_config(), default=str) == json.dumps(model.get_config(), default=str)
    return again


def steps_equal_whole(network, rng, *, lengths=(24, 17, 5), width=6, block=4, atol=1e-5):
    """Block by block a network gives what it gives of the whole, whatever lies behind its rows' ends.

    `block` must be a whole number of the network's outputs. A row's outputs are those of its valid frames; a network
    that gives one output per row gives that of the frames so far.
    """
    steps = step_network(network, batch=len(lengths))
    values, frames = ragged_features(rng, lengths, width)
    whole = network([np.nan_to_num(values), frames], training=False).numpy()
    total = max(lengths)
    states, found = [np.zeros(shape, "float32") for shape in steps.states.values()], []
    for start in range(0, total + steps.delay * block, block):
        now = np.zeros((len(lengths), block, width), "float32")
        piece = np.nan_to_num(values[:, start : start + block])
        now[:, : piece.shape[1]] = piece
        given = [now, np.clip(frames - start, 0, block).astype("int32"), *states]
        output, *states = keras.tree.flatten(steps.model([tf.constant(each) for each in given], training=False))
        found.append(output.numpy())
    if whole.ndim == 2:
        np.testing.assert_allclose(found[-1], whole, rtol=0, atol=atol)
        return
    joined = np.concatenate(found, axis=1)[:, steps.delay :]
    assert joined.shape[1] >= whole.shape[1]
    stride = -(-total // whole.shape[1])
    for row, length in enumerate(lengths):
        valid = -(-length // stride)
        np.testing.assert_allclose(joined[row, :valid], whole[row, :valid], rtol=0, atol=atol)
    assert np.abs(whole).max() > 1e-3  # there is something to compare


def loss_and_gradient(function, values):
    """A loss of values, and its gradient."""
    values = tf.convert_to_tensor(values)
    with tf.GradientTape() as tape:
        tape.watch(values)
        loss = function(values)
    return loss.numpy(), tape.gradient(loss, values).numpy()


def check_second_derivative(loss, logits):
    """The gradient of the gradient's square is the slope that finite differences give."""
    towards = np.random.default_rng(6).normal(size=logits.shape).astype("float32")

    def penalty(logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            total = tf.reduce_sum(loss(logits))
        return tf.reduce_sum(tape.gradient(total, logits) ** 2)

    _, slope = loss_and_gradient(penalty, logits)
    ahead, behind = (float(penalty(tf.constant(logits + step * towards))) for step in (0.01, -0.01))
    np.testing.assert_allclose((slope * towards).sum(), (ahead - behind) / 0.02, rtol=5e-3)


def check_refused(function, arguments, said, *, graph):
    """A loss refuses what it is given, at once or, in a graph, when that runs."""
    with pytest.raises(tf.errors.InvalidArgumentError if graph else ValueError, match=said):
        (tf.function(function) if graph else function)(*map(tf.constant, arguments))
