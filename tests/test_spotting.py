"""Keywords in streams: what is found does not depend on blocks, and is counted against what was said."""

import dataclasses
import json

import numpy as np
import pytest
import soundfile
from fakes import Leveller, stand_in

from pipelines import keyword_spotting
from speechrnn import Augmentation, ClassifierTraining, cli
from speechrnn.data.corpora import speech_commands
from speechrnn.faults import Fault
from speechrnn.models.loading import load_bundle
from speechrnn.tasks.classification import Spotter, spot, spotting
from speechrnn.tasks.classification.options import SpottingOptions
from speechrnn.tasks.classification.spotting import Said, Spotted, Spotting

RATE = 100
OPTIONS = SpottingOptions(window_seconds=0.5, hop_seconds=0.1, smooth=2, threshold=0.6, debounce=0.8, others=("a",))


class Listener(Leveller):
    """The level of a window is its class: 0 is no keyword, 1 and -1 are."""

    sample_rate = RATE

    def __init__(self):
        super().__init__(channels=None)


def levels(*parts):
    """A stream of `(seconds, level)`."""
    return np.concatenate([np.full(round(seconds * RATE), level, np.float32) for seconds, level in parts])


STREAM = levels((1.0, 0), (0.8, 1), (1.0, 0), (0.8, -1), (0.63, 0))


def heard(signal, cuts=()):
    spotter = Spotter(Listener(), OPTIONS)
    found = [one for block in np.split(signal, cuts) for one in spotter.push(block)]
    return found + spotter.finish(), np.array(spotter.probabilities)


def test_a_keyword_is_found_once_where_it_is_and_however_the_stream_is_cut(rng):
    whole, probabilities = heard(STREAM)
    assert [one.label for one in whole] == ["b", "c"]
    for one, (start, end) in zip(whole, ((1.0, 1.8), (2.8, 3.6)), strict=True):
        assert start - 0.3 <= one.start < one.end <= end and one.end - one.start == pytest.approx(0.5)
        assert one.probability >= 0.6
    assert len(probabilities) == 1 + (len(STREAM) - 50) // 10 + 1  # whole windows, and one for the last 0.03 s
    for _ in range(5):
        cuts = np.sort(rng.integers(0, len(STREAM), rng.integers(1, 40)))
        found, same = heard(STREAM, cuts)
        assert found == whole
        np.testing.assert_array_equal(same, probabilities)
    assert spotting.decided(probabilities, "abc", OPTIONS) == whole
    assert heard(levels((0.2, 1)))[0] == []  # one window: 0.2 s of the word, then silence
    assert [one.label for one in heard(levels((0.4, 1)))[0]] == ["b"]
    assert heard(levels((0.5, 1)))[1].shape == (1, 3) and heard(np.zeros(0, np.float32))[1].size == 0


def test_one_sure_window_among_unsure_ones_is_no_keyword():
    rows = np.array([[0.9, 0.1, 0.0], [0.1, 0.9, 0.0], [0.9, 0.1, 0.0]])
    assert spotting.decided(rows, "abc", OPTIONS) == []
    assert len(spotting.decided(rows, "abc", dataclasses.replace(OPTIONS, smooth=1))) == 1
    always = np.tile([0.1, 0.9, 0.0], (31, 1))
    found = spotting.decided(always, "abc", OPTIONS)  # a word that never ends is found after every pause
    np.testing.assert_allclose(np.diff([one.end for one in found]), 0.8, atol=0.11)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": 2}, "needs a classifier of sounds"),
        ({"per_frame": True}, "needs a classifier of sounds"),
        ({"classes": ("a",)}, "Some class must be a keyword. Received: a, all of them `others`."),
    ],
)
def test_a_spotter_refuses_what_it_cannot_use(change, message):
    model = Listener()
    vars(model).update(change)
    with pytest.raises(ValueError, match=message):
        Spotter(model, OPTIONS)


def test_a_stream_is_mono_and_options_are_in_range():
    with pytest.raises(ValueError, match=r"mono, `\(samples,\)`. Received: shape \(4, 2\)"):
        Spotter(Listener(), OPTIONS).push(np.zeros((4, 2)))
    for name in ("window_seconds", "hop_seconds", "smooth", "threshold"):
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            SpottingOptions(**{name: 0})
    with pytest.raises(ValueError, match="`debounce` must be zero or positive"):
        SpottingOptions(debounce=-1)


