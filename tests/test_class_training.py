"""Training of classifiers: targets from manifests, one class, several or one a frame, and what the options do."""

import dataclasses

import keras
import numpy as np
import pytest

from speechrnn import audio, pipeline
from speechrnn.data.manifest import Example
from speechrnn.faults import Faults
from speechrnn.features import Augmentation, LogMel, RawSignal
from speechrnn.models.loading import load_bundle
from speechrnn.pipeline import plan_of
from speechrnn.pipeline.targets import balanced
from speechrnn.tasks.classification.model import SequenceClassifier
from speechrnn.tasks.classification.network import recurrent_classifier
from speechrnn.tasks.classification.options import ClassifierTraining
from speechrnn.tasks.classification.training import ClassifierTask, class_weights
from speechrnn.tasks.recognition.options import RecognizerTraining
from speechrnn.training import TrainingOptions, train

RATE, CLASSES = 50, ("calm", "fast", "slow")
FREQUENCIES = {"fast": (6.0, 9.0), "slow": (1.0, 2.0)}


def wave(kind, size, rng):
    """Two channels of noise, with a sine of the kind's frequencies in one of them."""
    signal = 0.3 * rng.normal(size=(size, 2))
    if kind in FREQUENCIES:
        turns = rng.uniform(*FREQUENCIES[kind]) * np.arange(size) / RATE + rng.random()
        signal[:, rng.integers(2)] += np.sin(2 * np.pi * turns)
    return signal


def records(folder, count, seed):
    """Records of one kind each, and of tags; every third is of another length."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        kind, size = CLASSES[i % 3], int(rng.integers(60, 120))
        path = folder / f"{seed}-{i}.npz"
        np.savez(path, signal=wave(kind, size, rng).astype("float32"), rate=float(RATE))
        tags = [] if kind == "calm" else [kind]
        made.append(Example(str(path), size / RATE, label=kind, extra={"tags": tags}))
    return made


def streams(folder, count, seed):
    """Records whose kind changes, with the last piece unlabeled."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        kinds, sizes = rng.choice(CLASSES, 4), rng.integers(50, 90, 4)
        signal = np.concatenate([wave(kind, size, rng) for kind, size in zip(kinds, sizes, strict=True)])
        ends = np.cumsum(sizes) / RATE
        labels = [(end - size / RATE, end, kind) for end, size, kind in zip(ends, sizes, kinds, strict=True)]
        path = folder / f"stream-{seed}-{i}.npz"
        np.savez(path, signal=signal.astype("float32"), rate=float(RATE))
        made.append(Example(str(path), len(signal) / RATE, labels=tuple(labels[:3])))
    return made


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("waves")
    return records(folder, 48, 0), records(folder, 24, 1)


def make(task="single", classes=CLASSES, seed=3, **options):
    keras.utils.set_random_seed(seed)
    features = RawSignal(RATE, window=1, hop=1, channels=2, normalize="utterance")
    network = recurrent_classifier(
        num_features=2, num_classes=len(classes), units=8, filters=8, convolutions=2, kernel=5, dropout=0.1,
        pooling=None if task == "frames" else "attention", **options,
    )  # fmt: skip
    return SequenceClassifier(features, network, classes, task=task)


OPTIONS = ClassifierTraining(epochs=4, batch_size=8, learning_rate=1e-2, average=0.9)


@pytest.mark.slow
def test_learns_one_class_a_record_and_saves_the_best(corpus, tmp_path, capsys):
    run = train(make(), corpus[0] * 3, valid=corpus[1], options=OPTIONS, out=tmp_path / "a.keras")
    best = max(run.history, key=lambda row: (row["val_macro_f1"], -row["epoch"]))
    assert run.best_epoch == best["epoch"]
    assert best["val_accuracy"] > 0.8
    model = run.model
    found = model.probabilities([np.load(e.path)["signal"] for e in corpus[1]])
    right = [CLASSES[p.argmax()] == e.label for p, e in zip(found, corpus[1], strict=True)]
    assert np.mean(right) == pytest.approx(best["val_accuracy"])
    err = capsys.readouterr().err
    assert "epoch 4/4" in err and f"accuracy {run.history[-1]['val_accuracy']:.1%}" in err


