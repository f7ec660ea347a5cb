"""Recognizers with attention: CTC's expectations and the search against brute force, files, verbs, and training."""

import itertools
import json

import numpy as np
import pytest
import tensorflow as tf
from test_transducer import RATE, TEXTS, enlarged, record, verbs_of

import speechrnn as sr
from speechrnn import cli, losses
from speechrnn.data import manifest
from speechrnn.decoding.pieces import Joiner, Piece
from speechrnn.decoding.prefixes import Prefixes
from speechrnn.export.writing import onnx_bytes
from speechrnn.models import loading
from speechrnn.tasks.recognition import SpeechRecognizer, attachments
from speechrnn.tasks.recognition.attention_search import AttentionSearch
from speechrnn.tasks.recognition.multipart_sessions import AttentionSession
from speechrnn.tasks.sequence_to_sequence import AttentionDecoder
from speechrnn.training.diagnostics import gradient_flow, layer_paths
from speechrnn.training.task import task_of


def made(**options):
    """A small untrained model, its weights large enough that it writes something."""
    examples = [sr.Example(path="none.wav", duration=1.0, text=text) for text in TEXTS]
    sizes = {"units": 5, "layers": 1, "filters": 3, "convolutions": 1, "joint": 7, "attention": 6, "location": 3}
    model = SpeechRecognizer.for_manifest(
        examples, sample_rate=RATE, features={"num_mels": 12, "f_min": 60, "normalize": None},
        criterion="attention", embedding=4, **{**sizes, **options},
    )  # fmt: skip
    enlarged(*model.network.weights, *model.decoder.weights, *model.ctc.weights)
    model.ctc.bias.assign_add([-3.0, 0.0, 0.0, 0.0])  # of blanks alone there is nothing to measure
    return model


@pytest.fixture(scope="module")
def model():
    return made()


@pytest.fixture(scope="module")
def session(model):
    return AttentionSession(onnx_bytes(model))


@pytest.fixture(scope="module")
def signals():
    rng = np.random.default_rng(3)
    return [rng.normal(size=size).astype("float32") for size in (3000, 900, 0, 2000)]


def log_softmax(logits):
    return logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)


def by_force(logits):
    """The log probability of every text under CTC, from every path."""
    found, frames = {}, np.arange(len(logits))
    for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        text = tuple(symbol for symbol, _ in itertools.groupby(path) if symbol)
        found[text] = np.logaddexp(found.get(text, -np.inf), log_softmax(logits)[frames, path].sum())
    return found


@pytest.mark.parametrize("seed", range(3))
def test_what_ctc_expects_behind_every_beginning_is_the_sum_over_all_paths(seed):
    logits = 3 * np.random.default_rng(seed).normal(size=(5, 3))
    texts = by_force(logits)
    prefixes, count = Prefixes(logits), 0

    def total(beginning):
        return np.logaddexp.reduce([-np.inf, *(p for text, p in texts.items() if text[: len(beginning)] == beginning)])

    def check(beginning, states):
        nonlocal count
        count += 1
        scores, states = prefixes(np.array([beginning[-1] if beginning else 0] * 2), states)  # two rows alike
        expected = [texts.get(beginning, -np.inf), *(total((*beginning, symbol)) for symbol in (1, 2))]
        np.testing.assert_allclose(scores, [np.array(expected) - total(beginning)] * 2, rtol=1e-9, atol=1e-9)
        for symbol in (1, 2):
            if np.isfinite(total((*beginning, symbol))):
                check((*beginning, symbol), states)

    check((), {name: np.repeat(value, 2, 0) for name, value in prefixes.first().items()})
    assert count == len(texts)


def test_a_text_that_needs_more_frames_than_there_are_is_not_expected():
    prefixes = Prefixes(np.zeros((2, 3)))
    states = prefixes.first()
    for previous, possible in (([0], [True, True, True]), ([1], [True, False, True]), ([1], [False] * 3)):
        scores, states = prefixes(np.array(previous), states)
        np.testing.assert_array_equal(np.isfinite(scores[0]), possible)


class Table:
    """A decoder by a table of logits for the number of symbols so far and the last one, and CTC as it is given."""

    vocabulary = sr.Vocabulary("ab")

    def __init__(self, table):
        self.table = table

    def ctc_logits(self, encoded):
        return encoded

    def begin(self, encoded):
        return {"values": encoded[None]}, {"count": np.zeros((1, 1), int)}

    def step(self, previous, memory, states):
        rows = np.ones((len(previous), memory["values"].shape[1])) / memory["values"].shape[1]
        return self.table[states["count"][:, 0], previous], rows, {"count": states["count"] + 1}


@pytest.mark.parametrize("ctc", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(2))
def test_a_beam_that_holds_everything_finds_the_best_text_of_both(seed, ctc):
    rng = np.random.default_rng(seed)
    logits, table = 2 * rng.normal(size=(4, 3)), 2 * rng.normal(size=(6, 3, 3))
    scores = {}
    for text, of_ctc in by_force(logits).items():
        said = zip((0, *text), (*text, 0), strict=True)
        decoder = sum(log_softmax(table[place, last])[symbol] for place, (last, symbol) in enumerate(said))
        scores[text] = (1 - ctc) * decoder + ctc * of_ctc
    path = AttentionSearch(Table(table), beam=60, ctc=ctc)(logits)
    assert tuple(path.ids) == max(scores, key=scores.get)
    assert len(path.start_frames) == len(path.ids) == len(path.confidences)


