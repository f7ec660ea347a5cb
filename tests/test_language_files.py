"""Language models in binary files, what pruning leaves, and texts too long for memory."""

import itertools
import math

import numpy as np
import pytest
from lm_texts import SENTENCES, model_of

from speechrnn.decoding.lm import counting, kneser_ney, ngram


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "words.lm"
    model_of(3).write(path)
    return path


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_a_binary_file_holds_the_model(order, tmp_path):
    model = model_of(order)
    model.write(tmp_path / "a.lm")
    found = ngram.load(tmp_path / "a.lm")
    assert (found.words, found.sizes) == (model.words, model.sizes)
    for sentence in itertools.product(["a", "b", "ab", "zz"], repeat=3):
        assert found.sentence(sentence) == pytest.approx(model.sentence(sentence), abs=1e-5)


def test_probabilities_of_few_bits_are_near_the_ones_given(tmp_path, rng):
    texts = [" ".join(f"w{i}" for i in rng.zipf(1.3, 8) % 200) for _ in range(400)]
    model = model_of(3, texts=texts)
    model.write(tmp_path / "few.lm", bits=8)
    model.write(tmp_path / "all.lm")
    found = ngram.load(tmp_path / "few.lm")
    assert (tmp_path / "few.lm").stat().st_size < (tmp_path / "all.lm").stat().st_size
    few, all_ = found.perplexity(texts).perplexity, model.perplexity(texts).perplexity
    assert few == pytest.approx(all_, rel=0.02)
    np.testing.assert_array_equal(found.backoffs == 0, model.backoffs == 0)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda content: content[:10], "cut off"),
        (lambda content: content[:40], "cut off"),
        (lambda content: content[:-5], "cut off"),
        (lambda content: content + b"more", "is damaged.* It must have"),
        (lambda content: content[:200] + bytes([content[200] ^ 1]) + content[201:], "is damaged"),
        (lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:], "is damaged"),
        (lambda content: content[:27] + b"\x09" + content[28:], "version 1. Received: version 9"),
    ],
)
def test_a_damaged_binary_file_is_refused(damage, said, written):
    written.write_bytes(damage(written.read_bytes()))
    with pytest.raises(ValueError, match=said) as error:
        ngram.NGram.of_arrays(*ngram.binary.read(written))
    assert str(error.value).startswith(str(written))


def test_every_byte_that_changes_is_noticed(written, rng):
    content = written.read_bytes()
    first = ngram.load(written).sentence(["a", "b"])
    for place in rng.integers(28, len(content), 60):
        written.write_bytes(content[:place] + bytes([content[place] ^ 0x40]) + content[place + 1 :])
        try:
            assert ngram.load(written).sentence(["a", "b"]) == first  # the padding between parts is nobody's
        except ValueError as error:
            assert any(said in str(error) for said in ("damaged", "cut off", "of version 1"))


def test_bits_are_for_binary_files(tmp_path):
    with pytest.raises(ValueError, match=r"names end in \.lm"):
        model_of(2).write(tmp_path / "a.arpa", bits=8)
    for bits in (7, 0):
        with pytest.raises(ValueError, match="must be one of 8, 32"):
            model_of(2).write(tmp_path / "a.lm", bits=bits)


# A closed vocabulary


def test_words_outside_the_vocabulary_are_unknown_ones():
    closed = kneser_ney.train(["a b rare", "a b c", "rare b c"], order=2, vocabulary=["a", "b", "c", "never"])
    replaced = kneser_ney.train(["a b z", "a b c", "z b c"], order=2, vocabulary=["a", "b", "c", "never"])
    assert set(closed.words) == {"<unk>", "<s>", "</s>", "a", "b", "c", "never"}
    assert closed.sentence(["a", "b", "rare"]) == replaced.sentence(["a", "b", "anything"])
    assert closed.sentence(["a", "b", "rare"]) > closed.sentence(["a", "b", "never"])
    with pytest.raises(ValueError, match="must not hold"):
        kneser_ney.train(["a <unk>"], vocabulary=["a"])
    with pytest.raises(ValueError, match="has no word of the texts. Received: 2 words, and texts that begin with 'A'"):
        kneser_ney.train(["A B"], vocabulary=["a", "b"])
    with pytest.raises(ValueError, match="at least one word. Received none"):
        kneser_ney.train([""], vocabulary=["a"])


