"""`speechrnn doctor`: what is slow or would be dropped is named, with what to change, and nothing else is."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from speechrnn import audio, layers
from speechrnn.cli import main
from speechrnn.data import manifest
from speechrnn.data.manifest import Example
from speechrnn.features import LogMel
from speechrnn.pipeline import batches, plan_of
from speechrnn.tasks.recognition.network import recurrent_ctc
from speechrnn.text import Vocabulary
from speechrnn.training.diagnostics import examine, examine_batches

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def stock(dtype=None):
    """What somebody's own Keras model looks like: stock layers, a mask from values, half-precision output."""
    return keras.Sequential(
        [
            keras.Input((None, 4)),
            keras.layers.Masking(dtype=dtype),
            keras.layers.Bidirectional(keras.layers.LSTM(3, return_sequences=True, dtype=dtype), name="both"),
            keras.layers.Dense(2, dtype=dtype),
        ],
        name="theirs",
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    examples = []
    for i, seconds in enumerate(np.exp(rng.normal(-1.5, 0.7, 60))):
        samples = (0.1 * rng.normal(size=int(8000 * seconds) + 400)).astype("float32")
        audio.write(folder / f"{i}.wav", samples, 8000)
        examples.append(Example(path=str(folder / f"{i}.wav"), duration=len(samples) / 8000, text="ab", id=str(i)))
    return examples


def test_a_stock_model_is_told_what_to_change():
    report = examine(stock("mixed_float16"), batch_size=2, frames=10)
    assert report.output_dtype == "float16" and not report.ok
    (layer,) = report.layers
    assert layer.path.path == "keras" and layer.dtype == "float16"
    assert layer.parameters == 2 * 4 * (4 + 3 + 1) * 3
    assert layer.frames_per_second > 0
    for words in ("use speechrnn.layers.LSTM", 'dtype="float32"', "LengthMask"):
        assert any(words in line for line in report.advice), words


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="a GPU takes cuDNN")
@pytest.mark.parametrize("dtype", [None, "mixed_bfloat16"])
def test_our_network_has_nothing_to_change(dtype):
    model = recurrent_ctc("gru", num_features=8, vocabulary_size=4, units=4, layers=2, convolutions=1, dtype=dtype)
    before = [v.numpy() for v in model.variables]
    report = examine(model, batch_size=2, frames=30)
    assert report.ok and report.output_dtype == "float32"
    assert [layer.path.path for layer in report.layers] == ["scan", "scan"]
    assert "right-padded" in report.masks
    for a, b in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(a.numpy(), b)


def test_layers_whose_steps_are_no_vectors_are_not_timed():
    network = keras.Sequential([keras.Input((5, 8, 8, 1)), keras.layers.ConvLSTM2D(2, 3, name="images")])
    (found,) = examine(network, frames=5).layers
    assert (found.path.kind, found.frames_per_second) == ("keras.layers.ConvLSTM2D", None)


def test_a_stateful_layer_is_timed_without_touching_its_state():
    layer = layers.GRU(3, stateful=True)
    model = keras.Sequential([keras.Input(batch_shape=(2, 5, 4)), layer])
    model(np.ones((2, 5, 4), "float32"))
    kept = layer.states[0].numpy()
    assert examine(model, batch_size=3, frames=7).layers[0].frames_per_second > 0
    np.testing.assert_array_equal(layer.states[0].numpy(), kept)


def test_the_plan_is_the_pipelines_own(corpus):
    """Batches, shapes and padding are those that `batches` makes, counted in its dataset."""
    features, vocabulary = LogMel(8000, num_mels=8, window=200, hop=80), Vocabulary("ab")
    report = examine_batches(
        corpus, vocabulary=vocabulary, frame_count=features.frame_count, sample_rate=8000, batch_size=8, buckets=3
    )
    dataset = batches(corpus, features, vocabulary, batch_size=8, buckets=3)
    assert report.plan.batches == len(dataset)
    assert report.plan.efficiency == pytest.approx(plan_of(dataset).padding_efficiency())
    assert len({tuple(x["features"].shape) for x, _, _ in dataset}) == len(report.plan.shapes)
    assert report.plan.sizes == 1
    assert report.usable == 60 and report.durations["longest"] == max(e.duration for e in corpus)


