"""Write layers as ONNX nodes; recurrent layers are in `recurrent`, operations of `keras.ops` in `operations`.

Tensors keep Keras's layout, channels last; convolutions and pooling transpose to ONNX's layout and back, and ONNX
Runtime removes transpositions that cancel.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import keras
import numpy as np
from onnx import TensorProto

from speechrnn.export.onnx.graph import Graph
from speechrnn.export.onnx.registry import Tensor, cannot, writes
from speechrnn.layers import LengthMask, LookAhead, StackFrames, ZeroPadding

layers = keras.layers


# Lengths


@writes(LengthMask)
def _length_mask(graph: Graph, layer: LengthMask, frames: Tensor, like: Tensor) -> str:
    return graph.length_mask(frames.name, graph.dimension(like.name, 1))


@writes(ZeroPadding)
def _zero_padding(graph: Graph, layer: ZeroPadding, values: Tensor, mask: Tensor | None = None) -> str:
    return values.name if mask is None else graph.zero_padding(values.name, mask.name, values.rank)


@writes(StackFrames)
def _stack_frames(graph: Graph, layer: StackFrames, values: Tensor) -> str:
    missing = graph.add("Mod", graph.add("Neg", graph.dimension(values.name, 1)), np.int64(layer.stack))
    pads = graph.add("Concat", np.zeros(4, "int64"), graph.unsqueeze(missing, 0), np.zeros(1, "int64"), axis=0)
    padded = graph.add("Pad", values.name, pads, np.float32(0))
    return graph.add("Reshape", padded, np.array([0, -1, layer.stack * values.shape[-1]]))


@writes(LookAhead)
def _look_ahead(graph: Graph, layer: LookAhead, values: Tensor) -> str:
    padded = graph.add("Pad", values.name, np.array([0, 0, 0, 0, layer.frames, 0]), np.float32(0))
    kernel = weight(layer.kernel).T[:, np.newaxis]
    filtered = graph.add("Conv", _channels_first(graph, padded, 3), kernel, group=len(kernel))
    return _channels_back(graph, filtered, 3)


# Layers that only act in training, or only change the shape


@writes(
    layers.Dropout,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.GaussianNoise,
    layers.GaussianDropout,
    layers.AlphaDropout,
    layers.ActivityRegularization,
    layers.Identity,
    unused=("mask",),
)
def _same(graph: Graph, layer: keras.Layer, values: Tensor) -> str:
    return values.name


@writes(layers.Reshape)
def _reshape(graph: Graph, layer: Any, values: Tensor) -> str:
    return graph.add("Reshape", values.name, np.array([0, *layer.target_shape]))


@writes(layers.Flatten)
def _flatten(graph: Graph, layer: Any, values: Tensor) -> str:
    if None in values.shape[1:]:
        raise cannot(layer, f"the size of what it joins must be known, and is {values.shape}")
    return graph.add("Reshape", values.name, np.array([0, int(np.prod(values.shape[1:]))]))


@writes(layers.Permute)
def _permute(graph: Graph, layer: Any, values: Tensor) -> str:
    return graph.add("Transpose", values.name, perm=[0, *layer.dims])


@writes(layers.ZeroPadding1D, layers.ZeroPadding2D)
def _pad(graph: Graph, layer: Any, values: Tensor) -> str:
    _channels_last(layer)
    padding = layer.padding if values.rank == 4 else [layer.padding]
    before, after = zip(*padding, strict=True)
    return graph.add("Pad", values.name, np.array([0, *before, 0, 0, *after, 0]), np.float32(0))


# Dense layers, normalization, activation


@writes(layers.Dense)
def _dense(graph: Graph, layer: Any, values: Tensor) -> str:
    result = graph.add("MatMul", values.name, weight(layer.kernel))
    if layer.use_bias:
        result = graph.add("Add", result, weight(layer.bias))
    return activate(graph, layer, layer.activation, result)


@writes(layers.Embedding)
def _embedding(graph: Graph, layer: Any, ids: Tensor) -> str:
    if layer.mask_zero:
        raise cannot(layer, "mask_zero=True is not supported; give lengths, and a LengthMask")
    return graph.add("Gather", weight(layer.embeddings), ids.name, axis=0)


@writes(layers.LayerNormalization, unused=("mask",))
def _layer_normalization(graph: Graph, layer: Any, values: Tensor) -> str:
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    if [axis % values.rank for axis in axes] != [values.rank - 1]:
        raise cannot(layer, f"it must normalize the last axis alone. Received: axis={layer.axis}")
    if getattr(layer, "rms_scaling", False):
        raise cannot(layer, "rms_scaling=True is not supported")
    size = values.shape[-1]
    scale = weight(layer.gamma) if layer.scale else np.ones(size, "float32")
    offset = weight(layer.beta) if layer.center else np.zeros(size, "float32")
    return graph.add("LayerNormalization", values.name, scale, offset, axis=-1, epsilon=layer.epsilon)


@writes(layers.BatchNormalization, unused=("mask",))
def _batch_normalization(graph: Graph, layer: Any, values: Tensor) -> str:
    scale = 1.0 / np.sqrt(weight(layer.moving_variance).astype("float64") + layer.epsilon)
    if layer.scale:
        scale = scale * weight(layer.gamma)
    offset = -weight(layer.moving_mean) * scale
    if layer.center:
        offset = offset + weight(layer.beta)
    axis = layer.axis % values.rank
    shape = [1] * (axis and 0) + [-1] + [1] * (values.rank - 1 - axis)
    scaled = graph.add("Mul", values.name, scale.astype("float32").reshape(shape))
    return graph.add("Add", scaled, offset.astype("float32").reshape(shape))


_ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("Relu", {}),
    "tanh": ("Tanh", {}),
    "sigmoid": ("Sigmoid", {}),
    "softmax": ("Softmax", {"axis": -1}),
    "log_softmax": ("LogSoftmax", {"axis": -1}),
    "elu": ("Elu", {"alpha": 1.0}),
    "selu": ("Selu", {}),
    "softplus": ("Softplus", {}),
    "softsign": ("Softsign", {}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.2}),
    "hard_sigmoid": ("HardSigmoid", {"alpha": 1.0 / 6.0, "beta": 0.5}),
}


def activate(graph: Graph, layer: keras.Layer, activation: Any, values: str) -> str:
    """Apply one of Keras's activation functions."""
    name = activation_name(layer, activation, ("linear", "silu", *_ACTIVATIONS))
    if name == "linear":
        return values
    if name == "silu":
        return graph.add("Mul", values, graph.add("Sigmoid", values))
    operator, options = _ACTIVATIONS[name]
    return graph.add(operator, values, **options)