# Pruning


def texts_of(rng, sentences=300):
    """Sentences in which some words follow others more often than by chance."""
    found = []
    for _ in range(sentences):
        words = [int(rng.integers(0, 30))]
        for _ in range(int(rng.integers(2, 9))):
            words.append((words[-1] * 7 + 1) % 30 if rng.random() < 0.5 else int(rng.integers(0, 30)))
        found.append(" ".join(f"w{i}" for i in words))
    return found


def explicit(model):
    """Log probability and backoff of every n-gram, by its words."""
    found = {}
    for level in model.levels():
        for ids, log, backoff in zip(level.words, level.log_probabilities, level.backoffs, strict=True):
            found[tuple(model.words[i] for i in ids)] = float(log), float(backoff)
    return found


def test_pruned_models_still_sum_to_one(rng):
    texts = texts_of(rng)
    whole, model = (kneser_ney.train(texts, order=3, prune=p) for p in (0.0, 1e-4))
    assert model.sizes[0] == whole.sizes[0]
    assert sum(model.sizes) < 0.7 * sum(whole.sizes)
    outcomes = [word for word in model.words if word != "<s>"]
    for context in [(), ("<s>",), ("w1",), ("w1", "w8"), ("w3", "w22"), ("<s>", "w4"), ("w9", "zz")]:
        total = sum(math.exp(model.log_probability(word, context=context)) for word in outcomes)
        assert total == pytest.approx(1.0, abs=1e-6)


def test_pruning_leaves_out_what_stolckes_formula_says(rng):
    """Reckoned n-gram by n-gram from the unpruned model's file, as the paper has it."""
    texts, threshold = texts_of(rng, 200), 3e-4
    whole, pruned = (kneser_ney.train(texts, order=2, prune=p) for p in (0.0, threshold))
    grams, total = explicit(whole), sum(len(text.split()) + 2 for text in texts)
    words = [word for word in whole.words if word != "<s>"]
    for context in ("<s>", "w1", "w5", "w17"):
        share = sum((["<s>", *text.split(), "</s>"]).count(context) for text in texts) / total
        before = {w: math.exp(whole.log_probability(w, context=[context])) for w in words}
        lower = {w: math.exp(whole.log_probability(w)) for w in words}
        seen = [w for w in words if (context, w) in grams]
        for word in seen:
            rest = [w for w in seen if w != word]
            weight = (1 - sum(before[w] for w in rest)) / (1 - sum(lower[w] for w in rest))
            after = {w: before[w] if w in rest else weight * lower[w] for w in words}
            divergence = sum(before[w] * math.log(before[w] / after[w]) for w in words)
            stays = math.expm1(share * divergence) >= threshold
            assert ((context, word) in explicit(pruned)) == stays
            if stays:
                assert explicit(pruned)[context, word][0] == pytest.approx(grams[context, word][0])


def test_a_pruned_model_is_read_again_and_searched(tmp_path, rng):
    model = kneser_ney.train(texts_of(rng), order=3, prune=1e-4)
    model.write(tmp_path / "a.arpa")
    again = ngram.load(tmp_path / "a.arpa", cache=False)
    for sentence in texts_of(rng, 20):
        assert again.sentence(sentence.split()) == pytest.approx(model.sentence(sentence.split()), abs=1e-6)


@pytest.mark.parametrize("prune", [-1e-9, 1.0, math.nan])
def test_pruning_outside_its_range_is_refused(prune):
    with pytest.raises(ValueError, match="`prune` must be"):
        kneser_ney.train(SENTENCES, prune=prune)


# Texts in blocks


@pytest.mark.parametrize("order", [1, 2, 4])
def test_counting_in_blocks_changes_nothing(order, monkeypatch, rng):
    texts = texts_of(rng, 60)
    whole = kneser_ney.train(texts, order=order)
    monkeypatch.setattr(counting, "_BLOCK", 17)
    monkeypatch.setattr("speechrnn.decoding.lm.pruning._CHUNK", 23)
    blocks = kneser_ney.train(iter(texts), order=order)
    np.testing.assert_array_equal(blocks.ints, whole.ints)
    np.testing.assert_allclose(blocks.floats, whole.floats, rtol=1e-12)
