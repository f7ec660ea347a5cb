"""Language models: ARPA files, backoff, Kneser-Ney against its definition, the cache, and damaged files."""

import gzip
import itertools
import math
import os
from collections import Counter, defaultdict

import numpy as np
import pytest
from lm_texts import SENTENCES, model_of

from speechrnn.decoding import NGram
from speechrnn.decoding.lm import arpa, kneser_ney, ngram

ARPA = """\\data\\
ngram 1=5
ngram 2=4
ngram 3=2

\\1-grams:
-1.0\t<unk>
-99\t<s>\t-0.30103
-0.7\t</s>
-0.5\ta\t-0.2
-0.6\tb\t-0.1

\\2-grams:
-0.3\t<s> a\t-0.4
-0.2\ta b\t-0.15
-0.9\tb a
-0.25\tb </s>

\\3-grams:
-0.1\t<s> a b
-0.05\ta b </s>

\\end\\
"""


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "lm.arpa"
    path.write_text(ARPA)
    return path


# Backoff


@pytest.mark.parametrize(
    ("sentence", "log10"),
    [
        ("a b", -0.3 - 0.1 - 0.05),
        ("b", (-0.30103 - 0.6) - 0.25),
        ("a a", -0.3 + (-0.4 - 0.2 - 0.5) + (-0.2 - 0.7)),
        ("b a b", (-0.30103 - 0.6) - 0.9 + (0.0 - 0.2) - 0.05),
        ("c", (-0.30103 - 1.0) - 0.7),
        ("a c b", -0.3 + (-0.4 - 0.2 - 1.0) - 0.6 - 0.25),
        ("", -0.30103 - 0.7),
    ],
)
def test_backoff_is_what_the_file_says_when_reckoned_by_hand(written, sentence, log10):
    assert ngram.load(written).sentence(sentence.split()) / math.log(10) == pytest.approx(log10, abs=1e-9)


def by_definition(levels, words, context, word):
    """`P(word | context)` by the recursion that defines backoff; independent of the trie."""
    known = {}
    for level in levels:
        for ids, log, backoff in zip(level.words, level.log_probabilities, level.backoffs, strict=True):
            known[tuple(words[i] for i in ids)] = log, backoff

    def log_probability(context):
        if (*context, word) in known:
            return known[(*context, word)][0]
        return known.get(context, (0, 0.0))[1] + log_probability(context[1:])

    return log_probability(tuple(context[-(len(levels) - 1) :] if len(levels) > 1 else ()))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_every_context_gives_what_the_recursion_gives(order):
    model = kneser_ney.train(SENTENCES, order=order)
    words, levels = model.words, list(model.levels())
    model = NGram(words, levels)
    for length in range(4):
        for context in itertools.product(["a", "b", "ab"], repeat=length):
            for word in ("a", "bb", "</s>"):
                wanted = by_definition(levels, words, context, word)
                assert model.log_probability(word, context=context) == pytest.approx(wanted, abs=1e-12)


def test_a_pruned_model_may_lack_the_n_gram_without_its_first_word(written):
    text = ARPA.replace("-0.2\ta b\t-0.15\n", "").replace("ngram 2=4", "ngram 2=3")
    written.write_text(text.replace("-0.05\ta b </s>\n", "").replace("ngram 3=2", "ngram 3=1"))
    model = ngram.load(written)
    found = model.log_probability("</s>", context=["<s>", "a", "b"]) / math.log(10)
    assert found == pytest.approx(-0.25)
    assert model.log_probability("b", context=["<s>", "a"]) / math.log(10) == pytest.approx(-0.1)


def test_levels_come_out_as_they_went_in():
    model = kneser_ney.train(SENTENCES, order=3)
    words, levels = model.words, list(model.levels())
    for given, found in zip(levels, NGram(words, levels).levels(), strict=True):
        order = np.lexsort(given.words.T[::-1])
        np.testing.assert_array_equal(found.words, given.words[order])
        np.testing.assert_array_equal(found.log_probabilities, given.log_probabilities[order])
        np.testing.assert_array_equal(found.backoffs, given.backoffs[order])


# Modified Kneser-Ney


