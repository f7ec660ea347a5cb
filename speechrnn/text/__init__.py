"""Text: normalization, vocabularies of recognizers (characters, subwords, phones), and lexicons."""

from speechrnn.text.lexicon import Lexicon
from speechrnn.text.phones import Phones
from speechrnn.text.subwords import Subwords
from speechrnn.text.vocabulary import Vocabulary, normalize

__all__ = ["Lexicon", "Phones", "Subwords", "Vocabulary", "normalize"]