def test_every_word_is_found_once_and_the_rest_are_false_alarms():
    said = [Said("b", 1.0, 1.5), Said("c", 3.0, 3.5), Said("b", 6.0, 6.5)]
    at = [
        ("b", 1.2),
        ("b", 1.4),
        ("b", 3.2),
        ("c", 4.1),
        ("b", 6.9),
        ("c", 9.0),
    ]  # again, wrong, late, in time, nowhere
    found = [Spotted(label, middle - 0.5, middle + 0.5, 0.9) for label, middle in at]
    counts = spotting.count_spotted(found, said, 1800.0)
    assert counts == Spotting(said=3, found=2, false=4, hours=0.5)
    assert counts.missed == pytest.approx(1 / 3) and counts.false_per_hour == 8
    assert counts + counts == Spotting(6, 4, 8, 1.0)
    assert np.isnan(Spotting(0, 0, 0, 1.0).missed)


def test_the_threshold_is_the_one_of_fewest_misses_that_is_quiet_enough():
    rows = np.zeros((60, 3))
    rows[:, 0] = 1
    for window, label, sure in ((5, 1, 0.95), (25, 1, 0.7), (45, 2, 0.8)):  # the third was not said
        rows[window : window + 2] = 0
        rows[window : window + 2, label], rows[window : window + 2, 0] = sure, 1 - sure
    said = [Said("b", 0.6, 1.0), Said("b", 2.6, 3.0)]
    points = spotting.operating_points(rows, said, 360.0, "abc", options=OPTIONS)
    of = {t: (p.found, p.false) for t, p in points.items()}
    assert of[0.6] == (2, 1) and of[0.75] == (1, 1) and of[0.9] == (1, 0) and of[0.98] == (0, 0)
    assert spotting.best_threshold(points, 10.0) == 0.7  # the highest of those with all
    assert spotting.best_threshold(points, 5.0) == 0.95
    loud = {t: p for t, p in points.items() if t < 0.8}
    assert spotting.best_threshold(loud, 5.0) == max(loud)


def test_a_stream_has_its_words_where_it_says_and_as_loud(rng):
    noise = rng.standard_normal(3000).astype(np.float32)
    words = [(rng.standard_normal(400).astype(np.float32) * loud, name) for loud, name in ((5, "b"), (0.01, "a"))]
    stream, said = spotting.spoken_stream(words, noise, RATE, rng, gap=(1.0, 2.0), snr_db=(10, 10), others=("a",))
    assert [one.label for one in said] == ["b"] and said[0].end - said[0].start == 4.0
    assert 1.0 <= said[0].start <= 2.0 and np.abs(stream).max() == pytest.approx(0.9)
    scale = stream[0] / noise[0]
    left = stream - scale * np.resize(noise, len(stream))
    power = np.mean(np.square(scale * noise))
    place = round(said[0].start * RATE)
    assert np.mean(np.square(left[place : place + 400])) == pytest.approx(10 * power, rel=1e-3)  # 10 dB
    loud = np.flatnonzero(np.abs(left) > 1e-5)
    assert loud[0] == place and len(loud) == pytest.approx(800, abs=5)  # the quiet word is as loud
    with pytest.raises(ValueError, match="must not be silent"):
        spotting.spoken_stream(words, np.zeros(5, np.float32), RATE, rng)


def test_files_are_spotted_and_those_that_cannot_be_read_are_named(tmp_path, monkeypatch, capsys):
    path = str(tmp_path / "a.wav")
    soundfile.write(path, STREAM / 4, RATE, subtype="FLOAT")

    class Loud(Listener):
        def _one(self, signal):
            return super()._one(4 * signal)

    found, fault = spot(Loud(), [path, str(tmp_path / "gone.wav")], **vars(OPTIONS))
    assert found == heard(STREAM)[0] and isinstance(fault, Fault) and fault.kind == "missing"
    stand_in(monkeypatch, Loud())
    words = ["--window-seconds", "0.5", "--smooth", "2", "--threshold", "0.6", "--debounce", "0.8", "--others", "a"]
    assert cli.main(["spot", "--model", "m.onnx", path, "gone.wav", *words]) == 1
    out, err = capsys.readouterr()
    lines = [line.split("\t") for line in out.splitlines()]
    assert [line[3] for line in lines] == ["b", "c"] and lines[0][0] == path and float(lines[0][1]) == found[0].start
    assert "gone.wav" in err and "1 of 2 files failed" in err
    assert cli.main(["spot", "--model", "m.onnx", path, *words, "--json"]) == 0
    assert [json.loads(line)["label"] for line in capsys.readouterr().out.splitlines()] == ["b", "c"]


