"""Recurrent language models: probabilities, ONNX, training, rescoring, generation, and files that are none."""

import itertools
import json
from functools import partial

import keras
import numpy as np
import pytest
from fakes import Unsure, record, stand_in

from speechrnn import cli
from speechrnn.data import manifest
from speechrnn.data.manifest import Example
from speechrnn.decoding import BeamSearch, Rescored, rescoring
from speechrnn.decoding.tuning import tune_rescoring
from speechrnn.export.writing import export, onnx_bytes
from speechrnn.features import LogMel
from speechrnn.metrics import edits
from speechrnn.models.loading import load_bundle, load_session
from speechrnn.tasks.language import generation
from speechrnn.tasks.language import rescoring as options
from speechrnn.tasks.language.model import LanguageModel
from speechrnn.tasks.language.network import recurrent_lm
from speechrnn.tasks.language.options import LanguageTraining
from speechrnn.tasks.language.session import LanguageSession
from speechrnn.tasks.language.training import SentencePlan, sentence_batches
from speechrnn.tasks.recognition import model as recognizer
from speechrnn.tasks.recognition.network import recurrent_ctc
from speechrnn.text import Vocabulary
from speechrnn.training import train
from speechrnn.training.callbacks import Bookkeeping

TEXTS = ["ab a", "", "b", "aab ba b", "a a a a a a", "bb"]


def made(vocabulary="ab ", cell="lstm", layers=2, end=0.0, **sizes):
    """A small one with weights at random, and `end` added to the logit of the end of a sentence."""
    keras.utils.set_random_seed(0)
    vocabulary = Vocabulary(vocabulary)
    network = recurrent_lm(
        cell, vocabulary_size=len(vocabulary), units=6, embedding=3, layers=layers, dropout=0.1, **sizes
    )
    rng = np.random.default_rng(1)
    network.set_weights([value + rng.normal(0, 0.4, value.shape) for value in network.get_weights()])
    bias = network.get_layer("logits").bias
    bias.assign(bias + end * np.eye(len(vocabulary))[0])
    return LanguageModel(network, vocabulary, card={"name": "test"})


@pytest.fixture(scope="module")
def model():
    return made()


@pytest.fixture(scope="module")
def session(model):
    return LanguageSession(onnx_bytes(model), threads=1)


def by_hand(model, text):
    """Log probability of a sentence alone, from Keras's logits."""
    symbols = [0, *model.vocabulary.encode(text)]
    inputs = {"ids": np.array([symbols], "int32"), "length": np.array([len(symbols)], "int32")}
    logits = np.asarray(model(inputs))[0].astype(float)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return sum(np.log(row[following]) for row, following in zip(chances, [*symbols[1:], 0], strict=True))


# Probabilities


def test_the_probabilities_of_all_sentences_sum_to_one():
    session = LanguageSession(onnx_bytes(made("ab", end=3.0)), threads=1)
    texts = ["".join(text) for length in range(9) for text in itertools.product("ab", repeat=length)]
    total = np.exp(session.scores(texts)).sum()
    assert 0.999 < total <= 1 + 1e-6


def test_a_score_is_the_sum_of_what_follows_each_symbol(model):
    np.testing.assert_allclose(model.scores(TEXTS), [by_hand(model, text) for text in TEXTS], rtol=0, atol=1e-5)


@pytest.mark.parametrize("which", ["keras", "onnx"])
def test_padding_does_not_change_the_score_of_a_sentence(which, model, session):
    scores = {"keras": model, "onnx": session}[which].scores
    together = scores([*TEXTS, "ab " * 40])
    np.testing.assert_allclose(together[: len(TEXTS)], [scores([text])[0] for text in TEXTS], rtol=0, atol=1e-5)


def test_what_stands_in_the_padding_has_no_influence(model):
    ids = np.array([[0, 1, 2, 0], [0, 3, 1, 2]], "int32")
    length = np.array([2, 4], "int32")
    other = np.where(np.arange(4) < length[:, None], ids, 3).astype("int32")
    before, after = (np.asarray(model({"ids": x, "length": length})) for x in (ids, other))
    np.testing.assert_array_equal(before, after)
    found = [rescoring.log_probabilities(before, x, length) for x in (ids, other)]
    np.testing.assert_array_equal(*found)


def test_perplexity_is_of_words_and_counts_the_ends_of_sentences(model):
    found = rescoring.perplexity(model, ["ab  a", "b "])
    total = by_hand(model, "ab a") + by_hand(model, "b")
    assert found.words == 5
    assert found.perplexity == found.known == pytest.approx(np.exp(-total / 5), rel=1e-5)
    assert found.bits_per_character == pytest.approx(-total / 7 / np.log(2), rel=1e-5)