@pytest.mark.slow
def test_learns_several_classes_at_once(corpus, tmp_path):
    model = make("multi", ("fast", "slow"))
    run = train(model, corpus[0] * 3, valid=corpus[1], options=OPTIONS, out=tmp_path / "a.keras", verbose=False)
    assert max(row["val_accuracy"] for row in run.history) > 0.85
    found = np.array(run.model.probabilities([np.load(e.path)["signal"] for e in corpus[1]]))
    truth = np.array([["fast" in e.extra["tags"], "slow" in e.extra["tags"]] for e in corpus[1]])
    assert np.mean((found > 0.5) == truth) == pytest.approx(max(row["val_accuracy"] for row in run.history), abs=0.1)


@pytest.mark.slow
def test_learns_a_class_a_frame(tmp_path):
    examples, valid = streams(tmp_path, 32, 0), streams(tmp_path, 8, 1)
    run = train(make("frames"), examples * 3, valid=valid, options=OPTIONS, out=tmp_path / "a.keras", verbose=False)
    assert max(row["val_accuracy"] for row in run.history) > 0.65
    model = run.model
    (found,) = model.probabilities([np.load(valid[0].path)["signal"]])
    times = (np.arange(len(found)) + 0.5) * model.frame_period
    right = [
        CLASSES[row.argmax()] == kind
        for time, row in zip(times, found, strict=True)
        for start, end, kind in valid[0].labels
        if start <= time < end
    ]
    assert np.mean(right) > 0.6


def test_a_sound_is_classified_by_its_spectrum(tmp_path, rng):
    examples = []
    for i in range(24):
        time = np.arange(3000 + 400 * (i % 3)) / 8000
        samples = 0.3 * np.sin(2 * np.pi * (400 if i % 2 else 1500) * time) + 0.01 * rng.normal(size=len(time))
        audio.write(tmp_path / f"{i}.wav", samples.astype("float32"), 8000)
        examples.append(Example(str(tmp_path / f"{i}.wav"), len(time) / 8000, label="low" if i % 2 else "high"))
    features = LogMel(8000, num_mels=16, f_min=100, normalize="global")  # "utterance" would take a steady tone away
    features.adapt(audio.read(example.path)[0] for example in examples)
    keras.utils.set_random_seed(0)
    network = recurrent_classifier(
        num_features=16, num_classes=2, over="spectrum", convolutions=2, filters=4, units=8, pooling="mean"
    )
    model = SequenceClassifier(features, network, ["high", "low"])
    options = ClassifierTraining(epochs=8, batch_size=8, learning_rate=1e-2, monitor="accuracy", mixup=0.2)
    augmentation = Augmentation(feature_noise=0.1, time_masks=1, time_mask_frames=5)
    run = train(
        model, examples[:16], valid=examples[16:], options=options, augment=augmentation,
        out=tmp_path / "a.keras", verbose=False,
    )  # fmt: skip
    assert max(row["val_accuracy"] for row in run.history) == 1.0


# Targets


def frame_targets(example, stride=1, window=1, hop=1, **options):
    features = RawSignal(10, window=window, hop=hop, channels=1)
    dataset = pipeline.batches([example], features, classes=["a", "b"], task="frames", stride=stride, **options)
    ((_, target, _),) = list(dataset)
    return target.numpy()[0].tolist()


def test_a_frame_has_the_class_at_its_middle(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, signal=np.zeros((20, 1), "float32"), rate=10.0)
    example = Example(str(path), 2.0, labels=((0, 0.5, "a"), (1.0, 1.5, "b")))
    assert frame_targets(example) == [0] * 5 + [-1] * 5 + [1] * 5 + [-1] * 5
    # Frames of 4 samples every 2: middles at 0.2, 0.4, ... s.
    assert frame_targets(example, window=4, hop=2) == [0, 0, -1, -1, 1, 1, 1, -1, -1]
    # The same, two at a time: middles at 0.3, 0.7, 1.1, 1.5 s; the last one is within the signal, past every label.
    assert frame_targets(example, window=4, hop=2, stride=2) == [0, -1, 1, -1, -1]
    listed = Example(str(path), 2.0, labels=("a", None, "b", "b"))
    assert frame_targets(listed) == [0] * 5 + [-1] * 5 + [1] * 10


