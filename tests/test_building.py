"""A new model for a manifest: what it learns, its rate, channels and features follow from the data."""

import numpy as np
import pytest
from fakes import record

from speechrnn.data.manifest import Example
from speechrnn.features import LogMel, RawSignal
from speechrnn.tasks.classification import building as classification
from speechrnn.tasks.forecasting import building as forecasting
from speechrnn.tasks.language import building as language
from speechrnn.tasks.recognition import building as recognition

SMALL = {"units": 4, "layers": 1}


@pytest.fixture
def spoken(tmp_path):
    texts = {"one": "bad cab", "two": "jig"}
    return [Example(record(tmp_path / f"{name}.wav", text), 0.4, text=text, label=name) for name, text in texts.items()]


@pytest.fixture
def sensed(tmp_path, rng):
    """Records of two channels at 50 Hz with classes in time."""
    path = tmp_path / "a.npz"
    np.savez(path, signal=rng.normal(3.0, 2.0, (400, 2)).astype("float32"), rate=50.0)
    return [Example(str(path), 8.0, labels=((0.0, 4.0, "rest"), (4.0, 8.0, "run")))]


def test_a_recognizer_writes_what_the_texts_have(spoken):
    model = recognition.for_manifest(spoken, sample_rate=8000, features={"num_mels": 12}, **SMALL)
    assert model.vocabulary.symbols == tuple(" abcdgij")
    assert (model.sample_rate, model.features.num_features) == (8000, 12)
    assert recognition.for_manifest(spoken, **SMALL).sample_rate == 16000


def test_global_statistics_are_measured_on_what_can_be_read(spoken):
    model = recognition.for_manifest([*spoken, Example("gone.wav", 1.0, text="a")], features={"normalize": "global"})
    assert np.ptp(model.features.mean.numpy()) > 0


def test_a_layer_is_adapted_once(spoken):
    layer = LogMel(8000, num_mels=8, normalize="global")
    for _ in range(2):
        assert recognition.for_manifest(spoken, features=layer, **SMALL).features is layer
        assert np.isfinite(layer.mean.numpy()).all()
        layer.mean.assign(np.full(8, 3.0))
    assert (layer.mean.numpy() == 3.0).all()


def test_a_classifier_of_sounds_hears_log_mel_energies_with_their_level(spoken):
    model = classification.for_manifest(spoken, **SMALL, filters=4)
    assert (model.classes, model.task) == (("one", "two"), "single")
    assert isinstance(model.features, LogMel) and model.features.normalize == "global"
    assert model.sample_rate == 16000


def test_a_classifier_of_signals_reads_all_channels_at_their_rate(sensed):
    model = classification.for_manifest(sensed, **SMALL, filters=4)
    assert (model.classes, model.task) == (("rest", "run"), "frames")
    assert isinstance(model.features, RawSignal)
    assert (model.sample_rate, model.features.channels) == (50, 2)
    np.testing.assert_allclose(model.features.mean.numpy(), 3.0, atol=0.4)
    with pytest.raises(ValueError, match=r"num_mels: for sounds only. Received: .*a.npz"):
        classification.for_manifest(sensed, features={"num_mels": 4})


@pytest.mark.parametrize(
    ("labels", "message"),
    [({}, "neither `label`, `labels` nor `tags`"), ({"label": "a"}, "two or more classes. Received: \\['a'\\]")],
)
def test_classes_are_needed(labels, message):
    with pytest.raises(ValueError, match=message):
        classification.for_manifest([Example("a.wav", 1.0, **labels)])


def test_a_forecaster_has_the_rate_channels_and_scale_of_its_series(sensed):
    model = forecasting.for_manifest(sensed, context=24, horizon=6, quantiles=(0.25, 0.5), segment=6, units=4)
    assert (model.sample_rate, model.channels, model.context, model.horizon) == (50, 2, 24, 6)
    assert model.quantiles == (0.25, 0.5)
    assert model.card["channels"] == ["0", "1"]
    np.testing.assert_allclose(model.features.std.numpy(), 2.0, atol=0.4)
    with pytest.raises(ValueError, match="at least one series"):
        forecasting.for_manifest([], context=24, horizon=6)


def test_a_language_model_writes_the_characters_of_its_texts(spoken):
    for examples in (spoken, [example.text for example in spoken]):
        assert language.for_manifest(examples, **SMALL).vocabulary.symbols == tuple(" abcdgij")
    other = recognition.vocabulary_of([Example("a.wav", 1.0, text="xyz")])
    assert language.for_manifest(spoken, vocabulary=other, **SMALL).vocabulary is other
