"""Promises of the pipeline: the same values as the layer alone, few shapes, and epochs that can be repeated."""

import errno
import io
import logging
import os
import types

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from speechrnn import audio
from speechrnn.data.manifest import Example
from speechrnn.faults import Faults
from speechrnn.features.augment import Augmentation
from speechrnn.features.layers import LogMel, RawSignal
from speechrnn.pipeline import batches, bucketing, cache, plan_of, records
from speechrnn.text import Vocabulary
from tests.recordings import write_wfdb

RATE = 8000
SPEECH = Augmentation.speech(time_mask_frames=5, frequency_mask_bins=2)
VOCABULARY = Vocabulary(" abc")


@pytest.fixture(scope="module")
def layer():
    return LogMel(RATE, num_mels=8)


@pytest.fixture
def corpus(tmp_path):
    return make_corpus(tmp_path, 11)


def make_corpus(folder, count, *, seed=0, suffix=".flac"):
    """Recordings of 0.3 to 1.5 s with texts that fit."""
    rng = np.random.default_rng(seed)
    examples = []
    for i in range(count):
        signal = 0.1 * rng.standard_normal(int(rng.integers(0.3 * RATE, 1.5 * RATE)))
        path = folder / f"clip{i:02d}{suffix}"
        soundfile.write(path, signal, RATE)
        text = "".join(rng.choice(list(" abc"), int(rng.integers(1, 8))))
        examples.append(Example(str(path), len(signal) / RATE, text=text))
    return examples


def rows_of(dataset):
    """Row values by example id, and the whole batches, of one pass."""
    plan = plan_of(dataset)
    epoch = plan.epoch
    planned = plan.planner.epoch(epoch)
    by_id, made = {}, []
    for batch, (inputs, target, weight) in zip(planned.batches, dataset, strict=True):
        values, lengths = (inputs[key].numpy() for key in inputs)
        made.append((values, lengths, target.numpy(), weight.numpy()))
        for row, place in enumerate(batch.indices):
            if weight[row]:
                key = plan.entries[place].example.id
                by_id[key] = (values[row, : lengths[row]], target[row].numpy())
    return by_id, made


def assert_equal_passes(one, other, *, atol=0.0):
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        for a, b in zip(left, right, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=atol)


# Values


def test_rows_are_what_the_layer_gives_alone(corpus, layer):
    by_id, _ = rows_of(batches(corpus, layer, VOCABULARY, batch_size=4))
    assert sorted(by_id) == sorted(example.id for example in corpus)
    for example in corpus:
        signal, _ = audio.read(example.path)
        alone = layer(signal[None]).numpy()[0]
        np.testing.assert_allclose(by_id[example.id][0], alone, rtol=0, atol=1e-5)


def test_targets_spell_the_texts(corpus, layer):
    by_id, _ = rows_of(batches(corpus, layer, VOCABULARY, batch_size=4))
    for example in corpus:
        target = by_id[example.id][1]
        assert VOCABULARY.decode([i for i in target if i]) == example.text


def test_without_features_the_rows_are_the_signals(corpus):
    dataset = batches(corpus, None, VOCABULARY, batch_size=4, sample_rate=RATE)
    assert set(dataset.element_spec[0]) == {"signal", "length"}
    by_id, _ = rows_of(dataset)
    for example in corpus:
        np.testing.assert_array_equal(by_id[example.id][0], audio.read(example.path)[0])


def test_padding_is_zero(corpus, layer):
    for augmentation in (None, SPEECH):
        _, made = rows_of(batches(corpus, layer, batch_size=4, augmentation=augmentation))
        for values, lengths, _, _ in made:
            for row, length in zip(values, lengths, strict=True):
                assert not row[length:].any()


def test_the_statistics_of_global_normalisation_are_used(corpus):
    layer = LogMel(RATE, num_mels=8, normalize="global")
    layer.adapt([audio.read(example.path)[0] for example in corpus])
    by_id, _ = rows_of(batches(corpus, layer, batch_size=4))
    frames = np.concatenate([values for values, _ in by_id.values()])
    np.testing.assert_allclose(frames.mean(axis=0), 0, atol=1e-3)