def test_another_plan_is_named_only_where_it_pads_less(corpus):
    poor = examine_batches(corpus, sample_rate=8000, window=200, hop=80, batch_size=8, buckets=1)
    assert any("is padding; with" in line for line in poor.advice)
    best = max(poor.alternatives, key=lambda plan: plan.efficiency)
    assert best.efficiency > poor.plan.efficiency
    alike = [Example(path=e.path, duration=0.5, text="ab") for e in corpus[:16]]
    assert not examine_batches(alike, sample_rate=8000, window=200, hop=80).advice


def test_what_would_be_dropped_is_counted_by_kind(corpus, tmp_path):
    bad = [
        Example(path=str(tmp_path / "gone.wav"), duration=1.0, text="a", id="gone"),
        Example(path=corpus[0].path, duration=0.05, text="ab" * 50, id="dense"),
        Example(path=corpus[0].path, duration=900.0, text="ab", id="endless"),
    ]
    report = examine_batches([*corpus, *bad], sample_rate=8000, window=200, hop=80, max_duration=20.0)
    assert report.counts == {"missing": 1, "too short for their text": 1, "too long": 1}
    assert report.examples == 63 and report.usable == 60 and not report.ok
    nothing = examine_batches(bad, sample_rate=8000, max_duration=20.0)
    assert nothing.plan is None and nothing.usable == 0


def test_the_longest_are_named_when_they_decide_the_memory(corpus):
    long = Example(path=corpus[0].path, duration=60.0, text="ab", id="long")
    report = examine_batches([*corpus, long], sample_rate=8000, window=200, hop=80)
    assert any("1 examples last more than twice" in line and "max_duration" in line for line in report.advice)


def test_the_verb_on_a_model(tmp_path, capsys):
    path = str(tmp_path / "theirs.keras")
    stock().save(path)
    assert main(["doctor", "--model", path, "--batch-size", "2", "--frames", "5"]) == 1
    out = capsys.readouterr().out
    assert "Bidirectional keras.layers.LSTM" in out and "change: both: use speechrnn.layers.LSTM" in out
    assert main(["doctor", "--model", path, "--json", "--batch-size", "2", "--frames", "5"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["layers"][0]["path"] == "keras" and report["layers"][0]["gpu_obstacles"] == []
    assert report["ok"] is False


def test_the_verb_on_a_manifest(corpus, tmp_path, capsys):
    path = tmp_path / "m.jsonl"
    manifest.write(path, corpus)
    options = ["--sample-rate", "8000", "--window", "200", "--hop", "80"]
    assert main(["doctor", str(path), *options]) == 0
    assert "60 examples, 60 usable" in capsys.readouterr().out
    gone = [Example(path=str(tmp_path / "gone.wav"), duration=1.0, text="ab")]
    manifest.write(tmp_path / "n.jsonl", [*corpus, *gone])
    assert main(["doctor", str(tmp_path / "n.jsonl"), "--json", *options]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["counts"] == {"missing": 1} and report["plan"]["efficiency"] > 0.5


def test_wrong_usage_is_2(corpus, tmp_path, capsys):
    assert main(["doctor", "--model", str(tmp_path / "no.keras")]) == 2
    assert "no such model file" in capsys.readouterr().err
    assert main(["doctor", "--model", str(tmp_path / "no.keras"), "--hop", "80"]) == 2
    assert "--hop is an option of a manifest" in capsys.readouterr().err
    (tmp_path / "bad.keras").write_text("x")
    assert main(["doctor", "--model", str(tmp_path / "bad.keras")]) == 2
