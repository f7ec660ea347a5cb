"""Training: `TrainingOptions` and `train()`, over Keras's own `fit`."""

import lazy_loader as _lazy

# Lazy, so that the options can be listed without starting TensorFlow.
__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submodules=["callbacks", "diagnostics", "hosts", "options", "optimizer", "run", "task", "truncated"],
    submod_attrs={
        "hosts": ["Hosts"],
        "options": ["TrainingOptions"],
        "optimizer": ["GuardedAdamW"],
        "run": ["TrainingRun", "train"],
        "truncated": ["Segments", "reset_states"],
    },
)
