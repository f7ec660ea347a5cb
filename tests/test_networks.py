"""The acoustic network: shapes, padding, gradients, options."""

import inspect

import keras
import numpy as np
import pytest
from contracts import (
    check_gradients_are_finite,
    check_padding_never_changes_a_valid_frame,
    check_saved_model_is_the_same,
)

from speechrnn import layers
from speechrnn.features import LogMel
from speechrnn.layers import frames
from speechrnn.tasks.recognition.model import SpeechRecognizer
from speechrnn.tasks.recognition.network import recurrent_ctc
from speechrnn.text import Vocabulary

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
    assert frames.stride(network) == stride
    check_padding_never_changes_a_valid_frame(network, rng, SIZES["num_features"], stride)
    check_gradients_are_finite(network, rng, SIZES["num_features"])


def test_batch_normalization_counts_valid_frames_only(rng):
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
        ({"cell": "transformer"}, "`cell` must be one of lstm, gru, rnn. Received: cell='transformer'"),
        ({"units": 0}, "`units` must be at least 1. Received: units=0"),
        ({"convolutions": -1}, "`convolutions` must be zero or positive"),
        ({"dropout": 1.0}, r"`dropout` must be in \[0, 1\)"),
    ],
    ids=str,
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        recurrent_ctc(**{**SIZES, **options})


def test_an_unknown_option_is_refused_and_help_shows_those_there_are():
    with pytest.raises(TypeError, match=r"`recurrent_ctc` has no option `unit`\. Did you mean `units`\?"):
        recurrent_ctc(**SIZES, unit=4)
    with pytest.raises(TypeError, match="takes by position cell, once"):
        recurrent_ctc("gru", **SIZES, cell="lstm")
    shown = inspect.signature(recurrent_ctc).parameters
    assert shown["layers"].default == 3 and shown["num_features"].default is inspect.Parameter.empty
    assert "look_ahead: Future output frames" in recurrent_ctc.__doc__


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


def two_branches(x):
    y = keras.layers.ZeroPadding1D((0, 1))(x)
    halves = [keras.layers.Conv1D(4, 2, strides=2)(y), keras.layers.AveragePooling1D(2)(y)]
    return keras.layers.Concatenate()(halves)


def nested(x):
    inner = keras.Input((None, 12))
    return keras.Model(inner, two_branches(inner))(keras.layers.Dense(12)(two_branches(x)))


STRIDES = {
    "two branches": (two_branches, 2),
    "networks in networks": (lambda x: nested(nested(x)), 16),
    "pooled, with a branch pooled earlier": (
        lambda x: keras.ops.mean(two_branches(x), axis=1) + keras.layers.Dense(16)(keras.ops.mean(x, axis=1)), 2),
    "last output": (lambda x: keras.layers.GRU(3)(nested(x)), 4),
}  # fmt: skip


@pytest.mark.parametrize(("build", "stride"), STRIDES.values(), ids=STRIDES)
def test_a_stride_is_what_the_shapes_say(build, stride, tmp_path):
    x = keras.Input((None, 12))
    network = keras.Model(x, build(x))
    assert frames.checked_stride(network) == stride
    network.save(tmp_path / "a.keras")
    assert frames.checked_stride(keras.saving.load_model(tmp_path / "a.keras")) == stride


@pytest.mark.parametrize(
    "layer", [keras.layers.Conv1D(3, 3), keras.layers.AveragePooling1D(2), keras.layers.UpSampling1D(2)], ids=repr
)
def test_a_bundle_refuses_a_network_without_a_stride(layer):
    values, length = keras.Input((None, 12)), keras.Input((), dtype="int32")
    logits = keras.layers.Dense(5)(layer(layers.ZeroPadding()(values, layers.LengthMask()(length, values))))
    network = keras.Model([values, length], logits, name="odd")
    features = LogMel(4000, num_mels=12, f_min=60)
    with pytest.raises(ValueError, match=r"ceil\(frames / stride\).*Received: `odd`, which makes .* of 5040.*Pad"):
        SpeechRecognizer(features, network, Vocabulary(" abc"))
