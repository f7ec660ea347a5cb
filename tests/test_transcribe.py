"""Transcription: order, times, batches, long recordings, and bad files that stop nothing."""

import dataclasses
import io
import itertools
import json
import logging
import tracemalloc

import numpy as np
import pytest
import soundfile
from fakes import HOP, RATE, Speller, Unsure, record, spoken, transcribed
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.an4_ctc import VALID_SPEAKERS
from speechrnn import audio, cli, decoding
from speechrnn.audio import containers
from speechrnn.data.corpora import an4
from speechrnn.data.manifest import Example
from speechrnn.decoding import pieces as long_audio
from speechrnn.decoding.pieces import cut, joint
from speechrnn.faults import Fault, Faults
from speechrnn.metrics.edits import counts
from speechrnn.models import loading
from speechrnn.tasks.recognition import cluster, model_types, parallel
from speechrnn.tasks.recognition import transcription as transcribe

TEXTS = ["bad cab", "a", "jig", "head age", "deface", "big"]


@pytest.fixture
def speller():
    return Speller()


@pytest.fixture
def files(tmp_path):
    return [record(tmp_path / f"{index}.wav", text) for index, text in enumerate(TEXTS)]


def texts(outcomes):
    return [outcome.text for outcome in outcomes]


def test_texts_come_in_the_order_given_and_batches_are_sorted_by_length(speller, files):
    assert texts(transcribed(speller, files, batch_seconds=2.0)) == TEXTS
    lengths = [length for batch in speller.batches for length in batch]
    assert lengths == sorted(lengths, reverse=True)
    assert 1 < len(speller.batches) < len(files)
    assert all(len(batch) * max(batch) <= 2.0 * RATE for batch in speller.batches)


def test_words_have_times_and_confidence(speller, tmp_path):
    path = record(tmp_path / "a.wav", "bad cab")
    (transcript,) = transcribed(speller, [path])
    assert transcript.path == path
    assert transcript.duration == pytest.approx(len(spoken("bad cab")) / RATE)
    starts_and_ends = [(word.word, word.start, word.end) for word in transcript.words]
    # A letter is 0.06 s with 0.06 s around it; a frame of 25 ms fits in it from its first sample to 35 ms later.
    assert starts_and_ends == [
        ("bad", pytest.approx(0.06), pytest.approx(0.34)),
        ("cab", pytest.approx(0.54), pytest.approx(0.82)),
    ]
    certainty = np.exp(8) / (np.exp(8) + len(speller.vocabulary) - 1)
    assert [word.confidence for word in transcript.words] == pytest.approx([certainty] * 2)


def test_a_transcript_is_frozen_and_goes_to_json(speller, files):
    transcript = next(transcribed(speller, files))
    with pytest.raises(dataclasses.FrozenInstanceError):
        transcript.text = "other"
    back = json.loads(json.dumps(transcript.to_dict()))
    assert back["text"] == "bad cab"
    assert back["words"][0] == {"word": "bad", "start": 0.06, "end": 0.34, "confidence": 0.9963}


def test_a_bad_file_stops_nothing_and_is_named(speller, files, tmp_path):
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("this is no audio\n" * 9)
    bad = [str(tmp_path / name) for name in ("empty.wav", "gone.wav", "text.wav")] + [str(tmp_path)]
    faults = Faults()
    mixed = [bad[0], files[0], bad[1], files[1], bad[2], bad[3], files[2]]
    assert texts(transcribed(speller, mixed, faults=faults)) == TEXTS[:3]
    assert [fault.where for fault in faults] == bad
    assert [fault.kind for fault in faults] == ["empty", "missing", "undecodable", "not a file"]
    assert "*.wav" in list(faults)[3].message


def test_without_a_collector_the_first_bad_file_raises(speller, files):
    with pytest.raises(FileNotFoundError, match=r"gone\.wav: there is no such file"):
        list(transcribed(speller, [*files, "gone.wav"]))


