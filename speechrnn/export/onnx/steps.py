"""A one-directional recogniser as an ONNX graph of one step: a block of samples and the states go in, logits and the
next states come out.

A block is a whole number of the logits' frames. What a frame needs from before the block is a state: samples that its
windows share, the last frame before each convolution, the recurrent layers' states. What it needs from after itself
lies within its own block, so the steps give what the whole signal would have given. A look-ahead is a delay: the
logits of a block are those of as many frames before, and its inputs of so many frames are a state.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from speechrnn import layers as ours
from speechrnn.export.onnx import features as frontend
from speechrnn.export.onnx.graph import Graph
from speechrnn.export.onnx.layers import row_convolution
from speechrnn.export.onnx.network import write_network
from speechrnn.export.onnx.recurrent import recurrent_node, row_lengths, time_first
from speechrnn.export.onnx.registry import Tensor, Writer, writer_of
from speechrnn.features.base import FeatureLayer
from speechrnn.features.layers import MFCC, LogMel
from speechrnn.features.mel import dct_matrix
from speechrnn.models.bundle import SignalBundle

layers = keras.layers

RECURRENT = (ours.LSTM, ours.GRU, ours.SimpleRNN, layers.LSTM, layers.GRU, layers.SimpleRNN)
POINTWISE = (
    ours.LengthMask,
    ours.ZeroPadding,
    ours.StackFrames,
    layers.Activation,
    layers.Add,
    layers.BatchNormalization,
    layers.Dense,
    layers.Dropout,
    layers.GaussianNoise,
    layers.Identity,
    layers.LayerNormalization,
    layers.ReLU,
    layers.Reshape,
    layers.SpatialDropout1D,
)
"""Layers whose output at a frame depends on that frame alone."""
_OPERATIONS = ("Add", "Subtract", "Multiply", "FloorDivide", "ExpandDims", "Repeat", "Negative", "Relu", "Tanh")


def check_streaming(model: SignalBundle) -> None:
    """Raise if a model cannot run block by block.

    Raises:
        ValueError: It reads the signal backwards, or normalises over the whole of it; what to do is said.
    """
    check_features(model.features)
    for operation in model.network.operations:
        _check_operation(operation)


def check_features(features: FeatureLayer) -> None:
    """Raise if features cannot be computed block by block."""
    if type(features) not in (LogMel, MFCC):
        raise ValueError(f"Only LogMel and MFCC features can stream. Received: {type(features).__name__}.")
    if features.normalize == "utterance":
        raise ValueError(
            'normalize="utterance" needs the whole signal before its first frame, so this model cannot stream. '
            'Received: normalize="utterance". Train with normalize="global" (--normalize global).'
        )
    if features.deltas:
        raise ValueError(f"Deltas look ahead further than a block. Received: deltas={features.deltas}; train with 0.")
    if features.window < features.hop:
        raise ValueError(f"`window` must be at least `hop`. Received: window={features.window}, hop={features.hop}.")


def _check_operation(operation: Any) -> None:
    if isinstance(operation, layers.Bidirectional) or getattr(operation, "go_backwards", False):
        raise ValueError(
            f"A model that reads the signal backwards cannot stream: `{operation.name}` needs its end first. "
            "Train with bidirectional=False (--no-bidirectional)."
        )
    if isinstance(operation, layers.ZeroPadding2D):
        if tuple(operation.padding[0]) != (1, 1):
            raise _cannot(operation, f"its padding in time must be (1, 1). Received: {operation.padding[0]}")
    elif isinstance(operation, layers.Conv2D):
        context = operation.kernel_size[0] - operation.strides[0]
        if context != 1 or operation.padding != "valid" or operation.dilation_rate[0] != 1:
            raise _cannot(operation, "only convolutions that share one frame from step to step can stream")
    elif isinstance(operation, keras.Layer):
        if type(operation) not in (*RECURRENT, *POINTWISE, ours.LookAhead, layers.InputLayer):
            raise _cannot(operation, "whether it looks ahead is not known")
    elif type(operation).__name__ not in _OPERATIONS:
        raise _cannot(operation, "whether it looks ahead is not known")


def look_ahead(model: SignalBundle) -> int:
    """Frames by which the logits of a step come late."""
    return sum(operation.frames for operation in model.network.operations if isinstance(operation, ours.LookAhead))


def _cannot(operation: Any, why: str) -> ValueError:
    return ValueError(f"{type(operation).__name__} `{operation.name}` cannot stream: {why}.")


def step_graph(model: SignalBundle) -> tuple[Graph, dict[str, list[int]]]:
    """The graph of one step.

    Inputs are `samples` float32 `(1, blocks * stride * hop)`, `frames` int32 `(1,)`, how many frames of features count
    (all, but for the last block), and the states; outputs are `logits` float32 `(1, blocks, vocabulary)` and the next
    states, named `next_` and the state's name.

    Returns:
        The graph, and the shape of each state by name. A state begins as zeros, `carry` with the first samples.
    """
    check_streaming(model)
    graph = Graph(model.name)
    step = _Step(graph)
    samples = graph.input("samples", "float32", (1, "samples"))
    frames = graph.input("frames", "int32", (1,))
    features = step.features(model.features, samples, frames)
    (logits,) = write_network(graph, model.network, [features, frames], find=step.writer_of)
    graph.output(logits, "logits", "float32", (1, "blocks", len(model.vocabulary)))
    for name, tensor in step.following.items():
        graph.output(tensor, f"next_{name}", "float32", step.shapes[name])
    return graph, step.shapes


class _Step:
    """States of the graph that is being written."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.shapes: dict[str, list[int]] = {}
        self.following: dict[str, str] = {}
        self.delayed = False

    def state(self, name: str, *shape: int) -> str:
        self.shapes[name] = list(shape)
        return self.graph.input(name, "float32", shape)

    def features(self, layer: LogMel, samples: str, frames: str) -> str:
        graph = self.graph
        carried = carried_samples(layer)
        with graph.scope("features"):
            signal = samples
            if carried:
                signal = graph.add("Concat", self.state("carry", 1, carried), samples, axis=1)
                self.following["carry"] = graph.slice(signal, np.array([-carried]), _END, 1)
            if layer.preemphasis:
                now, before = graph.slice(signal, np.array([1]), _END, 1), graph.slice(signal, _ZERO, _LAST, 1)
                signal = graph.add("Sub", now, graph.add("Mul", before, np.float32(layer.preemphasis)))
            power = frontend.power_spectrum(
                graph, signal, window=layer.window, hop=layer.hop, fft_length=layer.fft_length
            )
            values = graph.add("MatMul", power, layer._filterbank())
            values = graph.add("Log", graph.add("Max", values, np.float32(layer.floor)))
            if isinstance(layer, MFCC):
                values = graph.add("MatMul", values, dct_matrix(layer.num_mels, layer.num_coefficients))
            values = frontend.normalized(graph, layer, values, frames)
            return graph.zero_padding(values, graph.length_mask(frames, graph.dimension(values, 1)), 3)

    def writer_of(self, operation: Any) -> Writer:
        """The writer of an operation, which has been checked; those with a state are written with it."""
        if isinstance(operation, RECURRENT):
            return Writer(self._recurrent, ("training",))
        if isinstance(operation, layers.ZeroPadding2D):
            return Writer(self._frame_before, ("training",))
        if isinstance(operation, ours.LookAhead):
            return Writer(self._look_ahead, ("training",))
        if self.delayed and isinstance(operation, ours.ZeroPadding):  # its mask is of the frames that came now
            return Writer(lambda graph, layer, values, mask: values.name, ("training",))
        return writer_of(operation)

    def _recurrent(self, graph: Graph, layer: Any, sequence: Tensor, mask: Tensor | None = None) -> str:
        names = [f"{layer.name}_{part}" for part in ("output", "cell")[: 2 if isinstance(layer, layers.LSTM) else 1]]
        before = [self.state(name, 1, 1, layer.units) for name in names]
        lengths = row_lengths(graph, layer, mask)
        found = recurrent_node(graph, [layer], time_first(graph, sequence.name), lengths, before)
        self.following.update(zip(names, found.states, strict=True))
        return graph.add("Transpose", graph.add("Squeeze", found.outputs, np.array([1])), perm=[1, 0, 2])

    def _frame_before(self, graph: Graph, layer: Any, values: Tensor) -> str:
        """The last frame of the step before instead of the zeros; the frame after the last one is never looked at."""
        size, channels = values.shape[2:]
        before = self.state(f"{layer.name}_frame", 1, 1, int(size), int(channels))
        self.following[f"{layer.name}_frame"] = graph.slice(values.name, np.array([-1]), _END, 1)
        joined = graph.add("Concat", before, values.name, axis=1)
        low, high = layer.padding[1]
        return graph.add("Pad", joined, np.array([0, 0, low, 0, 0, 0, high, 0]), np.float32(0))

    def _look_ahead(self, graph: Graph, layer: ours.LookAhead, values: Tensor) -> str:
        """The output of the frames whose future has come: as many as came in, `layer.frames` late."""
        if self.delayed:
            raise _cannot(layer, "only one look-ahead can stream")
        self.delayed = True
        before = self.state(f"{layer.name}_frames", 1, layer.frames, int(values.shape[2]))
        joined = graph.add("Concat", before, values.name, axis=1)
        self.following[f"{layer.name}_frames"] = graph.slice(joined, np.array([-layer.frames]), _END, 1)
        return row_convolution(graph, layer, joined)


_ZERO, _LAST, _END = np.array([0]), np.array([-1]), np.array([np.iinfo("int64").max])


def carried_samples(layer: LogMel) -> int:
    """Samples that a block needs from before it: what its first window shares, and one for the high-pass filter."""
    return layer.window - layer.hop + bool(layer.preemphasis)
