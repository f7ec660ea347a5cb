"""Lets `keras.saving.load_model` read our files after `import speechrnn`, which imports neither Keras nor TensorFlow.

Keras finds classes of other packages only if they are registered. So a placeholder is registered for each of our
classes as soon as Keras is imported; it imports the class's module when a file contains the class.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from typing import Any

CLASSES = {
    "speechrnn.features.filter_layers": ("BandPass", "Notch", "RobustScale"),
    "speechrnn.features.layers": ("LogMel", "LogSpectrogram", "MFCC", "RawSignal"),
    "speechrnn.features.symbols": ("Symbols",),
    "speechrnn.layers.initial": ("ChronoBias",),
    "speechrnn.layers.look_ahead": ("LookAhead",),
    "speechrnn.layers.masking": ("LengthMask", "ZeroPadding"),
    "speechrnn.layers.pooling": ("AttentionPooling", "MaskedPooling"),
    "speechrnn.layers.recurrent": ("GRU", "LSTM", "SimpleRNN"),
    "speechrnn.layers.segments": ("FutureSegments", "KnownSegments", "LastSegments"),
    "speechrnn.layers.subsampling": ("StackFrames",),
    "speechrnn.layers.kernels": ("RandomKernels",),
    "speechrnn.losses.attention": ("Attention",),
    "speechrnn.losses.classes": ("ClassLoss",),
    "speechrnn.losses.connectionist": ("CTC",),
    "speechrnn.losses.quantiles": ("QuantileLoss",),
    "speechrnn.losses.transducer": ("Transducer",),
    "speechrnn.training.optimizer": ("GuardedAdamW",),
}
"""Registered classes by module, besides the bundles and layers that the registry of kinds names."""


def register_with_keras() -> None:
    """Register placeholders now, or as soon as somebody imports Keras."""
    if "keras" in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _WhenKerasIsImported())


class _WhenKerasIsImported:
    """Calls `_register` right after Keras is imported; the import is otherwise unchanged.

    It stays installed until then: `importlib.util.find_spec("keras")`, which TensorFlow calls, imports nothing.
    """

    _searching = False

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`, whose module takes long to import."""
        if fullname != "keras" or self._searching:
            return None
        self._searching = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._searching = False
        if spec is None or spec.loader is None:
            return None
        loader: Any = spec.loader
        execute = loader.exec_module

        def execute_and_register(module: Any) -> None:
            execute(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
                _register()

        loader.exec_module = execute_and_register
        return spec


def _register() -> None:
    import keras

    from speechrnn.models.kinds import kinds

    modules = {name: module for module, classes in CLASSES.items() for name in classes}
    for kind in kinds():
        for reference in (kind.model, *kind.classes):
            module, _, name = reference.partition(":")
            modules[name] = module
    registered = keras.saving.get_custom_objects()
    for name, module in modules.items():
        registered.setdefault(f"speechrnn>{name}", _placeholder(module, name))


def _placeholder(module: str, name: str) -> type:
    class Placeholder:
        """Imports the class it stands for when a file that contains the class is read."""

        @classmethod
        def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
            """Make an object of the class it stands for."""
            import keras

            real = getattr(importlib.import_module(module), name)
            with keras.saving.custom_object_scope(custom_objects or {}):
                return real.from_config(config)

    Placeholder.__name__ = Placeholder.__qualname__ = name
    return Placeholder
