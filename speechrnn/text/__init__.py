"""Text: its normal form, and the characters or subwords that a recognizer can write."""

from speechrnn.text.subwords import Subwords
from speechrnn.text.vocabulary import Vocabulary, normalize

__all__ = ["Subwords", "Vocabulary", "normalize"]
