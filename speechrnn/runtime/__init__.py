"""Models without TensorFlow: sessions that run what was exported."""

import lazy_loader as _lazy

# Lazy, so that a session starts without what only others need.
__getattr__, __dir__, __all__ = _lazy.attach(
    __name__, submodules=["onnxfile", "session"], submod_attrs={"session": ["Session"]}
)