def reference_model(sentences, order):
    """Chen and Goodman's equations over dictionaries, and nothing shared with the code."""
    raw = [Counter() for _ in range(order + 1)]
    for sentence in sentences:
        tokens = ("<s>", *sentence.split(), "</s>")
        for n in range(1, order + 1):
            raw[n].update(tokens[i : i + n] for i in range(len(tokens) - n + 1))
    counts = {}
    for n in range(1, order + 1):
        counts[n] = {}
        for gram, times in raw[n].items():
            if n == order or gram[0] == "<s>":
                counts[n][gram] = times
            else:
                counts[n][gram] = len({longer[0] for longer in raw[n + 1] if longer[1:] == gram})
    counts[1].pop(("<s>",))
    vocabulary = {gram[0] for gram in counts[1]} | {"<unk>"}

    def discounts(n):
        of = Counter(counts[n].values())
        if all(of[k] for k in (1, 2, 3, 4)):
            y = of[1] / (of[1] + 2 * of[2])
            found = [k - (k + 1) * y * of[k + 1] / of[k] for k in (1, 2, 3)]
            if all(0 <= d <= k + 1 for k, d in enumerate(found)):
                return found
        return [0.5, 1.0, 1.5]

    found = {n: discounts(n) for n in counts}
    followers = {n: defaultdict(list) for n in counts}
    for n in counts:
        for gram, times in counts[n].items():
            followers[n][gram[:-1]].append(times)

    def probability(word, context):
        n = len(context) + 1
        below = probability(word, context[1:]) if context else 1 / len(vocabulary)
        seen = followers[n].get(context)
        if not seen:
            return below
        times = counts[n].get((*context, word), 0)
        discount = found[n][min(times, 3) - 1] if times else 0.0
        left = sum(found[n][min(c, 3) - 1] for c in seen)
        return (times - discount) / sum(seen) + left / sum(seen) * below

    return probability, vocabulary


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_modified_kneser_ney_is_chen_and_goodmans(order, seed):
    draw = np.random.default_rng(seed)
    weights = 1 / np.arange(1, 13)
    sentences = [
        " ".join(draw.choice(list("abcdefghijkl"), size=draw.integers(1, 7), p=weights / weights.sum()))
        for _ in range(30 if seed else 120)
    ]
    probability, vocabulary = reference_model(sentences, order)
    model = kneser_ney.train(sentences, order=order)
    contexts = [(), ("<s>",), ("a",), ("l",), ("<s>", "b"), ("a", "b"), ("k", "l")]
    for context in contexts:
        kept = context[-(order - 1) :] if order > 1 else ()
        for word in vocabulary:
            found = math.exp(model.log_probability(word, context=context))
            assert found == pytest.approx(probability(word, kept), rel=1e-9), (context, word)


@pytest.mark.parametrize("context", [[], ["<s>"], ["a"], ["b", "a"], ["never"]])
def test_the_probabilities_after_any_context_sum_to_one(context):
    model = model_of(3)
    total = sum(math.exp(model.log_probability(w, context=context)) for w in model.words if w != "<s>")
    assert total == pytest.approx(1.0, abs=1e-12)


def test_the_values_that_kenlm_reads_from_our_file_are_recorded(tmp_path):
    """Scores that kenlm 0.3.0 gave for the file this very training writes."""
    recorded = {"a b": -1.201361, "b a b": -2.446092, "bb zz ab": -4.916847, "": -1.024513}
    kneser_ney.train(SENTENCES, order=3).write(tmp_path / "lm.arpa")
    model = ngram.load(tmp_path / "lm.arpa")
    for sentence, log10 in recorded.items():
        assert model.sentence(sentence.split()) / math.log(10) == pytest.approx(log10, abs=2e-5)


def test_characters_are_modelled_with_their_spaces():
    model = model_of(3, texts=["ab a", "b  ab"], characters=True)
    assert model.characters
    assert model.tokens(" ab  a") == ["a", "b", "<space>", "a"]
    assert not model_of(2).characters


@pytest.mark.parametrize("order", [4, 9])
def test_an_order_that_no_sentence_is_long_enough_for_adds_nothing(order, tmp_path):
    short, model = (model_of(n, texts=["a", "b", "a"]) for n in (3, order))
    for sentence in ("a", "b a", ""):
        assert model.sentence(sentence.split()) == pytest.approx(short.sentence(sentence.split()))
    kneser_ney.train(["a", "b", "a"], order=order).write(tmp_path / "lm.arpa")
    assert ngram.load(tmp_path / "lm.arpa").sentence(["a"]) == pytest.approx(short.sentence(["a"]))


