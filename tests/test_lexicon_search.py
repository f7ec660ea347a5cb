"""Search for words against a sum over all paths, with and without the models that score texts; streams; bad input."""

import itertools
import logging
import re

import numpy as np
import pytest
from lm_texts import model_of

from speechrnn.decoding import Boost, Grammar, Rescored, options, tuning
from speechrnn.decoding.lexicon import LexiconSearch, letters_of
from speechrnn.tasks.recognition import transcript
from speechrnn.text import Lexicon, Phones, Vocabulary

SOUNDS = Vocabulary("AB_")
A, B, SILENCE = 1, 2, 3
LEXICON = [
    ("a", [A], np.log(0.6)),
    ("a", [A, A], np.log(0.4)),
    ("b", [B], 0.0),
    ("ab", [A, B], 0.0),
    ("ba", [B, A], -0.1),
    ("bee", [B], 0.0),  # sounds like "b"; no language model here knows it
]


LETTERS = letters_of(word for word, _, _ in LEXICON)


def by_all_paths(logits):
    """Probability of every labelling, by summing over every path; independent of the code."""
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    found = {}
    for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        labels = "".join(str(symbol) for symbol, _ in itertools.groupby(path) if symbol)
        probability = np.exp(sum(logs[t, symbol] for t, symbol in enumerate(path)))
        found[labels] = found.get(labels, 0.0) + probability
    return found


def expected(logits, added, *, lexicon=LEXICON, between=f"{SILENCE}*", edges=f"{SILENCE}*"):
    """Every text's score: its best way to be pronounced, whose labellings are summed."""
    labellings, found = by_all_paths(logits), {}
    for count in range(len(logits) + 1):
        for way in itertools.product(lexicon, repeat=count):
            if sum(len(symbols) for _, symbols, _ in way) > len(logits):
                continue
            said = between.join("".join(map(str, symbols)) for _, symbols, _ in way)
            pattern = re.compile(f"{edges}{said}{edges}" if way else f"{edges}")
            total = sum(p for labels, p in labellings.items() if pattern.fullmatch(labels))
            if total > 0:
                words = tuple(word for word, _, _ in way)
                score = np.log(total) + sum(log for _, _, log in way) + added(words)
                found[words] = max(found.get(words, -np.inf), score)
    return sorted(((s, words) for words, s in found.items() if s > -np.inf), reverse=True)


def exact(lexicon=LEXICON, **options):
    return LexiconSearch(SOUNDS, lexicon, width=20_000, token_floor=-np.inf, beam_threshold=np.inf, **options)


def check(search, logits, wanted):
    found = search.n_best(logits, len(wanted) + 5)
    assert len(found) == len(wanted)
    assert [h.score for h in found] == sorted([h.score for h in found], reverse=True)
    assert {h.words: h.score for h in found} == pytest.approx({words: score for score, words in wanted}, abs=1e-5)


def random_logits(seed, frames=4):
    return np.random.default_rng(seed).normal(size=(frames, 4), scale=2)


def language_score(model, words, *, weight=0.7, bonus=0.4, unknown=-3.0):
    strange = [word for word in words if word not in model.indices]
    return weight * model.sentence(words) + bonus * len(words) + unknown * len(strange)


SCORED = {"lm_weight": 0.7, "word_bonus": 0.4, "unknown_score": -3.0}


@pytest.mark.parametrize(
    ("options", "between", "edges"),
    [
        ({"separator": SILENCE}, f"{SILENCE}*", f"{SILENCE}*"),
        ({"separator": SILENCE, "separated": True}, f"{SILENCE}+", f"{SILENCE}*"),
        ({}, "", ""),
    ],
)
@pytest.mark.parametrize("seed", range(2))
def test_without_pruning_every_text_has_the_score_of_its_best_pronunciation(options, between, edges, seed):
    logits = random_logits(seed)
    wanted = expected(logits, lambda words: 0.3 * len(words), between=between, edges=edges)
    check(exact(word_bonus=0.3, **options), logits, wanted)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_with_a_language_model_every_text_has_its_score(order):
    model, logits = model_of(order), random_logits(order)
    search = exact(language_model=model, separator=SILENCE, **SCORED)
    check(search, logits, expected(logits, lambda words: language_score(model, words)))
    other = search.weighted(lm_weight=1.1, word_bonus=-0.2)
    check(other, logits, expected(logits, lambda words: language_score(model, words, weight=1.1, bonus=-0.2)))


def test_words_that_the_language_model_lacks_are_left_out_where_their_score_is_minus_infinity():
    model, logits = model_of(2), random_logits(0)
    search = exact(language_model=model, **(SCORED | {"unknown_score": -np.inf}))
    known = [entry for entry in LEXICON if entry[0] != "bee"]
    wanted = expected(logits, lambda words: language_score(model, words), lexicon=known, between="", edges="")
    check(search, logits, wanted)


