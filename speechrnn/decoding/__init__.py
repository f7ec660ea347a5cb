"""From logits to symbols; no TensorFlow, so that a server or a browser session needs none."""

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