@pytest.mark.parametrize("wrong", [{"beam": 0}, {"ctc": 0.0}, {"ctc": 1.5}])
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` must be"):
        AttentionSearch(Table(None), **wrong)


def test_attention_sees_where_it_was(model, signals):
    """Scores `v . tanh(W s + U h + L (F * a))` by hand, from the decoder's weights."""
    encoded, decoder = model.logits(signals[:1])[0], model.decoder
    memory, states = model.begin(encoded)
    weight = {name: np.asarray(getattr(decoder, name).kernel) for name in ("query", "energy", "filters", "place")}
    for symbol in (0, 2):
        looked = np.pad(states["looked"][0], decoder.window // 2)
        _, attention, states = model.step(np.array([symbol]), memory, states)
        windows = np.lib.stride_tricks.sliding_window_view(looked, decoder.window)
        place = windows @ weight["filters"][:, 0] @ weight["place"]
        compared = np.tanh(memory["keys"][0] + states["output"][0] @ weight["query"] + place)
        energies = compared @ weight["energy"][:, 0]
        np.testing.assert_allclose(attention[0], np.exp(log_softmax(energies)), rtol=1e-4, atol=1e-7)
        np.testing.assert_array_equal(states["looked"], attention)


@pytest.mark.parametrize("wrong", [{"location": -1}, {"window": 4}])
def test_filters_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="`location` must be zero or positive, and `window` positive and odd"):
        AttentionDecoder(3, **wrong)


def test_padding_changes_nothing_and_steps_are_the_whole(model, signals):
    encoded = model.logits(signals[:1])[0]
    target = np.array([[2, 1, 3, 3], [1, 2, 0, 0]], "int32")
    both = np.full((2, len(encoded) + 5, encoded.shape[1]), np.nan, "float32")
    both[0, : len(encoded)], both[1, :10] = encoded, encoded[:10]
    together = model.symbol_logits(tf.constant(both), target, np.array([len(encoded), 10])).numpy()
    for row, frames, symbols in ((0, len(encoded), [2, 1, 3, 3]), (1, 10, [1, 2])):
        memory, states = model.begin(encoded[:frames])
        for place, symbol in enumerate([0, *symbols]):
            logits, _, states = model.step(np.array([symbol]), memory, states)
            np.testing.assert_allclose(together[row, place], logits[0], rtol=0, atol=1e-5)
    loss = losses.Attention(smoothing=0.1).rows(target, together, None).numpy()
    logs, smooth = log_softmax(together.astype("float64")), 0.1
    for row, symbols in enumerate(([2, 1, 3, 3, 0], [1, 2, 0])):
        each = [
            -(1 - smooth) * logs[row, place, symbol] - smooth * logs[row, place].mean()
            for place, symbol in enumerate(symbols)
        ]
        assert loss[row] == pytest.approx(sum(each), rel=1e-5)


def test_a_saved_model_is_the_same_model(model, signals, tmp_path):
    model.save(tmp_path / "model.keras")
    found = sr.load(tmp_path / "model.keras", kind="recognizer")
    assert loading.kind_in(tmp_path / "model.keras").name == "recognizer"
    encoded = model.logits(signals[:1])[0]
    np.testing.assert_allclose(found.logits(signals[:1])[0], encoded, atol=1e-6)
    ids = AttentionSearch(model)(encoded).ids
    assert len(ids) and np.array_equal(AttentionSearch(found)(encoded).ids, ids)
    assert found.with_parts().get_config() == found.get_config()


@pytest.mark.parametrize("options", [{}, {"location": 0, "bidirectional": False}])
def test_an_exported_file_answers_as_keras_does(options, signals):
    model = made(**options)
    session = AttentionSession(onnx_bytes(model))
    for a, b in zip(model.logits(signals), session.logits(signals), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
        np.testing.assert_allclose(model.ctc_logits(a), session.ctc_logits(a), atol=1e-4)
    encoded = model.logits(signals[:1])[0]
    (memory, states), (others, following) = model.begin(encoded), session.begin(encoded)
    for symbol in (0, 2, 1):
        expected, attention, states = model.step(np.array([symbol]), memory, states)
        found, looked, following = session.step(np.array([symbol]), others, following)
        np.testing.assert_allclose(found, expected, atol=1e-4)
        np.testing.assert_allclose(looked, attention, atol=1e-5)
    for beam in (1, 5):
        ids = [AttentionSearch(one, beam=beam)(encoded).ids for one in (model, session)]
        np.testing.assert_array_equal(*ids)


def test_what_it_cannot_do_is_refused_by_name(model, session, tmp_path):
    with pytest.raises(
        ValueError, match="A recognizer with attention has no option of the search but `beam`. Received: lm"
    ):
        session.transcribe("none.wav", lm="none.lm")
    with pytest.raises(ValueError, match="cannot stream. Train with --criterion ctc or transducer"):
        model.export(tmp_path / "s.onnx", streaming=True)
    with pytest.raises(ValueError, match="can be written to onnx only"):
        model.export(tmp_path / "model.tflite")
    with pytest.raises(ValueError, match="recognizer with attention cannot change its vocabulary"):
        model.with_vocabulary(model.vocabulary)
    with pytest.raises(ValueError, match="`ctc_weight` must be positive for a recognizer with attention"):
        task_of(model, sr.RecognizerTraining(ctc_weight=0.0)).loss(None)
    with pytest.raises(
        ValueError, match='predictor_context: only with criterion="transducer". Received: criterion="attention"'
    ):
        made(predictor_context=3)
    examples = [sr.Example(path="none.wav", duration=1.0, text="a")]
    with pytest.raises(ValueError, match='location: only with criterion="attention". Received: criterion="transducer"'):
        SpeechRecognizer.for_manifest(examples, criterion="transducer", location=3)
    session.export(tmp_path / "a.onnx")
    with pytest.raises(ValueError, match="Received: a recognizer with attention, which cannot use a lexicon"):
        attachments.attach(tmp_path / "a.onnx", tmp_path / "b.onnx", lexicon=tmp_path / "none")


def test_pieces_are_put_together_between_words_as_ctc_hears_them():
    """Outputs of an encoder are joined where the logits that CTC makes of them would be."""
    logits = 9.0 * np.eye(4)[[2, 0, 1, 3, 0, 1, 2, 0, 2, 3, 3, 1, 0, 2, 2, 0]]  # 1 is the space
    first, second = Piece(0, np.zeros(100)), Piece(50, np.zeros(110), shared=50)

    def joined(outputs, **options):
        joiner = Joiner(10, 1, **options)
        parts = [*joiner.add(first, outputs[:10]), *joiner.add(second, outputs[5:]), *joiner.finish()]
        return [start for start, _ in parts], np.concatenate([part for _, part in parts])

    starts, whole = joined(logits)
    found, encoded = joined(np.roll(logits, 1, axis=1), logits_of=lambda outputs: np.roll(outputs, -1, axis=1))
    assert found == starts and len(starts) == 2
    np.testing.assert_array_equal(np.roll(encoded, -1, axis=1), whole)
    np.testing.assert_array_equal(whole, logits)


@pytest.mark.parametrize("file", ["a.keras", "a.onnx"])
def test_verbs_of_recognizers_take_it(model, file, capsys, monkeypatch, tmp_path):
    examples = [record(tmp_path / f"{i}.wav", text) for i, text in enumerate(TEXTS)]
    manifest.write(tmp_path / "test.jsonl", examples)
    (tmp_path / "text.txt").write_text(TEXTS[0])
    model.save(tmp_path / "a.keras")
    monkeypatch.chdir(tmp_path)
    said = verbs_of(file, capsys)
    if file == "a.onnx":
        assert cli.main(["export", "--model", "a.keras"]) == 0
        assert "Received: a recognizer with attention, which needs whole signals" in said("stream 0.wav", code=2)
    else:
        assert "cannot stream. Train with --criterion ctc or transducer" in said("stream 0.wav", code=2)
    assert said("transcribe 0.wav --beam 3").strip() == model.transcribe("0.wav", beam=3).text
    assert [word["word"] for word in json.loads(said("align 0.wav @text.txt"))["words"]] == TEXTS[0].split()
    assert "4 utterances" in said("evaluate test.jsonl --beam 2")
    assert "4 usable" in said("doctor test.jsonl")


def test_it_learns_and_its_gradients_are_seen(tmp_path):
    examples = [record(tmp_path / f"{i}.wav", text) for i, text in enumerate(TEXTS * 3)]
    tf.keras.utils.set_random_seed(0)
    model = SpeechRecognizer.for_manifest(
        examples, sample_rate=RATE, criterion="attention", units=24, layers=1, convolutions=1, joint=24,
        attention=16, embedding=8, location=4, features={"num_mels": 20, "normalize": None},
    )  # fmt: skip
    options = sr.RecognizerTraining(epochs=10, batch_size=4, learning_rate=1e-2, validate_every=10)
    run = sr.train(model, examples * 5, valid=examples[:4], options=options, out=tmp_path / "m.keras", verbose=False)
    assert run.history[-1]["loss"] < 0.3 * run.history[0]["loss"]
    assert run.history[-1]["val_wer"] == 0.0
    assert {"recurrent"} < {path.layer for path in layer_paths(run.model)}
    batch = (
        {"features": np.zeros((2, 40, 20), "float32"), "frames": np.array([40, 30])},
        np.array([[1, 2], [3, 0]], "int32"),
    )
    flow = gradient_flow(run.model, batch, source="loss")
    assert "recurrent" in flow and len(flow) == 3
    assert all(np.isfinite(one.norms).all() and one.norms[0] > 0 for one in flow.values())
    assert "recurrent" not in gradient_flow(run.model, batch)
