"""Subwords against all segmentations and against SentencePiece; decoding, times and files with them."""

import io
import json
import sys

import numpy as np
import pytest
from lm_texts import model_of
from test_beam import exact, ranked

from speechrnn import cli
from speechrnn.data import manifest
from speechrnn.decoding import Boost, Grammar, align, greedy
from speechrnn.decoding.pieces import joint
from speechrnn.models.loading import load_bundle
from speechrnn.models.loading import load_session as load
from speechrnn.tasks.recognition.streaming_base import StreamingGreedyDecoder
from speechrnn.tasks.recognition.transcript import spell
from speechrnn.text import Vocabulary
from speechrnn.text.subwords import MARK, Subwords

PIECES = Subwords(["▁", "a", "b", "ab", "▁a", "▁b", "▁ba"], [-2.5, -2.0, -2.1, -2.9, -2.2, -2.3, -3.1])
TINY = Subwords(["▁", "a", "b", "▁ab"], [-1.0, -2.0, -2.0, -3.0])  # few enough to try all paths
TEXTS = ["seven two nine", "lights off", "volume up", "set timer forty two minutes", "lights on", "twenty seven"] * 3


def segmentations(text, pieces):
    if not text:
        return [()]
    return [(piece, *rest) for piece in pieces if text.startswith(piece)
            for rest in segmentations(text[len(piece):], pieces)]  # fmt: skip


# Writing and reading


@pytest.mark.parametrize("text", ["a", "ba", "bab", "aab ba abba", "  b   ab\n", ""])
def test_a_text_is_written_as_the_best_of_all_segmentations(text):
    score = dict(zip(PIECES.symbols, PIECES.scores, strict=True))
    whole = "".join(MARK + word for word in text.split())
    best = max(segmentations(whole, PIECES.symbols), key=lambda pieces: sum(score[p] for p in pieces))
    assert [PIECES.symbols[i - 1] for i in PIECES.encode(text)] == list(best)
    assert PIECES.decode(PIECES.encode(text)) == " ".join(text.split())


def test_characters_that_no_piece_has_are_named():
    assert PIECES.missing(f"a bç{MARK}") == {"ç", MARK}
    with pytest.raises(ValueError, match=r"lacks \['ç'\]"):
        PIECES.encode("a ç")
    with pytest.raises(ValueError, match=r"Indices must lie in \[0, 8\)"):
        PIECES.decode([8])


@pytest.mark.parametrize(
    ("symbols", "scores", "said"),
    [
        (["▁", "a", "a"], [0, 0, 0], "'a' twice"),
        (["▁", "a", "a▁"], [0, 0, 0], "at their beginning. Received: 'a▁'"),
        (["▁", "a", ""], [0, 0, 0], "Received: ''"),
        (["▁", "a", "a "], [0, 0, 0], "Received: 'a '"),
        (["▁", "a"], [0], "a number for each of 2"),
        (["▁", "a"], [0, float("nan")], "1 are finite"),
        (["a", "▁a"], [0, 0], r"Lacking: \['▁'\]"),
        (["▁", "a", "ab"], [0, 0, 0], r"Lacking: \['b'\]"),
    ],
)
def test_pieces_that_could_not_write_every_text_are_refused(symbols, scores, said):
    with pytest.raises(ValueError, match=said):
        Subwords(symbols, scores)


def test_the_configuration_brings_back_the_same_vocabulary():
    found = Vocabulary.from_config(json.loads(json.dumps(PIECES.get_config())))
    assert (found, hash(found), type(found)) == (PIECES, hash(PIECES), Subwords)
    assert found != Subwords(PIECES.symbols, [-1.0] * 7)
    assert Vocabulary.from_config(Vocabulary("ab").get_config()) == Vocabulary("ab") != Subwords(["▁", "a"], [0, 0])


# Learning


@pytest.fixture(scope="module")
def spoken(request):
    folder = request.config.rootpath / "data" / "spoken_numbers"
    return [example.text for example in manifest.read(folder / "train.jsonl")]


def test_texts_are_written_as_sentencepiece_writes_them(spoken, rng):
    sentencepiece = pytest.importorskip("sentencepiece")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(spoken), model_writer=model, vocab_size=61, model_type="unigram",
        normalization_rule_name="identity", unk_id=0, bos_id=-1, eos_id=-1, pad_id=-1, num_threads=1, minloglevel=2,
    )  # fmt: skip
    theirs = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    ours = Subwords.from_texts(spoken, size=60)
    assert [theirs.id_to_piece(i) for i in range(1, 61)] == list(ours.symbols)
    characters = sorted(set("".join(spoken)) - {" "})
    made = ["".join(rng.choice([*characters, " "], rng.integers(1, 40))) for _ in range(500)]
    for text in [*sorted(set(spoken)), *made, "", "  six   two "]:
        ids = ours.encode(text)
        assert ids == theirs.encode(text)
        assert ours.decode(ids) == theirs.decode(ids)


