"""Random kernels: the shares of a plain loop, padding that never matters, a model from few examples in one file."""

import itertools

import keras
import numpy as np
import pytest

from pipelines import ucr_kernels
from speechrnn.data.manifest import Example
from speechrnn.layers import RandomKernels
from speechrnn.models.loading import load_bundle
from speechrnn.tasks.classification import kernel_classifier

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
    with pytest.raises(ValueError, match="needs a class for each example. Received: examples for 'frames'"):
        kernel_classifier([Example("a.npz", 1.0, labels=("a", "b"))])


@pytest.mark.slow
def test_the_recipe_scores_the_test_set_or_folds(tmp_path, rng, capsys):
    folder = tmp_path / "Waves"
    folder.mkdir()
    for split, count in (("TRAIN", 10), ("TEST", 6)):
        rows = [
            [i % 2, *np.sin((0.3 + 0.5 * (i % 2)) * np.arange(40)) + 0.3 * rng.normal(size=40)] for i in range(count)
        ]
        np.savetxt(folder / f"Waves_{split}.tsv", rows, delimiter="\t")
    given = {"seeds": (1, 2), "features": 168}
    report = ucr_kernels.main(str(tmp_path), ["Waves"], str(tmp_path / "out"), **given)["Waves"]
    assert len(report.records) == 12 and report.accuracy > 0.8 and (tmp_path / "out" / "Waves_2.keras").exists()
    report = ucr_kernels.main(str(tmp_path), ["Waves"], str(tmp_path / "out"), True, **given)["Waves"]
    assert len(report.records) == 20 and "VALIDATION Waves: accuracy" in capsys.readouterr().out
