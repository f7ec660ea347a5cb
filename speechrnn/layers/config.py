"""What layers, losses and models were made with, from the attributes that their constructors set."""

from __future__ import annotations

import inspect
from typing import Any

import keras


class Configured:
    """Gives what the constructor was given: every argument is an attribute of the same name.

    It stands before the class of Keras among the bases, and knows the arguments of all constructors behind it.
    """

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON can hold them."""
        known = [base for base in reversed(type(self).__mro__) if issubclass(base, Configured)]
        own = dict.fromkeys(name for base in known if "__init__" in vars(base) for name in arguments(base.__init__))
        return {**super().get_config(), **{name: written(getattr(self, name)) for name in own}}  # type: ignore[misc]


def arguments(function: Any) -> list[str]:
    """Names of what a function or the constructor of a class takes, without `self` and what has no name of its own."""
    found = inspect.signature(function).parameters.values()
    return [
        each.name for each in found if each.name != "self" and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]


def written(value: Any) -> Any:
    """A value as JSON can hold it: Keras's objects as Keras saves them, and what has a `get_config` by that."""
    if isinstance(value, list | tuple):
        return [written(each) for each in value]
    if isinstance(value, keras.Layer):
        return keras.saving.serialize_keras_object(value)
    return value.get_config() if hasattr(value, "get_config") else value