def test_every_source_has_one_outcome(speller, files):
    outcomes = list(transcribe.outcomes(speller, [files[0], "gone.wav", files[1]]))
    assert [type(outcome) for outcome in outcomes] == [transcribe.Transcript, Fault, transcribe.Transcript]


@pytest.mark.parametrize(("samples", "said"), [(1, "1 sample "), (399, "399 samples ")])
def test_less_than_one_frame_is_a_fault_that_says_so(speller, tmp_path, samples, said):
    audio.write(tmp_path / "short.wav", np.zeros(samples), RATE)
    (fault,) = transcribe.outcomes(speller, [tmp_path / "short.wav"])
    assert fault.kind == "shorter than one frame"
    assert said in fault.message


def test_no_samples_are_a_fault(speller, tmp_path):
    soundfile.write(tmp_path / "none.wav", np.zeros(0), RATE)
    (fault,) = transcribe.outcomes(speller, [tmp_path / "none.wav"])
    assert (fault.kind, "no samples" in fault.message) == ("empty", True)


def test_silence_is_an_empty_text_and_no_fault(speller, tmp_path):
    audio.write(tmp_path / "silence.wav", np.zeros(RATE), RATE)
    (transcript,) = transcribed(speller, [tmp_path / "silence.wav"])
    assert (transcript.text, transcript.words, transcript.duration) == ("", (), 1.0)


def test_other_rates_are_resampled_and_this_is_said_once(speller, tmp_path, caplog):
    signal = spoken("bad", symbol=0.1)
    for name in "ab":
        soundfile.write(tmp_path / f"{name}.wav", audio.resample(signal, RATE, 44100), 44100, subtype="FLOAT")
    with caplog.at_level(logging.INFO, logger="speechrnn"):
        found = texts(transcribed(speller, [tmp_path / "a.wav", tmp_path / "b.wav"]))
    assert found == ["bad", "bad"]
    assert [record.getMessage().count("44100 Hz") for record in caplog.records] == [1]


def test_the_rate_of_a_pipe_is_said_as_well(speller, caplog):
    file = io.BytesIO()
    soundfile.write(file, audio.resample(spoken("bad", symbol=0.1), RATE, 44100), 44100, format="WAV", subtype="FLOAT")
    file.seek(0)
    with caplog.at_level(logging.INFO, logger="speechrnn"):
        found = texts(transcribed(speller, [file]))
    assert found == ["bad"]
    assert [record.getMessage().count("44100 Hz") for record in caplog.records] == [1]


def test_an_example_is_read_as_its_segment_and_channel(speller, tmp_path):
    left, right = spoken("bad"), spoken("cab")
    start = np.zeros(RATE)
    stereo = np.stack([np.concatenate([start, left]), np.concatenate([start, right])], axis=1)
    soundfile.write(tmp_path / "both.wav", stereo, RATE)
    example = Example(str(tmp_path / "both.wav"), len(right) / RATE, offset=1.0, channel=1)
    (transcript,) = transcribed(speller, [example])
    assert (transcript.text, transcript.words[0].start) == ("cab", pytest.approx(0.06))


