"""Voices: wording, phones, alignment, frames, training, ONNX, files, the command line, and what cannot be said."""

import dataclasses
import io
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import soundfile

import speechrnn as sr
from pipelines import voice as recipe
from speechrnn.cli import main
from speechrnn.data.manifest import Example
from speechrnn.export.writing import onnx_bytes
from speechrnn.faults import Faults
from speechrnn.features import LogMel
from speechrnn.tasks.recognition import attachments
from speechrnn.tasks.synthesis import (
    Pronouncer,
    SpeechSynthesizer,
    SynthesizerSession,
    SynthesizerTraining,
    aligned,
    distortion,
    sentences,
    spelled_out,
    voice_network,
)
from speechrnn.tasks.synthesis import phones as pronouncing
from speechrnn.tasks.synthesis import sound as sounds
from speechrnn.tasks.synthesis.evaluation import log_mel
from speechrnn.tasks.synthesis.sound import Sound
from speechrnn.tasks.synthesis.training import SynthesizerTask
from speechrnn.text import Lexicon, Phones, lexicons
from speechrnn.training.task import Split

SOUND = Sound(sample_rate=8000, window=256, hop=80, fft_length=256, num_mels=20, f_max=4000.0)
SMALL = {"embedding": 4, "encoder_units": 6, "encoder_layers": 1, "units": 7, "layers": 1, "filters": 5}
WORDS = {
    "a": [("AH0",), ("EY1",)], "sea": [("S", "IY1")], "easy": [("IY1", "S", "IY0")], "as": [("AE2", "S")],
    "b": [("B", "IY1")], "s": [("EH1", "S")], "bee": [("B", "IY1")], "see": [("S", "IY1")], "beas": [("B", "IY1", "S")],
    "sees": [("S", "IY1", "S")], "bass": [("B", "AH0", "S")],
}  # fmt: skip
LEXICON = Lexicon({word: [(way, 1.0 - i / 10) for i, way in enumerate(ways)] for word, ways in WORDS.items()})
TONES = {"IY1": 200.0, "IY0": 200.0, "AH0": 140.0, "EY1": 170.0}
SAID = ["sea bee", "easy", "a bass", "sees", "bee a sea"]


def made(cell="lstm", **options):
    """A small one with weights at random."""
    keras.utils.set_random_seed(0)
    vocabulary = Phones([*sorted({phone for phone in LEXICON.phones if phone != "AE2"}), "sil"])
    sizes = {**SMALL, "dropout": 0.1, **options}
    mean = [-5.0] * SOUND.num_mels
    network = voice_network(vocabulary_size=len(vocabulary), num_features=SOUND.num_mels, mean=mean, cell=cell, **sizes)
    rng = np.random.default_rng(1)
    network.set_weights([value + rng.normal(0, 0.3, value.shape) for value in network.get_weights()])
    return SpeechSynthesizer(network, vocabulary, LogMel(**vars(SOUND)), {"pitch": (5.2, 0.2), "energy": (-5.0, 2.0)})


@pytest.fixture(scope="module")
def model():
    return made()


@pytest.fixture(scope="module")
def session(model):
    return SynthesizerSession(onnx_bytes(model), threads=1)


def sung(phones, seconds, rng, rate=16000):
    """A signal in which a vowel is a harmonic tone, `B` a low hum, silence is silent and the rest is noise."""
    parts = []
    for phone, length in zip(phones, seconds, strict=True):
        time = np.arange(round(length * rate)) / rate
        if phone == "sil":
            part = rng.normal(0, 1e-4, len(time))
        elif phone in TONES:
            shape = {"I": (3, 0.6), "A": (1, 0.3), "E": (2, 0.4)}[phone[0]]
            harmonics = [np.sin(2 * np.pi * k * TONES[phone] * time) / (1 + abs(k - shape[0])) for k in range(1, 7)]
            part = shape[1] * np.sum(harmonics, axis=0) / 3
        elif phone == "B":
            part = 0.1 * np.sin(2 * np.pi * 90 * time)
        else:
            part = rng.normal(0, 0.05, len(time))
        parts.append(part)
    return np.concatenate(parts).astype("float32")


