"""Training: it learns, keeps the best, says what it dropped, and goes on after a kill as if nothing had happened."""

import csv
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from speechrnn import audio, pipeline
from speechrnn.data.manifest import Example
from speechrnn.faults import Faults
from speechrnn.features import Augmentation, LogMel, RawSignal
from speechrnn.layers import LengthMask, MaskedPooling
from speechrnn.losses import CTC
from speechrnn.models.loading import load_bundle
from speechrnn.tasks.classification.model import SequenceClassifier
from speechrnn.tasks.classification.options import ClassifierTraining
from speechrnn.tasks.language.model import LanguageModel
from speechrnn.tasks.language.options import LanguageTraining
from speechrnn.tasks.recognition.model import SpeechRecognizer
from speechrnn.tasks.recognition.network import recurrent_ctc
from speechrnn.tasks.recognition.options import RecognizerTraining
from speechrnn.text import Vocabulary
from speechrnn.training import GuardedAdamW, TrainingOptions, train
from speechrnn.training.optimizer import averaged_weights
from speechrnn.training.options import promoted

RATE = 8000
TONES = {"a": 400.0, "b": 900.0, "c": 1800.0}


def tones(folder, count, seed):
    """Utterances of tones with gaps, one letter a tone; what a tiny network can learn in seconds."""
    rng = np.random.default_rng(seed)
    examples = []
    for i in range(count):
        text = "".join(rng.choice(list(TONES), rng.integers(1, 5)))
        pieces = [np.zeros(400)]
        for letter in text:
            t = np.arange(rng.integers(700, 1100)) / RATE
            pieces += [0.3 * np.sin(2 * np.pi * TONES[letter] * t), np.zeros(500)]
        samples = np.concatenate(pieces) + 0.003 * rng.normal(size=sum(map(len, pieces)))
        path = folder / f"{seed}-{i}.wav"
        audio.write(path, samples.astype("float32"), RATE)
        examples.append(Example(path=str(path), duration=len(samples) / RATE, text=text, subject=str(i % 3)))
    return examples


def rows(log):
    return list(csv.DictReader(log.read_text().splitlines()))


def small_model(seed=3, dtype=None):
    keras.utils.set_random_seed(seed)
    vocabulary = Vocabulary("abc")
    network = recurrent_ctc(
        "gru", num_features=16, vocabulary_size=len(vocabulary), units=16, layers=1, stack=2, dropout=0.1, dtype=dtype
    )
    return SpeechRecognizer(LogMel(RATE, num_mels=16, f_min=100), network, vocabulary)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tones")
    return tones(folder, 48, 0), tones(folder, 12, 1)


def test_consistency_trains_on_two_views_and_counts_their_disagreement(corpus, tmp_path):
    examples, augmentation = corpus[0][:24], Augmentation(feature_noise=0.5)
    options = RecognizerTraining(epochs=1, batch_size=4, learning_rate=1e-9, consistency=1e4)
    model = small_model()
    run = train(model, examples, options=options, augment=augmentation, out=tmp_path / "views.keras")
    dataset = pipeline.batches(
        examples, model.features, model.vocabulary, batch_size=4, shuffle=True, seed=1, augmentation=augmentation,
        stride=model.stride, views=2,
    )  # fmt: skip
    given = [(y, model(x, training=False), w, model.logit_frames(x)) for x, y, w in dataset]
    expected, plain = ([float(loss(*one)) for one in given] for loss in (CTC(consistency=1e4), CTC()))
    assert np.mean(expected) > 2 * np.mean(plain)
    # Dropout moves it a little.
    assert run.history[0]["loss"] == pytest.approx(np.mean(expected), rel=0.2)


