"""Report how each recurrent layer of a model runs: on cuDNN, as a compiled scan, in Keras's generic loop, or step by
step within another layer.

Keras chooses silently. cuDNN supports only tanh and sigmoid, biases, no unrolling, no recurrent dropout, a GRU with
`reset_after`, and right-padded masks without an empty row. Other masks are detected only when a step runs, not here;
the batches of `speechrnn.pipeline` never have one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

from speechrnn import layers
from speechrnn.layers.recurrent import sides

_OURS = {"LSTM": layers.LSTM, "GRU": layers.GRU, "SimpleRNN": layers.SimpleRNN}
_CUDNN = (keras.layers.LSTM, keras.layers.GRU)
_CUDNN_NEEDS = {
    "activation": "tanh",
    "recurrent_activation": "sigmoid",
    "unroll": False,
    "recurrent_dropout": 0,
    "reset_after": True,
    "use_bias": True,
}


@dataclass(frozen=True)
class LayerPath:
    """How one recurrent layer runs on this machine, and whether it could run on cuDNN."""

    layer: str
    """Name of the layer within the model."""
    kind: str
    """Its class: `GRU`, or `Bidirectional GRU`; with `keras.layers.` before it if it is Keras's own."""
    path: str
    """"cudnn", "scan" (compiled, CPU), "keras" (generic loop) or "steps" (another layer runs its cell)."""
    reason: str
    """Why."""
    gpu_obstacles: tuple[str, ...]
    """Reasons why it cannot run on cuDNN on a GPU; empty if it can."""
    advice: tuple[str, ...] = ()
    """What to change."""

    def __str__(self) -> str:
        return f"{self.layer} ({self.kind}): {self.path}, {self.reason}"


def recurrent_layers(model: keras.layers.Layer) -> dict[str, keras.layers.Layer]:
    """All recurrent layers of a model and of the models in it, by name; a `Bidirectional` counts as one layer.

    Example:
    >>> model = keras.Sequential([keras.Input((None, 8)), layers.GRU(4, name="a"), keras.layers.Dense(2)])
    >>> list(recurrent_layers(model))
    ['a']
    """
    by_name: dict[str, keras.layers.Layer] = {}
    for layer in _walk(model):
        name, count = layer.name, 2
        while name in by_name:
            name, count = f"{layer.name}#{count}", count + 1
        by_name[name] = layer
    return by_name


def _walk(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    if isinstance(sides(layer)[0], keras.layers.RNN):
        yield layer
    else:
        for child in layer.layers if isinstance(layer, keras.Model) else _sublayers(layer):
            yield from _walk(child)


def _sublayers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Layers among a layer's attributes: the inner layer of a wrapper, or the layers of a block."""
    children = [v for v in keras.tree.flatten(list(vars(layer).values())) if isinstance(v, keras.layers.Layer)]
    return list({id(child): child for child in children if child is not layer}.values())


def gpu_obstacles(layer: keras.layers.Layer) -> tuple[str, ...]:
    """Reasons why a recurrent layer cannot run on cuDNN, whatever machine this is; empty if it can.

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
    obstacles = []
    for option, needed in _CUDNN_NEEDS.items():
        value = _name_of(getattr(layer, option, needed))
        if value != needed:
            obstacles.append(f"{option}={value}, and cuDNN needs {needed}")
    if getattr(layer, "use_cudnn", "auto") is False:
        obstacles.append("use_cudnn=False, and cuDNN needs 'auto' or True")
    return tuple(obstacles)


def _name_of(value: Any) -> Any:
    return getattr(value, "__name__", repr(value)) if callable(value) else value


def layer_paths(model: keras.layers.Layer) -> list[LayerPath]:
    """How each recurrent layer of a model runs on this machine, why, and what to change."""
    return [_layer_path(name, layer) for name, layer in recurrent_layers(model).items()]


def _layer_path(name: str, layer: keras.layers.Layer) -> LayerPath:
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
    """One line for each path that recurrent layers of a model take, with the names of these layers."""
    names_by_path: dict[tuple[str, str], list[str]] = {}
    for path in layer_paths(model):
        names_by_path.setdefault((path.path, path.reason), []).append(path.layer)
    return [f"{', '.join(names)}: {path} ({reason})" for (path, reason), names in names_by_path.items()]


def require_cudnn(model: keras.layers.Layer) -> None:
    """Refuse a model if one of its recurrent layers does not run on cuDNN on this machine.

    Raises:
        ValueError: There is such a layer; the message says which, how it runs, and why.
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