# ONNX


@pytest.mark.parametrize(("cell", "layers"), [("lstm", 2), ("gru", 1)])
def test_onnx_scores_as_keras_does(cell, layers):
    model = made(cell=cell, layers=layers)
    session = LanguageSession(onnx_bytes(model), threads=1)
    assert session.vocabulary == model.vocabulary
    expected = model.scores(TEXTS)
    np.testing.assert_allclose(session.scores(TEXTS), expected, rtol=0, atol=1e-4)
    assert np.ptp(expected) > 1  # there is something to compare


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_states_go_on_where_they_were(cell):
    session = LanguageSession(onnx_bytes(made(cell=cell)), threads=1)
    whole, _ = session.advance([0, 1, 3, 2, 2], session.initial_states(1))
    _, states = session.advance([0, 1, 3], session.initial_states(1))
    for symbol in (2, 2):
        stepwise, states = session.advance([symbol], states)
    np.testing.assert_allclose(stepwise, whole, rtol=0, atol=1e-5)


def test_one_file_holds_it_all(model, tmp_path):
    model.save(tmp_path / "lm.keras")
    again = load_bundle(tmp_path / "lm.keras", kind="language model")
    assert (again.vocabulary, again.card) == (model.vocabulary, {"name": "test"})
    np.testing.assert_array_equal(again.scores(TEXTS), model.scores(TEXTS))
    assert export(tmp_path / "lm.keras") == str(tmp_path / "lm.onnx")
    for name in ("lm.keras", "lm.onnx"):
        np.testing.assert_allclose(
            load_session(tmp_path / name, kind="language model").scores(TEXTS), model.scores(TEXTS), rtol=0, atol=1e-4
        )


# Generation


def test_generation_is_repeated_by_its_seed(session):
    one, again, other = (session.generate(length=80, seed=seed).text for seed in (3, 3, 4))
    assert one == again != other
    assert len(one) == 80


def test_a_prefix_is_gone_on_from(session):
    text = session.generate("ab ", length=30, temperature=0).text
    assert text.startswith("ab ")
    assert len(text) == 33
    symbols = [0, *session.vocabulary.encode("ab ")]
    for said in text[3:].partition("\n")[0]:
        logits, _ = session.advance(symbols, session.initial_states(1))
        symbols.append(int(logits.argmax()))
        assert session.vocabulary.symbols[symbols[-1] - 1] == said


def test_each_sentence_begins_anew(tmp_path):
    session = LanguageSession(onnx_bytes(made(end=1.5)), threads=1)
    text = session.generate("b", length=60, temperature=0.01).text
    lines = text.split("\n")[1:-1]
    assert len(lines) > 1
    assert len(set(lines)) == 1  # as good as greedy: from the same start always the same


def test_draws_are_as_likely_as_the_model_says(session):
    logits, _ = session.advance([0], session.initial_states(1))
    rng = np.random.default_rng(0)
    counts = np.bincount(
        [generation._drawn(logits, temperature=2.0, top_k=0, rng=rng) for _ in range(20000)], minlength=4
    )
    expected = np.exp(logits / 2.0) / np.exp(logits / 2.0).sum()
    np.testing.assert_allclose(counts / counts.sum(), expected, atol=0.015)


# Rescoring


def test_the_n_best_are_ranked_as_brute_force_says(model, session, rng):
    search = BeamSearch(Vocabulary("ab "), width=200, word_bonus=0.3)
    moved = 0
    for _ in range(3):
        logits = rng.normal(size=(4, 4), scale=1.5)
        found = search.n_best(logits, 200)
        expected = []
        for hypothesis in found:
            text = " ".join(hypothesis.text.split())
            expected.append((hypothesis.score + 0.7 * by_hand(model, text) + 0.9 * len(text.split()), hypothesis.text))
        expected.sort(key=lambda pair: -pair[0])
        rescored = Rescored(search, session, weight=0.7, bonus=0.9, best=200)
        ranked = rescored.n_best(logits, 5)
        np.testing.assert_allclose([h.score for h in ranked], [score for score, _ in expected[:5]], atol=1e-3)
        assert ranked[0].text == expected[0][1]
        assert tuple(rescored(logits).ids) == ranked[0].ids
        moved += ranked[0].text != found[0].text
    assert moved  # the model has had a say