def test_learns_logs_and_saves_the_best(corpus, tmp_path, capsys):
    examples, valid = corpus
    options = RecognizerTraining(epochs=15, batch_size=8, learning_rate=2e-2, average=0.9, tensorboard=True)
    run = train(small_model(), examples, valid=valid, options=options, out=tmp_path / "tones.keras")
    assert len(run.history) == 15
    assert run.history[-1]["loss"] < run.history[0]["loss"] / 4
    best = min(run.history, key=lambda row: (row["val_wer"], row["epoch"]))
    assert run.best_epoch == best["epoch"]
    assert best["val_token_error_rate"] < 0.1
    model = run.model
    from speechrnn.decoding.best_path import greedy

    logits = model.logits([audio.read(e.path)[0] for e in valid])
    wrong = sum(model.vocabulary.decode(greedy(x).ids) != e.text for x, e in zip(logits, valid, strict=True))
    assert wrong / len(valid) == pytest.approx(best["val_wer"])
    log = rows(tmp_path / "tones.training" / "log.csv")
    assert [float(row["val_wer"]) for row in log] == [row["val_wer"] for row in run.history]
    assert float(log[0]["gradient_norm"]) > 0
    assert RecognizerTraining.from_json((tmp_path / "tones.training" / "training.json").read_text()) == options
    assert any((tmp_path / "tones.training" / "tensorboard").rglob("events*"))
    assert load_bundle(tmp_path / "tones.training" / "last.keras", kind="recognizer")
    err = capsys.readouterr().err
    assert "'training' and 'validation' share 3 subjects" in err
    assert "epoch 15/15" in err and "validation loss" in err


def test_the_saved_file_holds_no_optimiser(corpus, tmp_path):
    model = small_model()
    options = TrainingOptions(epochs=1, batch_size=8)
    train(model, corpus[0][:8], options=options, out=tmp_path / "a.keras", verbose=False)
    weights = sum(v.numpy().nbytes for v in model.variables)
    assert (tmp_path / "a.keras").stat().st_size < 1.5 * weights + 100_000
    assert getattr(load_bundle(tmp_path / "a.keras", kind="recognizer"), "optimizer", None) is None


def run_on(listing, out):
    """Train, or resume."""
    from speechrnn.data import manifest

    examples = manifest.read(listing)
    return train(
        small_model(), examples, valid=examples[:6], options=TrainingOptions(epochs=3, batch_size=8, average=0.9),
        augment=Augmentation.speech(time_mask_frames=3, frequency_mask_bins=3), out=out, resume=True,
    )  # fmt: skip


SCRIPT = "import sys; sys.path.insert(0, sys.argv[1]); from test_training import run_on; run_on(*sys.argv[2:])"


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_the_same(corpus, tmp_path):
    from speechrnn.data import manifest

    listing, killed = tmp_path / "train.jsonl", tmp_path / "killed.keras"
    manifest.write(listing, corpus[0][:24])
    run_on(listing, tmp_path / "whole.keras")
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, os.path.dirname(__file__), str(listing), str(killed)])
    state = tmp_path / "killed.training" / "state.json"
    deadline = time.monotonic() + 400
    while not (state.exists() and json.loads(state.read_text())["epoch"] >= 1):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert json.loads(state.read_text())["epoch"] < 3
    run_on(listing, killed)
    logs = [rows(tmp_path / f"{name}.training" / "log.csv") for name in ("whole", "killed")]
    assert [row["epoch"] for row in logs[1]] == list("123")
    for whole, resumed in zip(*logs, strict=True):
        assert float(resumed["loss"]) == pytest.approx(float(whole["loss"]), rel=1e-4)
        assert float(resumed["val_loss"]) == pytest.approx(float(whole["val_loss"]), rel=1e-4)
    one, two = (
        load_bundle(tmp_path / f"{name}.training" / "last.keras", kind="recognizer") for name in ("whole", "killed")
    )
    for a, b in zip(one.network.weights, two.network.weights, strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_learns(corpus, tmp_path, dtype):
    options = TrainingOptions(epochs=6, batch_size=8, learning_rate=2e-2, average=0.9, validate_every=6)
    run = train(
        small_model(dtype=dtype), corpus[0], valid=corpus[1], options=options, out=tmp_path / "a.keras", verbose=False
    )
    assert run.history[-1]["loss"] < run.history[0]["loss"] / 1.5
    assert 0 < run.history[-1]["gradient_norm"] < 1000
    assert run.model.logits([np.zeros(4000, "float32")])[0].dtype == np.float32


def test_ctrl_c_leaves_a_usable_model(corpus, tmp_path):
    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 2:
                raise KeyboardInterrupt

    run = train(
        small_model(),
        corpus[0][:32],
        options=TrainingOptions(epochs=3, batch_size=8),
        out=tmp_path / "a.keras",
        callbacks=[Interrupt()],
        verbose=False,
    )
    assert run.interrupted
    with pytest.raises(KeyboardInterrupt):
        run.completed()
    assert run.model.logits([np.zeros(4000, "float32")])[0].shape[1] == 4


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="a GPU takes cuDNN")
def test_a_silent_fallback_is_said_and_can_be_refused(corpus, tmp_path, capsys):
    options = TrainingOptions(epochs=1, batch_size=8, gradient_report=True)
    train(small_model(), corpus[0][:8], options=options, out=tmp_path / "a.keras")
    assert "recurrent layers: bidirectional_0: scan (no GPU here)" in capsys.readouterr().err
    found = rows(tmp_path / "a.training" / "gradients.csv")
    assert "logits" in {row["layer"] for row in found} and all(float(row["norm"]) > 0 for row in found)
    options = TrainingOptions(epochs=1, require_cudnn=True)
    with pytest.raises(ValueError, match=r"bidirectional_0 \(Bidirectional GRU\): scan, no GPU here"):
        train(small_model(), corpus[0][:8], options=options, out=tmp_path / "b.keras")
    assert not (tmp_path / "b.training").exists()


