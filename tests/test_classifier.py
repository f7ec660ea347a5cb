"""Classifiers: networks whose padding never matters, one file that holds everything, targets and losses that fit."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from contracts import (
    check_gradients_are_finite,
    check_padding_never_changes_a_row,
    check_padding_never_changes_a_valid_frame,
    check_saved_model_is_the_same,
)

from speechrnn import layers
from speechrnn.features import RawSignal, Symbols
from speechrnn.layers import frames
from speechrnn.losses import ClassLoss, sigmoid_cross_entropy, softmax_cross_entropy
from speechrnn.models.averaging import averaged
from speechrnn.models.loading import load, load_bundle
from speechrnn.tasks.classification.model import Accuracy, SequenceClassifier
from speechrnn.tasks.classification.network import recurrent_classifier
from speechrnn.text.tokens import Tokens

SIZES = {"num_features": 12, "num_classes": 3, "units": 6}
VARIANTS = {
    "attention": ({"heads": 2}, 1),
    "mean": ({"pooling": "mean", "cell": "lstm"}, 1),
    "max": ({"pooling": "max"}, 1),
    "last": ({"pooling": "last", "bidirectional": False}, 1),
    "blocks over time": ({"convolutions": 2, "filters": 4, "widen": 1.5, "kernel": 4, "dropout": 0.2}, 4),
    "stem and threes": ({"convolutions": 1, "filters": 4, "stem": 2, "pool": 3}, 6),
    "blocks that keep all frames": ({"convolutions": 2, "filters": 4, "pool": 1}, 1),
    "spectra": ({"over": "spectrum", "convolutions": 2, "filters": 4}, 4),
    "pieces of signal": ({"frame_shape": (5, 2), "filters": 4, "kernel": 3, "frame_convolutions": 2}, 1),
    "pieces and nothing else": ({"frame_shape": (4, 3), "filters": 4, "kernel": 3, "dropout": 0.2}, 1),
}


@pytest.mark.parametrize(("options", "stride"), VARIANTS.values(), ids=VARIANTS)
def test_padding_and_gradients_and_stride(options, stride, rng):
    keras.utils.set_random_seed(1)
    network = recurrent_classifier(**SIZES, **options)
    network.set_weights([value + rng.uniform(0.05, 0.3, value.shape) for value in network.get_weights()])
    assert frames.stride(network) == stride
    check_padding_never_changes_a_row(network, rng, 12)
    check_gradients_are_finite(network, rng, 12)
    per_frame = recurrent_classifier(**SIZES, **{**options, "pooling": None})
    per_frame.set_weights([value + rng.uniform(0.05, 0.3, value.shape) for value in per_frame.get_weights()])
    check_padding_never_changes_a_valid_frame(per_frame, rng, 12, stride)


def test_batch_normalization_counts_valid_frames_only(rng):
    network = recurrent_classifier(**SIZES, convolutions=1, filters=4, frame_shape=(6, 2), kernel=3)
    norms = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    short = rng.normal(size=(2, 10, 12)).astype("float32")
    padded = np.concatenate([short, np.full((2, 40, 12), np.nan, "float32")], 1)
    means = []
    for values in (short, padded):
        for norm in norms:
            norm.moving_mean.assign(np.zeros(norm.moving_mean.shape))
        network([values, np.array([10, 10], "int32")], training=True)
        means.append(np.concatenate([norm.moving_mean.numpy() for norm in norms]))
    np.testing.assert_allclose(means[1], means[0], atol=1e-6)
    assert np.abs(means[0]).max() > 1e-5


def test_pooling_is_what_numpy_says(rng):
    values, mask = rng.normal(size=(2, 4, 3)).astype("float32"), np.array([[1, 1, 1, 0], [1, 0, 0, 0]], bool)
    rows = [values[0, :3], values[1, :1]]
    for kind, expected in (("mean", np.mean), ("max", np.max), ("last", lambda row, axis: row[-1])):
        pooled = layers.MaskedPooling(kind)(values, mask)
        np.testing.assert_allclose(pooled, [expected(row, axis=0) for row in rows], rtol=1e-6)
    attention = layers.AttentionPooling(2)
    attention.build(values.shape)
    kernel = rng.normal(size=(3, 2)).astype("float32")
    attention.set_weights([kernel])
    for found, row in zip(attention(values, mask).numpy(), rows, strict=True):
        weight = np.exp(row @ kernel) / np.exp(row @ kernel).sum(0)
        np.testing.assert_allclose(found, (weight.T @ row).ravel(), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_gives_float32_logits(dtype, rng):
    for pooling in ("attention", "max"):
        network = recurrent_classifier(**SIZES, convolutions=1, filters=4, pooling=pooling, dtype=dtype)
        logits = network([rng.normal(size=(2, 9, 12)).astype("float32"), np.array([9, 4], "int32")])
        assert logits.dtype == "float32"
        assert np.isfinite(logits).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cell": "transformer"}, "`cell` must be one of"),
        ({"units": 0}, "`units` must be at least 1"),
        ({"over": "bands"}, "`over` must be one of time, spectrum. Received: over='bands'"),
        ({"pooling": "sum"}, "`pooling` must be"),
        ({"frame_shape": (13, 1)}, r"no more than `num_features`. Received: frame_shape=\(13, 1\), num_features=12"),
        ({"dropout": 1.0}, r"`dropout` must be in \[0, 1\)"),
    ],
    ids=str,
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        recurrent_classifier(**{**SIZES, **options})


# The bundle


def make(task=None, channels=2, window=4, **options):
    features = RawSignal(50, window=window, hop=2, channels=channels, normalize="utterance")
    pooling = None if task == "frames" else "attention"
    network = recurrent_classifier(
        num_features=features.num_features,
        num_classes=3,
        units=5,
        filters=4,
        convolutions=1,
        pooling=pooling,
        **options,
    )
    return SequenceClassifier(features, network, ["a", "b", "c"], task=task, card={"name": "test"})


@pytest.mark.parametrize("task", ["single", "multi", "frames"])
@pytest.mark.parametrize("channels", [None, 2])
def test_everything_is_in_the_file_and_batches_do_not_matter(task, channels, rng, tmp_path):
    keras.utils.set_random_seed(0)
    model = make(task, channels)
    tail = () if channels is None else (channels,)
    signals = [rng.normal(size=(n, *tail)).astype("float32") for n in (60, 23, 4)]
    together = model.probabilities(signals)
    for signal, batched in zip(signals, together, strict=True):
        np.testing.assert_allclose(model.probabilities([signal])[0], batched, atol=1e-5)
        if task == "frames":
            assert batched.shape == (-(-(1 + (len(signal) - 4) // 2) // 2), 3)
        if task != "multi":
            np.testing.assert_allclose(batched.sum(-1), 1, atol=1e-5)
    batch = {"signal": np.stack([signals[0]] * 2), "length": np.array([60, 30], "int32")}
    check_saved_model_is_the_same(model, batch, tmp_path / "model.keras")
    again = load_bundle(tmp_path / "model.keras", kind="classifier")
    assert (again.classes, again.task, again.card) == (("a", "b", "c"), task, {"name": "test"})
    assert (again.sample_rate, again.channels, again.per_frame, again.frame_period) == (
        50,
        channels,
        task == "frames",
        0.08,
    )
    assert isinstance(load_bundle(tmp_path / "model.keras"), SequenceClassifier)
    with pytest.raises(ValueError, match="must be a recognizer. Received: a classifier"):
        load_bundle(tmp_path / "model.keras", kind="recognizer")


@pytest.mark.parametrize("task", ["multi", "frames"])
def test_several_answer_as_one(task, rng, tmp_path):
    keras.utils.set_random_seed(0)
    members = [make(task) for _ in range(2)]
    model = averaged(members)
    signals = [rng.normal(size=(n, 2)).astype("float32") for n in (60, 23)]
    batch = {"signal": np.stack([signals[0]] * 2), "length": np.array([60, 30], "int32")}
    wanted = np.mean([np.asarray(member(batch)) for member in members], 0)
    np.testing.assert_allclose(np.asarray(model(batch)), wanted, rtol=0, atol=1e-6)
    check_saved_model_is_the_same(model, batch, tmp_path / "model.keras")
    session = load(model.export(tmp_path / "model.onnx"))
    for one, other in zip(session.probabilities(signals), model.probabilities(signals), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)
    before = np.asarray(model(batch))
    members[0].network.set_weights([0 * weight for weight in members[0].network.get_weights()])
    np.testing.assert_array_equal(np.asarray(model(batch)), before)


def test_texts_are_classified_by_several_as_by_one():
    tokens = Tokens.from_texts(["yes no", "no yes"], unit="words")
    network = {"num_features": 1, "num_classes": 2, "symbols": len(tokens), "units": 4, "layers": 1}
    members = [
        SequenceClassifier(Symbols(tokens.symbols, unit="words"), recurrent_classifier(**network), ["a", "b"])
        for _ in range(2)
    ]
    assert averaged(members).tokens is not None


def test_what_cannot_be_averaged_is_refused():
    with pytest.raises(ValueError, match="There must be a model to average"):
        averaged([])
    with pytest.raises(ValueError, match="equal but for their weights.*with number 2: {'task': .'single', 'multi'."):
        averaged([make(), make("multi")])
    with pytest.raises(ValueError, match="equal features. Received: others in number 2"):
        averaged([make(), make(channels=2, window=5)])
    with pytest.raises(ValueError, match="equal strides. Received: 2, and 4 in 2"):
        averaged([make("frames"), make("frames", pool=4)])
    assert averaged([make(), make(pool=4)]).task == "single"  # whose answers have no frames


def test_signals_that_do_not_fit_are_refused():
    model = make()
    with pytest.raises(ValueError, match=r"must be \(samples, 2\). Received: shape \(9, 3\) \(signal 1\)"):
        model.probabilities([np.zeros((9, 2), "float32"), np.zeros((9, 3), "float32")])
    with pytest.raises(ValueError, match="must have 4 samples or more. Received: 3"):
        model.probabilities([np.zeros((3, 2), "float32")])
    assert model.probabilities([]) == []
    frames = make("frames")
    assert [x.shape for x in frames.probabilities([np.zeros((3, 2), "float32")])] == [(0, 3)]


def test_parts_that_do_not_fit_are_refused():
    model = make()
    with pytest.raises(ValueError, match="must have 2 outputs, one for each class. Received: 3"):
        SequenceClassifier(model.features, model.network, ["a", "b"])
    with pytest.raises(ValueError, match=r"two or more classes.*Received: \('a', 'a', 'b'\)"):
        SequenceClassifier(model.features, model.network, ["a", "a", "b"])
    with pytest.raises(ValueError, match="`task` must be.*Received: 'frames' with outputs"):
        SequenceClassifier(model.features, model.network, ["a", "b", "c"], task="frames")
    with pytest.raises(ValueError, match="must hold a model of speechrnn"):
        raise_on_other_kind(model)


def raise_on_other_kind(model):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        model.network.save(f"{folder}/network.keras")
        load_bundle(f"{folder}/network.keras", kind="classifier")


# Losses and accuracy


def test_cross_entropy_is_the_formula(rng):
    logits = rng.normal(size=(2, 4, 3)).astype("float32")
    target = np.array([[0, 2, -1, 1], [1, -1, -1, 0]])
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    weights = np.array([0.5, 1.0, 3.0])
    expected = np.zeros((2, 4))
    for row, frame in zip(*np.nonzero(target >= 0), strict=True):
        q = np.full(3, 0.1 / 3)
        q[target[row, frame]] += 0.9
        here = p[row, frame]
        expected[row, frame] = weights[target[row, frame]] * -(q * (1 - here) ** 2 * np.log(here)).sum()
    found = softmax_cross_entropy(target, logits, weights=weights, smoothing=0.1, focal=2)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    loss = ClassLoss(weights=weights, smoothing=0.1, focal=2)
    np.testing.assert_allclose(loss(target, logits), expected.sum() / 5, rtol=1e-5)
    np.testing.assert_allclose(loss(target, logits, np.array([0.0, 1.0])), expected[1].sum() / 2, rtol=1e-5)
    again = ClassLoss.from_config(loss.get_config())
    assert (again.weights, again.smoothing, again.focal) == (weights.tolist(), 0.1, 2)


def test_plain_cross_entropy_is_kerass(rng):
    logits, target = rng.normal(size=(5, 4)).astype("float32"), np.array([0, 3, 1, 1, 2])
    keras_loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.2)
    soft = keras.utils.to_categorical(target, 4)
    for given in (target, soft):
        np.testing.assert_allclose(ClassLoss(smoothing=0.2)(given, logits), keras_loss(soft, logits), rtol=1e-5)
    several = rng.integers(0, 2, size=(5, 4)).astype("float32")
    expected = keras.losses.BinaryCrossentropy(from_logits=True)(several, logits)
    np.testing.assert_allclose(ClassLoss(multi=True)(several, logits), expected, rtol=1e-5)
    focal = keras.losses.binary_focal_crossentropy(several, logits, gamma=2.0, from_logits=True)
    np.testing.assert_allclose(sigmoid_cross_entropy(several, logits, focal=2), focal, rtol=1e-4)


def test_what_has_no_class_gives_no_gradient(rng):
    logits = tf.Variable(np.where(np.array([[[0], [1]]]), np.nan, rng.normal(size=(1, 2, 3))).astype("float32"))
    with tf.GradientTape() as tape:
        loss = ClassLoss(focal=1.5)(np.array([[2, -1]]), logits)
    gradient = tape.gradient(loss, logits).numpy()
    assert np.isfinite(gradient).all() and gradient[0, 0].any() and not gradient[0, 1].any()
    assert float(ClassLoss()(np.array([[-1, -1]]), logits)) == 0.0


def test_accuracy_counts_what_has_a_class():
    metric = Accuracy()
    logits = 5 * np.eye(3, dtype="float32")[[[0, 1, 2], [2, 2, 2]]]
    metric.update_state(np.array([[0, 1, -1], [2, 0, -1]]), logits)
    np.testing.assert_allclose(metric.result(), 3 / 4)
    metric.update_state(np.array([[0, 1, -1], [2, 0, -1]]), logits, np.array([0.0, 1.0]))
    np.testing.assert_allclose(metric.result(), 4 / 6)
    several = Accuracy(multi=True)
    several.update_state(np.array([[1.0, 0.0, 1.0]]), np.array([[2.0, -1.0, -1.0]]))
    np.testing.assert_allclose(several.result(), 2 / 3)