KEYWORDS, OTHERS = {"yes": 500.0, "no": 1200.0}, {"bed": 2500.0, "cat": 3300.0}


@pytest.fixture
def corpus(tmp_path, rng):
    """A folder of the corpus's layout, whose words are tones of half a second, and whose noise is white."""
    folder = tmp_path / "commands"
    lists = {"validation_list.txt": [], "testing_list.txt": []}
    times = np.arange(16000) / 16000
    for word, hertz in (KEYWORDS | OTHERS).items():
        (folder / word).mkdir(parents=True)
        for number in range(20):
            name = f"{word}/{number:08x}_nohash_0.wav"
            tone = 0.3 * np.sin(2 * np.pi * hertz * rng.uniform(0.95, 1.05) * times) * (np.abs(times - 0.5) < 0.25)
            soundfile.write(folder / name, tone + 0.001 * rng.standard_normal(16000), 16000)
            if number >= 12:
                lists["validation_list.txt" if number < 16 else "testing_list.txt"].append(name)
    (folder / speech_commands.NOISE).mkdir()
    for name in ("hiss", "tap"):
        soundfile.write(folder / speech_commands.NOISE / f"{name}.wav", 0.05 * rng.standard_normal(320000), 16000)
    for name, lines in lists.items():
        (folder / name).write_text("\n".join(lines) + "\n")
    return folder


def test_a_spotter_learns_from_keywords_other_words_and_silence(corpus, tmp_path):
    splits = speech_commands.prepare(corpus, tmp_path / "m", commands=("yes", "no"))
    assert {name: len(examples) for name, examples in splits.items()} == {"train": 24 + 6, "valid": 10, "test": 10}
    for name, (first, last) in {"train": (0, 14), "valid": (14, 17), "test": (17, 20)}.items():
        by = {label: [e for e in splits[name] if e.label == label] for label in ("yes", "no", "unknown", "silence")}
        assert sum(map(len, by.values())) == len(splits[name])
        assert {e.text for e in by["unknown"]} <= set(OTHERS) and len(by["unknown"]) == len(by["silence"])
        for example in by["silence"]:
            assert example.text is None and example.duration == 1.0
            assert first <= example.offset <= last - 1.0 and example.subject.endswith(name)
    assert splits == speech_commands.prepare(corpus, tmp_path / "m", commands=("yes", "no"), overwrite=True)
    for options, message in (
        ({"commands": ("yez",)}, "no word 'yez'. Did you mean `yes`"),
        ({"commands": ("yes",), "only": ("no",)}, "Give `only` or `commands`"),
    ):
        with pytest.raises(ValueError, match=message):
            speech_commands.prepare(corpus, tmp_path / "no", **options)
    for path in (corpus / speech_commands.NOISE).iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="silence needs recordings of noise, .wav, of 7 s or more. Received: 0"):
        speech_commands.prepare(corpus, tmp_path / "no", commands=("yes",))


@pytest.mark.slow
def test_the_recipe_finds_tones_in_noise(corpus, tmp_path, monkeypatch, capsys):
    simple = Augmentation(noise_snr=(5.0, 25.0), noise_probability=0.8)
    monkeypatch.setattr(keyword_spotting, "AUGMENTATION", simple)
    options = ClassifierTraining(epochs=14, batch_size=6, learning_rate=2e-2, validate_every=7)
    tiny = {"units": 12, "filters": 8, "dropout": 0.0, "bidirectional": False}
    report, test = keyword_spotting.main(
        str(corpus), str(tmp_path / "out"), commands=("yes", "no"), options=options, false_per_hour=200.0, **tiny
    )
    assert report.classes == ("yes", "no", "unknown", "silence") and len(report.records) == 10
    assert test.said == 8 and test.found >= 6 and test.hours > 9 / 3600
    out = capsys.readouterr().out
    assert "chosen on the validation stream" in out and "of 8 missed" in out
    model = load_bundle(tmp_path / "out" / "spotter.keras", kind="classifier")
    assert model.classes == report.classes and model.sample_rate == 16000