FORMATS = [
    ("wav8", "wav", "PCM_U8", RATE, 1, 0.02),
    ("wav16", "wav", "PCM_16", RATE, 1, 1e-4),
    ("wav24", "wav", "PCM_24", RATE, 1, 1e-6),
    ("float64", "wav", "DOUBLE", RATE, 1, 1e-6),
    ("flac", "flac", "PCM_16", RATE, 1, 1e-4),
    ("vorbis", "ogg", "VORBIS", RATE, 1, 0.1),
    ("opus", "ogg", "OPUS", RATE, 1, 0.1),
    ("mp3", "mp3", None, 16000, 1, 0.1),
    ("stereo44k", "wav", "PCM_16", 44100, 2, 0.01),
    ("six", "wav", "PCM_16", RATE, 6, 1e-4),
]


@pytest.mark.parametrize(("name", "ending", "subtype", "rate", "channels", "close"), FORMATS, ids=lambda v: str(v))
def test_every_format_gives_the_tone_that_was_written(tmp_path, name, ending, subtype, rate, channels, close):
    time = np.arange(rate) / rate
    tone = 0.4 * np.sin(2 * np.pi * 440 * time)
    path = tmp_path / f"{name}.{ending}"
    soundfile.write(path, np.repeat(tone[:, None], channels, axis=1), rate, subtype=subtype)
    example = Example(str(path), audio.probe(path).duration)
    dataset = batches([example], None, sample_rate=RATE, batch_size=1)
    inputs, _, weight = next(iter(dataset))
    assert weight.numpy().tolist() == [1.0], list(plan_of(dataset).faults)
    signal = inputs["signal"].numpy()[0, : int(inputs["length"][0])]
    wanted = 0.4 * np.sin(2 * np.pi * 440 * np.arange(len(signal)) / RATE)
    middle = slice(RATE // 4, 3 * RATE // 4)
    # A lossy coder may shift the tone by part of a sample, so its power and its pitch are compared.
    if subtype in ("VORBIS", "OPUS", None):
        spectrum = np.abs(np.fft.rfft(signal[middle]))
        assert abs(int(spectrum.argmax()) * 2 - 440) <= 2
        np.testing.assert_allclose(np.std(signal[middle]), np.std(wanted[middle]), rtol=close)
    else:
        np.testing.assert_allclose(signal[middle], wanted[middle], rtol=0, atol=close)


def test_segments_and_channels_are_read(tmp_path):
    rng = np.random.default_rng(0)
    signal = 0.1 * rng.standard_normal((3 * RATE, 2)).astype("float32")
    path = tmp_path / "long.wav"
    soundfile.write(path, signal, RATE, subtype="FLOAT")
    first = Example(str(path), 0.5, offset=0.25, channel=1, id="first")
    second = Example(str(path), 1.0, offset=2.0, id="second")
    by_id, _ = rows_of(batches([first, second], None, sample_rate=RATE, batch_size=2))
    np.testing.assert_array_equal(by_id["first"][0], signal[2000:6000, 1])
    np.testing.assert_allclose(by_id["second"][0], signal[16000:].mean(axis=1), atol=1e-7)


def test_labels_are_class_indices(corpus, layer):
    labelled = [Example(e.path, e.duration, label="ab"[i % 2]) for i, e in enumerate(corpus)]
    dataset = batches(labelled, layer, classes=["a", "b"], batch_size=4)
    assert dataset.element_spec[1].shape == (4,)
    by_id, _ = rows_of(dataset)
    assert {example.id: "ab".index(example.label) for example in labelled} == {k: int(v[1]) for k, v in by_id.items()}


# Shapes


def test_shapes_are_few_and_known_in_advance(tmp_path, layer):
    examples = make_corpus(tmp_path, 60)
    dataset = batches(examples, layer, VOCABULARY, batch_size=4, buckets=3, shuffle=True, augmentation=SPEECH)
    assert dataset.element_spec[0]["features"].shape.as_list() == [4, None, 8]
    shapes = set()
    for _ in range(3):
        _, made = rows_of(dataset)
        assert len(made) == dataset.cardinality().numpy() == plan_of(dataset).steps
        shapes |= {(values.shape, target.shape) for values, _, target, _ in made}
    assert len(shapes) <= 3


def test_a_budget_of_seconds_gives_short_rows_larger_batches(tmp_path, layer):
    examples = make_corpus(tmp_path, 60)
    _, made = rows_of(batches(examples, layer, batch_seconds=6.0, buckets=4))
    sizes = [(values.shape[1], values.shape[0]) for values, *_ in made]
    assert all(rows * frames * layer.hop / RATE <= 6.0 for frames, rows in sizes)
    assert sizes[0][1] > sizes[-1][1] >= 1
    assert sum(int(weight.sum()) for *_, weight in made) == 60


def test_the_last_batch_is_filled_with_its_first_row_at_weight_zero(corpus, layer):
    _, made = rows_of(batches(corpus, layer, VOCABULARY, batch_size=4, buckets=1))
    values, lengths, target, weight = made[-1]
    assert [int(m[3].sum()) for m in made] == [4, 4, 3]
    assert weight.tolist() == [1, 1, 1, 0]
    np.testing.assert_array_equal(values[3], values[0])
    np.testing.assert_array_equal(target[3], target[0])
    assert lengths[3] == lengths[0]


@given(st.lists(st.integers(1, 400), min_size=1, max_size=60), st.integers(1, 5), st.integers(1, 7), st.booleans())
@settings(deadline=None, max_examples=60)
def test_a_plan_holds_every_example_once_within_its_boundary(lengths, buckets, rows, budget):
    sizes = {"batch_budget": rows * 200} if budget else {"batch_size": rows}
    made = bucketing.make_buckets(lengths, buckets=buckets, unit=10, **sizes)
    batches_ = bucketing.plan(np.array(lengths), made, rng=np.random.default_rng(0))
    alone = [i for b in batches_ for i in b.indices[: len(b.indices) - b.filled]]
    assert sorted(alone) == list(range(len(lengths)))
    assert all(lengths[i] <= b.length for b in batches_ for i in b.indices)
    assert len({(b.length, len(b.indices)) for b in batches_}) <= buckets
    assert 0 < bucketing.padding_efficiency(np.array(lengths), batches_) <= 1


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(1, 4))
@settings(deadline=None, max_examples=60)
def test_boundaries_waste_as_little_as_any(lengths, buckets):
    def padded(tops):
        return sum(min(top for top in tops if top >= n) for n in lengths)

    best, longest = min_over_subsets(sorted(set(lengths)), buckets), max(lengths)
    tops = bucketing.boundaries(lengths, buckets=buckets)
    assert tops[-1] == longest
    assert padded(tops) == min(padded(choice) for choice in best)