def test_records_of_several_rates_are_brought_to_the_models(tmp_path):
    examples = []
    for rate in (100, 200):
        times = np.arange(4 * rate) / rate
        signal = np.sin(2 * np.pi * 3 * times).astype("float32")[:, None]
        np.savez(tmp_path / f"{rate}.npz", signal=signal, rate=float(rate))
        examples.append(Example(str(tmp_path / f"{rate}.npz"), 4.0, label="a", extra={"rate": rate}))
    features = RawSignal(100, window=1, hop=1, channels=1, normalize=None)
    ((x, _, _),) = list(pipeline.batches(examples, features, classes=["a"], batch_size=2))
    assert x["frames"].numpy().tolist() == [400, 400]
    slow, fast = x["features"].numpy()[:, 20:380]
    np.testing.assert_allclose(slow, fast, atol=0.02)


@pytest.mark.slow
def test_training_says_who_is_in_both_splits(corpus, tmp_path, capsys):
    def of(subjects):
        return [dataclasses.replace(e, subject=s) for e, s in zip(corpus[0][:9], subjects * 9, strict=False)]

    def stop(logs):
        raise KeyboardInterrupt

    at_once = keras.callbacks.LambdaCallback(on_train_begin=stop)
    for name, people, said in (("leak", ["ann"], True), ("clean", ["bob"], False)):
        train(make(), of(["ann"]), valid=of(people), out=tmp_path / f"{name}.keras", callbacks=[at_once])
        assert ("warning:" in (err := capsys.readouterr().err)) == said and ("ann" in err) == said


def test_classes_of_frames_follow_the_speed(tmp_path):
    path = tmp_path / "x.wav"
    audio.write(path, np.zeros(8000, "float32"), 8000)
    example = Example(str(path), 1.0, labels=((0, 0.5, "a"), (0.5, 1.0, "b")))
    dataset = pipeline.batches(
        [example], RawSignal(8000, window=80, hop=80), classes=["a", "b"], task="frames",
        augmentation=Augmentation(speed=(0.8, 0.8)),
    )  # fmt: skip
    ((x, target, _),) = list(dataset)
    assert int(x["frames"][0]) == 125
    assert np.abs(np.flatnonzero(target.numpy()[0] == 1)[0] - 62) <= 1 and (target.numpy()[0][:62] == 0).all()