def test_words_that_the_lexicon_lacks_are_any_symbols_at_the_price_of_unknown_ones():
    logits, model = random_logits(4, frames=2), model_of(2)
    search = exact([LEXICON[2]], language_model=model, unknown_word="?", **SCORED)
    strange = [
        ("?", list(symbols), -0.7 * len(symbols) * np.log(3))
        for n in (1, 2)
        for symbols in itertools.product([A, B, SILENCE], repeat=n)
    ]

    def added(words):
        return language_score(model, words)

    wanted = expected(logits, added, lexicon=[LEXICON[2], *strange], between="", edges="")
    check(search, logits, wanted)


def test_without_a_language_model_other_weights_leave_the_price_of_unknown_words(rng):
    search = exact([LEXICON[2]], unknown_word="?")
    logits = rng.normal(size=(3, 4))
    assert search.weighted(lm_weight=0.25, word_bonus=0.0).n_best(logits, 5) == search.n_best(logits, 5)


@pytest.mark.parametrize("rules", ["a+ [b]", "ab | ba a | b", "(a | b b)*"])
def test_under_a_grammar_the_allowed_texts_alone(rules):
    logits, letters = random_logits(1), LETTERS
    grammar = Grammar.parse(letters, rules)
    model = model_of(2)
    search = exact(separator=SILENCE, grammar=grammar, language_model=model, **SCORED)

    def added(words):
        allowed = grammar.allows(letters.encode(" ".join(words)))
        return language_score(model, words) if allowed else -np.inf

    check(search, logits, expected(logits, added))


@pytest.mark.parametrize("phrases", [{"ab": 2.0}, {"a b": 3.0, "b": 1.0, "bee": -0.5}, {"a": 1.0, "a a": 2.0, "zz": 9}])
def test_a_boosted_phrase_adds_its_bonus_each_time_and_nothing_else_does(phrases):
    logits = random_logits(2)

    def added(words):
        return sum(
            bonus
            for phrase, bonus in phrases.items()
            for i in range(len(words))
            if words[i : i + len(phrase.split())] == tuple(phrase.split())
        )

    letters = letters_of(["abez"])
    search = exact([*LEXICON, ("zz", [B, B, B, B, B], 0.0)], separator=SILENCE, boost=Boost.phrases(letters, phrases))
    lexicon = [*LEXICON, ("zz", [B, B, B, B, B], 0.0)]
    check(search, logits, expected(logits, added, lexicon=lexicon))


def big_lexicon(rng, count=300, symbols=12):
    """Words of random symbols, and text of them with a language model that has seen it."""
    lexicon = [(f"w{i}", rng.integers(1, symbols, rng.integers(2, 7)).tolist(), 0.0) for i in range(count)]
    texts = [" ".join(f"w{i}" for i in rng.zipf(1.4, 6) % count) for _ in range(500)]
    return Vocabulary("abcdefghijkl"[: symbols - 1]), lexicon, model_of(3, texts=texts), texts


def spoken(text, lexicon, rng, symbols=12, noise=1.5):
    """Logits of a text, peaked and noisy."""
    pronounced = {word: said for word, said, _ in lexicon}
    frames = []
    for word in text.split():
        for symbol in pronounced[word]:
            frames += [symbol] * rng.integers(1, 3) + [0] * rng.integers(1, 3)
    return 5 * np.eye(symbols)[frames] + rng.normal(size=(len(frames), symbols), scale=noise)


def test_looking_ahead_finds_with_a_narrow_beam_what_a_wide_one_finds(rng):
    vocabulary, lexicon, model, texts = big_lexicon(rng)
    logits = [spoken(text, lexicon, rng) for text in texts[:6]]
    wide = LexiconSearch(vocabulary, lexicon, width=300, beam_threshold=25.0, language_model=model)
    narrow = LexiconSearch(vocabulary, lexicon, width=32, language_model=model)
    found = [wide.n_best(x, 1)[0].text for x in logits]
    assert sum(narrow.n_best(x, 1)[0].text == text for x, text in zip(logits, found, strict=True)) >= 5
    assert sum(text == said for text, said in zip(found, texts, strict=False)) >= 3


def test_the_best_of_several_texts_is_no_worse_than_that_of_one(rng):
    vocabulary, lexicon, model, texts = big_lexicon(rng)
    narrow = LexiconSearch(vocabulary, lexicon, width=12, language_model=model)
    for text in texts[:6]:
        logits = spoken(text, lexicon, rng)
        (best,), found = narrow.n_best(logits, 1), narrow.n_best(logits, 4)
        assert found[0].score >= best.score
        assert len({each.text for each in found}) == len(found) <= 4


