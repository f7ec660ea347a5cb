"""Models in Keras's own `compile`, `fit` and `evaluate`: what they are given is used, or refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from speechrnn import (
    LanguageModel,
    LogMel,
    RawSignal,
    SequenceClassifier,
    SpeechRecognizer,
    Vocabulary,
    recurrent_classifier,
    recurrent_ctc,
    recurrent_lm,
)
from speechrnn.losses import CTC, ClassLoss
from speechrnn.tasks.classification.model import Accuracy
from speechrnn.tasks.recognition.model import TokenErrorRate


@pytest.fixture
def classifier():
    network = recurrent_classifier("gru", num_features=2, num_classes=2, units=3, layers=1)
    return SequenceClassifier(RawSignal(100, window=1, hop=1, channels=2), network, ["rest", "walk"])


@pytest.fixture
def recognizer():
    vocabulary = Vocabulary("ab")
    network = recurrent_ctc(num_features=10, vocabulary_size=len(vocabulary), units=3, layers=1)
    return SpeechRecognizer(LogMel(8000, num_mels=10, f_min=100), network, vocabulary)


@pytest.fixture
def signals(rng):
    x = {"signal": rng.normal(size=(6, 20, 2)).astype("float32"), "length": np.full(6, 20, "int32")}
    return x, np.array([0, 1, 0, 1, 1, 1])


@pytest.fixture
def speech(rng):
    x = {"signal": rng.normal(size=(3, 2000)).astype("float32"), "length": np.array([2000, 1500, 1900], "int32")}
    return x, np.array([[1, 2], [2, 0], [1, 0]])


def test_metrics_of_compile_are_counted(classifier, signals):
    x, y = signals
    again = Accuracy(name="again")
    classifier.compile("sgd", metrics=[again], weighted_metrics=[Accuracy(name="weighted")])
    weight = (y == 1).astype("float32")
    found = classifier.evaluate(x, y, sample_weight=weight, batch_size=4, verbose=0, return_dict=True)
    right = np.argmax(classifier.predict(x, verbose=0), -1) == y
    np.testing.assert_allclose(found["again"], right.mean(), rtol=1e-6)
    np.testing.assert_allclose([found["weighted"], found["accuracy"]], right[y == 1].mean(), rtol=1e-6)
    assert classifier.fit(x, y, verbose=0).history.keys() == {"loss", "accuracy", "again", "weighted"}


@pytest.mark.parametrize(
    "loss", ["mse", "sparse_categorical_crossentropy", CTC(), lambda y, p: 0.0], ids=["mse", "name", "loss", "function"]
)
def test_another_loss_is_refused_and_not_ignored(classifier, signals, loss):
    classifier.compile("sgd", loss=loss)
    with pytest.raises(ValueError, match=r"has its own loss. Leave `loss` out of `compile`, or .*ClassLoss\(...\)"):
        classifier.fit(*signals, verbose=0)


def test_classes_and_weights_in_any_shape_of_keras(classifier, signals):
    x, y = signals
    classifier.compile("sgd", loss=ClassLoss(smoothing=0.1))
    weight = np.arange(6.0)
    expected = classifier.evaluate(x, y, sample_weight=weight, verbose=0)
    for target in (y[:, None], np.eye(2)[y], y.astype("float32")):
        for weights in (weight, weight[:, None]):
            found = classifier.evaluate(x, target, sample_weight=weights, verbose=0)
            np.testing.assert_allclose(found, expected, rtol=1e-6)
    classifier.fit(x, y, class_weight={0: 1.0, 1: 2.0}, verbose=0)


def test_validation_needs_no_views(recognizer, speech):
    x, y = speech
    recognizer.compile("sgd", loss=CTC(consistency=0.5))
    found = recognizer.evaluate(x, y, batch_size=3, verbose=0, return_dict=True)["loss"]
    recognizer.compile("sgd", metrics=[TokenErrorRate(name="again")])
    weighted = recognizer.evaluate(x, y, sample_weight=np.array([1.0, 1.0, 0.0]), verbose=0, return_dict=True)
    shorter = {name: values[:2] for name, values in x.items()}
    assert weighted["loss"] == pytest.approx(recognizer.evaluate(shorter, y[:2], verbose=0)[0], rel=1e-5)
    np.testing.assert_allclose(found, recognizer.evaluate(x, y, batch_size=3, verbose=0, return_dict=True)["loss"])
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="utterances of the first half again"):
        recognizer.compile("sgd", loss=CTC(consistency=0.5))
        recognizer.fit(x, y, batch_size=3, verbose=0)


def test_token_errors_take_weights_of_any_shape(rng):
    target, logits = np.array([[1, 2], [3, 0], [1, 3]]), rng.normal(size=(3, 6, 4)).astype("float32")
    found = []
    for weight in ([1.0, 0.0, 0.5], [[1.0], [0.0], [0.5]]):
        rate = TokenErrorRate()
        rate.update_state(target, logits, np.array(weight, "float32"))
        found.append(float(rate.result()))
    assert found[0] == found[1]


def test_what_layers_add_is_part_of_every_loss():
    vocabulary = Vocabulary("ab")
    network = recurrent_lm("gru", vocabulary_size=len(vocabulary), units=4, layers=1)
    model = LanguageModel(network, vocabulary)
    x = {"ids": np.array([[0, 1, 2], [0, 2, 0]], "int32"), "length": np.array([3, 2], "int32")}
    y = np.array([[1, 2, 0], [2, 0, 0]])
    each = losses_of(model, x, y)
    weighted = float(model.compute_loss(x, y, model(x), np.array([1.0, 0.0])))
    np.testing.assert_allclose(weighted, each[0].mean(), rtol=1e-5)
    layer = next(one for one in network.layers if isinstance(one, keras.layers.Dense))
    plain = float(model.compute_loss(x, y, model(x)))
    layer.kernel.regularizer = keras.regularizers.L2(1.0)
    added = float(tf.reduce_sum(tf.square(layer.kernel.value)))
    np.testing.assert_allclose(float(model.compute_loss(x, y, model(x))), plain + added, rtol=1e-5)


def losses_of(model, x, y):
    found = keras.losses.sparse_categorical_crossentropy(y, model(x), from_logits=True).numpy()
    return [row[:count] for row, count in zip(found, x["length"], strict=True)]