def activation_name(layer: keras.Layer, activation: Any, known: Collection[str], option: str = "activation") -> str:
    """The name of an activation, if it is one of Keras's functions; a user's function may have the same name.

    Raises:
        ValueError: It is not one of the `known`.
    """
    function = keras.activations.get(activation)
    name = getattr(function, "__name__", repr(function))
    if name not in known or keras.activations.get(name) is not function:
        received = f"{option}={name} of {getattr(function, '__module__', 'a layer')}"
        raise cannot(layer, f"{received} is not supported, only {', '.join(known)} of keras.activations")
    return name


@writes(layers.Activation)
def _activation(graph: Graph, layer: Any, values: Tensor) -> str:
    return activate(graph, layer, layer.activation, values.name)


@writes(layers.ReLU)
def _relu(graph: Graph, layer: Any, values: Tensor) -> str:
    if layer.threshold or layer.negative_slope:
        raise cannot(layer, "threshold and negative_slope must be 0")
    highest = np.float32(layer.max_value) if layer.max_value is not None else ""
    return graph.add("Clip", values.name, np.float32(0), highest)


@writes(layers.LeakyReLU)
def _leaky_relu(graph: Graph, layer: Any, values: Tensor) -> str:
    return graph.add("LeakyRelu", values.name, alpha=float(layer.negative_slope))


@writes(layers.Softmax)
def _softmax(graph: Graph, layer: Any, values: Tensor, mask: Tensor | None = None) -> str:
    if mask is not None or not isinstance(layer.axis, int):
        raise cannot(layer, "a mask or several axes are not supported")
    return graph.add("Softmax", values.name, axis=layer.axis)


# Convolution and pooling


@writes(layers.Conv1D, layers.Conv2D)
def _convolution(graph: Graph, layer: Any, values: Tensor) -> str:
    padded = _padded(graph, layer, values, layer.kernel_size, layer.dilation_rate)
    bias = [weight(layer.bias)] if layer.use_bias else []
    result = _convolved(graph, layer, values._replace(name=padded), layer.kernel, *bias)
    return activate(graph, layer, layer.activation, result)


@writes("Conv")
def _convolved(graph: Graph, operation: Any, values: Tensor, kernel: Any, *bias: np.ndarray) -> str:
    """A convolution without padding."""
    _channels_last(operation)
    if getattr(operation, "padding", "valid") == "same" and not isinstance(operation, keras.Layer):
        raise cannot(operation, 'padding must be "valid"')
    kernel = np.moveaxis(weight(kernel), [-1, -2], [0, 1])
    options: Any = {"strides": list(operation.strides), "dilations": list(operation.dilation_rate)}
    group = values.shape[-1] // kernel.shape[1]
    first = _channels_first(graph, values.name, values.rank)
    return _channels_back(graph, graph.add("Conv", first, kernel, *bias, group=group, **options), values.rank)