def recorded(folder, rng, said=SAID, pause=0.0):
    """Recordings with true phones and ends, as an alignment has them."""
    examples = []
    for number, text in enumerate(said):
        phones = ["sil"]
        for word in text.split():
            phones += [*LEXICON[word][0][0], *(["sil"] if pause else [])]
        phones += [] if pause else ["sil"]
        seconds = [0.15 if phone == "sil" else rng.uniform(0.08, 0.2) for phone in phones]
        signal = sung(phones, seconds, rng)
        path = folder / f"said{number}.wav"
        soundfile.write(path, signal, 16000)
        extra = {"phones": " ".join(phones), "ends": np.cumsum(seconds).round(3).tolist()}
        examples.append(Example(str(path), len(signal) / 16000, text=text, subject="one", extra=extra))
    return examples


# Wording


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("1,000,203", "one million two hundred three"),
        ("In 1905, 1900 and 2001", "In nineteen oh five, nineteen hundred and two thousand one"),
        ("0.25 of 007", "zero point two five of zero zero seven"),
        ("-5°", "minus five degrees"),
        ("the 1st, 12th and 30th", "the first, twelfth and thirtieth"),
        ("$1.50, £2 & €1", "one dollar fifty, two pounds and one euro"),
        ("No. 7, no.", "number seven, no."),
        ("100%", "one hundred percent"),
        ("5kg of H2O at 7pm", "five kg of H two O at seven pm"),
        ("the 1990s and MP3", "the nineteen ninetys and MP three"),
        ("$3.2 million, £5bn and €1k", "three point two million dollars, five billion pounds and one thousand euros"),
        ("10:30, 9:05 and 10:00 AM", "ten thirty, nine oh five and ten AM"),
        ("2½ cups, 2 ½ or ¾", "two and one half cups, two and one half or three quarters"),
        ("10², 10⁻³ and 5 m²", "ten squared, ten to the power of minus three and five m squared"),
        ("-.5, -$5 and .22", "minus point five, minus five dollars and point two two"),
        ("US$.50", "US zero dollars fifty"),
        ("16:9 is no time, nor is 1:02:03", "sixteen:nine is no time, nor is one:zero two:zero three"),
    ],
)
def test_numbers_and_signs_are_read(written, read):
    assert spelled_out(written) == read


def test_an_abbreviation_ends_no_sentence():
    assert sentences('Mr. Fox, Dr. Hen etc. left. "Why?" Nobody knows\n\nThe end') == [
        "mister Fox, doctor Hen et cetera left.", '"Why?', "Nobody knows", "The end",
    ]  # fmt: skip


# Phones


def test_punctuation_is_silence_and_words_are_the_lexicons(model):
    said = Pronouncer(model.vocabulary, LEXICON)("Sea, easy: A - bee!")
    assert " ".join(said) == "sil S IY1 sil IY1 S IY0 sil AH0 B IY1 sil"


def test_letters_are_named_and_possessives_and_accents_read(model):
    pronounce = Pronouncer(model.vocabulary, LEXICON)
    assert pronounce("BSA")[1:-1] == ["B", "IY1", "EH1", "S", "EY1"]
    assert pronounce("Sëé")[1:-1] == ["S", "IY1"]


def test_the_end_of_a_possessive_follows_the_phone_before_it():
    lexicon = Lexicon({"sea": [(("S", "IY1"), 1.0)], "ax": [(("AE1", "K", "S"), 1.0)], "cat": [(("K", "T"), 1.0)]})
    pronounce = Pronouncer(Phones(["AE1", "IH0", "IY1", "K", "S", "T", "Z", "sil"]), lexicon)
    said = [" ".join(pronounce(word)[1:-1]) for word in ("sea's", "ax's", "cat's")]
    assert said == ["S IY1 Z", "AE1 K S IH0 Z", "K T S"]


def test_words_that_the_lexicon_lacks_are_guessed(model):
    said = Pronouncer(model.vocabulary, LEXICON)("beasea")[1:-1]
    assert said and set(said) <= set(model.vocabulary.symbols)