def test_without_weight_the_order_stays(session, rng):
    search = BeamSearch(Vocabulary("ab "), width=16)
    logits = rng.normal(size=(6, 4), scale=1.5)
    assert Rescored(search, session, weight=0.0).n_best(logits, 9) == search.n_best(logits, 9)


class Counted:
    """A language model that finds all texts alike."""

    vocabulary = Vocabulary("ab ")

    def __init__(self):
        self.judged = []

    def scores(self, texts):
        self.judged.append(len(texts))
        return np.zeros(len(texts))


def test_only_as_many_as_asked_are_judged(rng):
    model = Counted()
    Rescored(BeamSearch(Vocabulary("ab "), width=16), model, best=3)(rng.normal(size=(6, 4)))
    assert model.judged == [3]


def test_the_best_weights_of_rescoring_are_the_best_of_the_grid(session, rng):
    search = BeamSearch(Vocabulary("ab "), width=16)
    logits = [rng.normal(size=(8, 4), scale=2) for _ in range(6)]
    references = ["a b", "b", "ab a", "ba", "a", "b b"]
    trials = tune_rescoring(Rescored(search, session), logits, references)
    assert [trial.rank for trial in trials] == sorted(trial.rank for trial in trials)
    for trial in (trials[0], trials[-1]):
        again = Rescored(search, session, weight=trial.lm_weight, bonus=trial.word_bonus)
        said = [" ".join(again.n_best(values, 1)[0].text.split()) for values in logits]
        assert word_errors(references, said) == trial.words.errors
    assert trials[0].words.errors < trials[-1].words.errors


def word_errors(references, said):
    pairs = [pair for r, s in zip(references, said, strict=True) for pair in edits.align(r.split(), s.split()).pairs]
    return sum(a != b for a, b in pairs)


# Training

PATTERN = ["ab ba", "ab", "ba ab", "ba"] * 12


