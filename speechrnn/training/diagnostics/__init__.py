"""Diagnose a model and its data: implementations of recurrent layers, gradients through time, and batch plans."""

import lazy_loader as _lazy

# Lazy, so that a manifest can be examined without starting TensorFlow.
__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submodules=["batching", "checkup", "flow", "paths", "report", "verdicts"],
    submod_attrs={
        "batching": ["BatchingReport", "examine_batches"],
        "checkup": ["ModelReport", "examine"],
        "flow": ["GradientFlow", "gradient_flow"],
        "paths": ["LayerPath", "layer_paths", "recurrent_layers", "require_cudnn"],
        "report": ["GradientReport"],
        "verdicts": ["Verdict"],
    },
)