def test_words_stand_where_their_symbols_are():
    said = [0, SILENCE, A, A, 0, B, SILENCE, 0, SILENCE, B, 0]
    path = LexiconSearch(SOUNDS, LEXICON, separator=SILENCE)(9.0 * np.eye(4)[said])
    assert path.words == ("ab", "b")
    assert path.lengths.tolist() == [2, 1]
    assert path.ids.tolist() == [A, B, B]
    assert path.start_frames.tolist() == [2, 5, 9]
    assert path.end_frames.tolist() == [4, 6, 10]
    assert (path.confidences > 0.99).all()


@pytest.mark.parametrize("pieces", [1, 7, 1000])
@pytest.mark.parametrize("separated", [False, True])
def test_a_stream_gives_the_words_of_the_whole_however_it_is_split(pieces, separated):
    rng = np.random.default_rng(3)
    said = []
    for _ in range(60):
        symbols = LEXICON[rng.integers(0, 5)][1]
        said += [x for symbol in symbols for x in (symbol, 0)] + [SILENCE] * rng.integers(1, 3)
    logits = 6.0 * np.eye(4)[said] + rng.normal(size=(len(said), 4))
    options = {"separator": SILENCE, "separated": separated, "language_model": model_of(2)}
    search = LexiconSearch(SOUNDS, LEXICON, width=16, **options)
    whole = search(logits)
    stream, words, starts, ends = search.stream(), [], [], []
    for start in range(0, len(logits), pieces):
        final = stream.advance(logits[start : start + pieces])
        words += final.words
        starts += final.start_frames.tolist()
        ends += final.end_frames.tolist()
        early = len(words)
    assert early > 40 or pieces > 100  # most words do not wait for the end
    final = stream.finish()
    assert (*words, *final.words) == whole.words
    np.testing.assert_array_equal([*starts, *final.start_frames], whole.start_frames)
    np.testing.assert_array_equal([*ends, *final.end_frames], whole.end_frames)
    with pytest.raises(ValueError, match="finished"):
        stream.advance(logits)


def test_a_stream_without_an_end_does_not_grow(rng):
    search = LexiconSearch(SOUNDS, LEXICON, width=8)
    stream = search.stream()
    sizes = []
    for _ in range(60):
        stream.advance(rng.normal(size=(100, 4), scale=3))
        sizes.append(len(stream._beam.tree))
    assert max(sizes[30:]) == max(sizes[:30])


def test_nothing_said_gives_nothing():
    search = LexiconSearch(SOUNDS, LEXICON, separator=SILENCE, language_model=model_of(2))
    assert search(np.zeros((0, 4))).words == ()
    assert search(9.0 * np.eye(4)[[0, SILENCE, 0, SILENCE]]).words == ()
    assert search.stream().finish().words == ()


def test_a_word_that_breaks_off_is_left_out():
    search = LexiconSearch(SOUNDS, [("aba", [A, B, A], 0.0), ("b", [B], 0.0)])
    assert search(20.0 * np.eye(4)[[B, 0, A]]).words == ("b",)


def test_words_without_a_pronunciation_are_counted_and_named(caplog):
    with caplog.at_level(logging.WARNING):
        LexiconSearch(SOUNDS, LEXICON, language_model=model_of(2))
    assert "1 of the language model's 5 words have no pronunciation in the lexicon" in caplog.text
    assert "the first is 'bb'" in caplog.text


@pytest.mark.parametrize(
    ("lexicon", "options", "said"),
    [
        ([], {}, "at least one pronunciation"),
        ([("a", [], 0.0)], {}, r"Received: 'a' as \[\]"),
        ([("a", [A, 0], 0.0)], {}, "symbols from 1 to 3"),
        ([("a", [4], 0.0)], {}, "symbols from 1 to 3"),
        ([("a", [SILENCE], 0.0)], {"separator": SILENCE}, "not the separator"),
        ([("a", [A], 0.5)], {}, "probability at most 0"),
        ([("a b", [A], 0.0)], {}, "white space"),
        ([("x", [A], 0.0)], {"language_model": model_of(2)}, "none of the language model's 5 words .* 'a'"),
        (LEXICON, {"language_model": model_of(2, characters=True)}, "over characters"),
        (LEXICON, {"width": 0}, "width=0"),
        (LEXICON, {"lm_weight": np.nan}, "must be finite"),
        (LEXICON, {"separated": True}, "needs a `separator`"),
    ],
)
def test_bad_input_says_what_is_wrong(lexicon, options, said):
    with pytest.raises(ValueError, match=said):
        LexiconSearch(SOUNDS, lexicon, **options)


def test_a_word_of_a_grammar_that_has_no_pronunciation_is_named():
    grammar = Grammar.words(LETTERS, ["ab", "bb"])
    with pytest.raises(ValueError, match="must be in the lexicon. Received: 'bb'"):
        LexiconSearch(SOUNDS, LEXICON, grammar=grammar)  # not only once there is a recording