@pytest.mark.parametrize(
    ("texts", "order", "said"),
    [
        ([], 3, "at least one word"),
        (["  ", ""], 3, "at least one word"),
        (["a <s> b"], 3, "must not hold"),
        (["a"], 0, "order=0|Received: 0"),
    ],
)
def test_what_makes_no_model_is_refused(texts, order, said):
    with pytest.raises(ValueError, match=said):
        kneser_ney.train(texts, order=order)


# Perplexity


def test_perplexity_with_and_without_unknown_words(written):
    found = ngram.load(written).perplexity(["a b", "c"])
    logs = [-0.3, -0.1, -0.05, -0.30103 - 1.0, -0.7]
    assert found.perplexity == pytest.approx(10 ** (-sum(logs) / 5))
    assert found.known == pytest.approx(10 ** (-(sum(logs) - logs[3]) / 4))
    assert (found.words, found.unknown) == (5, 1)


def test_an_empty_text_has_no_perplexity(written):
    with pytest.raises(ValueError, match="at least one sentence"):
        ngram.load(written).perplexity([])


# Files


@pytest.mark.parametrize("name", ["lm.arpa", "lm.arpa.gz"])
def test_what_is_written_is_read_again(name, tmp_path):
    model = kneser_ney.train(SENTENCES, order=3)
    model.write(tmp_path / name)
    again, found = arpa.read(tmp_path / name)
    assert tuple(again) == model.words
    levels = list(model.levels())
    for given, level in zip(levels, found, strict=True):
        np.testing.assert_array_equal(level.words, given.words)
        np.testing.assert_allclose(level.log_probabilities, given.log_probabilities, atol=1e-7)
        np.testing.assert_allclose(level.backoffs, given.backoffs, atol=1e-7)


def test_files_with_spaces_for_tabs_and_notes_before_the_data_are_read(written):
    plain = ngram.load(written, cache=False)
    written.write_text("made by hand\n\n" + ARPA.replace("\t", " ").replace("\n", "\r\n"))
    spaced = ngram.load(written, cache=False)
    assert spaced.words == plain.words
    np.testing.assert_array_equal(spaced.log_probabilities, plain.log_probabilities)


@pytest.mark.parametrize(
    "changed",
    [
        lambda text: text.replace("<unk>", "<UNK>").replace("<s>", "<S>").replace("</s>", "</S>"),
        lambda text: text.replace("\tb\t-0.1", "\tb\t-0.1\t").replace("b a\n", "b a\t\n"),
        lambda text: text.replace("a b", "a\tb").replace("b </s>", "b   </s>"),
        lambda text: text.replace("-0.5\ta", "-0.5 a").replace("-0.3\t<s> a", "-0.3 <s> a"),
        lambda text: text.replace("\n-0.", "\n\t-0."),
        lambda text: text.replace("-99", "-inf"),
        lambda text: text.replace("-99\t<s>", "0\t<s>"),
        lambda text: text.replace("ngram 1=5", "ngram  1=      5"),
        lambda text: "\ufeff" + text,
        lambda text: text + "whatever follows",
    ],
)
def test_other_ways_of_writing_the_same_model_are_read(changed, written):
    plain = ngram.load(written, cache=False)
    written.write_text(changed(ARPA), encoding="utf-8")
    found = ngram.load(written, cache=False)
    for sentence in (["a", "b"], ["b", "a", "b"], ["a", "c"], []):
        assert found.sentence(sentence) == pytest.approx(plain.sentence(sentence))


def test_other_white_space_belongs_to_a_word(written):
    written.write_text(ARPA.replace("\t", " ").replace("b", "b\u00a0c"), encoding="utf-8")
    assert "b\u00a0c" in ngram.load(written, cache=False).indices


def test_without_a_probability_of_unknown_words_they_are_as_unlikely_as_the_least_likely_word(written):
    written.write_text(ARPA.replace("-1.0\t<unk>\n", "").replace("ngram 1=5", "ngram 1=4"))
    model = ngram.load(written)
    assert model.unknown_log_probability / math.log(10) == pytest.approx(-0.7)


