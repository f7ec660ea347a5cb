"""What layers, losses and models were made with, from the attributes that their constructors set."""

from __future__ import annotations

import inspect
from typing import Any

import keras


class Configured:
    """Mixin with `get_config` for classes whose constructor's arguments are attributes of the same names.

    It stands before Keras's class among the bases, and covers the arguments of every `Configured` class of the MRO.
    """

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, in a form that JSON can hold."""
        bases = [base for base in reversed(type(self).__mro__) if issubclass(base, Configured)]
        constructors = [base.__init__ for base in bases if "__init__" in vars(base)]
        names = dict.fromkeys(name for constructor in constructors for name in argument_names(constructor))
        return {**super().get_config(), **{name: serialized(getattr(self, name)) for name in names}}  # type: ignore[misc]


def argument_names(function: Any) -> list[str]:
    """Names of the arguments of a function or constructor, without `self`, `*args` and `**kwargs`."""
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.name != "self" and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def serialized(value: Any) -> Any:
    """A value in a form that JSON can hold: layers as Keras saves them, other objects by their `get_config`."""
    if isinstance(value, list | tuple):
        return [serialized(each) for each in value]
    if isinstance(value, keras.Layer):
        return keras.saving.serialize_keras_object(value)
    return value.get_config() if hasattr(value, "get_config") else value
