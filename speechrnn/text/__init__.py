"""Text: its normal form, what a recognizer can write (characters, subwords, phones), and how words are pronounced."""

from speechrnn.text.lexicon import Lexicon
from speechrnn.text.phones import Phones
from speechrnn.text.subwords import Subwords
from speechrnn.text.vocabulary import Vocabulary, normalize

__all__ = ["Lexicon", "Phones", "Subwords", "Vocabulary", "normalize"]
