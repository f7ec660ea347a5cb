"""The models that ship: small, readable, credited, and as good as their cards say."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile
from fakes import transcribed

from pipelines import english_speech
from speechrnn import audio, cli
from speechrnn.data.corpora import an4, librispeech
from speechrnn.models import loading
from speechrnn.models.loading import shipped
from speechrnn.tasks.recognition import attachments
from speechrnn.tasks.recognition.evaluation import evaluate
from speechrnn.tasks.recognition.session import RecognizerSession as Session
from speechrnn.tasks.recognition.streaming import StreamingSession
from speechrnn.text import lexicons

LETTERS, STREAMING = "english_letters_numbers", "english_letters_numbers_streaming"


def test_are_small_and_name_their_sources():
    assert shipped().stat().st_size <= 30_000_000
    assert shipped(LETTERS).stat().st_size + shipped(STREAMING).stat().st_size <= 12_000_000
    for card in (Session(shipped(LETTERS)).card, StreamingSession(shipped(STREAMING)).card):
        assert "AN4" in card["data"] and "Free Spoken Digit Dataset" in card["data"]
        assert "CC BY-SA 4.0" in card["licence"]  # as they were written
    card = Session(shipped()).card
    assert "LibriSpeech" in card["data"] and "speechocean762" in card["data"] and "CC BY-SA 4.0" in card["license"]


def test_the_default_carries_its_lexicon_and_language_model():
    options = attachments.attached_options(Session(shipped()))
    assert {"lexicon", "lm", "lm_weight"} <= options.keys()
    known = lexicons.load(options["lexicon"])
    assert len(known) > 40_000 and {"governess", "the", "seven", "rubout"} <= known.keys()


def test_the_default_starts_without_what_takes_long(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(16000), 16000)
    code = f"""
import sys
from speechrnn import cli
assert cli.main(["transcribe", {str(tmp_path / "a.wav")!r}]) == 0
slow = "tensorflow", "keras", "numba", "scipy", "pandas", "librosa", "importlib.metadata"
print(sorted(set(slow) & set(sys.modules)), file=sys.stderr)
"""
    for _ in range(2):  # the first compiles what was not kept
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


def test_noise_alone_is_seldom_heard_as_words(tmp_path):
    # Colors and chords that it was not trained on, though on others of their kind.
    paths = [example.path for example in english_speech.hums(tmp_path, count=20, seed=1)]
    heard = [transcript.text for transcript in transcribed(shipped(), paths)]
    assert sum(map(bool, heard)) <= 2, heard
    assert [transcript.text for transcript in transcribed(shipped(), [silence(tmp_path / "0.wav")])] == [""]


def silence(path):
    soundfile.write(path, np.zeros(32000), 16000)
    return str(path)


def test_writes_what_people_said(data_dir):
    folder = data_dir / "fsdd" / "recordings"
    said = {"3_theo_7.flac": "three", "7_theo_9.flac": "seven", "6_yweweler_12.flac": "six"}
    transcripts = transcribed(shipped(LETTERS), [folder / name for name in said])
    right = sum(transcript.text == text for transcript, text in zip(transcripts, said.values(), strict=True))
    assert right >= 2


def test_default_names_it_unless_there_is_such_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert loading.file_of("default") == loading.file_of(None) == str(shipped())
    (tmp_path / "default").touch()  # somebody's own file of that name comes first
    assert loading.file_of("default") == "default"


def test_english_words_are_pronounced_without_a_lexicon(capsys):
    assert shipped(loading.PRONUNCIATION).stat().st_size <= 4_000_000
    assert "CMUdict" in loading.load(loading.PRONUNCIATION).card["license"]
    assert cli.main(["pronounce", "Speech", "networks", "naïve", "unbuttoning"]) == 1  # it never saw such an i
    out, err = capsys.readouterr()
    assert out == "speech\tS P IY CH\nnetworks\tN EH T W ER K S\nunbuttoning\tAH N B AH T AH N IH NG\n"
    assert "naïve" in err and "'ï'" in err


def test_the_voice_is_small_and_reads_a_sentence(tmp_path):
    assert shipped("english_voice").stat().st_size <= 4_000_000
    voice = loading.load("english_voice")
    assert "LJ Speech" in voice.card["data"] and "public domain" in voice.card["license"]
    said = voice.speak("Good morning.")
    assert 0.5 < said.duration < 2.0 and "sil" not in said.phones[1:4]
    assert list(said.ends) == sorted(said.ends)
    assert cli.main(["speak", "Good morning.", "--out", str(tmp_path / "a.wav")]) == 0  # by this voice
    assert audio.probe(tmp_path / "a.wav").duration == pytest.approx(said.duration, abs=0.01)


@pytest.mark.slow
def test_error_rate_is_the_cards(data_dir, tmp_path):
    report = evaluate(shipped(LETTERS), an4.prepare(data_dir / "an4", tmp_path)["test"])
    assert report.wer == pytest.approx(0.0763, abs=0.005)


@pytest.mark.slow
def test_reads_sentences_as_its_card_says(data_dir, tmp_path):
    examples = librispeech.prepare(data_dir / "LibriSpeech", tmp_path, subsets=["dev-clean-5"])["dev-clean-5"][::10]
    session = Session(shipped())
    report = evaluate(session, examples, decoder=attachments.decoder(session))
    assert report.wer == pytest.approx(0.118, abs=0.015)