def test_logits_of_another_model_are_refused():
    with pytest.raises(ValueError, match="must have 4 columns"):
        LexiconSearch(SOUNDS, LEXICON)(np.zeros((3, 5)))


def test_a_grammar_with_too_many_states_says_so(monkeypatch):
    monkeypatch.setattr("speechrnn.decoding.rules._MAX_STATES", 1000)
    Grammar.parse(Vocabulary(" ab"), "(a | b)* a (a | b) (a | b)")
    with pytest.raises(ValueError, match="automaton of over 1,000 states"):
        Grammar.parse(Vocabulary(" ab"), "(a | b)* a " + "(a | b) " * 12)


# From options


PHONES = Phones(["AH", "B", "T"])
ABOUT = Lexicon({"a": [(("AH",), 1.0)], "butt": [(("B", "AH", "T"), 1.0)], "but": [(("B", "AH", "T"), 1.0)]})


@pytest.fixture
def files(tmp_path):
    ABOUT.write(tmp_path / "about.lexicon")
    model_of(2, texts=["a but", "a but a", "a butt"] * 3 + ["but a"]).write(tmp_path / "about.lm")
    (tmp_path / "words.txt").write_text("butt\na\n")
    return tmp_path


def said(*symbols):
    return 9.0 * np.eye(4)[[x for symbol in symbols for x in (symbol, 0)]]


def test_options_make_words_of_a_model_of_phones(files):
    lexicon = files / "about.lexicon"
    logits = said(1, 2, 1, 3)
    assert options.decoder(PHONES, lexicon=lexicon, lm=files / "about.lm")(logits).words == ("a", "but")
    assert options.decoder(PHONES, lexicon=lexicon, words=files / "words.txt")(logits).words == ("a", "butt")
    hot = options.decoder(PHONES, lexicon=lexicon, lm=files / "about.lm", hotwords=["butt"])
    assert hot(logits).words == ("a", "butt")
    words = transcript.spell(hot(logits), PHONES, frame_period=0.5, start=10.0)
    assert [(word.word, word.start, word.end) for word in words] == [("a", 10.0, 10.5), ("butt", 11.0, 13.5)]


def test_options_make_a_lexicons_words_of_a_model_of_characters(files):
    vocabulary = Vocabulary(" abtu")
    search = options.decoder(vocabulary, lexicon=files / "about.lexicon", lm=files / "about.lm")
    spelled = [x for symbol in vocabulary.encode(" a buttt ") for x in (symbol, 0)]
    assert search(9.0 * np.eye(6)[spelled]).words[0] == "a"
    assert set(search.words) == {"a", "but", "butt"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"hotwords": ["a tube"]}, "Hotwords must be in the lexicon. Received: 'tube'.*Add its pronunciation"),
        ({"hotwords": ["A Butt"]}, r"Hotwords must be in the lexicon. Received: 'A'.* Did you mean 'a'\?"),
        ({"vocabulary": Phones(["AH", "T"])}, "phones that the model cannot write"),
        ({"vocabulary": Vocabulary("xyz")}, "written with the model's characters.* 'a'"),
    ],
)
def test_what_the_lexicon_lacks_is_named(given, message, files):
    with pytest.raises(ValueError, match=message):
        options.decoder(**{"vocabulary": PHONES, "lexicon": files / "about.lexicon", **given})


@pytest.mark.parametrize("given", [{"words": "words.txt"}, {"lm": "about.lm"}, {"hotwords": ["butt"]}])
def test_words_for_a_model_of_phones_without_a_lexicon_are_told_to_need_one(given, files):
    placed = {name: value if name == "hotwords" else files / value for name, value in given.items()}
    with pytest.raises(
        ValueError, match=r"^The model writes phones, and words need a lexicon: `lexicon` \(--lexicon\)"
    ):
        options.decoder(PHONES, **placed)
    (files / "phones.txt").write_text("B AH T\n")
    assert list(options.decoder(PHONES, words=files / "phones.txt")(said(2, 1, 3)).ids) == [2, 1, 3]  # phones are fine


def test_weights_are_tuned_with_a_lexicon_as_without(files):
    search = options.decoder(PHONES, lexicon=files / "about.lexicon", lm=files / "about.lm", lm_weight=0.0)
    logits = [said(1, 2, 1, 3), said(2, 1, 3, 1)]
    best = tuning.tune(search, logits, ["a but", "but a"])[0]
    assert best.words.errors == 0
    assert best.lm_weight > 0  # without it "but" and "butt" are alike


def test_a_model_that_rescores_must_know_the_words_letters(files):
    class Knows:
        vocabulary = Vocabulary(" abt")

    search = options.decoder(PHONES, lexicon=files / "about.lexicon")
    with pytest.raises(ValueError, match="without \\['u'\\]"):
        Rescored(search, Knows())
