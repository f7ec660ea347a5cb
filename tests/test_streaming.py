"""Streaming: block by block the same logits and words as the whole signal, and clear words where that cannot be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechrnn import decoding
from speechrnn.export.writing import export, onnx_bytes
from speechrnn.features import MFCC, BandPass, LogMel, LogSpectrogram, RawSignal
from speechrnn.tasks.recognition.model import SpeechRecognizer
from speechrnn.tasks.recognition.network import recurrent_ctc
from speechrnn.tasks.recognition.session import RecognizerSession as Session
from speechrnn.tasks.recognition.streaming import StreamingSession
from speechrnn.tasks.recognition.streaming_base import StreamingGreedyDecoder
from speechrnn.tasks.recognition.transcript import spell
from speechrnn.text import Vocabulary

RATE = 8000
VOCABULARY = Vocabulary(" abcd")


def made(cell="lstm", *, features=LogMel, feature_options=None, **options):
    """A small untrained model, its statistics and batch normalization away from their beginnings."""
    rng = np.random.default_rng(1)
    bands = {"num_mels": 12, "f_min": 60} if issubclass(features, LogMel) else {}
    given = {**bands, "normalize": "global", **(feature_options or {})}
    layer = features(RATE, **given)
    if layer.normalize == "global":
        layer.adapt([rng.normal(size=4000).astype("float32")])
    sizes = {"units": 6, "layers": 2, "bidirectional": False, "filters": 3, **options}
    network = recurrent_ctc(cell, num_features=layer.num_features, vocabulary_size=6, **sizes)
    for weight in network.weights:
        value = weight.numpy()
        noise = rng.normal(size=value.shape).astype("float32")
        weight.assign(value + 0.3 * (np.abs(noise) if "variance" in weight.path else noise))
    return SpeechRecognizer(layer, network, VOCABULARY)


MODELS = {
    "convolutions": lambda: made(convolutions=2),
    "one convolution, stacked": lambda: made("gru", convolutions=1, stack=3),
    "stacked, no residual": lambda: made("rnn", stack=2, residual=False, layer_norm=False),
    "plain, no normalization": lambda: made(feature_options={"normalize": None}),
    "look-ahead": lambda: made(convolutions=1, look_ahead=3),
    "look-ahead of one, not normalized": lambda: made("gru", look_ahead=1, layer_norm=False),
    "cepstra with high-pass filter": lambda: made(
        features=MFCC, feature_options={"num_coefficients": 5, "preemphasis": 0.9}, convolutions=1
    ),
    "samples as they are": lambda: made(features=RawSignal, feature_options={"window": 40, "hop": 30}, convolutions=1),
    "window of its own": lambda: made(feature_options={"window": 256, "hop": 96}, convolutions=1),
}


@pytest.fixture(scope="module", params=MODELS, ids=str)
def model(request):
    return MODELS[request.param]()


@pytest.fixture(scope="module")
def stream(model):
    return StreamingSession(onnx_bytes(model, streaming=True))


@pytest.fixture(scope="module")
def spoken():
    return np.random.default_rng(3).normal(size=6000).astype("float32")


def in_parts(stream, signal, sizes):
    """Logits of a signal pushed in parts of the sizes, the rest in one."""
    stream.reset()
    found, position = [], 0
    for size in [*sizes, len(signal)]:
        found.append(stream.advance(signal[position : position + size]))
        position += size
    return np.concatenate([*found, stream.flush()])


def test_every_length_gives_what_keras_gives_of_the_whole(model, stream, spoken):
    window, hop = model.features.window, model.features.hop
    ends = [window + frames * hop + extra for frames in range(9) for extra in (-1, 0)]
    lengths = [0, 1, window - hop, *ends, 6000]
    for length, whole in zip(lengths, model.logits([spoken[:length] for length in lengths]), strict=True):
        found = in_parts(stream, spoken[:length], [])
        assert found.shape == whole.shape, length
        np.testing.assert_allclose(found, whole, rtol=0, atol=1e-4, err_msg=str(length))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 1500), max_size=12), st.integers(0, 6000))
def test_however_it_is_split(stream, spoken, sizes, length):
    whole = in_parts(stream, spoken[:length], [])
    np.testing.assert_allclose(in_parts(stream, spoken[:length], sizes), whole, rtol=0, atol=1e-5)


def test_samples_one_by_one_come_out_as_soon_as_the_latency_says(stream, spoken):
    stream.reset()
    needed = round(stream.latency * RATE)
    counts = [len(stream.advance(spoken[i : i + 1])) for i in range(needed + stream.block)]
    assert np.flatnonzero(counts).tolist() == [needed - 1, needed + stream.block - 1]


def test_whole_signals_neither_disturb_the_stream_nor_each_other(stream, spoken):
    whole = in_parts(stream, spoken, [])
    session, told = stream.new_stream(), []

    class Between:
        """Runs the steps, and before the first one another signal, as another thread may."""

        def __init__(self, runner):
            self.runner = runner

        def run(self, *given):
            if not told:
                told.append(None)
                told[:] = session.logits([spoken[:3000]])
            return self.runner.run(*given)

    session.run_with(Between)
    first = session.advance(spoken[:5000])
    np.testing.assert_allclose(told[0], in_parts(stream, spoken[:3000], []), rtol=0, atol=1e-5)
    found = np.concatenate([first, session.advance(spoken[5000:]), session.flush()])
    np.testing.assert_allclose(found, whole, rtol=0, atol=1e-5)
    told.clear()
    np.testing.assert_allclose(session.logits([spoken])[0], whole, rtol=0, atol=1e-5)


def test_samples_at_the_scale_of_integers_are_refused(stream, spoken):
    stream.reset()
    with pytest.raises(ValueError, match="full scale at 1. Received: a peak of .*Divide samples"):
        stream.push(spoken * 32768)


def test_a_streaming_model_is_a_recognizer_too(model, stream, spoken):
    signals = [spoken[:4000], spoken[:0], spoken[100:3000]]
    for found, expected in zip(stream.logits(signals), Session(onnx_bytes(model)).logits(signals), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    assert (stream.stride, stream.frame_period) == (model.stride, model.frame_period)


LOGITS = st.lists(st.tuples(st.integers(0, 5), st.floats(0.5, 9.0)), max_size=60)


@settings(max_examples=60, deadline=None)
@given(LOGITS, st.lists(st.integers(0, 60), max_size=4))
def test_words_in_pieces_are_the_words_of_the_whole(frames, cuts):
    logits = np.array([weight * np.eye(6)[symbol] for symbol, weight in frames]).reshape(-1, 6)
    expected = spell(decoding.greedy(logits), VOCABULARY, frame_period=0.04)
    speller, words = StreamingGreedyDecoder(VOCABULARY, frame_period=0.04), []
    for part in np.split(logits, sorted(min(cut, len(logits)) for cut in cuts)):
        words += speller.push(part)
    words += speller.finish()
    assert [word.word for word in words] == [word.word for word in expected]
    for name in ("start", "end", "confidence"):
        assert [getattr(w, name) for w in words] == pytest.approx([getattr(w, name) for w in expected], rel=1e-5)


def test_partial_text_grows_and_final_words_stay(stream, spoken):
    stream.reset()
    said, seen = [], []
    for start in range(0, 6000, 160):
        update = stream.push(spoken[start : start + 160])
        said += [word.word for word in update.words]
        seen.append(update.partial)
    last = stream.finish()
    assert last.partial == ""
    said += [word.word for word in last.words]
    (logits,) = stream.logits([spoken])
    assert said == [word.word for word in spell(decoding.greedy(logits), VOCABULARY, frame_period=1)]
    assert any(seen)


def test_an_empty_stream_gives_no_words_and_ends_once(stream):
    stream.reset()
    assert stream.push(np.zeros(0, "float32")).words == ()
    assert stream.finish().words == ()
    for act in (stream.finish, lambda: stream.push(np.zeros(9, "float32"))):
        with pytest.raises(ValueError, match="reset"):
            act()


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (np.zeros((2, 9), "float32"), r"\(2, 9\)"),
        (np.zeros(9, "int16"), "int16"),
        (np.array([0, np.nan], "float32"), "NaN"),
    ],
)
def test_what_is_no_signal_is_refused(stream, samples, said):
    stream.reset()
    with pytest.raises(ValueError, match=said):
        stream.push(samples)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"bidirectional": True}, "--no-bidirectional"),
        ({"feature_options": {"normalize": "utterance"}}, "--normalize global"),
        ({"feature_options": {"deltas": 1}}, "deltas=1"),
        ({"features": LogSpectrogram, "feature_options": {"window": 80, "hop": 40}}, "LogSpectrogram"),
        ({"features": RawSignal, "feature_options": {"filters": [BandPass(RATE, low=50, high=900)]}}, "filters"),
    ],
)
def test_what_cannot_stream_says_why(options, said, tmp_path):
    model = made(layers=1, **options)
    with pytest.raises(ValueError, match=said):
        export(model, tmp_path / "a.onnx", streaming=True)
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_whole_signals_is_refused_by_name(tmp_path):
    model = made(layers=1)
    path = export(model, tmp_path / "whole.onnx")
    with pytest.raises(ValueError, match=r"whole\.onnx: .*--streaming"):
        StreamingSession(path)
    with pytest.raises(ValueError, match="streaming recognizer"):
        Session(onnx_bytes(model, streaming=True))


def test_int8_keeps_nearly_the_logits(spoken):
    model = made(units=32, layers=1)
    full, small = (
        StreamingSession(onnx_bytes(model, streaming=True, int8=int8)).logits([spoken])[0] for int8 in (False, True)
    )
    assert 0 < np.abs(full - small).max() < 0.2 * np.abs(full).max()