def min_over_subsets(values, size):
    from itertools import combinations

    return [(*some, values[-1]) for k in range(size) for some in combinations(values[:-1], k)]


# Epochs


def test_the_same_seed_gives_the_same_batches(corpus, layer):
    options = {"batch_size": 4, "shuffle": True, "seed": 3, "augmentation": SPEECH}
    one = rows_of(batches(corpus, layer, VOCABULARY, workers=1, **options))[1]
    other = rows_of(batches(corpus, layer, VOCABULARY, workers=4, **options))[1]
    assert_equal_passes(one, other)


def test_every_epoch_and_seed_has_another_order_and_augmentation(corpus, layer):
    options = {"batch_size": 4, "shuffle": True, "augmentation": SPEECH}
    dataset = batches(corpus, layer, VOCABULARY, seed=0, **options)
    plan = plan_of(batches(corpus, layer, VOCABULARY, batch_size=4, shuffle=True))
    orders = [[[e.id for e in batch] for batch in plan.examples(epoch)] for epoch in range(3)]
    assert orders[0] != orders[1] != orders[2]
    first, second = rows_of(dataset)[0], rows_of(dataset)[0]
    other = rows_of(batches(corpus, layer, VOCABULARY, seed=1, **options))[0]
    for key in first:
        assert not any(np.array_equal(first[key][0], rows[key][0]) for rows in (second, other))


def test_a_run_taken_up_at_an_epoch_goes_on_as_if_never_stopped(corpus, layer):
    options = {"batch_size": 4, "shuffle": True, "augmentation": SPEECH}
    straight = batches(corpus, layer, VOCABULARY, **options)
    passes = [rows_of(straight)[1] for _ in range(4)]
    resumed = batches(corpus, layer, VOCABULARY, initial_epoch=2, **options)
    assert_equal_passes(passes[2], rows_of(resumed)[1])
    assert_equal_passes(passes[3], rows_of(resumed)[1])


def test_a_pass_that_is_broken_off_is_no_epoch(corpus, layer):
    dataset = batches(corpus, layer, VOCABULARY, batch_size=2, shuffle=True)
    whole = rows_of(batches(corpus, layer, VOCABULARY, batch_size=2, shuffle=True))[1]
    next(iter(dataset))
    assert plan_of(dataset).epoch == 0
    assert_equal_passes(whole, rows_of(dataset)[1])
    assert plan_of(dataset).epoch == 1


