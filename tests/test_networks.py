"""The acoustic network: shapes, padding, gradients, options."""

import keras
import numpy as np
import pytest
from contracts import (
    check_gradients_are_finite,
    check_padding_never_changes_a_valid_frame,
    check_saved_model_is_the_same,
)

from speechrnn import layers
from speechrnn.tasks.recognition.network import recurrent_ctc

SIZES = {"num_features": 12, "vocabulary_size": 5, "units": 6, "layers": 2}
VARIANTS = {
    "lstm": ({}, 1),
    "gru": ({"cell": "gru"}, 1),
    "rnn": ({"cell": "rnn"}, 1),
    "one direction": ({"bidirectional": False}, 1),
    "look-ahead": ({"bidirectional": False, "look_ahead": 2}, 1),
    "stacked": ({"stack": 3}, 3),
    "convolutions": ({"convolutions": 2, "filters": 4}, 4),
    "convolution and stack": ({"convolutions": 1, "filters": 4, "stack": 2, "dropout": 0.3}, 4),
    "plain": ({"layer_norm": False, "residual": False}, 1),
}


@pytest.mark.parametrize(("options", "stride"), VARIANTS.values(), ids=VARIANTS)
def test_padding_and_gradients_and_stride(options, stride, rng):
    network = recurrent_ctc(**SIZES, **options)
    assert stride(network) == stride
    check_padding_never_changes_a_valid_frame(network, rng, SIZES["num_features"], stride)
    check_gradients_are_finite(network, rng, SIZES["num_features"])


def test_batch_normalisation_counts_valid_frames_only(rng):
    network = recurrent_ctc(**SIZES, convolutions=1, filters=4)
    norm = network.get_layer("conv_norm_0")
    short = rng.normal(size=(2, 10, 12)).astype("float32")
    padded = np.concatenate([short, np.full((2, 40, 12), np.nan, "float32")], 1)
    means = []
    for values in (short, padded):
        norm.moving_mean.assign(np.zeros(4))
        network([values, np.array([10, 10], "int32")], training=True)
        means.append(norm.moving_mean.numpy())
    np.testing.assert_allclose(means[1], means[0], atol=1e-7)
    assert np.abs(means[0]).max() > 1e-5


def test_every_recurrent_layer_takes_the_fast_path():
    network = recurrent_ctc(**SIZES, cell="gru")
    recurrent = [layer for layer in network.layers if isinstance(layer, keras.layers.Bidirectional)]
    assert len(recurrent) == 2
    assert {layers.execution_path(layer).name for layer in recurrent} <= {"scan", "cudnn"}


def test_recurrent_weights_start_orthogonal_and_forget_gates_open():
    network = recurrent_ctc(**SIZES)
    cell = network.get_layer("bidirectional_0").forward_layer.cell
    kernel = cell.recurrent_kernel.numpy()
    np.testing.assert_allclose(kernel @ kernel.T, np.eye(6), atol=1e-5)
    np.testing.assert_array_equal(cell.bias.numpy()[6:12], np.ones(6))


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_gives_float32_logits(dtype, rng):
    network = recurrent_ctc(**SIZES, convolutions=1, dtype=dtype)
    logits = network([rng.normal(size=(2, 9, 12)).astype("float32"), np.array([9, 4], "int32")])
    assert logits.dtype == "float32"
    assert np.isfinite(logits).all()


def test_saved_network_is_the_same(tmp_path, rng):
    network = recurrent_ctc(**SIZES, convolutions=1, stack=2, dropout=0.1)
    inputs = [rng.normal(size=(2, 9, 12)).astype("float32"), np.array([9, 4], "int32")]
    check_saved_model_is_the_same(network, inputs, tmp_path / "network.keras")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cell": "transformer"}, "`cell` must be one of 'lstm', 'gru', 'rnn'. Received: 'transformer'"),
        ({"units": 0}, "`units` must be at least 1. Received: units=0"),
        ({"dropout": 1.0}, r"`dropout` in \[0, 1\)"),
    ],
    ids=str,
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        recurrent_ctc(**{**SIZES, **options})


def test_a_look_ahead_sees_so_many_frames_and_no_more(rng):
    network = recurrent_ctc(**SIZES, bidirectional=False, look_ahead=2)
    layer = network.get_layer("look_ahead")
    layer.kernel.assign(rng.normal(size=layer.kernel.shape))
    values, frames = rng.normal(size=(1, 9, 12)).astype("float32"), np.array([9], "int32")
    changed = values.copy()
    changed[:, 6] += 1.0
    before, after = network([values, frames]).numpy()[0], network([changed, frames]).numpy()[0]
    assert np.flatnonzero(np.abs(after - before).max(axis=1) > 1e-6).tolist() == [4, 5, 6, 7, 8]


def test_a_look_ahead_in_both_directions_is_refused():
    with pytest.raises(ValueError, match="`look_ahead` must be >= 0, and 0 for a bidirectional network"):
        recurrent_ctc(**SIZES, look_ahead=2)