def test_a_long_recording_is_cut_where_it_is_quiet(speller, tmp_path):
    phrases = ["bad cab ", "a ", "jig ", "head age ", "deface ", "big ", "bad "]
    spoken_phrases = [np.append(spoken(phrase, gap=0.03), np.zeros(RATE // 2, np.float32)) for phrase in phrases]
    audio.write(tmp_path / "long.wav", np.concatenate(spoken_phrases), RATE)
    (transcript,) = transcribed(speller, [tmp_path / "long.wav"], piece_seconds=2.5)
    assert transcript.text == "".join(phrases).strip()
    lengths = [length for batch in speller.batches for length in batch]
    assert len(lengths) > 2
    assert max(lengths) <= 2.5 * RATE
    starts = {word.word: word.start for word in transcript.words[:-1]}
    beginnings = np.cumsum([0] + [len(signal) / RATE for signal in spoken_phrases])
    for phrase, beginning in zip(phrases[:-1], beginnings, strict=False):
        assert starts[phrase.split()[0]] == pytest.approx(beginning + 0.03, abs=HOP / RATE)


def test_alternatives_are_the_best_texts_of_the_search_with_their_scores(tmp_path):
    unsure = Unsure()
    path = record(tmp_path / "a.wav", "bad cab")
    search = decoding.BeamSearch(unsure.vocabulary, width=20)
    (found,) = transcribed(unsure, [path], decoder=search, alternatives=3)
    (logits,) = unsure.logits([audio.read(path, sample_rate=RATE)[0]])
    expected = search.n_best(logits, 3)
    assert [(a.text, a.score) for a in found.alternatives] == [(" ".join(h.text.split()), h.score) for h in expected]
    assert found.text == found.alternatives[0].text
    assert found.to_dict()["alternatives"][0] == {"text": found.text, "score": round(expected[0].score, 3)}
    (plain,) = transcribed(unsure, [path], decoder=search)
    assert plain.alternatives == ()
    assert "alternatives" not in plain.to_dict()
    with pytest.raises(ValueError, match=r"use beam=64 \(--beam 64\) or a lexicon. Received: alternatives=3"):
        list(transcribed(unsure, [path], alternatives=3))


@pytest.mark.parametrize("share", [[], ["--jobs", "2"], ["--engine", "ray"]])
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["--alternatives", "3"], "use beam=64 (--beam 64) or a lexicon. Received: alternatives=3"),
        (["--calibration", "gone.json"], "gone.json: there is no such file"),
    ],
)
def test_what_the_model_cannot_do_is_refused_before_workers_start(share, wrong, told, files, monkeypatch, capsys):
    def begun(*arguments, **options):
        raise AssertionError("work has begun")

    for place in (cluster, parallel, transcribe):
        monkeypatch.setattr(place, "recognize" if place is not transcribe else "_pieces", begun)
    words = ["transcribe", *map(str, files), "--model", "english_letters_numbers", "--json", *wrong, *share]
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("error:") == 1 and told in err


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["--alternatives", "3"], "--alternatives has no effect on txt. Use --format json."),
        (["--cue-seconds", "3", "--json"], "--cue-seconds has no effect on json. Use --format srt or vtt or tsv."),
    ],
)
def test_what_the_format_cannot_show_is_refused(wrong, told, files, capsys):
    assert cli.main(["transcribe", str(files[0]), "--beam", "8", *wrong]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("beam", [None, 8])
def test_a_transducer_is_not_told_to_use_a_beam_for_alternatives(beam):
    class Transducer(model_types.TransducerMethods):
        def joined(self, encoded, predicted):
            """Only asked for whether it is there."""

    search = model_types.make_search(Transducer(), beam=beam)
    with pytest.raises(ValueError, match="use a recognizer with CTC, and this one has none. Received: alternatives=2"):
        transcribe.check_alternatives(2, search, Transducer())


def test_alternatives_of_a_long_recording_are_of_all_its_pieces(tmp_path):
    unsure = Unsure()
    phrases = ["bad cab", "jig", "head age"]
    signal = [np.append(spoken(phrase + " ", gap=0.03), np.zeros(RATE // 2, np.float32)) for phrase in phrases]
    audio.write(tmp_path / "long.wav", np.concatenate(signal), RATE)
    search = decoding.BeamSearch(unsure.vocabulary, width=20)
    (found,) = transcribed(unsure, [tmp_path / "long.wav"], decoder=search, alternatives=4, piece_seconds=1.5)
    assert sum(map(len, unsure.batches)) > 2  # pieces
    assert [len(found.alternatives), found.alternatives[0].text] == [4, found.text]
    assert all(a.score >= b.score for a, b in itertools.pairwise(found.alternatives))
    assert all(len(a.text) > len("head age jig") for a in found.alternatives)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 40_000), st.integers(1, 9_000), st.integers(0, 99))
def test_the_pieces_joined_are_the_signal(length, block, seed):
    signal = np.random.default_rng(seed).normal(size=length).astype(np.float32)
    blocks = [signal[start : start + block] for start in range(0, length, block)]
    pieces = list(cut(blocks, 1000, 5.0, overlap=1.0, step=40))
    alone = [piece.signal[piece.shared :] for piece in pieces]
    np.testing.assert_array_equal(np.concatenate([*alone, np.zeros(0, np.float32)]), signal)
    for piece in pieces:
        assert piece.start % 40 == 0
        np.testing.assert_array_equal(piece.signal, signal[piece.start : piece.start + len(piece.signal)])
    assert all(2400 <= len(piece.signal) <= 5000 for piece in pieces[:-1])
    assert all(len(piece.signal) <= 5000 for piece in pieces)
    assert all(920 <= piece.shared <= 1000 for piece in pieces[1:])  # noise has no silence


def test_a_cut_lies_in_the_middle_of_the_pause_and_nothing_is_shared():
    signal = np.ones(6000, np.float32)
    signal[3700:4300] = 0
    first, second = cut([signal], 1000, 5.0)
    assert 3800 <= len(first.signal) <= 4200
    assert (second.start, second.shared) == (len(first.signal), 0)


@settings(max_examples=40, deadline=None)
@given(st.text("efghij ", min_size=20, max_size=90), st.floats(1.0, 4.0))
def test_without_silence_the_text_and_times_are_those_of_the_whole(text, longest):
    signal = spoken(text)
    whole, pieces = Speller(), Speller()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audio, "probe", lambda path, encoding: audio.AudioInfo(path, RATE, len(signal), 1, ""))
        patch.setattr(audio, "read_blocks", lambda path, **options: iter([signal]))
        patch.setattr(long_audio, "_SILENCE", -1.0)
        (expected,) = transcribed(whole, ["a.wav"], piece_seconds=60.0)
        (found,) = transcribed(pieces, ["a.wav"], piece_seconds=longest)
    assert len(whole.batches[0]) == 1
    assert found.text == expected.text == " ".join(text.split())
    assert [w.start for w in found.words] == pytest.approx([w.start for w in expected.words])
    assert [w.end for w in found.words] == pytest.approx([w.end for w in expected.words])


def jittered(ids, rng):
    """Logits with every symbol of `ids` about four frames apart, up to a frame early or late."""
    best = np.zeros(4 * len(ids) + 4, int)
    for index, symbol in enumerate(ids):
        best[4 * index + 3 + rng.integers(-1, 2)] = symbol
    return np.eye(6)[best]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([None, 1]))
