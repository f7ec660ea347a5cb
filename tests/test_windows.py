"""Listening through windows: what models of whole signals write while somebody speaks."""

import json

import numpy as np
import pytest
import soundfile
from fakes import transcribed

from speechrnn import cli, files
from speechrnn.export.writing import onnx_bytes
from speechrnn.features import LogMel
from speechrnn.models import loading
from speechrnn.models.loading import load_session
from speechrnn.serving.models import Models
from speechrnn.tasks.recognition.model import SpeechRecognizer
from speechrnn.tasks.recognition.network import recurrent_ctc
from speechrnn.tasks.recognition.session import RecognizerSession
from speechrnn.tasks.recognition.streaming import StreamingSession
from speechrnn.tasks.recognition.windows import WindowedSession
from speechrnn.text import Vocabulary

RATE = 8000
SECONDS = {"past": 0.5, "step": 0.2, "future": 0.1}


@pytest.fixture(scope="module")
def model():
    features = LogMel(RATE, num_mels=10, f_min=100)
    network = recurrent_ctc(num_features=10, vocabulary_size=5, units=5, layers=2, convolutions=1)
    rng = np.random.default_rng(3)
    for weight in network.weights:
        weight.assign(weight.numpy() + 0.3 * np.abs(rng.normal(size=weight.shape)).astype("float32"))
    return SpeechRecognizer(features, network, Vocabulary(" abc"))


@pytest.fixture(scope="module", params=["float32", "int8"])
def content(request, model):
    return onnx_bytes(model, int8=request.param == "int8")


@pytest.mark.parametrize("samples", [0, 10, 200, 279, 280, 1600, 2401, 8000, 12345])
def test_logits_do_not_depend_on_how_samples_come(content, samples, rng):
    signal = (0.1 * rng.normal(size=samples)).astype("float32")
    session = WindowedSession(content, **SECONDS)
    (whole,) = session.logits([signal])
    assert whole.shape == RecognizerSession(content).logits([signal])[0].shape
    for most in (50, 777, 5000):
        session.reset()
        found, place = [], 0
        while place < samples:
            count = int(rng.integers(1, most))
            found.append(session.advance(signal[place : place + count]))
            place += count
        np.testing.assert_allclose(np.concatenate([*found, session.flush()]), whole, atol=1e-5)
    if samples <= 2400:  # a step and the future
        np.testing.assert_allclose(whole, RecognizerSession(content).logits([signal])[0], atol=1e-5)


def test_each_step_is_heard_with_what_is_around_it(content, rng):
    signal = (0.1 * rng.normal(size=8000)).astype("float32")
    session, plain = WindowedSession(content, **SECONDS), RecognizerSession(content)
    assert session.block == 1600 and session.latency == pytest.approx(0.3)
    (found,) = session.logits([signal])
    for step in range(4):  # frames are 160 samples
        start, end = max(0, 1600 * step - 4000), 1600 * (step + 1) + 800
        (around,) = plain.logits([signal[start:end]])
        first = (1600 * step - start) // 160
        np.testing.assert_allclose(found[10 * step : 10 * step + 10], around[first : first + 10], atol=1e-5)
    early = WindowedSession(content, **SECONDS)
    assert len(early.advance(signal[:2399])) == 0 and len(early.advance(signal[2399:2400])) == 10


def test_with_all_of_the_signal_around_it_is_the_whole(content, rng):
    signal = (0.1 * rng.normal(size=8000)).astype("float32")
    session = WindowedSession(content, past=1.0, step=0.2, future=0.8)
    np.testing.assert_allclose(session.logits([signal])[0], RecognizerSession(content).logits([signal])[0], atol=1e-5)


def test_streams_are_independent(content, rng):
    first = WindowedSession(content, **SECONDS)
    second = first.new_stream()
    signals = (0.1 * rng.normal(size=(2, 4000))).astype("float32")
    found = [[], []]
    for start in range(0, 4000, 700):
        for stream, signal, rows in zip((first, second), signals, found, strict=True):
            rows.append(stream.advance(signal[start : start + 700]))
    for stream, rows, expected in zip((first, second), found, first.new_stream().logits(signals), strict=True):
        np.testing.assert_allclose(np.concatenate([*rows, stream.flush()]), expected, atol=1e-5)
        with pytest.raises(ValueError, match="The stream was finished"):
            stream.advance(np.zeros(1, "float32"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step": 0.0}, "`step` more than 0. Received: past=8.0, step=0.0"),
        ({"past": -1.0}, "must be seconds, at least 0"),
        ({"future": float("nan")}, "must be seconds"),
        ({"step": 0.001}, "a step must be at least one frame, 0.02 s"),
    ],
)
def test_bad_seconds_are_refused(content, options, message):
    with pytest.raises(ValueError, match=message):
        WindowedSession(content, **options)


def test_a_file_decides_how_it_is_listened_to(model, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(files.CACHE_VARIABLE, str(tmp_path / "cache"))
    model.save(tmp_path / "both.keras")
    model.export(tmp_path / "both.onnx")
    network = recurrent_ctc(num_features=10, vocabulary_size=5, units=5, layers=1, bidirectional=False)
    SpeechRecognizer(LogMel(RATE, num_mels=10, normalize=None), network, model.vocabulary).save(tmp_path / "one.keras")
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(size=9000) * 0.1, RATE)
    assert isinstance(load_session(tmp_path / "one.keras", streaming=True), StreamingSession)
    assert not loading.needs_tensorflow(tmp_path / "one.keras", streaming=True)
    said = []
    for file in ("both.keras", "both.onnx"):
        assert isinstance(load_session(tmp_path / file, streaming=True), WindowedSession)
        assert not loading.needs_tensorflow(tmp_path / file, streaming=True)  # the next start is quick
        assert cli.main(["stream", str(tmp_path / "a.wav"), "--model", str(tmp_path / file)]) == 0
        said.append(capsys.readouterr())
        assert "algorithmic latency 1760 ms" in said[-1].err
    assert said[0].out == said[1].out


def test_the_included_model_listens(tmp_path, capsys):
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "a.wav", rng.normal(size=16000) * 0.1 * np.hanning(16000), 16000)
    assert cli.main(["stream", str(tmp_path / "a.wav")]) == 0
    (whole,) = transcribed(loading.shipped(), [str(tmp_path / "a.wav")])
    assert capsys.readouterr().out.strip() == whole.text  # shorter than a window
    models = Models()
    assert isinstance(models.listener, WindowedSession) and models.listener_name == "english"
    models.close()


def test_words_of_speech_are_nearly_those_of_the_whole(data_dir, capsys):
    folder = data_dir / "LibriSpeech" / "dev-clean-5"
    path = sorted(path for path in folder.rglob("*") if path.suffix in (".ogg", ".opus", ".flac"))[0]
    (whole,) = transcribed(loading.shipped(), [str(path)])
    assert cli.main(["stream", str(path), "--json"]) == 0
    words = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = whole.text.split()
    same = sum(word["word"] in expected for word in words)
    assert same >= 0.7 * len(expected) and abs(len(words) - len(expected)) <= 0.3 * len(expected)
    starts = {word.word: word.start for word in whole.words}
    shared = [word for word in words if word["word"] in starts and expected.count(word["word"]) == 1]
    assert np.median([abs(word["start"] - starts[word["word"]]) for word in shared]) <= 0.08
