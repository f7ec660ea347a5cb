"""Random kernels: the shares of a plain loop, padding that never matters, a model from few examples in one file."""

import itertools

import keras
import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier

from speechrnn.data.manifest import Example
from speechrnn.layers import RandomKernels
from speechrnn.models.loading import load, load_bundle
from speechrnn.tasks.classification import kernel_classifier, kernels

KERNELS = [[2.0 if i in three else -1.0 for i in range(9)] for three in itertools.combinations(range(9), 3)]


def test_shares_are_those_of_a_loop(rng):
    signals = [rng.standard_normal((length, 1)).astype("float32") for length in (40, 25)]
    layer = RandomKernels(40, features=84 * 5)
    layer.adapt(signals)
    values = np.zeros((2, 40, 1), "float32")
    for row, signal in zip(values, signals, strict=True):
        row[: len(signal)] = signal
    values[1, 25:] = np.nan  # padding never matters
    found, thresholds = np.asarray(layer(values, np.array([40, 25]))), np.asarray(layer.thresholds)
    assert found.shape == (2, layer.num_features) == (2, 420)
    # Dilations up to (40 - 1) / 8, as often as five equal steps of their logarithm give them.
    dilations = np.floor(2 ** np.linspace(0, np.log2(39 / 8), 5)).astype(int)
    place = 0
    for dilation in np.unique(dilations):
        count = int((dilations == dilation).sum())
        for kernel in KERNELS:
            for _ in range(count):
                for row, signal in enumerate(signals):
                    padded = np.pad(signal[:, 0], 4 * dilation)
                    taps = [padded[i * dilation : i * dilation + len(signal)] for i in range(9)]
                    seen = np.sum([w * tap for w, tap in zip(kernel, taps, strict=True)], 0)
                    clear = np.abs(seen - thresholds[place]) > 1e-4
                    share = (seen > thresholds[place])[clear].sum() / len(signal)
                    assert share <= found[row, place] + 1e-6 <= share + (~clear).mean() + 1e-5
                place += 1
    assert place == 420 and not np.asarray(layer(values, np.array([0, 0]))).any()
    with pytest.raises(ValueError, match="`features` at least 84. Received: length=40, features=80"):
        RandomKernels(40, features=80)
    with pytest.raises(ValueError, match="needs at least one signal"):
        layer.adapt([])


def test_channels_are_drawn_and_the_layer_is_rebuilt_from_its_config(rng):
    signals = rng.standard_normal((4, 30, 3)).astype("float32")
    layer = RandomKernels(30, features=168, seed=3)
    layer.adapt(signals)
    again = RandomKernels.from_config(layer.get_config())
    again.adapt(signals)
    lengths = np.full(4, 30)
    np.testing.assert_array_equal(again(signals, lengths), layer(signals, lengths))
    other = RandomKernels(30, features=168, seed=4)
    other.adapt(signals)
    assert np.abs(np.asarray(other(signals, lengths)) - layer(signals, lengths)).max() > 0.1


@pytest.fixture
def waves(tmp_path, rng):
    """Ten records in two channels: a click among noise comes twice, near or far apart."""
    found = []
    for i in range(20):
        signal = 0.2 * rng.standard_normal((60, 2))
        start, gap = int(rng.integers(30)), (4, 16)[i % 2]
        signal[[start, start + gap], 1] += 3
        np.savez(tmp_path / f"{i}.npz", signal=signal.astype("float32"), rate=10)
        found.append(Example(str(tmp_path / f"{i}.npz"), 6.0, label=("near", "far")[i % 2], id=str(i)))
    return found


def test_a_few_examples_are_enough_and_the_model_is_one_file(waves, tmp_path):
    model = kernel_classifier(waves[:12], features=840, card={"task": "clicks"})
    signals = [np.load(example.path)["signal"] for example in waves[12:]]
    answers = model.probabilities(signals)
    assert [model.classes[k] for k in np.argmax(answers, -1)] == [example.label for example in waves[12:]]
    model.save(tmp_path / "m.keras")
    again = load_bundle(tmp_path / "m.keras", kind="classifier")
    np.testing.assert_allclose(again.probabilities(signals), answers, atol=1e-6)
    assert again.card["task"] == "clicks" and isinstance(again.network.layers[-1], keras.layers.Dense)
    session = load(model.export(tmp_path / "m.onnx"))
    np.testing.assert_allclose(session.probabilities(signals), answers, atol=0.02)  # a share may be off by a frame
    assert np.abs(session.probabilities([signals[0][:40]])[0] - model.probabilities([signals[0][:40]])[0]).max() < 0.02
    with pytest.raises(ValueError, match="needs a class for each example. Received: examples for 'frames'"):
        kernel_classifier([Example("a.npz", 1.0, labels=("a", "b"))])


def test_answers_for_examples_left_out_are_those_of_models_without_them(rng):
    shares, truth = rng.normal(size=(12, 30)), np.arange(12) % 3
    shares -= shares.mean(0)

    def outputs(learned):
        return RidgeClassifier(alpha=2.0).fit(shares[learned], truth[learned]).decision_function(shares)

    found = kernels._left_out(shares, outputs(np.arange(12)), truth.tolist(), 2.0)
    for i in range(12):
        np.testing.assert_allclose(found[i], outputs(np.delete(np.arange(12), i))[i], rtol=0, atol=1e-9)


def test_outputs_become_probabilities_that_are_as_often_right_as_they_say(rng):
    truth = np.zeros(4000, int)
    outputs = np.stack([rng.normal(0.2, 1, 4000), np.zeros(4000)], 1)  # the true factor of such outputs is 0.4
    for factor in (1.0, 10.0):
        scale = kernels._scale(outputs / factor, truth.tolist())
        assert scale / factor == pytest.approx(0.4, rel=0.25)
    certain = kernels._scale(np.array([[1.0, -1.0]] * 4), [0] * 4)
    assert 0.8 < 1 / (1 + np.exp(-2 * certain)) < 0.95