def test_the_same_texts_give_the_same_pieces(spoken):
    pytest.importorskip("sentencepiece")
    assert Subwords.from_texts(spoken, size=50) == Subwords.from_texts(iter(spoken), size=50)


@pytest.mark.parametrize(("size", "said"), [(3, "at least 23"), (5000, "`size` must be at most [0-9]+: the texts")])
def test_sizes_that_the_texts_cannot_give_are_refused(size, said, spoken):
    pytest.importorskip("sentencepiece")
    with pytest.raises(ValueError, match=said):
        Subwords.from_texts(spoken, size=size)


def test_texts_without_characters_or_with_the_mark_are_refused():
    for texts in ([], ["", "  "], ["a▁b"]):
        with pytest.raises(ValueError, match="Subwords need texts"):
            Subwords.from_texts(texts, size=20)


def test_only_learning_needs_sentencepiece(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(ModuleNotFoundError, match=r"speechrnn\[subwords\]"):
        Subwords.from_texts(TEXTS, size=30)
    assert PIECES.decode(PIECES.encode("ab ba")) == "ab ba"


# Words and times


def frames_of(ids, *, vocabulary=PIECES, length=2, gap=1):
    """Logits that say each symbol for some frames, with blanks between."""
    best = np.concatenate([[symbol] * length + [0] * gap for symbol in ids]).astype(int)
    return 9.0 * np.eye(len(vocabulary))[best]


def test_a_word_begins_with_its_marked_piece_and_ends_with_its_last_one():
    logits = frames_of([5, 3, 7, 2, 1, 3])  # ▁a b ▁ba a ▁ b
    words = spell(greedy(logits), PIECES, frame_period=0.5)
    assert [(w.word, w.start, w.end) for w in words] == [("ab", 0.0, 2.5), ("baa", 3.0, 5.5), ("b", 7.5, 8.5)]
    assert spell(align(logits, [5, 3, 7, 2, 1, 3]), PIECES, frame_period=0.5) == words


@pytest.mark.parametrize("step", [1, 4, 100])
def test_a_stream_gives_the_words_that_the_whole_gives(step, rng):
    logits = 4 * np.eye(8)[rng.integers(0, 8, 300)] + rng.normal(size=(300, 8))
    speller = StreamingGreedyDecoder(PIECES, frame_period=0.1)
    found = [word for i in range(0, 300, step) for word in speller.push(logits[i : i + step])] + speller.finish()
    wanted = spell(greedy(logits), PIECES, frame_period=0.1)
    assert [w.word for w in found] == [w.word for w in wanted]
    assert len(wanted) > 30
    for name in ("start", "end", "confidence"):
        np.testing.assert_allclose([getattr(w, name) for w in found], [getattr(w, name) for w in wanted], rtol=1e-5)


@pytest.mark.parametrize("seed", range(40))
def test_a_joint_between_words_doubles_and_loses_none(seed):
    rng = np.random.default_rng(seed)
    ids = rng.choice([2, 3, 5, 6], 30)  # a b ▁a ▁b
    logits = frames_of(ids, length=3, gap=int(rng.integers(0, 2)) + 1)
    left, right = logits.copy(), logits.copy()
    left[-24:], right[:24] = np.eye(8)[rng.integers(0, 8, 24)], np.eye(8)[rng.integers(0, 8, 24)]
    begins = np.array([False, *(len(s) > 1 and s[0] == MARK for s in PIECES.symbols)])
    place, begins_word = joint(left, right, None, begins)
    assert begins_word
    assert PIECES.symbols[greedy(right[place:]).ids[0] - 1].startswith(MARK)
    texts = [PIECES.decode(greedy(part).ids) for part in (logits[:place], logits[place:])]
    assert " ".join(texts).split() == PIECES.decode(ids).split()


# Beam search


def check_texts(search, logits, expected):
    """Each text has the score of its best spelling."""
    best = {}
    for score, ids in expected:
        best.setdefault(TINY.decode(ids), score)
    found = search.n_best(logits, 10_000)
    assert len(best) < len(expected)  # some have several
    assert [h.text for h in found[:3]] == list(best)[:3]
    assert {h.text: pytest.approx(h.score, abs=1e-9) for h in found} == best


def text_score(model, text, weight=0.7, bonus=0.4, unknown=-3.0):
    words = text.split()
    strange = [word for word in words if word not in model.indices]
    return weight * model.sentence(words) + bonus * len(words) + unknown * len(strange)


@pytest.fixture(params=range(3))
def logits(request):
    return np.random.default_rng(request.param).normal(size=(5, 5), scale=2)


def test_without_models_every_text_has_the_probability_of_its_best_spelling(logits):
    check_texts(exact(TINY), logits, ranked(logits, lambda ids: 0.0))


def test_a_language_model_over_words_scores_the_words_however_they_are_spelled(logits):
    model = model_of(3)
    search = exact(TINY, language_model=model, lm_weight=0.7, word_bonus=0.4, unknown_score=-3.0)
    check_texts(search, logits, ranked(logits, lambda ids: text_score(model, TINY.decode(ids))))


def test_a_language_model_over_characters_scores_the_characters_of_the_pieces(logits):
    model = model_of(3, characters=True)

    def score(ids):
        text = TINY.decode(ids)
        return 0.7 * model.sentence(["<space>" if c == " " else c for c in text]) + 0.4 * len(text.split())

    search = exact(TINY, language_model=model, lm_weight=0.7, word_bonus=0.4)
    check_texts(search, logits, ranked(logits, score))


def test_a_grammar_allows_its_texts_however_they_are_spelled(logits):
    grammar = Grammar.sentences(TINY, ["ab", "b a", "ab ab"])
    score = lambda ids: 0.0 if TINY.decode(ids) in ("ab", "b a", "ab ab") else -np.inf  # noqa: E731
    check_texts(exact(TINY, grammar=grammar), logits, ranked(logits, score))


def test_a_boost_is_for_whole_words_however_they_are_spelled(logits):
    boost = Boost.phrases(TINY, ["ab"], 2.0)
    search = exact(TINY, boost=boost)
    check_texts(search, logits, ranked(logits, lambda ids: 2.0 * TINY.decode(ids).split(" ").count("ab")))


# Files


@pytest.fixture(scope="module")
def model():
    from speechrnn.features import LogMel
    from speechrnn.tasks.recognition.model import SpeechRecognizer
    from speechrnn.tasks.recognition.network import recurrent_ctc

    network = recurrent_ctc(num_features=10, vocabulary_size=len(PIECES), units=5, layers=1, stack=2)
    return SpeechRecognizer(LogMel(8000, num_mels=10, f_min=100), network, PIECES)


def test_a_model_file_and_an_exported_one_hold_the_vocabulary(model, tmp_path, rng):
    from speechrnn.export.writing import export

    model.save(tmp_path / "m.keras")
    export(model, tmp_path / "m.onnx")
    signal = rng.normal(size=4000).astype("float32")
    wanted = greedy(model.logits([signal])[0]).ids
    for found in (load_bundle(tmp_path / "m.keras", kind="recognizer"), load(tmp_path / "m.onnx")):
        assert found.vocabulary == PIECES
        np.testing.assert_array_equal(greedy(found.logits([signal])[0]).ids, wanted)


@pytest.mark.slow
def test_the_command_line_trains_and_transcribes_with_subwords(tmp_path, capsys, request):
    pytest.importorskip("sentencepiece")
    data = request.config.rootpath / "data" / "spoken_numbers"
    examples = manifest.read(data / "train.jsonl")[:24]
    manifest.write(tmp_path / "few.jsonl", examples)
    out = str(tmp_path / "m.keras")
    words = ["train", str(tmp_path / "few.jsonl"), "--out", out, "--subwords", "24", "--units", "8", "--layers", "1"]
    assert cli.main([*words, "--cell", "gru", "--epochs", "1", "--num-mels", "16"]) == 0
    trained = load(out)
    assert (type(trained.vocabulary), len(trained.vocabulary)) == (Subwords, 25)
    capsys.readouterr()
    assert cli.main(["transcribe", "--model", out, "--json", str(next((data / "test").glob("*.opus")))]) == 0
    assert '"words"' in capsys.readouterr().out
    assert cli.main([*words[:2], "--out", str(tmp_path / "n.keras"), "--model", out, "--subwords", "24"]) == 2
    assert "Give --new-vocabulary, too" in capsys.readouterr().err
    assert cli.main([*words[:2], "--out", str(tmp_path / "n.keras"), "--new-vocabulary"]) == 2
    assert "only with --model" in capsys.readouterr().err
    spelled = str(tmp_path / "spelled.keras")
    assert cli.main([*words[:2], "--out", spelled, "--model", out, "--new-vocabulary", "--epochs", "1"]) == 0

    vocabulary = load_bundle(spelled, kind="recognizer").vocabulary
    assert type(vocabulary) is Vocabulary and max(map(len, vocabulary.symbols)) == 1