def test_a_joint_neither_loses_nor_doubles_a_symbol_that_comes_a_frame_sooner_in_one_of_the_two(seed, space):
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, 6, 40)
    lead = np.eye(6)[np.zeros(rng.integers(0, 8), int)]  # so that the middle may fall within a symbol
    left, right = (np.concatenate([lead, jittered(ids, rng)]) for _ in range(2))
    left[-20:], right[:20] = np.eye(6)[rng.integers(0, 6, 20)], np.eye(6)[rng.integers(0, 6, 20)]  # no context there
    place, begins_word = joint(left, right, space=space)
    found = decoding.greedy(np.concatenate([left[:place], right[place:]])).ids
    assert 20 <= place <= len(left) - 20
    assert "".join(map(str, ids[6:-6])) in "".join(map(str, found))
    if begins_word:
        assert decoding.greedy(left[:place]).ids[-1] == 1


def test_a_recording_that_breaks_off_late_gives_a_fault_and_no_half_text(speller, tmp_path, monkeypatch, files):
    def breaks_off(path, **options):
        yield spoken("bad cab")
        raise ValueError(f"{path}: cut off")

    whole = audio.read_blocks
    monkeypatch.setattr(audio, "read_blocks", lambda p, **o: (breaks_off if p == files[1] else whole)(p, **o))
    outcomes = list(transcribe.outcomes(speller, files[:3]))
    assert [type(outcome) for outcome in outcomes] == [transcribe.Transcript, Fault, transcribe.Transcript]


