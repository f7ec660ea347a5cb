"""From logits to symbols; no TensorFlow, so that a server or a browser session needs none."""

from speechrnn.decoding.alignment import align
from speechrnn.decoding.automata import Boost, Grammar
from speechrnn.decoding.beam import BeamSearch, Hypothesis
from speechrnn.decoding.greedy import Path, greedy
from speechrnn.decoding.lexicon import LexiconSearch
from speechrnn.decoding.lm.ngram import NGram
from speechrnn.decoding.rescoring import Rescored

__all__ = [
    "BeamSearch",
    "Boost",
    "Grammar",
    "Hypothesis",
    "LexiconSearch",
    "NGram",
    "Path",
    "Rescored",
    "align",
    "greedy",
]