def test_patience_stops_training(corpus, tmp_path):
    options = TrainingOptions(epochs=8, batch_size=8, learning_rate=1e-9, final_learning_rate=1e-9, patience=2)
    run = train(
        small_model(), corpus[0][:16], valid=corpus[1], options=options, out=tmp_path / "a.keras", verbose=False
    )
    assert len(run.history) <= run.best_epoch + 2 < 8
    again = train(
        small_model(),
        corpus[0][:16],
        valid=corpus[1],
        options=options,
        out=tmp_path / "a.keras",
        resume=True,
        verbose=False,
    )
    assert again.history == run.history  # what ended is not trained on


def test_members_have_weights_of_their_own_resume_and_are_averaged(tmp_path, rng):
    class Interrupt(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            begun.append(self.model.get_weights())
            if len(begun) == 2:
                raise KeyboardInterrupt

    begun, out, quiet = [], tmp_path / "a.keras", {"callbacks": [Interrupt()], "verbose": False}
    values, frames = keras.Input((None, 1)), keras.Input((), dtype="int32")
    levels = MaskedPooling("mean")(keras.layers.Dense(2)(values), LengthMask()(frames, values))
    features = RawSignal(50, window=1, hop=1, channels=1, normalize="global")
    features.adapt([rng.normal(size=(20, 1)) + 7])
    model = SequenceClassifier(features, keras.Model([values, frames], levels), ["low", "high"])
    examples = []
    for number, level in enumerate((6.0, 8.0) * 3):
        np.savez(tmp_path / f"{number}.npz", signal=level + rng.normal(size=(20, 1)), rate=50)
        path = str(tmp_path / f"{number}.npz")
        examples.append(Example(path, 0.4, label=("low", "high")[number % 2], subject=str(number)))
    left, held = examples[:4], examples[4:]
    options = ClassifierTraining(epochs=1, batch_size=4, learning_rate=0.1, members=3, seed=5)
    (tmp_path / "a.member_3.keras").write_text("precious")
    with pytest.raises(FileExistsError, match=r"a.member_3.keras.*exists already"):
        train(model, left, valid=held, options=options, out=out, **quiet)
    assert not begun
    (tmp_path / "a.member_3.keras").unlink()
    stopped = train(model, left, valid=held, options=options, out=out, **quiet)
    assert stopped.interrupted and stopped.path.endswith("a.member_2.keras") and not out.exists()
    finished = load_bundle(tmp_path / "a.member_1.keras").get_weights()
    left, faults = [*left, dataclasses.replace(left[0], path=str(tmp_path / "gone.npz"))], Faults()
    run = train(model, left, valid=held, options=options, out=out, resume=True, faults=faults, **quiet)
    assert faults.counts() == {"missing": 1}  # and not once a member
    for old, new in zip(finished, run.members[0].model.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)  # what was finished is not trained again
    kernels = [next(weight for weight in weights if weight.shape == (1, 2)) for weights in begun]
    assert not np.allclose(kernels[0], kernels[1]) and not np.allclose(kernels[1], kernels[-1])
    batch = {"signal": rng.normal(size=(2, 20, 1)).astype("float32") + 7, "length": np.array([20, 9], "int32")}
    each = [np.asarray(load_bundle(tmp_path / f"a.member_{number}.keras")(batch)) for number in (1, 2, 3)]
    np.testing.assert_allclose(np.asarray(load_bundle(out)(batch)), np.mean(each, 0), rtol=0, atol=1e-5)
    np.testing.assert_array_equal(run.model.features.mean, features.mean)
    assert [row["member"] for row in run.history] == [1, 2, 3, 0] and "val_loss" in run.history[-1]
    assert [json.loads(Path(one.folder, "training.json").read_text())["seed"] for one in run.members] == [5, 6, 7]
    assert [row["member"] for row in rows(tmp_path / "a.training" / "log.csv")] == ["1", "2", "3", "0"]


def test_what_cannot_be_averaged_refuses_members_before_training(tmp_path):
    model = LanguageModel.for_manifest(["a b", "b a"], units=4, layers=1)
    with pytest.raises(ValueError, match="Only classifiers, forecasters and recognizers by CTC can be averaged"):
        train(model, ["a b"], options=TrainingOptions(members=2), out=tmp_path / "a.keras", verbose=False)
    assert not list(tmp_path.iterdir())


def test_examples_that_cannot_be_used_are_counted_and_named(corpus, tmp_path, capsys):
    bad = [
        Example(path=str(tmp_path / "gone.wav"), duration=1.0, text="a", id="[gone]"),
        Example(path=corpus[0][0].path, duration=corpus[0][0].duration, text="aXa", id="letters"),
        Example(path=corpus[0][1].path, duration=corpus[0][1].duration, text="ab" * 200, id="long"),
    ]
    faults = Faults()
    train(
        small_model(),
        [*corpus[0][:16], *bad],
        options=TrainingOptions(epochs=1, batch_size=8),
        out=tmp_path / "a.keras",
        faults=faults,
    )
    assert {fault.where for fault in faults} == {"[gone]", "letters", "long"}
    assert "3 of 19 examples dropped" in (said := capsys.readouterr().err) and "First: [gone]." in said


@pytest.mark.parametrize("resume", [False, True])
def test_an_existing_model_is_not_replaced_unasked(corpus, tmp_path, resume):
    out = tmp_path / "a.keras"
    out.write_text("precious")
    with pytest.raises(FileExistsError, match="exists already"):
        train(small_model(), corpus[0][:8], options=TrainingOptions(epochs=1), out=out, resume=resume, verbose=False)
    assert out.read_text() == "precious"


def test_resuming_with_other_options_is_refused(corpus, tmp_path):
    out = tmp_path / "a.keras"
    options = TrainingOptions(epochs=1, batch_size=8)
    train(small_model(), corpus[0][:8], options=options, out=out, verbose=False)
    options = dataclasses.replace(options, epochs=2)
    with pytest.raises(ValueError, match="started with other options"):
        train(small_model(), corpus[0][:8], options=options, out=out, resume=True, verbose=False)


@pytest.fixture(scope="module")
def finished(corpus, tmp_path_factory):
    """A run of one epoch, to resume."""
    out = tmp_path_factory.mktemp("finished") / "a.keras"
    train(small_model(), corpus[0][:8], options=TrainingOptions(epochs=1, batch_size=4), out=out, verbose=False)
    return out


@pytest.mark.parametrize(
    ("count", "how", "said"),
    [
        (4, {}, "was given batches: 2. Received: batches: 1. Resume with the same examples"),
        (8, {"augment": "speech"}, r"was given augmentation: None. Received: augmentation: Augmentation\("),
        (8, {"valid": True}, "was given validation batches: 0. Received: validation batches: 3"),
    ],
)
def test_resuming_on_other_examples_is_refused(corpus, finished, count, how, said):
    if "valid" in how:
        how = {"valid": corpus[1]}
    options = TrainingOptions(epochs=1, batch_size=4)
    with pytest.raises(ValueError, match=said):
        train(small_model(), corpus[0][:count], options=options, out=finished, resume=True, verbose=False, **how)


@pytest.mark.parametrize("change", ["text", "order", "another"])
def test_resuming_on_as_many_other_examples_is_refused(corpus, finished, change):
    examples = corpus[0][:8]
    if change == "text":
        examples = [*examples[:-1], dataclasses.replace(examples[-1], text=examples[-1].text + "a")]
    examples = (
        examples[::-1] if change == "order" else [*examples[1:], corpus[0][8]] if change == "another" else examples
    )
    options = TrainingOptions(epochs=1, batch_size=4)
    with pytest.raises(ValueError, match="was given examples of digest: .* Resume with the same examples"):
        train(small_model(), examples, options=options, out=finished, resume=True, verbose=False)


def test_resuming_with_the_recordings_in_another_folder(corpus, finished, tmp_path):
    moved = [dataclasses.replace(one, path=str(tmp_path / Path(one.path).name)) for one in corpus[0][:8]]
    for old, new in zip(corpus[0], moved, strict=False):
        shutil.copy(old.path, new.path)
    options = TrainingOptions(epochs=1, batch_size=4)
    run = train(small_model(), moved, options=options, out=finished, resume=True, verbose=False)
    assert len(run.history) == 1  # it was at its end


@pytest.mark.parametrize("damage", ["gone", "cut", "seeds"])
def test_a_state_that_was_lost_is_named(corpus, finished, tmp_path, damage):
    shutil.copytree(finished.with_suffix(".training"), tmp_path / "a.training")
    shutil.copy(finished, tmp_path / "a.keras")
    (weights,) = (tmp_path / "a.training").glob("state-*.weights.h5")
    if damage == "gone":
        weights.unlink()
    elif damage == "cut":
        weights.write_bytes(weights.read_bytes()[:3000])
    else:
        state = json.loads((tmp_path / "a.training" / "state.json").read_text())
        (tmp_path / "a.training" / "state.json").write_text(json.dumps({**state, "seeds": [[1, 2]] * 9}))
    options = TrainingOptions(epochs=1, batch_size=4)
    with pytest.raises(ValueError, match=r"state-0001.weights.h5: the weights of the run to resume .*--overwrite"):
        train(small_model(), corpus[0][:8], options=options, out=tmp_path / "a.keras", resume=True, verbose=False)


def test_a_model_without_weights_to_train_is_refused(corpus, tmp_path):
    model = small_model()
    model.trainable = False
    with pytest.raises(ValueError, match="The model has no weights that can be trained"):
        train(model, corpus[0][:8], out=tmp_path / "a.keras", verbose=False)
    assert not list(tmp_path.iterdir())


def test_training_in_the_scope_of_a_strategy_is_refused(corpus, tmp_path):
    with (
        tf.distribute.MirroredStrategy(["CPU:0"]).scope(),
        pytest.raises(ValueError, match="MirroredStrategy. Call it"),
    ):
        train(small_model(), corpus[0][:8], out=tmp_path / "m.keras")


def test_resuming_another_model_is_refused(corpus, finished):
    vocabulary = Vocabulary("abc")
    network = recurrent_ctc("gru", num_features=16, vocabulary_size=len(vocabulary), units=17, layers=1, stack=2)
    model = SpeechRecognizer(LogMel(RATE, num_mels=16, f_min=100), network, vocabulary)
    options = TrainingOptions(epochs=1, batch_size=4)
    with pytest.raises(ValueError, match=r"state-0001.weights.h5: .* do not fit this model. Build the model with"):
        train(model, corpus[0][:8], options=options, out=finished, resume=True, verbose=False)


class Spoilt(keras.callbacks.Callback):
    """Makes every output NaN from an epoch on."""

    def __init__(self, epoch):
        super().__init__()
        self.first = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.first:
            for variable in self.model.trainable_variables:
                variable.assign(np.nan * variable.numpy())


def test_a_run_that_diverged_ends_with_the_reason_and_keeps_its_last_state(corpus, tmp_path, capsys):
    options = TrainingOptions(epochs=3, batch_size=4)
    with pytest.raises(ValueError, match="Training has diverged: in epoch 2 no step had a finite loss.*learning_rate"):
        train(small_model(), corpus[0][:8], options=options, out=tmp_path / "a.keras", callbacks=[Spoilt(1)])
    assert not (tmp_path / "a.keras").exists()
    assert json.loads((tmp_path / "a.training" / "state.json").read_text())["epoch"] == 1


def test_steps_that_were_skipped_are_reported(corpus, tmp_path, capsys):
    class Once(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            variable = self.model.trainable_variables[0]
            if batch == 1:
                self.kept = variable.numpy()
                variable.assign(np.nan * self.kept)

        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                self.model.trainable_variables[0].assign(self.kept)

    options = TrainingOptions(epochs=1, batch_size=4)
    run = train(small_model(), corpus[0][:12], options=options, out=tmp_path / "a.keras", callbacks=[Once()])
    assert run.history[0]["skipped_steps"] == 1
    assert "skipped steps 1 (gradient not finite)" in capsys.readouterr().err


def test_the_models_file_must_be_a_keras_file(corpus, tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.keras"):
        train(small_model(), corpus[0], out=tmp_path / "model.h5")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("learning_rate", float("nan")),
        ("warmup", 1.5),
        ("average", -0.1),
        ("monitor", "cer"),
        ("clip_norm", -1.0),
        ("seed", -1),
    ],
)
def test_options_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be .* Received: {name}="):
        RecognizerTraining(**{name: value})


def test_options_for_every_kind_become_those_of_the_kind_with_its_defaults():
    found = promoted(TrainingOptions(epochs=3, seed=4), LanguageTraining, noun="language model")
    assert found == LanguageTraining(epochs=3, seed=4)
    assert found.batch_size == LanguageTraining().batch_size != TrainingOptions().batch_size
    assert promoted(None, RecognizerTraining, noun="recognizer") == RecognizerTraining()
    with pytest.raises(TypeError, match="LanguageTraining is not for a recognizer. Pass RecognizerTraining"):
        promoted(found, RecognizerTraining, noun="recognizer")


def test_an_unknown_option_is_refused_with_a_suggestion():
    with pytest.raises(ValueError, match="Unknown training option `epoch`. Did you mean `epochs`?"):
        TrainingOptions.from_json('{"epoch": 3}')


def updates(optimizer, gradients):
    variables = [keras.Variable(np.ones((3, 2), "float32")), keras.Variable(np.ones(2, "float32"))]
    if isinstance(optimizer, keras.optimizers.AdamW):
        optimizer.exclude_from_weight_decay([variables[1]])
    trace = []
    for gradient in gradients:
        optimizer.apply([tf.constant(g) for g in gradient], variables)
        trace.append([v.numpy() for v in variables])
    return trace


def test_the_optimiser_is_kerass_adamw(rng):
    gradients = [(rng.normal(size=(3, 2)).astype("f"), rng.normal(size=2).astype("f")) for _ in range(6)]
    ours = updates(GuardedAdamW(1e-2, decay=0.1, max_norm=1.0), gradients)
    theirs = updates(keras.optimizers.AdamW(1e-2, weight_decay=0.1, global_clipnorm=1.0), gradients)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a[0], b[0], atol=1e-6)
        np.testing.assert_allclose(a[1], b[1], atol=1e-6)


