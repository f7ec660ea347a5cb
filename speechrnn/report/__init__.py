"""An HTML page about a recognizer: error rates, the worst utterances with their sound, confusions and confidence."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submodules=["pieces", "plots"],
    submod_attrs={
        "html": ["drawn", "history", "page"],
        "measuring": ["Clip", "Measured", "clip_of", "measure", "training_history"],
    },
)
