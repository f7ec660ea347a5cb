"""Write pooling over the valid frames as ONNX nodes."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from speechrnn.export.onnx.graph import Graph
from speechrnn.export.onnx.layers import weight
from speechrnn.export.onnx.registry import Tensor, writes
from speechrnn.layers import AttentionPooling, MaskedPooling, RandomKernels


@writes(MaskedPooling)
def _masked_pooling(graph: Graph, layer: MaskedPooling, values: Tensor, mask: Tensor) -> str:
    valid = graph.unsqueeze(mask.name, 2)
    count = graph.reduce("ReduceSum", graph.add("Cast", mask.name, to=TensorProto.INT64), 1, keep=True)
    if layer.kind == "mean":
        total = graph.reduce("ReduceSum", graph.zero_padding(values.name, mask.name, 3), 1)
        return graph.add("Div", total, graph.add("Cast", graph.add("Max", count, np.int64(1)), to=TensorProto.FLOAT))
    if layer.kind == "max":
        pooled = graph.reduce("ReduceMax", graph.add("Where", valid, values.name, np.float32(-3e4)), 1)
    else:
        last = graph.add("Max", graph.add("Sub", count, np.int64(1)), np.int64(0))
        pooled = graph.add("GatherND", values.name, last, batch_dims=1)
    return graph.add("Where", graph.add("Greater", count, np.int64(0)), pooled, np.float32(0))


@writes(AttentionPooling)
def _attention_pooling(graph: Graph, layer: AttentionPooling, values: Tensor, mask: Tensor) -> str:
    valid = graph.unsqueeze(mask.name, 2)
    zeroed = graph.zero_padding(values.name, mask.name, 3)
    scores = graph.add("MatMul", zeroed, weight(layer.kernel))
    scores = graph.add("Where", valid, scores, np.float32(-1e30))
    exponentials = graph.add("Exp", graph.add("Sub", scores, graph.reduce("ReduceMax", scores, 1, keep=True)))
    exponentials = graph.add("Where", valid, exponentials, np.float32(0))
    total = graph.add("Max", graph.reduce("ReduceSum", exponentials, 1, keep=True), np.float32(1e-9))
    weights = graph.add("Transpose", graph.add("Div", exponentials, total), perm=[0, 2, 1])
    return graph.add("Reshape", graph.add("MatMul", weights, zeroed), np.array([0, layer.heads * values.shape[-1]]))


@writes(RandomKernels)
def _random_kernels(graph: Graph, layer: RandomKernels, values: Tensor, frames: Tensor) -> str:
    mask = graph.length_mask(frames.name, graph.dimension(values.name, 1))
    signal = graph.add("Transpose", graph.zero_padding(values.name, mask, 3), perm=[0, 2, 1])
    valid = graph.unsqueeze(graph.add("Cast", mask, to=TensorProto.FLOAT), 1, 3)
    number = graph.add("Max", graph.add("Cast", frames.name, to=TensorProto.FLOAT), np.float32(1))
    fractions = []
    for dilation, kernels, thresholds in layer.convolutions:
        around = [dilation * (len(kernels) // 2)] * 2
        responses = graph.add("Conv", signal, kernels.transpose(2, 1, 0).copy(), pads=around, dilations=[dilation])
        biases = np.asarray(thresholds)
        exceeded = graph.add("Greater", graph.unsqueeze(responses, 3), biases[:, None])
        exceeded = graph.add("Mul", graph.add("Cast", exceeded, to=TensorProto.FLOAT), valid)
        count = graph.reduce("ReduceSum", exceeded, 2)
        fractions.append(graph.add("Reshape", count, np.array([0, biases.size])))
    return graph.add("Div", graph.add("Concat", *fractions, axis=1), graph.unsqueeze(number, 1))
