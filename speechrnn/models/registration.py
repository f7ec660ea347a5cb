"""Lets `keras.saving.load_model` read our files after `import speechrnn`, which imports neither Keras nor TensorFlow.

Keras finds classes of other packages only once they are registered. So a placeholder is registered for each of ours as
soon as Keras is there; it imports the module of the class it stands for when a file holds one.
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
"""Registered classes by module, beside the bundles and layers that the registry of kinds names."""


def register_with_keras() -> None:
    """Register placeholders now, or as soon as somebody imports Keras."""
    if "keras" in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _WhenKerasIsImported())


class _WhenKerasIsImported:
    """Runs `_register` behind the import of Keras, and changes nothing else of it.

    It stays until then: whoever only asks whether Keras is there, as TensorFlow does, imports nothing.
    """

    _asking = False

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`, whose module takes long to import."""
        if fullname != "keras" or self._asking:
            return None
        self._asking = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._asking = False
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

    of_kinds = [reference.split(":") for kind in kinds() for reference in (kind.model, *kind.classes)]
    names = {name: module for module, classes in CLASSES.items() for name in classes}
    known = keras.saving.get_custom_objects()
    for name, module in {**names, **{name: module for module, name in of_kinds}}.items():
        known.setdefault(f"speechrnn>{name}", _placeholder(module, name))


def _placeholder(module: str, name: str) -> type:
    class Placeholder:
        """Stands for a class until a file that holds one is read."""

        @classmethod
        def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
            """An object of the class it stands for."""
            import keras

            real = getattr(importlib.import_module(module), name)
            with keras.saving.custom_object_scope(custom_objects or {}):
                return real.from_config(config)

    Placeholder.__name__ = Placeholder.__qualname__ = name
    return Placeholder