def test_ragged_rows_are_padded_with_no_class(tmp_path):
    examples = streams(tmp_path, 5, 2)
    features = RawSignal(RATE, window=1, hop=1, channels=2)
    dataset = pipeline.batches(examples, features, classes=CLASSES, task="frames", stride=4, batch_size=5, buckets=1)
    ((x, target, _),) = list(dataset)
    assert x["features"].shape == (5, x["features"].shape[1], 2)
    assert target.shape[1] == -(-x["features"].shape[1] // 4)
    for row, frames in zip(target.numpy(), x["frames"].numpy(), strict=True):
        assert (row[-(-frames // 4) :] == -1).all() and (row >= 0).sum() > 30


def test_signals_are_read_as_the_manifest_says(tmp_path):
    path = tmp_path / "x.npz"
    signal = np.arange(60, dtype="float32").reshape(20, 3)
    np.savez(path, signal=signal, rate=10.0)
    example = Example(str(path), 1.0, label="a", offset=0.5, extra={"channels": [2, 0]})
    for cache in (None, "memory", str(tmp_path / "cache"), str(tmp_path / "cache")):
        dataset = pipeline.batches([example], RawSignal(10, window=1, hop=1, channels=2), classes=["a"], cache=cache)
        ((x, target, _),) = list(dataset)
        np.testing.assert_array_equal(x["features"][0], signal[5:15][:, [2, 0]])
        assert target.numpy().tolist() == [0] * 16


def test_examples_without_a_usable_class_are_named(tmp_path):
    path = str(tmp_path / "x.npz")
    np.savez(path, signal=np.zeros((20, 1), "float32"), rate=10.0)
    features, faults = RawSignal(10, window=1, hop=1, channels=1), Faults()
    good = Example(path, 2.0, labels=((0, 1, "a"),), id="good")
    bad = [
        Example(path, 2.0, id="none"),
        Example(path, 2.0, labels=((0, 1, "c"),), id="unknown"),
        Example(path, 2.0, labels=((3, 4, "a"),), id="after"),
    ]
    with pytest.raises(ValueError, match=r"`labels` must be classes, or stretches \[start, end, class\]"):
        Example(path, 2.0, labels=((1, "a"),))
    pipeline.batches([good, *bad], features, classes=["a", "b"], task="frames", faults=faults)
    kinds = {fault.where: fault.kind for fault in faults}
    assert kinds == {
        "none": "without labels", "unknown": "with an unknown label", "after": "with labels outside the record",
    }  # fmt: skip
    faults = Faults()
    tagged = [Example(path, 2.0, extra={"tags": tags}, id=str(tags)) for tags in ([], ["b", "a"], ["c"], "a")]
    dataset = pipeline.batches(tagged, features, classes=["a", "b"], task="multi", faults=faults, batch_size=2)
    assert {fault.where for fault in faults} == {"['c']", "a"}
    ((_, target, _),) = list(dataset)
    assert target.dtype == "float32" and sorted(target.numpy().tolist()) == [[0, 0], [1, 1]]


def test_a_signal_with_fewer_channels_is_named(tmp_path):
    for name, channels in (("a", 2), ("b", 1)):
        np.savez(tmp_path / f"{name}.npz", signal=np.ones((20, channels), "float32"), rate=10.0)
    examples = [Example(str(tmp_path / f"{name}.npz"), 2.0, label="x") for name in "ab"]
    faults = Faults()
    features = RawSignal(10, window=1, hop=1, channels=2)
    ((_, _, weight),) = list(pipeline.batches(examples, features, classes=["x"], batch_size=2, faults=faults))
    assert sorted(weight.numpy()) == [0, 1] and {fault.where for fault in faults} == {"b"}


# Options


def test_rare_classes_are_repeated_with_an_augmentation_of_their_own(tmp_path):
    examples = records(tmp_path, 30, 5)
    examples = [e for e in examples if e.label == "calm"] + [e for e in examples if e.label == "fast"][:3]
    features = RawSignal(RATE, window=1, hop=1, channels=2)
    dataset = pipeline.batches(
        examples, features, classes=CLASSES, balance=1.0, batch_size=20, buckets=1, shuffle=True,
        augmentation=Augmentation(feature_noise=0.1),
    )  # fmt: skip
    entries = plan_of(dataset).entries
    assert [sum(int(e.target) == k for e in entries) for k in (0, 1)] == [10, 10]
    ((x, target, weight),) = list(dataset)
    assert np.bincount(target.numpy()).tolist() == [10, 10] and weight.numpy().all()
    assert len({row.tobytes() for row in x["features"].numpy()}) == 20
    assert len(balanced(entries[:13], 0.5, 0)) == 10 + round(3 * (10 / 3) ** 0.5)


def test_mixup_mixes_rows_and_targets_alike(tmp_path):
    values = {"a": 1.0, "b": 3.0}
    for name, value in values.items():
        np.savez(tmp_path / f"{name}.npz", signal=np.full((20, 1), value, "float32"), rate=10.0)
    examples = [
        Example(str(tmp_path / f"{name}.npz"), 2.0, label=name, id=f"{name}{i}") for i in range(8) for name in "ab"
    ]
    features = RawSignal(10, window=1, hop=1, channels=1)
    options = {"classes": ["a", "b"], "mixup": 1.0, "batch_size": 16, "shuffle": True, "seed": 4}
    ((x, target, _),) = list(pipeline.batches(examples, features, **options))
    np.testing.assert_allclose(target.numpy().sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(x["features"].numpy()[:, 7, 0], target.numpy() @ [1.0, 3.0], rtol=1e-5)
    assert 3 <= ((target.numpy() > 0.01) & (target.numpy() < 0.99)).any(1).sum() < 16
    ((again, _, _),) = list(pipeline.batches(examples, features, **options))
    np.testing.assert_array_equal(again["features"], x["features"])


def test_class_weights(corpus):
    features = RawSignal(RATE, window=1, hop=1, channels=2)
    examples = [e for e in corpus[0] if e.label == "calm"] + [e for e in corpus[0] if e.label == "fast"][:4]
    entries = plan_of(pipeline.batches(examples, features, classes=CLASSES, task="single")).entries
    assert class_weights(("balanced",), CLASSES, entries) == pytest.approx([20 / 32, 20 / 8, 1])
    root = class_weights(("sqrt",), CLASSES, entries)
    assert root[1] / root[0] == pytest.approx(2) and 16 * root[0] + 4 * root[1] == pytest.approx(20)
    given = ClassifierTraining(class_weights={"fast": 2.5}).class_weights
    assert class_weights(given, CLASSES, entries) == [1, 2.5, 1]
    with pytest.raises(ValueError, match="Received: 'fats=2'. Did you mean `fast`"):
        class_weights(("fats=2",), CLASSES, entries)
    assert ClassifierTraining.from_json(ClassifierTraining(class_weights="sqrt").to_json()).class_weights == ("sqrt",)


def test_scores_are_scikit_learns(corpus, rng):
    from sklearn.metrics import accuracy_score, f1_score

    model = make()
    for weight in model.network.weights:
        weight.assign(rng.normal(size=weight.shape) if "variance" not in weight.path else np.ones(weight.shape))
    dataset = pipeline.batches(corpus[1], model.features, classes=CLASSES, task="single", batch_size=7)
    score = ClassifierTask(model, None).scorer(dataset)()
    examples = [example for batch in plan_of(dataset).examples() for example in batch]
    found = [CLASSES[p.argmax()] for p in model.probabilities([np.load(e.path)["signal"] for e in examples])]
    truth = [example.label for example in examples]
    assert score.accuracy == pytest.approx(accuracy_score(truth, found))
    assert score.macro_f1 == pytest.approx(f1_score(truth, found, average="macro"))


def test_options_of_another_kind_of_model_are_refused(corpus, tmp_path):
    for options, error, message in (
        (RecognizerTraining(), TypeError, "RecognizerTraining is not for a classifier. Pass ClassifierTraining, or"),
        (TrainingOptions(monitor="wer"), ValueError, "`monitor` must be one of auto, macro_f1, accuracy, loss"),
    ):
        with pytest.raises(error, match=message):
            train(make(), corpus[0], options=options, out=tmp_path / "a.keras")
    with pytest.raises(ValueError, match="`mixup` needs one class per example"):
        train(
            make("frames"), streams(tmp_path, 2, 9), options=ClassifierTraining(mixup=0.1), out=tmp_path / "b.keras",
            verbose=False,
        )  # fmt: skip


def test_the_verb_finds_rate_channels_and_classes_in_the_manifest(tmp_path, capsys):
    from speechrnn import cli
    from speechrnn.data import manifest

    manifest.write(tmp_path / "m.jsonl", records(tmp_path, 9, 7))
    words = ["train", str(tmp_path / "m.jsonl"), "--task", "classify", "--out", str(tmp_path / "a.keras")]
    words += ["--valid", str(tmp_path / "m.jsonl"), "--epochs", "1", "--units", "4", "--filters", "4", "--kernel", "3"]
    assert cli.main(words) == 0
    assert "validation accuracy" in capsys.readouterr().out
    model = load_bundle(tmp_path / "a.keras", kind="classifier")
    assert (model.sample_rate, model.channels, model.classes, model.task) == (RATE, 2, ("fast", "slow"), "multi")
    assert np.isfinite(model.features.mean).all()
    assert cli.main([*words, "--stack", "2", "--overwrite"]) == 2
    assert "--stack: an option of --task transcribe" in capsys.readouterr().err


def test_classes_of_frames_refuse_what_they_cannot_follow(tmp_path):
    examples = streams(tmp_path, 2, 1)
    features = RawSignal(RATE, window=1, hop=1, channels=2)
    with pytest.raises(ValueError, match="cannot follow a time warp or a crop"):
        pipeline.batches(examples, features, classes=CLASSES, task="frames", augmentation=Augmentation.sensor())
    augmentation = Augmentation.sensor(time_warp=0.0)
    pipeline.batches(examples, features, classes=CLASSES, task="frames", augmentation=augmentation)
