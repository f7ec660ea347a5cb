"""From a signal to features: pure functions (`spectral`), Keras layers (`layers`), augmentation (`augment`)."""

import lazy_loader as _lazy

# Lazy, so that the options in `augment` can be listed without starting TensorFlow.
__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submodules=["augment", "layers", "spectral"],
    submod_attrs={"augment": ["Augmentation"], "layers": ["LogMel", "MFCC", "RawSignal"]},
)