def _padded(graph: Graph, layer: Any, values: Tensor, size: Any, dilation: Any) -> str:
    """Pad as Keras does; "same" with a stride depends on the length of the batch, so that it is refused."""
    if layer.padding == "valid":
        return values.name
    reach = [(kernel - 1) * rate for kernel, rate in zip(size, dilation, strict=True)]
    if layer.padding == "causal":
        before, after = reach, [0] * len(reach)
    elif any(stride != 1 for stride in layer.strides):
        raise cannot(layer, 'padding="same" with a stride depends on the length of the batch: pad by hand')
    else:
        before, after = [r // 2 for r in reach], [r - r // 2 for r in reach]
    return graph.add("Pad", values.name, np.array([0, *before, 0, 0, *after, 0]), np.float32(0))


@writes(layers.MaxPooling1D, layers.MaxPooling2D, layers.AveragePooling1D, layers.AveragePooling2D)
def _pooling(graph: Graph, layer: Any, values: Tensor) -> str:
    _channels_last(layer)
    if layer.padding != "valid":
        raise cannot(layer, f'padding must be "valid". Received: {layer.padding!r}')
    operator = "MaxPool" if isinstance(layer, layers.MaxPooling1D | layers.MaxPooling2D) else "AveragePool"
    first = _channels_first(graph, values.name, values.rank)
    pooled = graph.add(operator, first, kernel_shape=list(layer.pool_size), strides=list(layer.strides))
    return _channels_back(graph, pooled, values.rank)


@writes(layers.GlobalAveragePooling1D)
def _mean_over_time(graph: Graph, layer: Any, values: Tensor, mask: Tensor | None = None) -> str:
    _channels_last(layer)
    if mask is None:
        return graph.reduce("ReduceMean", values.name, 1, keep=layer.keepdims)
    count = graph.reduce("ReduceSum", graph.add("Cast", mask.name, to=TensorProto.FLOAT), 1, keep=True)
    total = graph.reduce("ReduceSum", graph.zero_padding(values.name, mask.name, 3), 1, keep=layer.keepdims)
    return graph.add("Div", total, graph.unsqueeze(count, 2) if layer.keepdims else count)


@writes(layers.GlobalMaxPooling1D)
def _maximum_over_time(graph: Graph, layer: Any, values: Tensor) -> str:
    _channels_last(layer)
    return graph.reduce("ReduceMax", values.name, 1, keep=layer.keepdims)


def _channels_last(layer: Any) -> None:
    if getattr(layer, "data_format", None) not in (None, "channels_last"):
        raise cannot(layer, f'data_format must be "channels_last". Received: {layer.data_format!r}')


def _channels_first(graph: Graph, values: str, rank: int) -> str:
    return graph.add("Transpose", values, perm=[0, rank - 1, *range(1, rank - 1)])


def _channels_back(graph: Graph, values: str, rank: int) -> str:
    return graph.add("Transpose", values, perm=[0, *range(2, rank), 1])


# Several inputs


_MERGED = {
    layers.Add: "Add", layers.Average: "Add", layers.Maximum: "Max", layers.Multiply: "Mul", layers.Subtract: "Sub",
}  # fmt: skip


@writes(*_MERGED)
def _merged(graph: Graph, layer: Any, values: list[Tensor]) -> str:
    total = values[0].name
    for value in values[1:]:
        total = graph.add(_MERGED[type(layer)], total, value.name)
    return graph.add("Mul", total, np.float32(1 / len(values))) if isinstance(layer, layers.Average) else total


@writes(layers.Concatenate)
def _concatenate(graph: Graph, layer: Any, values: list[Tensor]) -> str:
    return graph.add("Concat", *(value.name for value in values), axis=layer.axis)


def weight(variable: Any) -> np.ndarray:
    """The value of a weight, float32.

    Raises:
        ValueError: It is of a layer that Keras has quantized, whose whole numbers mean nothing alone.
    """
    values = keras.ops.convert_to_numpy(variable)
    if np.issubdtype(values.dtype, np.integer):
        name = getattr(variable, "path", "of a layer")
        raise ValueError(
            f"Weight {name} cannot be exported: Keras quantized it, to {values.dtype}. Export it as it was before "
            "`quantize`; int8=True (--int8) makes a small file of that."
        )
    return np.asarray(values, "float32")