def test_a_gradient_with_nan_changes_nothing_and_is_counted(rng):
    optimizer = GuardedAdamW(1e-2, decay=0.1, average=0.9)
    good = (rng.normal(size=(3, 2)).astype("f"), rng.normal(size=2).astype("f"))
    bad = (good[0] * np.float32("nan"), good[1])
    trace = updates(optimizer, [good, bad])
    np.testing.assert_array_equal(trace[0][0], trace[1][0])
    assert float(optimizer.skipped) == 1.0
    assert int(optimizer.iterations) == 1


def test_weights_without_a_gradient_stay_as_they_are_with_kerass_warning(rng):
    used, unused = (keras.Variable(np.ones((3, 2), "float32")) for _ in range(2))
    optimizer, gradient = GuardedAdamW(1e-2, decay=0.1, max_norm=1.0, average=0.9), rng.normal(size=(3, 2)).astype("f")
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        optimizer.apply([None, tf.constant(gradient)], [unused, used])
    np.testing.assert_array_equal(unused, np.ones((3, 2)))
    assert float(optimizer.gradient_norm) == pytest.approx(np.linalg.norm(gradient), rel=1e-5)
    assert (np.asarray(used) != 1).all()


def test_averaged_weights_are_the_running_mean_and_only_lent(rng):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(optimizer=GuardedAdamW(0.1, average=0.5), loss="mse")
    model.optimizer.build(model.trainable_variables)
    expected = model.trainable_variables[0].numpy()
    for step in range(1, 30):
        model.optimizer.apply([tf.ones((2, 1))], model.trainable_variables)
        momentum = min(0.5, step / (step + 10))
        expected = momentum * expected + (1 - momentum) * model.trainable_variables[0].numpy()
    current = model.trainable_variables[0].numpy()
    with averaged_weights(model):
        np.testing.assert_allclose(model.trainable_variables[0], expected, rtol=1e-5)
    np.testing.assert_array_equal(model.trainable_variables[0], current)