def test_no_thread_of_tensorflow_is_waited_for_between_passes(corpus, layer):
    """Its tuning thread can sleep through the call to stop: 10 s before one of three epochs of 5 s."""
    assert batches(corpus, layer, VOCABULARY).options().autotune.enabled is False


def test_fit_passes_over_the_epochs_in_order(corpus, layer):
    dataset = batches(corpus, layer, VOCABULARY, batch_size=4, shuffle=True, initial_epoch=3)
    seen = []
    plan = plan_of(dataset)
    planned = plan.planner.epoch
    plan.planner.epoch = lambda number: seen.append(number) or planned(number)
    features = keras.Input((None, 8), name="features")
    frames = keras.Input((), name="frames", dtype="int32")
    output = keras.layers.Dense(1)(keras.layers.GlobalAveragePooling1D()(features))
    model = keras.Model({"features": features, "frames": frames}, output)
    model.compile(loss=lambda target, output: tf.reduce_mean(output, axis=-1))
    model.fit(dataset, epochs=5, initial_epoch=3, verbose=0, shuffle=False)
    assert sorted(set(seen)) == [3, 4]
    assert plan.epoch == 5


def test_views_are_one_utterance_augmented_in_two_ways(corpus, layer):
    options = {"batch_size": 4, "shuffle": True, "seed": 3, "augmentation": SPEECH}
    dataset = batches(corpus, layer, VOCABULARY, views=2, **options)
    assert dataset.element_spec[0]["features"].shape.as_list() == [8, None, 8]
    _, single = rows_of(batches(corpus, layer, VOCABULARY, **options))
    for (inputs, *rest), (values, *others) in zip(dataset, single, strict=True):
        first, second = np.split(inputs["features"].numpy(), 2)
        np.testing.assert_array_equal(first, values)
        assert not (first == second).all()
        for values, expected in zip([inputs["frames"], *rest], others, strict=True):
            for half in np.split(values.numpy(), 2):
                np.testing.assert_array_equal(half, expected)


def test_views_that_would_be_the_same_are_refused(corpus, layer):
    with pytest.raises(ValueError, match=r"they would be the same. Received: views=2, augmentation=None"):
        batches(corpus, layer, VOCABULARY, views=2)
    with pytest.raises(ValueError, match="they would be the same"):
        batches(corpus, layer, VOCABULARY, views=2, augmentation=Augmentation(speed=(0.9, 1.1)))
    with pytest.raises(ValueError, match="at least 1. Received: views=0"):
        batches(corpus, layer, VOCABULARY, views=0)


def test_speeds_stay_in_their_range_and_differ(tmp_path, layer):
    examples = make_corpus(tmp_path, 80)
    options = {"batch_size": 8, "augmentation": Augmentation(speed=(0.8, 1.25))}
    plan = plan_of(batches(examples, layer, VOCABULARY, **options))
    for epoch in range(12):
        planned = plan.planner.epoch(epoch)
        assert 0.8 <= planned.speeds.min() < 0.9 and 1.1 < planned.speeds.max() <= 1.26
        assert all((planned.lengths[b.indices] <= b.length).all() for b in planned.batches)


def test_speeding_up_never_makes_a_text_too_long_for_its_frames(tmp_path, layer):
    path = tmp_path / "tight.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(RATE), RATE)
    text = "abc" * 24  # 72 of the 98 frames, and at twice the speed there are 48
    dataset = batches(
        [Example(str(path), 1.0, text=text)], layer, VOCABULARY, batch_size=1, augmentation=Augmentation(speed=(0.9, 2))
    )
    for _ in range(8):
        inputs, target, weight = next(iter(dataset))
        assert weight[0] == 1 and int(inputs["frames"][0]) >= np.count_nonzero(target)
        plan_of(dataset).epoch += 1


# Faults


