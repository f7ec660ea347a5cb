"""A classifier's `.onnx` gives what Keras gives, for each kind of network, task and signal."""

import json

import keras
import numpy as np
import pytest
from test_classifier import VARIANTS

from speechrnn import cli, signals
from speechrnn.data import manifest
from speechrnn.data.manifest import Example
from speechrnn.export.writing import export
from speechrnn.features import BandPass, LogMel, LogSpectrogram, RawSignal, RobustScale
from speechrnn.models.loading import load_session
from speechrnn.tasks.classification.model import SequenceClassifier
from speechrnn.tasks.classification.network import recurrent_classifier
from speechrnn.tasks.classification.session import ClassifierSession
from speechrnn.tasks.recognition.session import RecognizerSession as Session

CLASSES = ("a", "b", "c")


def make(features, task="single", **options):
    keras.utils.set_random_seed(0)
    network = recurrent_classifier(
        num_features=features.num_features, num_classes=3, units=5, **{"pooling": "attention", **options}
    )
    rng = np.random.default_rng(1)
    network.set_weights([value + rng.uniform(0.05, 0.3, value.shape) for value in network.get_weights()])
    return SequenceClassifier(features, network, CLASSES, task=task, card={"origin": "test"})


def check_equals_keras(model, path, signals):
    session = ClassifierSession(export(model, path))
    for found, expected in zip(session.probabilities(signals), model.probabilities(signals), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    for name in ("sample_rate", "channels", "classes", "per_frame", "frame_period", "task", "card"):
        assert getattr(session, name) == getattr(model, name), name
    return session


@pytest.mark.parametrize("options", [options for options, _ in VARIANTS.values()], ids=VARIANTS)
@pytest.mark.parametrize("task", ["single", "frames"])
def test_networks_equal_keras(options, task, rng, tmp_path):
    features = RawSignal(50, window=6, hop=3, channels=2, normalize="utterance")
    model = make(features, task, **{**options, **({"pooling": None} if task == "frames" else {})})
    signals = [rng.normal(size=(n, 2)).astype("float32") for n in (90, 41, 6)]
    session = check_equals_keras(model, tmp_path / "a.onnx", signals)
    with pytest.raises(ValueError, match=r"must be \(samples, 2\)"):
        session.probabilities([signals[0][:, 0]])
    holed = signals[0].copy()
    holed[7, 1] = np.nan
    for one in (session, model):
        with pytest.raises(ValueError, match=r"must be finite.*nan\] at place 7 \(signal 1\)"):
            one.probabilities([signals[1], holed])
    if task == "single":
        with pytest.raises(ValueError, match="must have 6 samples or more. Received: 5"):
            session.probabilities([signals[0][:5]])


def test_sounds_and_several_classes_at_once(rng, tmp_path):
    model = make(LogMel(4000, num_mels=12, f_min=60), "multi", over="spectrum", convolutions=1, filters=3)
    check_equals_keras(model, tmp_path / "a.onnx", [rng.normal(size=n).astype("float32") for n in (3000, 1777, 100)])


@pytest.mark.parametrize("task", ["single", "frames"])
def test_spectrograms_of_several_channels_equal_keras(task, rng, tmp_path):
    features = LogSpectrogram(
        100, window=64, hop=16, channels=3, f_min=2, f_max=40, filters=[BandPass(100, low=1), RobustScale()]
    )
    model = make(features, task, over="spectrum", convolutions=1, filters=3,
                 **({"pooling": None} if task == "frames" else {}))  # fmt: skip
    check_equals_keras(model, tmp_path / "a.onnx", [rng.normal(size=(n, 3)).astype("float32") for n in (700, 301, 64)])


def test_kinds_of_models_are_told_apart(tmp_path):
    model = make(RawSignal(50, window=1, hop=1, channels=2))
    model.save(tmp_path / "a.keras")
    path = export(tmp_path / "a.keras")
    assert load_session(path).kind == load_session(tmp_path / "a.keras").kind == "classifier"
    assert (
        load_session(tmp_path / "a.keras", kind="classifier").classes
        == load_session(path, kind="classifier").classes
        == CLASSES
    )
    with pytest.raises(ValueError, match="must hold a recognizer of whole signals. Received: 'classifier'"):
        Session(path)
    with pytest.raises(ValueError, match="A SequenceClassifier cannot be written as one step"):
        export(model, tmp_path / "b.onnx", streaming=True)


@pytest.mark.parametrize("ending", ["keras", "onnx"])
def test_the_command_line_runs_a_real_file(ending, rng, tmp_path, capsys):
    model = make(RawSignal(50, window=1, hop=1, channels=2))
    model.save(tmp_path / "a.keras")
    export(tmp_path / "a.keras")
    signal = rng.normal(size=(90, 2)).astype("float32")
    signals.write(tmp_path / "a.npz", signal, 50)
    best = CLASSES[model.probabilities([signal])[0].argmax()]
    manifest.write(tmp_path / "m.jsonl", [Example(str(tmp_path / "a.npz"), 1.8, label=best)])
    assert cli.main(["classify", "--model", str(tmp_path / f"a.{ending}"), str(tmp_path / "a.npz")]) == 0
    assert capsys.readouterr().out.split("\t")[1] == best
    assert cli.main(["evaluate", "--model", str(tmp_path / f"a.{ending}"), str(tmp_path / "m.jsonl"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == 1.0