def test_a_vowel_takes_the_place_of_one_in_another_stress():
    fitted = pronouncing.fitted(LEXICON, Phones(["AE1", "S", "IY2", "IY0", "sil"]))
    assert fitted["as"] == ((("AE1", "S"), 1.0),) and fitted["sea"][0][0] == ("S", "IY2")
    assert fitted["easy"][0][0] == ("IY2", "S", "IY0") and "bee" not in fitted
    with pytest.raises(ValueError, match="a voice of X Y"):
        pronouncing.fitted(LEXICON, Phones(["X", "Y"]))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("привет sea", r"cannot read: 'п' 'р' 'и' 'в' 'е' 'т'\. Write"),
        ("sea 東京", "'東' '京'"),
        ("bee 🙂", "'🙂'"),
        ("", "no word to say"),
        (" ... ", "no word to say"),
        ("zea", r"cannot read: 'z'"),
    ],
)
def test_what_cannot_be_said_is_refused(session, tmp_path, text, reason):
    LEXICON.write(tmp_path / "words.lexicon")
    with pytest.raises(ValueError, match=reason):
        session.speak(text, lexicon=str(tmp_path / "words.lexicon"))
    found = list(session.speak(["sea", text], lexicon=str(tmp_path / "words.lexicon"), on_error="collect"))
    assert [one.ok for one in found] == [True, False]


# Frames


