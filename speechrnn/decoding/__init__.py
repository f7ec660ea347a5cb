"""Decoding of logits into texts, without TensorFlow, so that a server needs none."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "alignment": ["align"],
        "automata": ["Boost", "Grammar"],
        "beam": ["BeamSearch", "Hypothesis"],
        "best_path": ["Path", "greedy"],
        "lexicon": ["LexiconSearch"],
        "lm.ngram": ["NGram"],
        "rescoring": ["Rescored"],
    },
)
