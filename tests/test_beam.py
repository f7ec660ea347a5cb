"""Beam search against a sum over all paths, with and without the models that score texts."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from lm_texts import model_of

from speechrnn.decoding import BeamSearch, Boost, Grammar, align, greedy
from speechrnn.text import Vocabulary

AB = Vocabulary("ab")
WORDS = Vocabulary(" ab")


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def by_all_paths(logits):
    """Probability of every labelling, by summing over every path; independent of the code."""
    logs = log_softmax(logits)
    found = {}
    for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        labels = tuple(symbol for symbol, _ in itertools.groupby(path) if symbol)
        probability = np.exp(sum(logs[t, symbol] for t, symbol in enumerate(path)))
        found[labels] = found.get(labels, 0.0) + probability
    return found


def exact(vocabulary, **options):
    return BeamSearch(vocabulary, width=5000, token_floor=-np.inf, beam_threshold=np.inf, **options)


def ranked(logits, added):
    """Labellings and scores, the best first, for a function that scores a labelling."""
    scores = {ids: np.log(p) + added(ids) for ids, p in by_all_paths(logits).items()}
    return sorted(((s, ids) for ids, s in scores.items() if s > -np.inf), key=lambda pair: -pair[0])


def check(search, logits, expected):
    found = search.n_best(logits, len(expected) + 5)
    assert len(found) == len(expected)
    np.testing.assert_allclose([h.score for h in found], [score for score, _ in expected], atol=1e-9)
    assert {h.ids for h in found[:3]} == {ids for _, ids in expected[:3]}


@pytest.mark.parametrize("frames", [1, 2, 4, 6])
@pytest.mark.parametrize("seed", range(3))
def test_without_pruning_every_text_has_the_probability_of_all_its_paths(frames, seed):
    logits = np.random.default_rng(seed).normal(size=(frames, 3), scale=2)
    check(exact(AB), logits, ranked(logits, lambda ids: 0.0))


def test_the_probabilities_of_all_texts_sum_to_one(rng):
    found = exact(AB).n_best(rng.normal(size=(7, 3)), 10_000)
    assert sum(np.exp(h.ctc) for h in found) == pytest.approx(1.0, abs=1e-9)


def test_a_dropped_prefix_that_comes_back_meets_its_children_again(rng):
    for _ in range(50):
        found = BeamSearch(AB, width=3).n_best(3 * rng.normal(size=(30, 3)), 3)
        assert len({h.ids for h in found}) == len(found)


def test_the_best_text_may_differ_from_the_best_path():
    logits = np.log([[0.6, 0.4, 1e-9], [0.6, 0.4, 1e-9]])
    assert len(greedy(logits)) == 0
    assert BeamSearch(AB)(logits).ids.tolist() == [1]


def test_where_the_texts_agree_frames_and_confidences_are_those_of_greedy(rng):
    logits = 6 * np.eye(4)[rng.integers(0, 4, 60)] + rng.normal(size=(60, 4))
    wanted = greedy(logits)
    found = BeamSearch(WORDS)(logits)
    aligned = align(logits, wanted.ids)
    for path in (found, aligned):
        for name in ("ids", "start_frames", "end_frames"):
            np.testing.assert_array_equal(getattr(path, name), getattr(wanted, name))
        np.testing.assert_allclose(path.confidences, wanted.confidences, rtol=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_the_frames_of_the_best_text_are_those_of_forced_alignment(seed):
    logits = np.random.default_rng(seed).normal(size=(25, 4), scale=3)
    found = BeamSearch(WORDS, language_model=model_of(2))(logits)
    wanted = align(logits, found.ids)
    np.testing.assert_array_equal(found.start_frames, wanted.start_frames)
    np.testing.assert_array_equal(found.end_frames, wanted.end_frames)
    np.testing.assert_array_equal(found.confidences, wanted.confidences)


def test_a_text_of_hundreds_of_symbols_has_the_frames_of_greedy(rng):
    logits = 9 * np.eye(4)[rng.integers(0, 4, 900)]
    found, wanted = BeamSearch(WORDS, width=4)(logits), greedy(logits)
    np.testing.assert_array_equal(found.ids, wanted.ids)
    np.testing.assert_array_equal(found.start_frames, wanted.start_frames)


def test_no_frames_give_the_empty_text():
    assert [h.text for h in BeamSearch(AB).n_best(np.zeros((0, 3)))] == [""]
    assert len(BeamSearch(AB)(np.zeros((0, 3)))) == 0


def test_silence_gives_an_empty_hypothesis(rng):
    search = BeamSearch(WORDS, language_model=model_of(3), grammar=Grammar.words(WORDS, ["ab"]))
    assert search.n_best(np.tile([20.0, 0, 0, 0], (30, 1)), 1)[0].text == ""


@pytest.mark.parametrize("width", [1, 2, 8])
def test_never_more_than_the_width_even_of_equal_scores(width):
    found = BeamSearch(AB, width=width).n_best(np.zeros((5, 3)), 100)
    assert 1 <= len(found) <= width


def test_a_wider_beam_finds_no_worse_a_score(rng):
    logits = rng.normal(size=(40, 4))
    scores = [
        BeamSearch(WORDS, width=w, token_floor=-99, beam_threshold=99).n_best(logits)[0].score for w in (1, 8, 512)
    ]
    assert scores == sorted(scores)


# A language model over words


def words_score(model, ids, *, weight=0.7, bonus=0.4, unknown=-3.0):
    """Independent of the search: the text is split, and the model is asked word by word."""
    words = WORDS.decode(ids).split()
    strange = [word for word in words if word not in model.indices]
    return weight * model.sentence(words) + bonus * len(words) + unknown * len(strange)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("seed", range(2))
def test_with_a_language_model_every_text_has_its_score(order, seed):
    model = model_of(order)
    logits = np.random.default_rng(seed).normal(size=(6, 4), scale=2)
    search = exact(WORDS, language_model=model, lm_weight=0.7, word_bonus=0.4, unknown_score=-3.0)
    check(search, logits, ranked(logits, lambda ids: words_score(model, ids)))


def test_with_a_model_over_characters_every_text_has_its_score(rng):
    model = model_of(3, characters=True)
    logits = rng.normal(size=(5, 4), scale=2)

    def score(ids):
        text = WORDS.decode(ids)
        spelled = ["<space>" if c == " " else c for c in text]
        return 0.7 * model.sentence(spelled) + 0.4 * len(text.split())

    search = exact(WORDS, language_model=model, lm_weight=0.7, word_bonus=0.4)
    check(search, logits, ranked(logits, score))


def test_a_language_model_changes_what_is_heard():
    logits = np.log(np.array([[0.02, 0.02, 0.5, 0.46], [0.97, 0.01, 0.01, 0.01]]))
    model = model_of(2, texts=["b"] * 9 + ["a"])
    assert BeamSearch(WORDS).n_best(logits, 1)[0].text == "a"
    assert BeamSearch(WORDS, language_model=model).n_best(logits, 1)[0].text == "b"


def test_a_language_model_in_other_characters_is_refused():
    with pytest.raises(ValueError, match="must be written with the model's characters ' ab'.*'X'"):
        BeamSearch(WORDS, language_model=model_of(2, texts=["X Y", "Y"]))
    with pytest.raises(ValueError, match="over characters must have"):
        BeamSearch(WORDS, language_model=model_of(2, texts=["X Y", "Y"], characters=True))


def test_words_of_a_language_model_that_cannot_be_written_are_counted(caplog):
    BeamSearch(WORDS, language_model=model_of(2, texts=["a ç", "b ça"]))
    assert "2 words of the language model" in caplog.text
    assert "'ç'" in caplog.text


# Grammars and boosted phrases


@pytest.mark.parametrize(
    ("grammar", "allowed"),
    [
        (Grammar.words(WORDS, ["a", "bb"]), lambda text: set(text.split(" ")) <= {"a", "bb"} or not text),
        (Grammar.sentences(WORDS, ["ab a", "b"]), lambda text: text in ("ab a", "b")),
        (Grammar.parse(WORDS, "a+ [b]"), lambda text: text in ("a", "a a", "a b", "a a a", "a a b")),
    ],
)
def test_under_a_grammar_the_allowed_texts_alone_with_the_scores_they_have(grammar, allowed, rng):
    logits = rng.normal(size=(5, 4), scale=2)
    score = lambda ids: 0.0 if allowed(WORDS.decode(ids)) else -np.inf  # noqa: E731
    check(exact(WORDS, grammar=grammar), logits, ranked(logits, score))


def test_even_a_narrow_beam_gives_an_allowed_text(rng):
    grammar = Grammar.sentences(WORDS, ["ab ba", "ba ab b"])
    for _ in range(30):
        text = BeamSearch(WORDS, width=2, grammar=grammar).n_best(4 * rng.normal(size=(9, 4)), 1)[0].text
        assert text in ("ab ba", "ba ab b", "")


def boosted(text, phrases):
    words = text.split(" ")
    return sum(
        bonus
        for phrase, bonus in phrases.items()
        for i in range(len(words))
        if words[i : i + len(phrase.split())] == phrase.split()
    )


@pytest.mark.parametrize("phrases", [{"ab": 2.0}, {"a b": 3.0, "b": 1.0}, {"a": 1.0, "a a": 2.0, "b": -1.0}])
def test_a_boosted_phrase_adds_its_bonus_each_time_and_nothing_else_does(phrases, rng):
    logits = rng.normal(size=(5, 4), scale=2)
    search = exact(WORDS, boost=Boost.phrases(WORDS, phrases))
    check(search, logits, ranked(logits, lambda ids: boosted(WORDS.decode(ids), phrases)))


def test_grammar_boost_and_language_model_add_up(rng):
    model, phrases = model_of(2), {"b a": 2.0}
    logits = rng.normal(size=(5, 4), scale=2)
    grammar = Grammar.words(WORDS, ["a", "b"])
    search = exact(
        WORDS,
        grammar=grammar,
        boost=Boost.phrases(WORDS, phrases),
        language_model=model,
        lm_weight=0.7,
        word_bonus=0.4,
        unknown_score=-3.0,
    )

    def score(ids):
        text = WORDS.decode(ids)
        if not (set(text.split(" ")) <= {"a", "b"} or not text):
            return -np.inf
        return words_score(model, ids) + boosted(text, phrases)

    check(search, logits, ranked(logits, score))


@pytest.mark.parametrize("phrase", ["abc", "", "A"])
def test_a_boosted_phrase_outside_the_vocabulary_is_refused(phrase):
    with pytest.raises(ValueError, match="boosted phrase must be written with the model's characters"):
        Boost.phrases(WORDS, [phrase])


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("a | (b", "lacks the end of a group"),
        ("x = a <y>; y = b <y>", "`y` that needs itself"),
        ("x = <z>", "no rule `z`"),
        ("a | c", "word of a grammar must be written"),
        ("a ) b", "does not expect `)`"),
        ("a | ", "expects words"),
        (" # nothing", "holds no rule"),
        ("x = a; x = b", "new name for each rule"),
        ("x = a; y = <z>", "no rule `z`"),
        ("(" * 3000 + "a" + ")" * 3000, "too many groups"),
        ("; ".join([*(f"r{n} = <r{n + 1}> <r{n + 1}>" for n in range(40)), "r40 = a"]), "over 100,000 words"),
    ],
)
def test_a_grammar_that_cannot_be_read_says_why(rules, said):
    with pytest.raises(ValueError) as error:
        Grammar.parse(WORDS, rules)
    assert said in str(error.value)


def test_a_long_text_that_is_no_grammar_is_not_repeated_whole():
    with pytest.raises(ValueError, match=r"Received: `a b a b .* \.\.\.`") as told:
        Grammar.parse(WORDS, "a b " * 1000 + "= a = b")
    assert len(str(told.value)) < 300


def test_a_vocabulary_without_a_space_makes_one_word(rng):
    logits = rng.normal(size=(5, 3), scale=2)
    grammar = Grammar.sentences(AB, ["ab", "ba", "b"])
    texts = {h.text for h in exact(AB, grammar=grammar).n_best(logits)}
    assert texts == {"ab", "ba", "b"}
    found = exact(AB, boost=Boost.phrases(AB, {"ab": 5.0})).n_best(logits, 100)
    plain = {h.text: h.score for h in exact(AB).n_best(logits, 100)}
    assert {h.text for h in found if abs(h.score - plain[h.text]) > 1e-9} == {"ab"}


# Bad input


@pytest.mark.parametrize(
    ("logits", "said"),
    [
        (np.zeros((4, 2)), "must have 3 columns"),
        (np.zeros(3), "shape"),
        (np.array([[0, 0, 0], [0, np.nan, 0]]), "NaN from frame 1"),
    ],
)
def test_what_is_no_logits_is_refused(logits, said):
    with pytest.raises(ValueError, match=said):
        BeamSearch(AB)(logits)


def test_what_is_out_of_range_is_refused():
    with pytest.raises(ValueError, match="width=0"):
        BeamSearch(AB, width=0)
    for n in (0, -1):
        with pytest.raises(ValueError, match=f"n={n}"):
            BeamSearch(AB).n_best(np.zeros((2, 3)), n)
    for name in ("lm_weight", "word_bonus", "unknown_score"):
        with pytest.raises(ValueError, match=f"must be finite.*'{name}': nan"):
            BeamSearch(AB, **{name: np.nan})
    with pytest.raises(ValueError, match="bonus of a phrase must be finite"):
        Boost.phrases(AB, ["a"], np.inf)


@pytest.mark.parametrize("made", [Grammar.words, Grammar.sentences])
def test_a_grammar_of_nothing_is_refused(made):
    with pytest.raises(ValueError, match="at least one word or sentence"):
        made(WORDS, [])


def test_symbols_that_are_ruled_out_leave_the_others():
    logits = np.array([[0, -np.inf, -np.inf], [-np.inf, 0, -np.inf], [-np.inf, 1, 1]])
    assert [h.text for h in BeamSearch(AB).n_best(logits, 3)] == ["a", "ab"]
    np.testing.assert_allclose([h.ctc for h in BeamSearch(AB).n_best(logits, 3)], np.log(0.5))


def test_where_a_grammar_leaves_a_beginning_that_is_ruled_out_it_has_frames_still():
    certain = np.where(np.eye(4)[[2, 3, 2]] == 1, 0.0, -np.inf)  # "aba"
    found = BeamSearch(WORDS, grammar=Grammar.parse(WORDS, "ab | abab"), width=1)(certain)
    assert WORDS.decode(found.ids) == "ab"


def test_greedy_decoding_does_not_pay_for_numba():
    code = (
        "import numpy, sys, speechrnn.tasks.recognition.transcription; from speechrnn import decoding; "
        "decoding.greedy(numpy.eye(3)); print('numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
