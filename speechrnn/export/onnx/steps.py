"""Write one step of a streaming network as an ONNX graph, whose inputs and outputs include the states."""

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
    """One step of a feature layer followed by a network.

    Its inputs are `samples` float32 `(streams, frames * hop)`, `frames` int32 `(streams,)`, the number of valid feature
    frames (all, except in the last block), and the states. States start as zeros, `carry` with the first samples.

    Args:
        features: A layer of `speechrnn.features`.
        network: Model from its features and their number of frames to logits.
        samples: Samples per block; None allows any number that gives whole output frames.
        streams: Number of streams in a batch; None allows any number.

    Raises:
        ValueError: A layer reads the signal backwards, or needs the complete signal.
    """
    steps = Steps(batch=streams)
    signal = keras.Input(batch_shape=(streams, samples), name="samples")
    frames = keras.Input(batch_shape=(streams,), dtype="int32", name="frames")
    values = steps.layer(features, signal, frames)
    return steps.build([signal, frames], steps.network(network, [values, frames]), name=network.name)


def write_steps(graph: Graph, steps: StepNetwork, axes: Mapping[str, tuple], outputs: Mapping[str, tuple]) -> None:
    """Write the network of one step, with its inputs and outputs.

    Args:
        graph: The graph to add nodes to; it is complete afterwards.
        steps: The network of one step. The outputs for the next states are named `next_` and the state's name.
        axes: Shapes with named axes, by name of the input; other inputs have the shapes that Keras knows.
        outputs: Shapes of the network's outputs, by name.
    """
    inputs = [
        graph.input(each.name, each.dtype, axes.get(each.name, _named(tuple(each.shape))))
        for each in steps.model.inputs
    ]
    results = write_network(graph, steps.model, inputs)
    shapes = {**outputs, **{f"next_{name}": _named(shape) for name, shape in steps.states.items()}}
    for tensor, (name, shape) in zip(results, shapes.items(), strict=True):
        graph.output(tensor, name, "float32", shape)


def _named(shape: tuple) -> tuple:
    return tuple("batch" if size is None else size for size in shape)


def step_graph(model: Any) -> tuple[Graph, StepNetwork]:
    """The graph of one step of a `SignalBundle`.

    Outputs are `logits` float32 `(streams, blocks, outputs)` and the states.

    Raises:
        ValueError: See `signal_steps`.
    """
    steps = signal_steps(model.features, model.network, streams=None)
    graph = Graph(model.name)
    logits = ("batch", "blocks", model.network.output_shape[-1])
    write_steps(graph, steps, {"samples": ("batch", "samples")}, {"logits": logits})
    return graph, steps
