"""The bundle: one file that holds everything, and clear words about files that do not."""

import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from contracts import check_saved_model_is_the_same

from speechrnn.features import MFCC, LogMel
from speechrnn.models.loading import load, load_bundle
from speechrnn.tasks.recognition.model import SpeechRecognizer, TokenErrorRate
from speechrnn.tasks.recognition.network import init_from_shallower, recurrent_ctc, with_outputs
from speechrnn.text import Vocabulary


@pytest.fixture(scope="module")
def model():
    vocabulary = Vocabulary(" abc")
    features = LogMel(8000, num_mels=10, f_min=100)
    network = recurrent_ctc(num_features=10, vocabulary_size=len(vocabulary), units=5, layers=1, stack=2)
    return SpeechRecognizer(features, network, vocabulary, card={"name": "test", "license": "none"})


@pytest.fixture
def signals(rng):
    return [rng.normal(size=n).astype("float32") for n in (8000, 4321, 300)]


def test_logits_of_a_signal_do_not_depend_on_its_batch(model, signals):
    together = model.logits(signals)
    for signal, batched in zip(signals, together, strict=True):
        frames = model.features.frame_count(len(signal))
        assert batched.shape == (-(-frames // 2), 5)
        np.testing.assert_allclose(model.logits([signal])[0], batched, atol=2e-5)


def test_signals_without_a_frame_give_no_logits(model):
    assert [x.shape for x in model.logits([np.zeros(3, "float32"), np.zeros(0, "float32")])] == [(0, 5), (0, 5)]
    assert model.logits([]) == []


def test_features_computed_beforehand_give_the_same_logits(model, signals):
    values = model.features(signals[0][None], np.array([len(signals[0])], "int32"))
    frames = np.array([values.shape[1]], "int32")
    logits = model({"features": values, "frames": frames}, training=False)[0]
    np.testing.assert_allclose(logits, model.logits(signals[:1])[0], atol=1e-6)


def test_everything_is_in_the_file(model, signals, tmp_path):
    batch = {"signal": np.stack([signals[0], signals[0]]), "length": np.array([8000, 5000], "int32")}
    again = check_saved_model_is_the_same(model, batch, tmp_path / "model.keras")
    assert again.vocabulary == model.vocabulary
    assert again.card == {"name": "test", "license": "none"}
    assert (again.sample_rate, again.stride, again.frame_period) == (8000, 2, 0.02)
    assert load_bundle(tmp_path / "model.keras", kind="recognizer").vocabulary == model.vocabulary


def test_another_vocabulary_keeps_what_was_learned(model, signals):
    other = model.with_vocabulary(Vocabulary("cxa"))
    before, after = model.logits(signals)[0], other.logits(signals)[0]
    np.testing.assert_allclose(after[:, [0, 1, 3]], before[:, [0, 4, 2]], atol=1e-5)  # blank, c, a
    assert after.shape == (len(before), 4) and other.vocabulary == Vocabulary("cxa")
    other.network.get_layer("logits").kernel.assign(np.zeros((10, 4), "float32"))
    np.testing.assert_array_equal(model.logits(signals)[0], before)  # a copy, not a view


@pytest.mark.parametrize(
    "options", [{"cell": "lstm"}, {"cell": "gru", "convolutions": 1}, {"cell": "rnn", "bidirectional": False}]
)
def test_a_deeper_network_begins_where_a_shallower_one_ended(options, rng):
    shallow, deep = (
        recurrent_ctc(num_features=10, vocabulary_size=3, units=4, layers=layers, **options) for layers in (1, 3)
    )
    init_from_shallower(deep, shallow)
    x = [rng.normal(size=(2, 30, 10)).astype("float32"), np.array([30, 17], "int32")]
    before = np.asarray(deep(x))
    np.testing.assert_allclose(before, shallow(x), atol=1e-5)
    deep.compile(keras.optimizers.SGD(1.0), "mse")
    deep.fit(x, before + 1, epochs=1, verbose=0)
    fresh = [np.abs(np.asarray(layer.weights[0])[..., 4 * gate :][..., :4]).max() for layer, gate in candidates(deep)]
    assert min(fresh) > 0, "the new layers do not learn"


def candidates(network):
    for layer in network.layers:
        cell = getattr(layer, "forward_layer", layer)
        if isinstance(cell, keras.layers.RNN):
            yield layer, 0 if isinstance(cell, keras.layers.SimpleRNN) else 2


@pytest.mark.parametrize("other", [{"units": 5}, {"residual": False}, {"dropout": 0.0, "cell": "gru"}])
def test_only_a_network_that_differs_in_depth_takes_over_what_was_learned(other):
    shape = {"num_features": 10, "vocabulary_size": 3}
    deep, shallow = (recurrent_ctc(**shape, **{"units": 4, **other}, layers=2), recurrent_ctc(**shape, units=4))
    with pytest.raises(ValueError):
        init_from_shallower(deep, shallow)


def test_global_statistics_go_along_to_another_vocabulary(rng):
    features = LogMel(8000, num_mels=10, f_min=100, normalize="global")
    features.adapt([rng.normal(size=8000).astype("float32")])
    network = recurrent_ctc(num_features=10, vocabulary_size=3, units=4, layers=1)
    model = SpeechRecognizer(features, network, Vocabulary("ab"))
    signal = [rng.normal(size=4000).astype("float32")]
    np.testing.assert_allclose(
        model.with_vocabulary(Vocabulary("ba")).logits(signal)[0][:, [0, 2, 1]], model.logits(signal)[0], atol=1e-5
    )


def test_only_a_network_with_named_logits_takes_another_vocabulary():
    plain = recurrent_ctc(num_features=10, vocabulary_size=3, units=4, layers=1)
    dense = keras.layers.Dense(3)(plain.get_layer("logits").input)
    other = keras.Model(plain.inputs, dense)
    with pytest.raises(ValueError, match='dense layer named "logits"'):
        with_outputs(other, [0, 1])
    with pytest.raises(ValueError, match="below 3"):
        with_outputs(plain, [0, 3])


def test_global_normalization_is_in_the_file(rng, tmp_path):
    features = MFCC(8000, num_coefficients=5, num_mels=10, f_min=100, normalize="global")
    features.adapt([rng.normal(size=4000).astype("float32") for _ in range(3)])
    network = recurrent_ctc("gru", num_features=features.num_features, vocabulary_size=3, units=4, layers=1)
    model = SpeechRecognizer(features, network, Vocabulary("ab"))
    signal = rng.normal(size=3000).astype("float32")
    expected = model.logits([signal])[0]
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        load_bundle(tmp_path / "model.keras", kind="recognizer").logits([signal])[0], expected
    )


def test_compute_loss_counts_each_rows_own_frames(model, signals):
    x = {"features": np.zeros((2, 30, 10), "float32"), "frames": np.array([30, 11], "int32")}
    target = np.array([[2, 3, 2], [4, 0, 0]], "int32")
    logits = model(x, training=False)
    from speechrnn.losses import ctc

    expected = ctc(target, logits, [15, 6]).numpy()
    np.testing.assert_allclose(model.compute_loss(x, target, logits, np.ones(2, "float32")), expected.mean(), rtol=1e-6)
    weighted = model.compute_loss(x, target, logits, np.array([0, 1], "float32"))
    np.testing.assert_allclose(weighted, expected[1], rtol=1e-6)


def test_token_error_rate_sums_counts():
    best = np.array([[0, 1, 1, 0, 1, 2, 0, 2], [3, 3, 3, 1, 2, 3, 1, 2]])
    logits = 5 * tf.one_hot(best, 4)
    metric = TokenErrorRate()
    # Row 0 reads 1 1 2 2 against 1 2 2 (one insertion); row 1 has two valid frames, reads 3 against 3 1 (a deletion).
    metric.update_state([[1, 2, 2], [3, 1, 0]], logits, None, np.array([8, 2], "int32"))
    np.testing.assert_allclose(metric.result(), 2 / 5)
    metric.update_state([[1, 2, 2], [3, 1, 0]], logits, np.array([0.0, 0.0]), np.array([8, 2], "int32"))
    np.testing.assert_allclose(metric.result(), 2 / 5)


def test_parts_that_do_not_fit_are_refused(model):
    with pytest.raises(ValueError, match="must have 3 outputs.*Received: 5 outputs"):
        SpeechRecognizer(model.features, model.network, Vocabulary("ab"))
    with pytest.raises(ValueError, match="expects 10 features per frame.*num_features=7"):
        SpeechRecognizer(LogMel(8000, num_mels=7, f_min=100), model.network, model.vocabulary)
    x, frames, layers = keras.Input((None, 10)), keras.Input((), dtype="int32"), keras.layers
    logits = layers.Dense(5)(x)

    class OnesOwn(keras.Model):
        def call(self, inputs):
            return inputs[0]

    for network, said in (
        (OnesOwn(), "must be a functional Keras model"),
        (layers.Dense(5), "must be a functional Keras model"),
        (None, "must be a functional Keras model"),
        (keras.Model([x, frames], [logits, logits]), "with one output"),
        (
            keras.Sequential([keras.Input((None, 10)), layers.Dense(5)]),
            r"must take \[features.*Received: inputs \[\(None",
        ),
        (keras.Model(x, logits), r"must take \[features.*Received: inputs \[\(None, None, 10\)\]"),
        (keras.Model([frames, x], logits), r"must take \[features.*Received: inputs \[\(None,\), \(None, None, 10\)\]"),
        (keras.Model([x, frames], layers.Dense(5)(layers.LSTM(3)(x))), "outputs for each frame.*return_sequences=True"),
    ):
        with pytest.raises(ValueError, match=said):
            SpeechRecognizer(model.features, network, model.vocabulary)


def test_files_that_are_no_model_are_named(model, tmp_path):
    path = tmp_path / "model.keras"
    model.save(path)
    whole = path.read_bytes()
    with pytest.raises(FileNotFoundError, match="none.keras: no such model file"):
        load_bundle(tmp_path / "none.keras", kind="recognizer")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        load_bundle(tmp_path, kind="recognizer")
    for content in (whole[: len(whole) // 2], b"", b"RIFF of something else"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"model\.keras: is not a \.keras model, or is cut off"):
            load_bundle(path, kind="recognizer")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ValueError, match="lacks config.json, model.weights.h5"):
        load_bundle(path, kind="recognizer")


def test_files_of_other_names_and_of_weights_alone_say_so(model, tmp_path):
    model.save(tmp_path / "model.keras")
    (tmp_path / "model.keras").rename(tmp_path / "model.zip")
    with pytest.raises(ValueError, match=r"model.zip: is a .keras model by another name. Rename it"):
        load(tmp_path / "model.zip")
    model.save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(ValueError, match=r"model.weights.h5: is an HDF5 file, with weights alone"):
        load(tmp_path / "model.weights.h5")


def test_another_programs_keras_model_is_refused(model, tmp_path):
    model.network.save(tmp_path / "network.keras")
    with pytest.raises(ValueError, match="must hold a model of speechrnn. Received: a Functional"):
        load_bundle(tmp_path / "network.keras", kind="recognizer")


def test_a_newer_format_is_refused(model):
    config = {**model.get_config(), "format_version": 99}
    with pytest.raises(ValueError, match="at most 1. Received: 99. Install a newer speechrnn"):
        SpeechRecognizer.from_config(config)