def test_an_epoch_holds_each_sentence_once_and_targets_are_what_follows():
    vocabulary = Vocabulary("abcdefghij")
    texts = ["abcdefghij"[i % 10] * (1 + i // 10) for i in range(40)]
    dataset = sentence_batches(SentencePlan(vocabulary, texts, 8, seed=5))
    assert len(dataset) == 5
    epochs = [[], []]
    for epoch in epochs:
        for x, target, weight in dataset.as_numpy_iterator():
            assert weight.tolist() == [1.0] * 8
            for ids, length, following in zip(x["ids"], x["length"], target, strict=True):
                assert ids[0] == following[length - 1] == 0
                np.testing.assert_array_equal(ids[1:length], following[: length - 1])
                epoch.append(vocabulary.decode(ids[1:length]))
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(texts)
    assert epochs[0] != epochs[1]
    later = sentence_batches(SentencePlan(vocabulary, texts, 8, seed=5, initial_epoch=1))
    assert [vocabulary.decode(row) for x, *_ in later.as_numpy_iterator() for row in x["ids"]] == epochs[1]


@pytest.mark.slow
def test_it_learns_keeps_the_best_and_goes_on_as_if_nothing_had_happened(tmp_path, monkeypatch):
    choices = LanguageTraining(epochs=5, batch_size=8, learning_rate=0.03)
    run = partial(train, examples=PATTERN * 2, valid=PATTERN[:4], options=choices, verbose=False)
    whole = made()
    before = rescoring.perplexity(whole, PATTERN).perplexity
    done = run(whole, out=tmp_path / "whole.keras")
    after = rescoring.perplexity(load_bundle(tmp_path / "whole.keras", kind="language model"), PATTERN).perplexity
    assert before > 8
    assert 4**0.4 < after < 4  # four sentences, alike often, have ten words: nothing can beat 4 ** (4 / 10)
    assert [row["epoch"] for row in done.history] == list(range(1, 6))
    assert min(row["val_perplexity"] for row in done.history) == done.history[done.best_epoch - 1]["val_perplexity"]

    kept = Bookkeeping.on_epoch_end

    def killed(self, epoch, logs=None):
        kept(self, epoch, logs)
        if epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Bookkeeping, "on_epoch_end", killed)
        assert run(made(), out=tmp_path / "part.keras").interrupted
    with pytest.raises(ValueError, match="was started with other options"):
        train(made(), PATTERN, out=tmp_path / "part.keras", options=LanguageTraining(epochs=9), resume=True)
    resumed = made()
    done = run(resumed, out=tmp_path / "part.keras", resume=True)
    assert len(done.history) == 5
    np.testing.assert_allclose(resumed.scores(TEXTS), whole.scores(TEXTS), rtol=0, atol=1e-4)


# What cannot be


def test_characters_that_the_model_lacks_are_named(model, session):
    for one in (model, session):
        with pytest.raises(ValueError, match=r"lacks \['q', 'x'\]"):
            one.scores(["ab", "xq"])
    with pytest.raises(ValueError, match=r"lacks \['z'\]"):
        session.generate("z", length=5)
    with pytest.raises(ValueError, match=r"without \['c'\]; it has 'ab '"):
        Rescored(BeamSearch(Vocabulary("abc ")), session)


@pytest.mark.parametrize("bad", [{"length": 0}, {"temperature": -1.0}, {"temperature": np.nan}, {"seed": -1}])
def test_generation_out_of_range_is_refused(bad, session):
    with pytest.raises(ValueError, match=f"`{next(iter(bad))}` must be .*Received"):
        session.generate(**bad)


@pytest.mark.parametrize("part", [0.02, 0.5, 0.98])
def test_a_file_that_is_cut_off_is_known_as_such(part, model, tmp_path):
    content = onnx_bytes(model)
    (tmp_path / "lm.onnx").write_bytes(content[: int(part * len(content))])
    with pytest.raises(ValueError, match=r"lm\.onnx: is cut off or damaged"):
        load_session(tmp_path / "lm.onnx", kind="language model")
    model.save(tmp_path / "lm.keras")
    whole = (tmp_path / "lm.keras").read_bytes()
    (tmp_path / "lm.keras").write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(ValueError, match=r"lm\.keras: is not a \.keras model, or is cut off"):
        load_session(tmp_path / "lm.keras", kind="language model")


def test_recognizers_and_language_models_are_not_taken_for_each_other(model, tmp_path):
    features = LogMel(8000, num_mels=8, f_min=100)
    network = recurrent_ctc(num_features=8, vocabulary_size=4, units=4, layers=1)
    recognizer.SpeechRecognizer(features, network, Vocabulary("ab ")).save(tmp_path / "hears.keras")
    with pytest.raises(ValueError, match="must be a language model. Received: a recognizer"):
        load_session(tmp_path / "hears.keras", kind="language model")
    with pytest.raises(
        ValueError, match="must be a language model. Received: a recognizer, see `speechrnn transcribe`"
    ):
        load_session(export(tmp_path / "hears.keras"), kind="language model")
    model.save(tmp_path / "lm.keras")
    with pytest.raises(ValueError, match="must be a recognizer. Received: a language model, see `speechrnn generate`"):
        load_bundle(tmp_path / "lm.keras", kind="recognizer")
    with pytest.raises(ValueError, match="A LanguageModel can be written to onnx only"):
        export(tmp_path / "lm.keras", to="litert")


@pytest.mark.parametrize("which", ["model", "session"])
def test_evaluate_gives_the_perplexity_of_all_sentences_with_an_interval(which, request, tmp_path):
    asked = request.getfixturevalue(which)
    examples = [*PATTERN[:20], Example("x.wav", 1.0, text="ab b", id="named"), "", "abc"]
    report = asked.evaluate(examples)
    usual = rescoring.perplexity(asked, [*PATTERN[:20], "ab b"])
    assert report.perplexity == pytest.approx(usual.perplexity)
    assert report.bits_per_character == pytest.approx(usual.bits_per_character)
    assert (report.sentences, report.words) == (21, usual.words)
    assert report.interval[0] < report.perplexity < report.interval[1]
    assert [fault.where for fault in report.faults] == ["sentence 22", "sentence 23"]
    assert "'c'" in report.faults[1].message and "2 more FAILED" in str(report)
    assert json.loads(json.dumps(report.to_dict()))["failed"] == 2
    (tmp_path / "texts.txt").write_text("Ab, b!\n\nA\n")
    assert asked.evaluate(tmp_path / "texts.txt").sentences == 2
    assert asked.evaluate([Example(f"{folder}/1.wav", 1.0, text="ab") for folder in "ab"]).sentences == 2  # one id
    empty = asked.evaluate([""])
    assert np.isnan(empty.perplexity) and empty.to_dict()["perplexity"] is None and "No sentence" in str(empty)


def test_texts_that_nothing_can_be_learned_from(model, tmp_path):
    with pytest.raises(
        ValueError, match="none of 2; the first: sentence 1: has 2 characters, more than max_characters=1"
    ):
        train(model, ["ab", "ba"], out=tmp_path / "lm.keras", options=LanguageTraining(max_characters=1))
    with pytest.raises(ValueError, match=r"must end in \.keras"):
        train(model, ["ab"], out=tmp_path / "lm.arpa")
    with pytest.raises(ValueError, match="at least one sentence"):
        rescoring.perplexity(model, [])
    with pytest.raises(ValueError, match="`units` must be at least 1"):
        recurrent_lm(vocabulary_size=3, units=0)


# On the command line


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a text and what the verb learned from it."""
    folder = tmp_path_factory.mktemp("lm")
    (folder / "text.txt").write_text("Bad cab!\nbad cab\ncab bad\nbad bad\nfig hej\n" * 6)
    small = ["--units", "16", "--embedding", "8", "--epochs", "40", "--batch-size", "6", "--learning-rate", "0.03"]
    words = ["train", "--task", "generate", str(folder / "text.txt"), "--out", str(folder / "lm.keras"), *small]
    assert cli.main(words) == 0
    return folder


def out_of(capsys, words, code=0):
    assert cli.main(words) == code
    return capsys.readouterr().out.strip()


def test_verbs_of_a_recurrent_model(trained, capsys):
    lm, onnx = str(trained / "lm.keras"), str(trained / "lm.onnx")
    assert out_of(capsys, ["export", "--model", lm, "--overwrite"]) == onnx
    text = str(trained / "text.txt")
    found = [json.loads(out_of(capsys, ["lm", "perplexity", "--model", file, text, "--json"])) for file in (lm, onnx)]
    assert found[0] == found[1]
    assert found[0]["words"] == 6 * 15
    assert found[0]["perplexity"] < 4
    assert "bits per character" in out_of(capsys, ["lm", "perplexity", "--model", onnx, str(trained / "text.txt")])
    written = [out_of(capsys, ["generate", "--model", onnx, "--length", "40", "--seed", s, "ca"]) for s in "112"]
    assert written[0] == written[1] != written[2]
    assert written[0].startswith("ca")


def test_rescoring_hears_what_makes_sense(trained, tmp_path, monkeypatch, capsys):
    stand_in(monkeypatch, Unsure())
    audio, lm = record(tmp_path / "one.wav", "bad cab"), str(trained / "lm.keras")
    assert out_of(capsys, ["transcribe", audio]) == "bbd cbb"
    judged = ["--rescore", lm, "--rescore-best", "64"]  # what was said is the last of them
    unmoved = out_of(capsys, ["transcribe", audio, "--beam", "64"])
    assert out_of(capsys, ["transcribe", audio, *judged, "--rescore-weight", "0"]) == unmoved != "bad cab"
    assert out_of(capsys, ["transcribe", audio, *judged, "--rescore-weight", "1"]) == "bad cab"
    manifest.write(tmp_path / "m.jsonl", [Example(audio, 0.9, text="bad cab")])
    words = ["evaluate", "--model", "x", str(tmp_path / "m.jsonl"), "--json", *judged, "--rescore-weight", "1"]
    assert json.loads(out_of(capsys, words))["wer"] == 0.0
    found = out_of(capsys, ["lm", "tune", "--model", "x", str(tmp_path / "m.jsonl"), *judged])
    assert found.startswith("--rescore-weight ")
    assert "WER 0.00 %" in found
    assert out_of(capsys, ["transcribe", audio, *judged, *found.splitlines()[0].split()]) == "bad cab"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lm", "train", "t", "--out", "x.arpa", "--units", "8"], "unknown option --units"),
        (
            ["lm", "train", "t", "--kind", "rnn", "--out", "x"],
            "--kind: `speechrnn train --task generate` trains recurrent models.",
        ),
        (["generate", "--model", "gone.onnx"], "gone.onnx: no such model file"),
        (["generate", "--model", "gone.keras"], "gone.keras: no such model file"),
        (["transcribe", "a.wav", "--rescore", "gone.keras"], "gone.keras: no such model file"),
    ],
)
def test_wrong_usage_is_said(words, said, capsys, monkeypatch):
    if words[0] == "transcribe":
        stand_in(monkeypatch, Unsure())
    assert cli.main(words) == 2
    assert said in capsys.readouterr().err


def test_a_search_is_made_where_only_rescoring_asks_for_one(model, tmp_path):
    (tmp_path / "lm.onnx").write_bytes(onnx_bytes(model))
    found = options.decoder(Vocabulary("ab "), rescore=tmp_path / "lm.onnx", rescore_weight=0.25, rescore_best=7)
    assert isinstance(found, Rescored)
    assert (found.weight, found.bonus, found.best, found.search.width) == (0.25, 0.0, 7, 64)
    assert options.decoder(Vocabulary("ab ")).__name__ == "greedy"
