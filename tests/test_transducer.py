"""Transducers: exact searches, streaming as offline, three parts in one file, and all that recognizers do."""

import itertools
import json
from pathlib import Path

import httpx2 as httpx
import keras
import numpy as np
import pytest
import tensorflow as tf

import speechrnn as sr
from speechrnn import cli, losses
from speechrnn.data import manifest
from speechrnn.data.check import check
from speechrnn.decoding.transducer import TransducerSearch
from speechrnn.export.writing import exporter_of, onnx_bytes
from speechrnn.models import loading
from speechrnn.runtime import onnxfile
from speechrnn.tasks.recognition import SpeechRecognizer, attachments
from speechrnn.tasks.recognition.multipart_sessions import StreamingTransducerSession, TransducerSession
from speechrnn.training.diagnostics import gradient_flow, layer_paths
from speechrnn.training.task import Split, task_of

RATE = 8000
TEXTS = ("ab b", "a", "bb ab", "b a a")


def record(path, text):
    """A tone for every letter, a pause for every space, as an example."""
    time = np.arange(RATE // 10) / RATE
    tones = [0.3 * np.sin(2 * np.pi * {"a": 500, "b": 1500, " ": 0}[letter] * time) for letter in text]
    gap = np.zeros(RATE // 25)
    signal = np.concatenate([gap, *(part for tone in tones for part in (tone, gap))])
    sr.audio.write(path, signal.astype("float32"), RATE)
    return sr.Example(path=str(path), duration=len(signal) / RATE, text=text)


def enlarged(*weights):
    """Weights so large that an untrained model writes something."""
    rng = np.random.default_rng(1)
    for weight in weights:
        noise = rng.normal(size=weight.shape).astype("float32")
        weight.assign(weight.numpy() + 0.5 * (np.abs(noise) if "variance" in weight.path else noise))


def verbs_of(file, capsys):
    """What a command line prints when a model is given to it; its complaint where another exit code is expected."""

    def said(words, code=0):
        assert cli.main([*words.split(), "--model", file]) == code, capsys.readouterr().err
        found = capsys.readouterr()
        return found.err if code else found.out

    return said


def made(**options):
    """A small untrained model, its weights large enough that it writes something."""
    keras.utils.set_random_seed(4)
    examples = [sr.Example(path="none.wav", duration=1.0, text=text) for text in TEXTS]
    sizes = {"units": 6, "layers": 1, "filters": 3, "convolutions": 1, "bidirectional": False, "joint": 7, **options}
    features = {"num_mels": 12, "f_min": 60, "normalize": None}
    model = SpeechRecognizer.for_manifest(
        examples, sample_rate=RATE, features=features, criterion="transducer", embedding=4, **sizes
    )
    enlarged(*model.network.weights, *model.predictor.weights, *model.joiner.weights)
    model.joiner.dense.kernel.assign(3 * model.joiner.dense.kernel)
    return model


@pytest.fixture(scope="module", params=["stateless", "lstm"])
def model(request):
    return made(predictor=request.param)


@pytest.fixture(scope="module")
def signals():
    rng = np.random.default_rng(3)
    return [rng.normal(size=size).astype("float32") for size in (6000, 900, 0, 3000)]


class Table:
    """Predictor and joiner by a table of logits for each frame and the last symbol."""

    def __init__(self, logits):
        self.vocabulary, self.logits = sr.Vocabulary("ab"), logits

    def first_states(self):
        return {}

    def predicted(self, previous, states):
        return np.eye(3, dtype="float32")[previous], {}

    def joined(self, encoded, predicted):
        return self.logits[encoded.argmax(1), predicted.argmax(1)]


@pytest.mark.parametrize("seed", range(3))
def test_a_beam_that_holds_everything_finds_the_most_probable_text(seed):
    logits = 2 * np.random.default_rng(seed).normal(size=(3, 3, 3)).astype("float32")
    longest, texts = 3, [text for n in range(4) for text in itertools.product((1, 2), repeat=n)]
    # Of texts with at most as many symbols as a frame may write, the loss sums the same ways.
    padded = np.array([[*text, *[0] * (longest - len(text))] for text in texts], "int32")
    places = np.stack([logits[:, [0, *text, *[0] * (longest - len(text))]] for text in texts])
    loss = losses.transducer(padded, places, np.full(len(texts), 3)).numpy()
    stream = TransducerSearch(Table(logits), beam=400, symbols_per_frame=longest).stream()
    stream.search_through(np.eye(3, dtype="float32"))
    found = {text.symbols: -text.score for text in stream._texts if len(text.symbols) <= longest}
    assert found == pytest.approx(dict(zip(texts, loss, strict=True)), rel=1e-5)
    best = min(zip(loss, texts, strict=True))[1]
    if len(stream._texts[0].symbols) <= longest:
        assert tuple(stream.finish().ids) == best


def test_greedy_takes_the_likeliest_at_each_place_and_no_more_than_it_may():
    logits = np.full((3, 3, 3), -9.0, "float32")
    logits[0, :, 1], logits[1, :, 0], logits[2, :, 2] = 9, 9, 9  # a for ever, nothing, b for ever
    path = TransducerSearch(Table(logits), symbols_per_frame=2)(np.eye(3, dtype="float32"))
    np.testing.assert_array_equal(path.ids, [1, 1, 2, 2])
    np.testing.assert_array_equal(path.start_frames, [0, 0, 2, 2])
    np.testing.assert_array_equal(path.end_frames, [1, 1, 3, 3])
    assert (path.confidences > 0.99).all()


@pytest.mark.parametrize("wrong", [{"beam": 0}, {"symbols_per_frame": 0}])
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=rf"`{next(iter(wrong))}` must be at least 1"):
        TransducerSearch(Table(np.zeros((1, 3, 3))), **wrong)


def test_frames_that_are_no_numbers_are_refused():
    search = TransducerSearch(Table(np.zeros((3, 3, 3), "float32")))
    with pytest.raises(ValueError, match="must be numbers"):
        search(np.full((2, 3), np.nan))
    stream = search.stream()
    stream.finish()
    with pytest.raises(ValueError, match="was finished"):
        stream.advance(np.eye(3))


@pytest.mark.parametrize("beam", [None, 1, 4])
def test_a_search_in_pieces_is_that_of_the_whole(model, signals, beam):
    encoded = model.logits(signals[:1])[0]
    search = TransducerSearch(model, beam=beam)
    whole = search(encoded)
    assert len(whole) or beam == 1
    stream, found = search.stream(), []
    for start in range(0, len(encoded), 3):
        found.append(stream.advance(encoded[start : start + 3]))
    found.append(stream.finish())
    for name in ("ids", "start_frames", "confidences"):
        parts = np.concatenate([getattr(part, name) for part in found])
        np.testing.assert_allclose(parts, getattr(whole, name), rtol=1e-5)


def test_the_joint_logits_are_those_that_the_search_sees(model, signals):
    """Training joins all places at once, a search one symbol after the other."""
    encoded = model.logits(signals[:1])[0]
    target = np.array([[2, 1, 3, 3]], "int32")
    whole = model.joint_logits(tf.constant(encoded[None]), target).numpy()[0]
    states = model.first_states()
    for place, symbol in enumerate([0, *target[0]]):
        predicted, states = model.predicted(np.array([symbol]), states)
        found = model.joined(encoded, np.repeat(predicted, len(encoded), 0))
        np.testing.assert_allclose(found, whole[:, place], atol=1e-5)


def test_a_saved_model_is_the_same_model(model, signals, tmp_path):
    model.save(tmp_path / "model.keras")
    found = sr.load(tmp_path / "model.keras", kind="recognizer")
    assert loading.kind_in(tmp_path / "model.keras").name == "recognizer"
    for a, b in zip(model.logits(signals), found.logits(signals), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    encoded = model.logits(signals[:1])[0]
    np.testing.assert_array_equal(TransducerSearch(found)(encoded).ids, TransducerSearch(model)(encoded).ids)


@pytest.mark.parametrize("int8", [False, True])
def test_an_exported_file_has_encoder_predictor_and_joiner(model, signals, int8):
    session = TransducerSession(onnx_bytes(model, int8=int8))
    for a, b in zip(model.logits(signals), session.logits(signals), strict=True):
        np.testing.assert_allclose(a, b, atol=0.3 if int8 else 1e-4)
    states, others = model.first_states(), session.first_states()
    for symbols in ([0], [2], [1]):
        expected, states = model.predicted(np.array(symbols), states)
        found, others = session.predicted(np.array(symbols), others)
        np.testing.assert_allclose(found, expected, atol=0.1 if int8 else 1e-5)
    encoded = model.logits(signals[:1])[0]
    rows = np.repeat(expected, len(encoded), 0)
    np.testing.assert_allclose(session.joined(encoded, rows), model.joined(encoded, rows), atol=1e-4)
    np.testing.assert_allclose(session.ctc_logits(encoded), model.ctc_logits(encoded), atol=1e-4)


def test_a_stream_says_what_the_whole_recording_says(model, signals):
    session, stream = (
        TransducerSession(onnx_bytes(model)),
        StreamingTransducerSession(onnx_bytes(model, streaming=True)),
    )
    np.testing.assert_allclose(stream.logits(signals[:1])[0], session.logits(signals[:1])[0], atol=1e-4)
    for options in ({}, {"beam": 3}):
        stream.search(**options)
        said = []
        for start in range(0, len(signals[0]), 500):
            said += stream.push(signals[0][start : start + 500]).words
        said += stream.finish().words
        path = TransducerSearch(session, **options)(session.logits(signals[:1])[0])
        assert " ".join(word.word for word in said).split() == model.vocabulary.decode(path.ids).split()


def test_it_transcribes_is_measured_and_says_what_it_cannot(model, tmp_path):
    examples = [record(tmp_path / f"{i}.wav", text) for i, text in enumerate(TEXTS)]
    session = TransducerSession(onnx_bytes(model))
    found = [one.text for one in model.transcribe([e.path for e in examples])]
    assert found == [one.text for one in session.transcribe([e.path for e in examples], piece_seconds=30)]
    assert session.evaluate(examples).utterances[0].hypothesis == found[0]
    assert isinstance(session.transcribe(examples[0].path, beam=3).text, str)
    with pytest.raises(ValueError, match="`beam` must be at least 1"):
        session.transcribe(examples[0].path, beam=0)
    with pytest.raises(ValueError, match="no option of the search but `beam`.*hotwords"):
        session.transcribe(examples[0].path, hotwords=["ab"])
    with pytest.raises(ValueError, match="can be written to onnx only"):
        model.export(tmp_path / "model.tflite")
    with pytest.raises(ValueError, match="cannot change its vocabulary"):
        model.with_vocabulary(model.vocabulary)


def test_a_file_without_its_other_models_or_with_damaged_ones_is_refused(model):
    exporter, damaged = exporter_of(model), bytearray(onnx_bytes(model))
    damaged[damaged.rindex(model.joiner.dense.kernel.numpy().tobytes())] ^= 1
    for broken in (onnxfile.with_digest(exporter.graph().model(exporter.metadata())), bytes(damaged)):
        with pytest.raises(ValueError, match="The model"):
            TransducerSession(broken)


def test_a_lexicon_is_not_packed_into_a_transducer(model, tmp_path):
    (tmp_path / "t.onnx").write_bytes(onnx_bytes(model))
    with pytest.raises(ValueError, match="must be a recognizer with CTC"):
        attachments.attach(tmp_path / "t.onnx", tmp_path / "u.onnx", lexicon=tmp_path / "none")


def test_options_of_the_other_criterion_are_refused():
    examples = [sr.Example(path="none.wav", duration=1.0, text="a")]
    with pytest.raises(ValueError, match='joint: only with criterion="transducer"'):
        SpeechRecognizer.for_manifest(examples, joint=8)
    with pytest.raises(ValueError, match="`criterion` must be one of ctc, transducer, attention"):
        SpeechRecognizer.for_manifest(examples, criterion="rnnt")
    with pytest.raises(ValueError, match="`predictor_context` must be at least 1"):
        SpeechRecognizer.for_manifest(examples, criterion="transducer", predictor_context=0)


def test_a_text_longer_than_its_frames_is_kept_and_an_unknown_symbol_is_not(model, tmp_path):
    time = np.zeros(400, "float32")
    sr.audio.write(tmp_path / "short.wav", time, RATE)
    texts = ("ab ba", "", "abc")
    examples = [sr.Example(path=str(tmp_path / "short.wav"), duration=0.05, text=text, id=text) for text in texts]
    faults = sr.Faults()
    batches = task_of(model, None).batches(Split(examples, faults=faults))
    ((x, target, weight),) = list(batches)
    assert int(model.logit_frames(x)[0]) < 5 and sorted(np.count_nonzero(target, 1)[np.asarray(weight) > 0]) == [0, 5]
    assert [(fault.where, fault.kind) for fault in faults] == [("abc", "with characters outside the vocabulary")]
    assert np.isfinite(float(model.compute_loss(x, target, model(x), weight)))
    report = check(examples[:1], longer_texts=True, stride=model.stride, sample_rate=RATE)
    assert "too short for their text" not in {fault.kind for fault in report.faults}


def test_it_learns_and_its_gradients_are_seen(tmp_path):
    examples = [record(tmp_path / f"{i}.wav", text) for i, text in enumerate(TEXTS * 3)]
    tf.keras.utils.set_random_seed(0)
    model = SpeechRecognizer.for_manifest(
        examples, sample_rate=RATE, criterion="transducer", predictor="lstm", units=24, layers=1, convolutions=1,
        bidirectional=False, joint=24, embedding=8, features={"num_mels": 20, "normalize": None},
    )  # fmt: skip
    options = sr.RecognizerTraining(
        epochs=10, batch_size=4, learning_rate=1e-2, validate_every=10, gradient_report=True
    )
    run = sr.train(
        model, examples * 6, valid=examples[:4], options=options,
        out=tmp_path / "m.keras", verbose=False,
    )  # fmt: skip
    assert run.history[-1]["loss"] < 0.2 * run.history[0]["loss"]
    assert run.history[-1]["val_wer"] < 0.5
    paths = [path.layer for path in layer_paths(model)]
    assert "predictor_lstm" in paths
    batch = (
        {"features": np.zeros((2, 40, 20), "float32"), "frames": np.array([40, 30])},
        np.array([[1, 2], [3, 0]], "int32"),
    )
    flow = gradient_flow(model, batch, source="loss")
    assert list(flow) == paths and all(np.isfinite(one.norms).all() and one.norms[0] > 0 for one in flow.values())
    assert list(gradient_flow(model, batch)) == [path for path in paths if path != "predictor_lstm"]
    with pytest.raises(ValueError, match="run by the loss alone"):
        gradient_flow(model, batch, layer="predictor_lstm")


# Every verb that takes a recognizer


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Recordings, their manifest, and one transducer as each kind of file."""
    folder = tmp_path_factory.mktemp("verbs")
    examples = [record(folder / f"{i}.wav", text) for i, text in enumerate(TEXTS)]
    manifest.write(folder / "test.jsonl", examples)
    small = made(units=8)
    small.joiner.dense.bias.assign_add([-4.0, 0.0, 0.0, 0.0])  # of blanks alone there is nothing to measure
    small.save(folder / "t.keras")
    for name, options in (("whole", {}), ("stream", {"streaming": True}), ("int8", {"streaming": True, "int8": True})):
        small.export(folder / f"{name}.onnx", **options)
    return folder


@pytest.mark.parametrize("file", ["t.keras", "whole.onnx", "stream.onnx", "int8.onnx"])
def test_verbs_of_recognizers_take_a_transducer(corpus, file, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(corpus)
    said = verbs_of(file, capsys)
    searched = [said(f"transcribe 0.wav {beam}").strip() for beam in ("", "--beam 3")]
    (corpus / "text.txt").write_text(TEXTS[0])
    aligned = json.loads(said("align 0.wav @text.txt"))
    assert [word["word"] for word in aligned["words"]] == TEXTS[0].split()
    assert 0 <= aligned["words"][0]["start"] < aligned["words"][1]["start"] < aligned["duration"]
    assert "4 utterances" in said("evaluate test.jsonl --beam 2")
    said(f"calibrate test.jsonl --beam 2 --out {tmp_path}/c.json")
    assert "WER" in said(f"report test.jsonl --worst 1 --out {tmp_path}/r.html")
    assert "4 usable" in said("doctor test.jsonl")
    if file == "whole.onnx":
        assert "must hold a model that can listen. Received: a transducer" in said("stream 0.wav", code=2)
    else:
        streamed = [said(f"stream 0.wav {beam}").strip() for beam in ("", "--beam 3")]
        assert streamed == searched
    out = f"--out {tmp_path}/none"
    for verb in (
        "transcribe 0.wav --hotwords ab",
        "evaluate test.jsonl --lexicon cmudict",
        f"calibrate test.jsonl --lm x {out}",
    ):
        assert "A transducer has no option of the search but `beam`" in said(verb, code=2)
    assert "must be a classifier. Received: a recognizer" in said("spot 0.wav", code=2)


def test_what_needs_ctc_refuses_a_transducer_that_was_trained_without(corpus, signals, capsys, tmp_path):
    without = made()
    task_of(without, sr.RecognizerTraining(ctc_weight=0.0)).loss(None)
    assert not sr.load(saved(without, tmp_path / "t.keras")).with_ctc
    (tmp_path / "t.onnx").write_bytes(onnx_bytes(without))
    assert isinstance(TransducerSession(tmp_path / "t.onnx").transcribe(str(corpus / "0.wav")).text, str)
    assert cli.main(["align", str(corpus / "0.wav"), "a b", "--model", str(tmp_path / "t.onnx")]) == 2
    assert "trained with ctc_weight=0. Train it with --ctc-weight above 0" in capsys.readouterr().err


def saved(model, path):
    model.save(path)
    return path


def test_a_server_answers_with_a_transducer_and_listens_with_it(corpus):
    pytest.importorskip("starlette", reason="needs the extra `server`")
    from servers import running_server, speech
    from websockets.sync.client import connect

    path = str(corpus / "0.wav")
    with running_server([str(corpus / "t.keras")], decoding={"beam": 3}) as (url, _):
        assert httpx.get(f"{url}/readyz").status_code == 200
        form = {"files": {"file": Path(path).read_bytes()}, "data": {"model": "t", "prompt": "ab"}}
        found = httpx.post(f"{url}/v1/audio/transcriptions", **form).json()["text"]
        assert found == sr.load(corpus / "whole.onnx").transcribe(path, beam=3).text
        with connect(url.replace("http", "ws")) as websocket:
            websocket.send(json.dumps({"config": {"sample_rate": RATE}}))
            websocket.send(speech(path, RATE).tobytes())
            websocket.recv()
            websocket.send('{"eof" : 1}')
            assert json.loads(websocket.recv())["text"] == found
