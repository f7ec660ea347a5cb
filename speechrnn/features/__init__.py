"""Features of signals: pure functions (`spectral`), layers (`layers`), augmentation, and `invert` for the way back.

For signals of sensors there are also filters: pure functions (`filters`) and layers (`filter_layers`).
"""

import lazy_loader as _lazy

# Lazy, so that the options in `augment` can be listed without starting TensorFlow.
__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submodules=[
        "augment",
        "channels",
        "filter_layers",
        "filters",
        "inversion",
        "layers",
        "perturb",
        "spectral",
        "symbols",
    ],
    submod_attrs={
        "augment": ["Augmentation"],
        "filter_layers": ["BandPass", "Notch", "RobustScale"],
        "inversion": ["invert"],
        "layers": ["LogMel", "LogSpectrogram", "MFCC", "RawSignal"],
        "symbols": ["Symbols"],
    },
)
