"""The network of one step as an ONNX graph: what it takes and gives, and its states, by their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from speechrnn.export.onnx.graph import Graph
from speechrnn.export.onnx.network import write_network
from speechrnn.features.base import FeatureLayer
from speechrnn.layers.steps import StepNetwork, Steps


def signal_steps(
    features: FeatureLayer, network: keras.Model, *, samples: int | None = None, streams: int | None = 1
) -> StepNetwork:
    """One step of features and the network behind them.

    Its inputs are `samples` float32 `(streams, frames * hop)`, `frames` int32 `(streams,)`, how many frames of
    features count (all, but for the last block), and the states. States begin as zeros, `carry` with the first samples.

    Args:
        features: A layer of `speechrnn.features`.
        network: From its features and their frames to logits.
        samples: Samples of a block; None is any number of whole outputs.
        streams: Streams that are stepped together; None is any number.

    Raises:
        ValueError: A layer reads the signal backwards, or needs the whole of it.
    """
    steps = Steps(batch=streams)
    signal = keras.Input(batch_shape=(streams, samples), name="samples")
    frames = keras.Input(batch_shape=(streams,), dtype="int32", name="frames")
    values = steps.layer(features, signal, frames)
    return steps.made([signal, frames], steps.network(network, [values, frames]), name=network.name)


def write_steps(graph: Graph, steps: StepNetwork, axes: Mapping[str, tuple], outputs: Mapping[str, tuple]) -> None:
    """Write the network of one step, with its inputs and outputs.

    Args:
        graph: Where the nodes go; it is complete afterwards.
        steps: What to write. The next states are given out under `next_` and the state's name.
        axes: Shapes of inputs that have names for their axes, by the inputs' names.
        outputs: Names of the network's outputs, and their shapes.
    """
    given = [
        graph.input(each.name, each.dtype, axes.get(each.name, _named(tuple(each.shape))))
        for each in steps.model.inputs
    ]
    found = write_network(graph, steps.model, given)
    shapes = {**outputs, **{f"next_{name}": _named(shape) for name, shape in steps.states.items()}}
    for tensor, (name, shape) in zip(found, shapes.items(), strict=True):
        graph.output(tensor, name, "float32", shape)


def _named(shape: tuple) -> tuple:
    return tuple("batch" if size is None else size for size in shape)


def step_graph(model: Any) -> tuple[Graph, StepNetwork]:
    """The graph of one step of a bundle of signals; outputs are `logits` float32 `(streams, blocks, outputs)` and the
    states.

    Raises:
        ValueError: See `signal_steps`.
    """
    steps = signal_steps(model.features, model.network, streams=None)
    graph = Graph(model.name)
    logits = ("batch", "blocks", model.network.output_shape[-1])
    write_steps(graph, steps, {"samples": ("batch", "samples")}, {"logits": logits})
    return graph, steps
