"""Sessions: run exported models without TensorFlow."""

import lazy_loader as _lazy

# Lazy, so that a session imports only what it needs.
__getattr__, __dir__, __all__ = _lazy.attach(
    __name__, submodules=["onnxfile", "session"], submod_attrs={"session": ["Session"]}
)
