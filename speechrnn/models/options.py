"""Functions whose options are the fields of a dataclass, where the command line finds them without the function."""

from __future__ import annotations

import functools
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, TypeVar

from speechrnn.faults import check_options, require

__all__ = ["RecurrentNetwork", "takes"]

_Result = TypeVar("_Result")


def takes(kind: type, *positional: str) -> Callable[[Callable[..., _Result]], Callable[..., _Result]]:
    """Let a function be called with the fields of a dataclass as keywords, which its argument `options` holds together.

    Its signature and its docstring have the fields as well, so that `help` shows them.

    Args:
        kind: The dataclass.
        *positional: Fields that may be given by position as well, behind the function's own arguments.
    """

    def decorated(function: Callable[..., _Result]) -> Callable[..., _Result]:
        declared = inspect.signature(function)
        own = [one for one in declared.parameters.values() if one.name != "options"]
        first = [one.name for one in own if one.kind is one.POSITIONAL_OR_KEYWORD]
        taken = [_parameter(field, positional) for field in fields(kind)]
        shown = sorted((*own, *taken), key=lambda one: one.kind)
        order = (*first, *positional)

        @functools.wraps(function)
        def call(*arguments: Any, **given: Any) -> _Result:
            placed = dict(zip(order, arguments, strict=False))
            if len(placed) < len(arguments) or placed.keys() & given.keys():
                raise TypeError(f"`{function.__name__}` takes by position {', '.join(order) or 'nothing'}, once.")
            given = {**placed, **given}
            check_options(given, [one.name for one in shown], function.__name__)
            options = kind(**{one.name: given.pop(one.name) for one in taken if one.name in given})
            return function(options=options, **given)

        call.__signature__ = declared.replace(parameters=shown)  # type: ignore[attr-defined]
        call.__doc__ = _documented(inspect.getdoc(function) or "", kind)
        return call

    return decorated


@dataclass(frozen=True)
class RecurrentNetwork:
    """What networks with convolutions and a stack of recurrent layers have."""

    units: int = 64
    """State size of each direction of a recurrent layer."""
    layers: int = 1
    """Number of recurrent layers."""
    convolutions: int = 0
    """Number of convolutional blocks before the recurrent layers."""
    filters: int = 32
    """Channels of the convolutions."""
    bidirectional: bool = True
    """Read in both directions; without it a network can stream."""
    dropout: float = 0.0
    """Share of activations dropped after each recurrent layer while training."""
    layer_norm: bool = True
    """Normalize the input of each recurrent layer, and the last output."""
    residual: bool = True
    """Add each recurrent layer's input to its output where the sizes agree."""
    unit_forget_bias: bool = True
    """Start the LSTM's forget gates open."""
    recurrent_initializer: str = "orthogonal"
    """Initializer of the recurrent weights."""
    dtype: str | None = None
    """Policy of the layers, such as "mixed_bfloat16"; Keras's global policy where it is not given."""

    def __post_init__(self) -> None:
        require(self, "at least 1", lambda value: value >= 1, "units", "layers", "filters")
        require(self, "zero or positive", lambda value: value >= 0, "convolutions")
        require(self, "in [0, 1)", lambda value: 0 <= value < 1, "dropout")

    def recurrent(self) -> dict[str, Any]:
        """What `speechrnn.layers.blocks.recurrent_stack` takes."""
        names = {"cell", *(field.name for field in fields(RecurrentNetwork))} - {"convolutions", "filters"}
        return {name: value for name, value in asdict(self).items() if name in names}


def _parameter(field: Any, positional: tuple[str, ...]) -> inspect.Parameter:
    default = inspect.Parameter.empty if field.default is MISSING else field.default
    kinds = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Parameter(field.name, kinds[field.name in positional], default=default, annotation=field.type)


def _documented(doc: str, kind: type) -> str:
    """The docstring with the sentences of the fields among its arguments."""
    import docstring_parser

    told: dict[str, str] = {}
    for one in reversed(kind.__mro__[:-1]):
        told |= {found.arg_name: found.description or "" for found in docstring_parser.parse_from_object(one).params}
    wrapped = (
        textwrap.fill(f"{name}: {' '.join(words.split())}", 116, initial_indent=" " * 4, subsequent_indent=" " * 8)
        for name, words in told.items()
    )
    return doc.replace("\nArgs:\n", "\n".join(["\nArgs:", *wrapped, ""]), 1)