def test_outcomes_come_while_later_files_are_still_unread(speller, files):
    asked = []

    def sources():
        for path in files:
            asked.append(path)
            yield path

    first = next(transcribed(speller, sources(), window_seconds=0.5))
    assert (first.text, len(asked)) == (TEXTS[0], 1)


def test_logits_that_are_no_numbers_are_a_fault_of_that_recording(files):
    class Broken(Speller):
        def logits(self, signals):
            found = super().logits(signals)
            return [values * (np.nan if len(values) > 80 else 1) for values in found]

    outcomes = list(transcribe.outcomes(Broken(), files[:2]))
    assert "NaN" in outcomes[0].message
    assert outcomes[1].text == "a"


def test_two_hours_pass_in_bounded_memory(tmp_path):
    class Silent(Speller):
        def logits(self, signals):
            return [np.zeros((1 + (len(signal) - 400) // HOP, 11), np.float32) for signal in signals]

    with soundfile.SoundFile(tmp_path / "long.flac", "w", RATE, 1, "PCM_16") as file:
        for _ in range(120):
            file.write(np.zeros(60 * RATE, np.int16))
    tracemalloc.start()
    try:
        (transcript,) = transcribed(Silent(), [tmp_path / "long.flac"])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (transcript.text, transcript.duration) == ("", 7200.0)
    assert peak < 120e6  # the whole recording would take 461 MB


def test_progress_is_told_of_every_source(speller, files):
    done = []
    list(transcribe.outcomes(speller, [*files, "gone.wav"], progress=done.append))
    assert done == [*files, "gone.wav"]


def test_a_recording_is_opened_once_and_progress_within_it_knows_its_length(speller, files, monkeypatch):
    opened, told, real = [], [], containers.open_audio
    monkeypatch.setattr(containers, "open_audio", lambda *given: opened.append(given) or real(*given))
    told_of = lambda path, done, seconds: told.append((path, seconds))  # noqa: E731
    list(transcribe.outcomes(speller, files[:2], window_seconds=0.05, on_progress=told_of))
    assert len(opened) == 2
    assert told[0] == (files[0], pytest.approx(audio.probe(files[0]).duration))


def test_a_missing_default_model_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(loading, "_PRETRAINED", tmp_path)
    with pytest.raises(FileNotFoundError, match="Give a model"):
        list(transcribed(None, ["a.wav"]))


def test_impossible_budgets_are_refused(speller):
    with pytest.raises(ValueError, match="batch_seconds=0"):
        list(transcribed(speller, [], batch_seconds=0))


# Several processes


def test_jobs_give_the_same_outcomes_in_the_same_order(files):
    mixed = [files[0], "gone.wav", *files[1:]]
    done = []
    alone = {"batch_seconds": 0.1}  # a model with 8-bit weights heeds what else is in the batch
    found = list(parallel.recognize(None, mixed, jobs=2, progress=done.append, **alone))
    assert found == list(transcribe.outcomes(None, mixed, **alone))
    assert done == mixed


# Real speech


def test_pieces_cost_no_errors_on_real_speech(data_dir, tmp_path):
    """The figures are in docs/transcribe.md: 17 % of the words differ, and the whole has 0.7 % more errors."""
    examples = an4.prepare(str(data_dir / "an4"), tmp_path / "an4")["train"]
    examples = [example for example in examples if example.subject in VALID_SPEAKERS]
    signals = [audio.read(example.path)[0] for example in examples]
    audio.write(tmp_path / "long.flac", np.concatenate(signals), RATE)
    spoken_words = " ".join(example.text for example in examples).split()
    model = loading.shipped("english_letters_numbers")
    (whole,) = transcribed(model, [tmp_path / "long.flac"], piece_seconds=600.0)
    (pieces,) = transcribed(model, [tmp_path / "long.flac"])
    changed = counts(whole.text.split(), pieces.text.split()).rate
    errors = [counts(spoken_words, found.text.split()).rate for found in (whole, pieces)]
    assert 0 < changed < 0.25
    assert errors[1] < errors[0] + 0.03
    assert all(a.start < b.start for a, b in itertools.pairwise(pieces.words))
