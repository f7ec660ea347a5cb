"""Which way each recurrent layer of a model runs: on cuDNN, as a compiled scan, in Keras's generic loop, or step by
step within another layer.

Keras chooses without a word. cuDNN takes only tanh and sigmoid, biases, no unrolling, no recurrent dropout, a GRU
with `reset_after`, and right-padded masks without an empty row. Another mask is found out in the running step, not
here; the batches of `speechrnn.pipeline` never have one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

from speechrnn import layers
from speechrnn.layers.recurrent import sides

_OURS = {"LSTM": layers.LSTM, "GRU": layers.GRU, "SimpleRNN": layers.SimpleRNN}
_CUDNN = (keras.layers.LSTM, keras.layers.GRU)
_NEEDED = {
    "activation": "tanh",
    "recurrent_activation": "sigmoid",
    "unroll": False,
    "recurrent_dropout": 0,
    "reset_after": True,
    "use_bias": True,
}


@dataclass(frozen=True)
class LayerPath:
    """How one recurrent layer runs here, and what a GPU would make of it."""

    layer: str
    """Name of the layer within the model."""
    kind: str
    """Its class: `GRU`, or `Bidirectional GRU`; with `keras.layers.` before it where it is the stock one."""
    path: str
    """"cudnn", "scan" (compiled, CPU), "keras" (generic loop) or "steps" (another layer runs its cell)."""
    reason: str
    """Why."""
    gpu_obstacles: tuple[str, ...]
    """What keeps it from cuDNN on a GPU; none if it would run there."""
    advice: tuple[str, ...] = ()
    """What to change."""

    def __str__(self) -> str:
        return f"{self.layer} ({self.kind}): {self.path}, {self.reason}"


def recurrent_layers(model: keras.layers.Layer) -> dict[str, keras.layers.Layer]:
    """Every recurrent layer of a model by its name, a `Bidirectional` counting as one; nested models are entered.

    Example:
    >>> model = keras.Sequential([keras.Input((None, 8)), layers.GRU(4, name="a"), keras.layers.Dense(2)])
    >>> list(recurrent_layers(model))
    ['a']
    """
    found: dict[str, keras.layers.Layer] = {}
    for layer in _walk(model):
        name, count = layer.name, 2
        while name in found:
            name, count = f"{layer.name}#{count}", count + 1
        found[name] = layer
    return found


def _walk(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    if isinstance(sides(layer)[0], keras.layers.RNN):
        yield layer
    else:
        inside = layer.layers if isinstance(layer, keras.Model) else _held(layer)
        for child in inside:
            yield from _walk(child)


def _held(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Layers among a layer's attributes: a wrapper's inner one, or those of a block."""
    found = [v for v in keras.tree.flatten(list(vars(layer).values())) if isinstance(v, keras.layers.Layer)]
    return list({id(child): child for child in found if child is not layer}.values())


def gpu_obstacles(layer: keras.layers.Layer) -> tuple[str, ...]:
    """What keeps a recurrent layer from cuDNN, whatever machine this is; empty if nothing does.

    Example:
    >>> gpu_obstacles(layers.GRU(4, recurrent_dropout=0.1))
    ('recurrent_dropout=0.1, and cuDNN needs 0',)
    """
    if isinstance(layer, keras.layers.Bidirectional):
        return tuple(dict.fromkeys(obstacle for side in sides(layer) for obstacle in gpu_obstacles(side)))
    if getattr(layer, "stepped_by", None):
        return (f"{layer.stepped_by} runs its cell, and cuDNN runs whole sequences",)
    if not isinstance(layer, _CUDNN):
        return (f"cuDNN has no {type(layer).__name__} in Keras; LSTM and GRU run there",)
    found = []
    for option, needed in _NEEDED.items():
        value = _shown(getattr(layer, option, needed))
        if value != needed:
            found.append(f"{option}={value}, and cuDNN needs {needed}")
    if getattr(layer, "use_cudnn", "auto") is False:
        found.append("use_cudnn=False, and cuDNN needs 'auto' or True")
    return tuple(found)


def _shown(value: Any) -> Any:
    return getattr(value, "__name__", repr(value)) if callable(value) else value


def layer_paths(model: keras.layers.Layer) -> list[LayerPath]:
    """How each recurrent layer of a model runs on this machine, why, and what to change."""
    return [_of(name, layer) for name, layer in recurrent_layers(model).items()]


def _of(name: str, layer: keras.layers.Layer) -> LayerPath:
    inner = sides(layer)[0]
    stock = type(inner).__module__.startswith("keras.")
    kind = f"{'keras.layers.' if stock else ''}{type(inner).__name__}"
    path, obstacles = layers.execution_path(layer), gpu_obstacles(layer)
    advice, best = [], path
    if stock and type(inner).__name__ in _OURS:
        advice.append(f"use speechrnn.layers.{type(inner).__name__}; weights and arguments stay the same")
        best = layers.execution_path(getattr(layers, type(inner).__name__).from_config(inner.get_config()))
        stock = False
    if best.name == "keras":
        advice.append("write it with LSTM or GRU" if stock else f"give up what the scan lacks: {best.reason}")
    return LayerPath(
        layer=name,
        kind=f"Bidirectional {kind}" if inner is not layer else kind,
        path=path.name,
        reason=path.reason,
        gpu_obstacles=obstacles,
        advice=tuple(advice),
    )


def describe(model: keras.layers.Layer) -> list[str]:
    """One line for each way that recurrent layers of a model take, with the layers that take it."""
    taking: dict[tuple[str, str], list[str]] = {}
    for path in layer_paths(model):
        taking.setdefault((path.path, path.reason), []).append(path.layer)
    return [f"{', '.join(names)}: {path} ({reason})" for (path, reason), names in taking.items()]


def require_cudnn(model: keras.layers.Layer) -> None:
    """Refuse a model of which a recurrent layer would not run on cuDNN here.

    Raises:
        ValueError: There is such a layer; the message says which, where it would run, and why.
    """
    wrong = [path for path in layer_paths(model) if path.path != "cudnn"]
    if wrong:
        reasons = "; ".join(f"{path}{_and_obstacles(path)}" for path in wrong)
        raise ValueError(
            f"`require_cudnn` needs every recurrent layer on cuDNN. Received: {reasons}. "
            "Train on a GPU with layers that cuDNN can run (see `speechrnn doctor`), or leave `require_cudnn` off."
        )


def _and_obstacles(path: LayerPath) -> str:
    return f" (on a GPU, too: {', '.join(path.gpu_obstacles)})" if path.gpu_obstacles else ""