def test_every_frame_is_of_the_phone_in_which_its_middle_is(rng):
    for _ in range(20):
        ends = np.cumsum(rng.uniform(0.0, 0.2, 12))
        frames = 1 + (round(ends[-1] * 8000) - SOUND.window) // SOUND.hop
        if frames < 12:
            continue
        counts = sounds.frame_counts(ends, frames, SOUND)
        assert counts.sum() == frames and counts.min() >= 1
        middles = (np.arange(frames) * SOUND.hop + SOUND.window / 2) / 8000
        true = np.searchsorted(ends, middles, side="right").clip(0, 11)
        if np.bincount(true, minlength=12).min():  # or else some had to give a frame to those that have none
            np.testing.assert_array_equal(np.repeat(np.arange(12), counts), true)
    with pytest.raises(ValueError, match="3 phones need as many frames. Received: 2"):
        sounds.frame_counts(np.array([0.1, 0.2, 0.3]), 2, SOUND)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_shares_of_a_step_sum_to_one_and_are_largest_for_its_phone(step):
    counts = np.array([4, 1, 7, 3])
    shares, places = sounds.spread(counts, step)
    assert shares.shape == (-(-15 // step), 4) and np.abs(places).max() <= 1
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-6)
    middles = np.minimum((np.arange(len(shares)) + 0.5) * step, 14.5)
    inner = np.abs(middles[:, None] - np.cumsum(counts)).min(1) > 0.4  # not where two meet
    np.testing.assert_array_equal(shares.argmax(1)[inner], np.repeat(np.arange(4), counts)[middles.astype(int)][inner])


@pytest.mark.parametrize("hertz", [90.0, 121.0, 233.0, 350.0])
def test_pitch_is_that_of_a_harmonic_tone_and_noise_has_none(hertz, rng):
    sound, time = Sound(), np.arange(16000) / 16000
    tone = sum(np.sin(2 * np.pi * k * hertz * time) / k for k in range(1, 6))
    found = np.exp(sounds.pitch(tone, sound))
    assert len(found) == 1 + (16000 - sound.window) // sound.hop
    np.testing.assert_allclose(found, hertz, rtol=0.015)
    assert np.isnan(sounds.pitch(rng.normal(0, 0.1, 16000), sound)).mean() > 0.95


# The network


def inputs(model, sentences, *, fill=0.0):
    """A batch; what stands in its padding is `fill`."""
    ids = [model.vocabulary.encode(text) for text, _ in sentences]
    counts = [np.array(each) for _, each in sentences]
    shares, places = sounds.padded_shares(counts, model.frames_per_step)
    phones = np.zeros((len(ids), max(map(len, ids))), "int32")
    variances = np.full((*phones.shape, 3), fill, "float32")
    steps = np.array([-(-each.sum() // model.frames_per_step) for each in counts], "int32")
    for row, each in enumerate(ids):
        phones[row, : len(each)] = each
        variances[row, : len(each)] = 0.3
        places[row, steps[row] :] = fill
    count = np.array(list(map(len, ids)), "int32")
    given = {"phones": phones, "count": count, "variances": variances}
    return {**given, "shares": shares, "places": places, "steps": steps}


@pytest.mark.parametrize(
    ("cell", "options"), [("lstm", {}), ("gru", {"layers": 2, "step": 3}), ("rnn", {"filters": 0})]
)
def test_padding_never_changes_a_valid_output(cell, options):
    model = made(cell, **options)
    given = [("sil S IY1 sil", [3, 2, 5, 1]), ("sil B sil", [2, 1, 2]), ("sil AH0 B IY1 S sil", [1, 2, 3, 4, 5, 6])]
    together = model(inputs(model, given, fill=np.nan), training=False)
    for row, one in enumerate(given):
        alone = model(inputs(model, [one]), training=False)
        for name, values in alone.items():
            whole = np.asarray(together[name])[row]
            np.testing.assert_allclose(whole[: values.shape[1]], values[0], rtol=0, atol=1e-5)
            assert not whole[values.shape[1] :].any(), name


def test_the_parts_must_fit_each_other(model):
    with pytest.raises(ValueError, match="normalize=None and deltas=0"):
        layer = LogMel(**{**vars(SOUND), "normalize": "utterance"})
        SpeechSynthesizer(model.network, model.vocabulary, layer, model.levels)
    with pytest.raises(ValueError, match="must have 3 symbols"):
        SpeechSynthesizer(model.network, Phones(["A", "sil"]), model.features, model.levels)
    with pytest.raises(ValueError, match="models `encoder` and `decoder`"):
        x = keras.Input((None, 3))
        network = keras.Model(x, keras.layers.Dense(20)(x))
        SpeechSynthesizer(network, model.vocabulary, model.features, model.levels)


def test_onnx_is_keras_and_the_file_has_it_all(model, session, tmp_path):
    model.save(tmp_path / "voice.keras")
    kept = sr.load(tmp_path / "voice.keras")
    ids, counts = model.vocabulary.encode("sil S IY1 B sil"), np.array([3, 2, 5, 4, 1])
    read, told = model.predict_variances(ids)
    spectrum = model.frames(read, told, counts)
    assert spectrum.shape == (15, SOUND.num_mels)
    for other in (session, kept):
        again = other.predict_variances(ids)
        np.testing.assert_allclose(again[0], read, rtol=0, atol=1e-5)
        np.testing.assert_allclose(other.frames(*again, counts), spectrum, rtol=0, atol=1e-4)
        assert other.sound == SOUND and {k: tuple(v) for k, v in other.levels.items()} == model.levels
    whole = np.asarray(model(inputs(model, [("sil S IY1 B sil", counts)]), training=False)["variances"])[0]
    np.testing.assert_allclose(told, whole, rtol=0, atol=1e-5)


# Speaking


def test_tempo_and_pitch_are_heeded_and_the_sound_lasts_as_long_as_its_phones(session, tmp_path, monkeypatch):
    LEXICON.write(tmp_path / "words.lexicon")
    told = []

    def predict_variances(phones):
        read, variances = SynthesizerSession.predict_variances(session, phones)
        return read, np.full_like(variances, np.log(8.0) - 0.075)  # and what scattering adds

    def frames(read, variances, counts):
        told.append(variances[0, 1])
        return SynthesizerSession.frames(session, read, variances, counts)

    monkeypatch.setattr(session, "predict_variances", predict_variances)
    monkeypatch.setattr(session, "frames", frames)
    how = {"lexicon": str(tmp_path / "words.lexicon"), "iterations": 2}
    plain, fast = session.speak("A sea.", **how), session.speak("A sea.", tempo=2.0, pitch=12.0, **how)
    assert plain.phones == ("sil", "AH0", "S", "IY1", "sil") == fast.phones
    assert len(plain.spectrum) == 40 and len(fast.spectrum) == 20
    assert abs(plain.ends[-1] - plain.duration) < SOUND.window / 8000 and plain.signal.dtype == np.float32
    assert len(plain.signal) == 39 * SOUND.hop + SOUND.window and np.abs(plain.signal).max() <= 1
    assert told[1] - told[0] == pytest.approx(np.log(2) / 0.2, rel=1e-4)  # an octave, in what is usual
    both = session.speak("A sea. A sea.", **how)
    assert both.duration == pytest.approx(2 * plain.duration) and both.ends[5:] > both.ends[:5]
    with pytest.raises(ValueError, match="`tempo` must be positive"):
        session.speak("sea", tempo=0.0, **how)
    with pytest.raises(TypeError, match="Did you mean `tempo`"):
        session.speak("sea", temp=1.0, **how)


def test_durations_that_cannot_be_are_refused(session, tmp_path, monkeypatch):
    LEXICON.write(tmp_path / "words.lexicon")
    for value in (np.nan, 20.0):
        monkeypatch.setattr(
            session, "predict_variances", lambda phones, value=value: (np.zeros(1), np.full((4, 3), value))
        )
        with pytest.raises(ValueError, match="an impossible duration"):
            session.speak("sea", lexicon=str(tmp_path / "words.lexicon"))


def test_a_file_speaks_alone_without_tensorflow(model, tmp_path):
    model.export(tmp_path / "bare.onnx", int8=True)
    pronouncing.fitted(LEXICON, model.vocabulary).write(tmp_path / "words.lexicon")
    attachments.attach(tmp_path / "bare.onnx", tmp_path / "voice.onnx", lexicon=tmp_path / "words.lexicon")
    code = """
import sys, speechrnn as sr
said = sr.load("voice.onnx").speak("See, a bee.")
said.save("a.wav")
print(*said.phones, "tensorflow" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [*["sil", "S", "IY1", "sil", "AH0", "B", "IY1", "sil"], "False"]
    assert soundfile.info(tmp_path / "a.wav").samplerate == 8000
    # The command line: a file, a pipe, a table of phones, and what is refused.
    out = tmp_path / "b.wav"
    speak = ["speak", "--model", str(tmp_path / "voice.onnx"), "--iterations", "2"]
    assert main([*speak, "See. A bee.", "--out", str(out), "--pause", "0.5"]) == 0
    signal, rate = soundfile.read(out)
    assert rate == 8000 and not signal[-4000:].any() and len(signal) > 8000
    assert main([*speak, "sea", "--out", str(out)]) == 2 and soundfile.info(out).frames == len(signal)
    (tmp_path / "text.txt").write_text("A bee.\n\nSees.")
    assert main([*speak, "--from-files", str(tmp_path / "text.txt"), "--out-dir", str(tmp_path / "each")]) == 0
    assert soundfile.info(tmp_path / "each/sentence2.wav").frames > 0
    command = [sys.executable, "-m", "speechrnn", *speak, "See. A bee."]
    piped = subprocess.run(command, capture_output=True).stdout
    assert piped[:4] == b"RIFF" and piped[4:8] == b"\xff" * 4
    streamed, _ = soundfile.read(io.BytesIO(piped))
    assert 0 < len(streamed) < len(signal)


def test_the_command_line_says_what_is_wrong(session, tmp_path, capsys):
    LEXICON.write(tmp_path / "words.lexicon")
    (tmp_path / "voice.onnx").write_bytes(session.file.content)
    speak = ["speak", "--model", str(tmp_path / "voice.onnx"), "--lexicon", str(tmp_path / "words.lexicon"), "--json"]
    assert main([*speak, "sea. привет. bee."]) == 1
    out, err = capsys.readouterr()
    assert [json.loads(line)["text"] for line in out.splitlines()] == ["sea.", "bee."] and "'п'" in err
    out = tmp_path / "none.wav"
    assert main([*speak[:-1], "привет", "--out", str(out)]) == 1 and "'п'" in capsys.readouterr().err
    assert not out.exists()  # a head without a sound would only be in the way of the next attempt
    (tmp_path / "empty.txt").touch()
    assert main([*speak, "--from-files", str(tmp_path / "empty.txt")]) == 1
    assert f"{tmp_path / 'empty.txt'}: has no text" in capsys.readouterr().err
    assert main([*speak, "--tempo", "0", "sea"]) == 2 and "tempo" in capsys.readouterr().err
    assert main([*speak[:3], "--lexicon", str(tmp_path / "none"), "sea", "--json"]) == 2


# Alignment


class Peaky:
    """Stands for a recognizer of phones that writes each in one frame of 50 ms, somewhere within it."""

    sample_rate, frame_period = 16000, 0.05
    vocabulary = Phones(sorted({pronouncing.plain([phone])[0] for phone in LEXICON.phones}))

    def __init__(self, examples, rng):
        self._examples, self._rng = {round(e.duration * 16000): e for e in examples}, rng

    def logits(self, signals):
        return [self._one(self._examples[len(signal)]) for signal in signals]

    def _one(self, example):
        ids = np.zeros(int(example.duration / 0.05) + 1, int)
        start = 0.0
        for phone, end in zip(example.extra["phones"].split(), example.extra["ends"], strict=True):
            if phone != "sil":
                place = int((start + self._rng.uniform(0.2, 0.8) * (end - start)) / 0.05)
                ids[place + (ids[place] != 0)] = self.vocabulary.encode(pronouncing.plain([phone])[0])[0]
            start = end
        return 8.0 * np.eye(len(self.vocabulary), dtype=np.float32)[ids]


def test_ends_are_found_between_peaks_and_silence_between_words(tmp_path, rng):
    truth = recorded(tmp_path, rng, SAID * 4, pause=0.15)
    bare = [dataclasses.replace(each, extra={}) for each in truth]
    apart = {}
    for rounds in (0, 6):
        faults = Faults()
        found = aligned(bare, Peaky(truth, np.random.default_rng(0)), LEXICON, faults=faults, rounds=rounds)
        assert not len(faults) and len(found) == len(truth)
        for one, true in zip(found, truth, strict=True):
            assert one.extra["phones"] == true.extra["phones"]  # with their stress, and all silences
        differences = [np.subtract(a.extra["ends"], b.extra["ends"]) for a, b in zip(found, truth, strict=True)]
        apart[rounds] = np.abs(np.concatenate(differences)).mean()
    assert apart[6] < 0.012 < apart[0], apart


def test_what_cannot_be_aligned_is_told(tmp_path, rng):
    truth = recorded(tmp_path, rng, SAID[:3])
    bare = [dataclasses.replace(each, extra={}) for each in truth]
    bare[0] = dataclasses.replace(bare[0], text="unknown word")
    bare[1] = dataclasses.replace(bare[1], text="sea bee easy as a sea bee easy as a sea bee easy as a sea bee")
    faults = Faults()
    assert len(aligned(bare, Peaky(truth, rng), LEXICON, faults=faults, rounds=1)) == 1
    assert len(faults) == 2 and "lacks 'unknown'" in next(iter(faults)).message


# Training


def test_a_voice_learns_and_names_what_it_cannot(tmp_path, rng):
    examples = recorded(tmp_path, rng)
    model = SpeechSynthesizer.for_manifest(
        examples, features=vars(SOUND), **{**SMALL, "units": 24, "encoder_units": 12}, dropout=0.0
    )
    low, high = model.levels["pitch"][0] - 0.2, model.levels["pitch"][0] + 0.2
    assert np.log(140) > low - 0.3 and np.log(200) < high + 0.3 and model.vocabulary.missing("sil S IY1 IY0") == set()
    broken = [
        dataclasses.replace(examples[0], extra={}),
        dataclasses.replace(examples[1], extra={**examples[1].extra, "ends": [0.1] * len(examples[1].extra["ends"])}),
        dataclasses.replace(examples[2], extra={**examples[2].extra, "phones": "sil ZH AH0 S S sil"}),
        dataclasses.replace(examples[3], path=str(tmp_path / "none.wav")),
    ]
    faults = Faults()
    options = SynthesizerTraining(epochs=5, batch_size=2, learning_rate=2e-2, validate_every=5)
    how = {"options": options, "out": tmp_path / "v.keras", "faults": faults, "verbose": False}
    run = sr.train(model, [*examples * 4, *broken], valid=examples, **how)
    assert faults.counts() == {
        "not aligned": 1, "badly aligned": 1, "with phones that the voice lacks": 1, "missing": 1,
    }  # fmt: skip
    first, last = run.history[0], run.history[-1]
    assert last["loss"] < 0.5 * first["loss"]
    assert 0 < last["val_spectrum"] < last["val_loss"] < 0.7 * first["loss"] and last["val_duration"] > 0
    with pytest.raises(ValueError, match="Received none"):
        SynthesizerTask(model, options).batches(Split(broken))
    with pytest.raises(ValueError, match="one speaker's"):
        SpeechSynthesizer.for_manifest([*examples, dataclasses.replace(examples[0], subject="two")])
    # How it is measured, by a listener that understands `sea` whatever is said.
    LEXICON.write(tmp_path / "words.lexicon")
    how = {"lexicon": str(tmp_path / "words.lexicon"), "iterations": 2, "recognizer": lambda signal, rate: "sea"}
    report = run.model.evaluate(examples[:2], **how)
    assert report.voice_error_rate == pytest.approx(2 / 3) == report.speaker_error_rate
    assert 0 < report.distortion < 30 and report.distortion_interval[0] <= report.distortion
    assert report.to_dict(details=True)["details"][0]["heard"] == "sea" and "33.3" not in str(report)


def test_where_nothing_can_be_measured_the_report_says_so(session, tmp_path):
    LEXICON.write(tmp_path / "words.lexicon")
    absent = Example(str(tmp_path / "none.wav"), 1.0, text="sea", id="none")
    for examples in ([], [absent]):
        report = session.evaluate(examples, lexicon=str(tmp_path / "words.lexicon"), iterations=2)
        assert str(report) == f"Nothing was measured; {len(examples)} failed."
        assert report.to_dict()["distortion_interval"] == [None, None]


def test_the_lexicon_is_read_once_for_texts_that_are_spoken_one_by_one(model, tmp_path, monkeypatch):
    (tmp_path / "plain.onnx").write_bytes(onnx_bytes(model))
    pronouncing.fitted(LEXICON, model.vocabulary).write(tmp_path / "words.lexicon")
    attachments.attach(tmp_path / "plain.onnx", tmp_path / "own.onnx", lexicon=tmp_path / "words.lexicon")
    read = []
    monkeypatch.setattr(lexicons, "cmudict", lambda *, keep_stress: read.append("cmudict") or LEXICON)
    options = attachments.attached_options
    monkeypatch.setattr(attachments, "attached_options", lambda voice: read.append("file") or options(voice))
    for name, sources in (("plain.onnx", ["file", "cmudict"]), ("own.onnx", ["file"])):
        voice = sr.load(tmp_path / name)
        assert [voice.speak(text, iterations=2).phones for text in ("sea", "see")] == [("sil", "S", "IY1", "sil")] * 2
        assert read == sources
        read.clear()


def test_distortion_is_that_of_envelopes_in_decibels(rng):
    bands = 24
    spectrum = rng.normal(size=(30, bands))
    assert distortion(spectrum, spectrum) == pytest.approx(0, abs=1e-9)
    assert distortion(spectrum, np.repeat(spectrum, 2, axis=0)) == pytest.approx(0, abs=1e-9)  # slower, and louder
    assert distortion(spectrum, spectrum + 3.0) == pytest.approx(0, abs=1e-6)
    ripple = np.cos(np.pi * 3 * (np.arange(bands) + 0.5) / bands)  # the third cepstrum alone
    decibels = 10 / np.log(10) * np.sqrt(np.mean(ripple**2))
    assert distortion(np.zeros((5, bands)), np.tile(ripple, (5, 1))) == pytest.approx(decibels)


def test_spectra_of_recordings_are_the_layers(rng):
    signal = rng.normal(0, 0.1, 4000).astype("float32")
    expected = LogMel(**vars(SOUND))(signal).numpy()
    np.testing.assert_allclose(log_mel(signal, SOUND), expected, rtol=0, atol=2e-3)


@pytest.mark.slow
def test_the_recipe_runs(tmp_path, rng, monkeypatch, capsys):
    (tmp_path / "wavs").mkdir()
    truth = recorded(tmp_path / "wavs", rng, SAID * 5)
    lines = [f"{each.id}|{each.text}|{each.text.capitalize()}.\n" for each in truth]
    (tmp_path / "metadata.csv").write_text("".join(lines))
    monkeypatch.setattr(recipe.shutil, "which", lambda name: None)
    how = {"options": dataclasses.replace(recipe.OPTIONS, epochs=1), "listener": lambda signal, rate: "sea"}
    report = recipe.main(tmp_path, tmp_path / "out", lexicon=LEXICON, recognizer=Peaky(truth, rng), **how, **SMALL)
    assert "22 sentences learned; mel-cepstral distortion" in capsys.readouterr().out
    assert len(report.spoken) == 1 and not report.faults and 0 < report.voice_error_rate <= 1
    assert sr.load(tmp_path / "out/english_voice.onnx").speak("A sea.").phones == ("sil", "AH0", "S", "IY1", "sil")