def test_the_cache_gives_the_same_model_until_the_file_changes(written, monkeypatch):
    first = ngram.load(written)
    with monkeypatch.context() as patch:
        patch.setattr(arpa, "read", None)  # the cache must do
        again = ngram.load(written)
    assert (again.words, again.order) == (first.words, first.order)
    assert again.sentence(["a", "b"]) == first.sentence(["a", "b"])
    written.write_text(ARPA.replace("-0.05\ta b </s>", "-0.75\ta b </s>"))
    os.utime(written, ns=(1, 1))
    assert ngram.load(written).sentence(["a", "b"]) < first.sentence(["a", "b"])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (
            b"mmap lm http://kheafield.com/code format version 5\n\0" + bytes(99),
            "KenLM's binary form: give the ARPA file",
        ),
        (b"\xfd7zXZ\0" + bytes(99), "packed by xz: unpack it"),
    ],
    ids=["kenlm", "xz"],
)
def test_what_is_no_arpa_file_is_called_what_it_is(data, said, tmp_path):
    (tmp_path / "lm.bin").write_bytes(data)
    with pytest.raises(ValueError, match=f"lm.bin: is no ARPA file but {said}"):
        ngram.load(tmp_path / "lm.bin")


def test_a_damaged_cache_is_made_anew(written):
    first = ngram.load(written)
    kept = written.with_name("lm.arpa.cache.lm")
    kept.write_bytes(kept.read_bytes()[:200])
    assert ngram.load(written).sentence(["a"]) == first.sentence(["a"])


# Bad input


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda text: text[: text.index("-0.05")], "cut off: it ends before 1 of 2 3-grams"),
        (lambda text: text[: text.index("\\3-grams")], "cut off: it ends before .3-grams:"),
        (lambda text: text[: text.index("\\end")], "cut off: it ends before .end"),
        (lambda text: text[:17], "cut off"),
        (lambda text: text.replace("ngram 2=4", "ngram 2=5"), ":19: expects one of 5 2-grams"),
        (
            lambda text: text.replace("ngram 2=4", "ngram 2=4000000000000"),
            ":19: expects one of 4,000,000,000,000 2-grams",
        ),
        (lambda text: text.replace("ngram 1=5", "ngram 1=0"), ":2: expects one word or more"),
        (lambda text: text.replace("a\t-0.2", "a\tinf"), r":10: .*backoffs finite. Received: '-0.5\\ta\\tinf'"),
        (lambda text: text.replace("a\t-0.2", "a\t-0_2"), ":10: expects one of 5 1-grams"),
        (lambda text: text.replace("-0.5\ta", "-٠.5\ta"), ":10: expects one of 5 1-grams"),
        (lambda text: text.replace("ngram 2=4", "ngram 2=3"), "expects .3-grams: after as many 2-grams as it promised"),
        (lambda text: text.replace("ngram 3=2", "ngram 3=1"), "expects .end. after 1 3-grams"),
        (lambda text: text.replace("ngram 2=4\n", ""), "expects `ngram 2=COUNT`"),
        (lambda text: text.replace("-0.2\ta b", "-0.2\ta c"), "the word 'c' that is no unigram"),
        (lambda text: text.replace("-0.5\ta", "x\ta"), "expects one of 5 1-grams"),
        (lambda text: text.replace("-0.5\ta", "0.5\ta"), ":10: .*at most 0"),
        (lambda text: text.replace("-0.5\ta", "nan\ta"), ":10: .*at most 0"),
        (lambda text: text.replace("-0.6\tb\t", "-0.6\ta\t"), "each unigram once"),
        (lambda text: text.replace("b a\n", "a b\n"), "2-grams that are there twice"),
        (lambda text: text.replace("<s> a b", "b b </s>"), "`b b </s>` without its own"),
        (lambda text: "", "no .data. line"),
    ],
)
def test_a_damaged_file_says_where_and_why(broken, said, written):
    written.write_text(broken(ARPA))
    with pytest.raises(ValueError, match=said) as error:
        ngram.load(written)
    assert str(error.value).startswith(str(written))
    assert not written.with_name("lm.arpa.cache.lm").exists()


def test_a_gzipped_file_that_is_cut_off_says_so(tmp_path):
    path = tmp_path / "lm.arpa.gz"
    path.write_bytes(gzip.compress(ARPA.encode())[:-20])
    with pytest.raises(ValueError, match="cut off"):
        ngram.load(path)


def test_a_file_that_is_not_text_or_not_there_says_so(tmp_path):
    (tmp_path / "lm.arpa").write_bytes(b"\xff\xfe\x00" * 100)
    with pytest.raises(ValueError, match="not UTF-8"):
        ngram.load(tmp_path / "lm.arpa")
    with pytest.raises(FileNotFoundError, match="no such language model"):
        ngram.load(tmp_path / "gone.arpa")