def test_unusable_examples_are_dropped_counted_and_named(corpus, layer, tmp_path):
    good = corpus[0]
    bad = [
        Example(str(tmp_path / "gone.wav"), 1.0, text="a"),
        Example(good.path, good.duration, text="abc" * 100, id="wordy"),
        Example(good.path, good.duration, text="axb?", id="strange"),
        Example(good.path, good.duration, id="untold"),
        Example(good.path, 0.001, text="a", id="blink"),
        Example(good.path, 100.0, text="a", id="endless"),
    ]
    faults = Faults()
    dataset = batches([*corpus, *bad], layer, VOCABULARY, batch_size=4, faults=faults, max_duration=30.0)
    assert faults.counts() == {
        "missing": 1, "too short for their text": 1, "with characters outside the vocabulary": 1,
        "without a text": 1, "shorter than one frame": 1, "too long": 1,
    }  # fmt: skip
    assert {fault.where for fault in faults} == {"gone", "wordy", "strange", "untold", "blink", "endless"}
    assert "'?' 'x'" in next(fault.message for fault in faults if fault.where == "strange")
    assert plan_of(dataset).summary().startswith("6 of 17 examples dropped: ")
    assert len(rows_of(dataset)[0]) == len(corpus)


def test_repeats_need_a_frame_more_each(tmp_path, layer):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(RATE), RATE)
    frames = int(layer.frame_count(RATE))
    fits = Example(str(path), 1.0, text="a" * ((frames + 1) // 2), id="fits")
    not_so = Example(str(path), 1.0, text="a" * ((frames + 1) // 2 + 1), id="not")
    faults = Faults()
    assert len(plan_of(batches([fits, not_so], layer, VOCABULARY, batch_size=1, faults=faults)).entries) == 1
    assert [fault.where for fault in faults] == ["not"]


def test_no_example_left_is_an_error(tmp_path, layer):
    with pytest.raises(ValueError, match=r"No example is left.*1 of 1 examples dropped: 1 missing. First: gone"):
        batches([Example(str(tmp_path / "gone.wav"), 1.0, text="a")], layer, VOCABULARY)


def broken_files(folder):
    """Files that only decoding shows to be broken, by the fault they are."""
    signal = 0.1 * np.random.default_rng(1).standard_normal(RATE)
    encoded = io.BytesIO()
    soundfile.write(encoded, signal, RATE, format="FLAC")
    flac = encoded.getvalue()
    (folder / "cut.flac").write_bytes(flac[: len(flac) // 2])
    (folder / "text.wav").write_text("this is no audio " * 100)
    (folder / "empty.wav").write_bytes(b"")
    signal[100] = np.nan
    soundfile.write(folder / "nan.wav", signal, RATE, subtype="FLOAT")
    return ["cut.flac", "text.wav", "empty.wav", "nan.wav"]


def test_a_row_that_fails_gets_weight_zero_and_is_named_once(corpus, layer, tmp_path):
    folder = tmp_path / "bad"
    folder.mkdir()
    bad = [Example(str(folder / name), 1.0, text="a") for name in broken_files(folder)]
    faults = Faults()
    dataset = batches([*corpus, *bad], layer, VOCABULARY, batch_size=4, faults=faults, shuffle=True)
    for _ in range(2):
        by_id, made = rows_of(dataset)
        assert sorted(by_id) == sorted(example.id for example in corpus)
        assert all(np.isfinite(values).all() and (lengths > 0).all() for values, lengths, _, _ in made)
    assert sorted(fault.where for fault in faults) == ["cut", "empty", "nan", "text"]
    assert all(str(folder) in fault.message for fault in faults)


def test_a_batch_in_which_all_rows_fail_keeps_its_shape(layer, tmp_path):
    bad = [Example(str(tmp_path / name), 1.0, text="a") for name in broken_files(tmp_path)]
    _, made = rows_of(batches(bad, layer, VOCABULARY, batch_size=4))
    values, lengths, _, weight = made[0]
    assert values.shape[0] == 4 and not weight.any() and (lengths > 0).all() and np.isfinite(values).all()


def test_digital_silence_is_a_recording(tmp_path, layer):
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE), RATE)
    example = Example(str(tmp_path / "silence.wav"), 1.0, text="")
    inputs, _, weight = next(iter(batches([example], layer, VOCABULARY, batch_size=1)))
    assert weight[0] == 1 and np.isfinite(inputs["features"].numpy()).all()


def test_a_file_shorter_than_the_manifest_says_is_a_fault(tmp_path, layer, corpus):
    soundfile.write(tmp_path / "short.wav", np.zeros(RATE // 10), RATE)
    liar = Example(str(tmp_path / "short.wav"), 1.0, text="abcabcabcabc")
    faults = Faults()
    by_id, _ = rows_of(batches([*corpus, liar], layer, VOCABULARY, batch_size=4, faults=faults))
    assert "short" not in by_id and [fault.where for fault in faults] == ["short"]


# Caches


@pytest.mark.parametrize("augmentation", [None, SPEECH, Augmentation.speech(speed=None)], ids=["none", "all", "bands"])
@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_a_cache_changes_nothing(corpus, layer, tmp_path, kind, augmentation):
    where = "memory" if kind == "memory" else tmp_path / "cache"
    options = {"batch_size": 4, "shuffle": True, "augmentation": augmentation}
    plain = batches(corpus, layer, VOCABULARY, **options)
    cached = batches(corpus, layer, VOCABULARY, cache=where, **options)
    for _ in range(2):
        for left, right in zip(rows_of(plain)[1], rows_of(cached)[1], strict=True):
            np.testing.assert_allclose(left[0], right[0], rtol=0, atol=1e-5)
            for a, b in zip(left[1:], right[1:], strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("augmentation", [None, SPEECH], ids=["features", "signals"])
@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_a_cache_spares_the_decoding(corpus, layer, tmp_path, kind, augmentation, monkeypatch):
    where = "memory" if kind == "memory" else tmp_path / "cache"
    dataset = batches(corpus, layer, VOCABULARY, batch_size=4, cache=where, augmentation=augmentation)
    rows_of(dataset)
    monkeypatch.setattr(audio, "read", lambda *_, **__: pytest.fail("decoded again"))
    assert len(rows_of(dataset)[0]) == len(corpus)


@pytest.mark.parametrize("damage", ["junk", "bit", "cut"])
def test_a_damaged_record_of_the_cache_is_made_again(corpus, layer, tmp_path, damage, caplog):
    options = {"batch_size": 4, "cache": tmp_path / "cache"}
    whole = rows_of(batches(corpus, layer, VOCABULARY, **options))[1]
    (file,) = (tmp_path / "cache").iterdir()
    assert sum(1 for _ in tf.data.TFRecordDataset(str(file))) == len(corpus)  # as any other program reads it
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes({"junk": b"junk", "bit": bytes(data), "cut": bytes(data[: len(data) // 2])}[damage])
    assert_equal_passes(whole, rows_of(batches(corpus, layer, VOCABULARY, **options))[1])
    assert "damaged" in caplog.text
    assert_equal_passes(whole, rows_of(batches(corpus, layer, VOCABULARY, **options))[1])
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_cache_folder_has_an_end(corpus, layer, tmp_path, caplog, monkeypatch):
    def size(folder):
        return sum(file.stat().st_size for file in folder.iterdir())

    monkeypatch.setattr(records, "_SHARD", 5000)  # of several files
    whole = rows_of(batches(corpus, layer, VOCABULARY, batch_size=4, cache=tmp_path / "all"))[1]
    assert len(list((tmp_path / "all").iterdir())) > 1
    most = size(tmp_path / "all") // 2
    for _ in range(2):
        options = {"cache": tmp_path / "half", "cache_gigabytes": most / 1e9}
        dataset = batches(corpus, layer, VOCABULARY, batch_size=4, **options)
        for _ in range(2):
            assert_equal_passes(whole, rows_of(dataset)[1], atol=1e-5)
    assert 0.5 * most < size(tmp_path / "half") <= most
    assert caplog.text.count("What is not in it is made again") == 2  # once in each run


def test_two_runs_share_a_cache_folder(corpus, layer, tmp_path, monkeypatch):
    options = {"batch_size": 4, "cache": tmp_path / "cache"}
    for part in (corpus[:5], corpus[5:]):
        rows_of(batches(part, layer, VOCABULARY, **options))
    monkeypatch.setattr(audio, "read", lambda *_, **__: pytest.fail("decoded again"))
    assert len(rows_of(batches(corpus, layer, VOCABULARY, **options))[0]) == len(corpus)


def test_a_changed_recording_or_layer_is_not_taken_from_the_cache(corpus, layer, tmp_path):
    options = {"batch_size": 4, "cache": tmp_path / "cache"}
    rows_of(batches(corpus, layer, VOCABULARY, **options))
    other = LogMel(RATE, num_mels=8, normalize=None)
    assert_equal_passes(
        rows_of(batches(corpus, other, VOCABULARY, **options))[1],
        rows_of(batches(corpus, other, VOCABULARY, batch_size=4, cache="memory"))[1],
    )
    changed = corpus[0]
    size = round(changed.duration * RATE)
    soundfile.write(changed.path, 0.1 * np.random.default_rng(9).standard_normal(size), RATE)
    os.utime(changed.path, ns=(1, 1))
    fresh = rows_of(batches(corpus, layer, VOCABULARY, batch_size=4))[0]
    np.testing.assert_allclose(
        rows_of(batches(corpus, layer, VOCABULARY, **options))[0][changed.id][0], fresh[changed.id][0], atol=1e-5
    )


def test_signals_that_changed_beside_their_header_are_not_taken_from_the_cache(tmp_path):
    header, found = tmp_path / "r.hea", []
    for level in (1100, 1300):
        write_wfdb(tmp_path / "r", np.full((50, 2), level), rate=50)
        os.utime(header, ns=(1, 1))
        examples = [Example(str(header), 1.0, label=name, id=name) for name in "ab"]
        layer = RawSignal(50, window=1, hop=1, channels=2)
        (x, *_) = next(iter(batches(examples, layer, classes=["a", "b"], batch_size=2, cache=tmp_path / "cache")))
        found.append(float(x["features"][0, 0, 0]))
    np.testing.assert_allclose(found, [(1100 - 1024) / 200, (1300 - 1024) / 200], rtol=1e-3)


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left"), tf.errors.ResourceExhaustedError(None, None, "full")]
)
def test_a_full_disk_ends_the_cache_and_not_the_run(corpus, layer, tmp_path, monkeypatch, caplog, error):
    def full(*_):
        raise error

    monkeypatch.setattr(records.Records, "_append", full)
    caplog.set_level(logging.WARNING)
    by_id, _ = rows_of(batches(corpus, layer, VOCABULARY, batch_size=2, cache=tmp_path / "cache"))
    assert len(by_id) == len(corpus)
    assert caplog.text.count("the disk is full") == 1


@given(st.lists(st.floats(-1, 1, width=32), max_size=8), st.booleans())
@settings(deadline=None)
def test_signals_are_packed_without_loss(values, sixteen_bit):
    signal = np.array(values, np.float32)
    if sixteen_bit:
        signal = np.clip(np.round(signal * 32768), -32768, 32767).astype(np.float32) / np.float32(32768)
    packed = cache.pack(signal)
    np.testing.assert_array_equal(cache.unpack(packed), signal)
    assert cache.unpack(packed).dtype == np.float32
    assert packed.dtype == np.int16 or not sixteen_bit


# Options


def test_options_that_do_not_fit_are_refused(corpus, layer):
    with pytest.raises(ValueError, match=r"Give one of `batch_size` and `batch_seconds`"):
        batches(corpus, layer, batch_size=4, batch_seconds=10.0)
    with pytest.raises(ValueError, match="`decoder` must be one of auto, soundfile, tensorflow-io"):
        batches(corpus, layer, decoder="ffmpeg")
    with pytest.raises(ValueError, match="`noise_folder` must be a folder of recordings"):
        batches(corpus, layer, augmentation=Augmentation(noise_folder="/nowhere"))
    with pytest.raises(ValueError, match="`sample_rate` must be given"):
        batches(corpus, None)
    with pytest.raises(ValueError, match=r"8000 Hz\. Received: 16000"):
        batches(corpus, layer, sample_rate=16000)
    with pytest.raises(ValueError, match="untransformed"):
        plan_of(batches(corpus, layer).take(1))


def test_dropped_examples_are_logged_where_nobody_collects_them(corpus, layer, tmp_path, caplog):
    batches([*corpus, Example(str(tmp_path / "gone.wav"), 1.0, text="a")], layer, VOCABULARY)
    assert "1 of 12 examples dropped: 1 missing. First: gone." in caplog.text


def test_a_cache_in_memory_has_an_end(caplog):
    store = cache.Memory(max_bytes=100_000)
    entries = [types.SimpleNamespace(index=index) for index in range(5)]
    for entry in entries:
        store.put(entry, np.full(20_000, entry.index / 8, "float32"))  # two bytes a sample
    assert [store.holds(entry) for entry in entries] == [True, True, False, False, False]
    assert store.get(entries[4]) is None
    np.testing.assert_array_equal(store.get(entries[1]), np.full(20_000, 1 / 8, "float32"))
    assert caplog.text.count("the cache in memory is full with 2 examples") == 1
    assert 0 < cache.free_memory() < 1 << 50
