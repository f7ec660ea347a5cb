"""Texts of few words, and language models made from them."""

from speechrnn.decoding.lm import kneser_ney

SENTENCES = [
    "a b a", "a b", "b a b a", "a a b", "ab a", "ba b a", "a b b a", "ab ab", "b", "a ba", "a b a b a", "bb a ab",
]  # fmt: skip


def model_of(order, *, texts=SENTENCES, characters=False):
    return kneser_ney.train(texts, order=order, characters=characters)
