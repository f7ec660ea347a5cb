"""Truncated back-propagation: states go over the border of a segment, gradients do not, and no row sees another's."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from speechrnn import layers
from speechrnn.layers import LengthMask
from speechrnn.training.truncated import Segments, reset_states

CELLS = ["LSTM", "GRU", "SimpleRNN"]
ROWS, LENGTH, FEATURES, UNITS = 2, 4, 3, 5


def network(cell, *, stateful, length=LENGTH):
    features = keras.Input(batch_shape=(ROWS, length, FEATURES), name="features")
    frames = keras.Input(batch_shape=(ROWS,), dtype="int32", name="frames")
    mask = LengthMask()(frames, features)
    x = getattr(layers, cell)(UNITS, return_sequences=True, stateful=stateful, name="memory")(features, mask=mask)
    model = keras.Model({"features": features, "frames": frames}, keras.layers.Dense(1, name="out")(x))
    for index, variable in enumerate(model.trainable_variables):
        variable.assign(np.random.default_rng(index).normal(size=variable.shape) / 2)
    return model


def data(rng, sizes):
    xs = [rng.normal(size=(n, FEATURES)).astype("float32") for n in sizes]
    return xs, [np.cumsum(x[:, :1], axis=0) for x in xs]


@pytest.mark.parametrize("cell", CELLS)
def test_outputs_over_segments_are_those_of_the_whole_sequence(cell, rng):
    xs, ys = data(rng, [10, 6, 9])
    parts, outputs = Segments(xs, ys, length=LENGTH, batch_size=ROWS), []
    assert parts.starts == [0, 3]
    model = network(cell, stateful=True)
    for index, (x, _, _) in enumerate(parts):
        if index in parts.starts:
            reset_states(model)
        outputs.append(model(x).numpy())
    whole = network(cell, stateful=False, length=12)
    for row, (batches, place) in enumerate([((0, 1, 2), 0), ((0, 1, 2), 1), ((3, 4, 5), 0)]):
        n = len(xs[row])
        alone = {"features": np.zeros((ROWS, 12, FEATURES), "float32"), "frames": np.full(ROWS, n, "int32")}
        alone["features"][0, :n] = xs[row]
        joined = np.concatenate([outputs[batch][place] for batch in batches])[:n]
        np.testing.assert_allclose(joined, whole(alone)[0, :n], rtol=0, atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_stop_at_the_border(cell, rng):
    """Those of the second segment are those of a segment that starts from given states, which are constants."""
    x = rng.normal(size=(ROWS, 2 * LENGTH, FEATURES)).astype("float32")
    first, second = (tf.constant(part) for part in np.split(x, 2, axis=1))
    frames = tf.constant(LENGTH, tf.int32, (ROWS,))
    model = network(cell, stateful=True)
    reset_states(model)
    with tf.GradientTape() as tape:
        tape.watch(first)
        model({"features": first, "frames": frames})
        loss = tf.reduce_sum(tf.square(model({"features": second, "frames": frames})))
    weights = model.get_layer("memory").trainable_variables
    early, *cut = tape.gradient(loss, [first, *weights])
    assert early is None
    stock = getattr(keras.layers, cell)(UNITS, return_sequences=True, return_state=True)
    stock.build(first.shape)
    stock.set_weights(model.get_layer("memory").get_weights())
    dense = model.get_layer("out")
    with tf.GradientTape(persistent=True) as tape:
        states = stock(first)[1:]
        constant = dense(stock(second, initial_state=[tf.stop_gradient(s) for s in states])[0])
        joined = dense(stock(second, initial_state=states)[0])
        losses = [tf.reduce_sum(tf.square(y)) for y in (constant, joined)]
    expected, through = (tape.gradient(loss, stock.trainable_variables) for loss in losses)
    for a, b in zip(cut, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * float(np.abs(b).max()))
    assert max(float(np.abs(a - b).max()) for a, b in zip(cut, through, strict=True)) > 1e-3


def test_fit_carries_states_and_begins_each_sequence_empty(rng):
    """The loss that `fit` reports at a learning rate of 0 is that of the whole sequences, padding left out."""
    xs, ys = data(rng, [10, 6, 9])
    parts = Segments(xs, ys, length=LENGTH, batch_size=ROWS)
    model = network("GRU", stateful=True)
    seen = []

    class Keep(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(model.get_layer("memory").states[0].numpy())

    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.fit(parts.dataset(), epochs=2, shuffle=False, verbose=0, callbacks=[parts.resets(), Keep()])
    assert len(parts) == 6 and len(seen) == 12
    whole = network("GRU", stateful=False, length=12)
    for row, (batch, place) in enumerate([(2, 0), (2, 1), (5, 0)]):
        n = len(xs[row])
        x = {"features": np.zeros((ROWS, 12, FEATURES), "float32"), "frames": np.full(ROWS, n, "int32")}
        x["features"][0, :n] = xs[row]
        inner = keras.Model(whole.inputs, whole.get_layer("memory").output)
        last = inner([x["features"], x["frames"]])[0, n - 1]
        for epoch in (0, 6):
            np.testing.assert_allclose(seen[epoch + batch][place], last, rtol=0, atol=1e-6)


def test_the_weight_marks_the_steps_there_are(rng):
    xs, ys = data(rng, [5, 2, 3])
    found = list(Segments(xs, ys, length=LENGTH, batch_size=ROWS))
    assert [x["frames"].tolist() for x, _, _ in found] == [[4, 2], [1, 0], [3, 0]]
    for x, y, weight in found:
        np.testing.assert_array_equal(weight.sum(1), x["frames"])
        assert not y[weight == 0].any()


def test_models_and_sequences_that_cannot_be_cut_are_refused(rng):
    xs, ys = data(rng, [5])
    with pytest.raises(ValueError, match=r"sequence 0 with \(steps, targets\) = \(5, 4\)"):
        Segments(xs, [ys[0][:4]], length=2, batch_size=1)
    with pytest.raises(ValueError, match="at least 1. Received: length=0"):
        Segments(xs, ys, length=0, batch_size=1)
    parts = Segments(xs, ys, length=LENGTH, batch_size=ROWS)
    model = network("GRU", stateful=False)
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="Received: memory without it"):
        model.fit(parts.dataset(), verbose=0, shuffle=False, callbacks=[parts.resets()])
    model = keras.Sequential([keras.Input((4, 3)), keras.layers.Bidirectional(layers.GRU(2), name="both")])
    callback = parts.resets()
    callback.set_model(model)
    with pytest.raises(ValueError, match="read forwards only. Received: both"):
        callback.on_train_begin()
