"""Write the layers that split sequences into segments as ONNX nodes."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from speechrnn.export.onnx.graph import Graph
from speechrnn.export.onnx.layers import weight
from speechrnn.export.onnx.registry import Tensor, writes
from speechrnn.layers import FutureSegments, KnownSegments, LastSegments


@writes(LastSegments)
def _last_segments(graph: Graph, layer: LastSegments, values: Tensor, frames: Tensor) -> tuple[str, str, str]:
    size, count, channels = layer.size, layer.count, values.shape[-1]
    rounded = graph.add("Add", frames.name, np.int32(size - 1))
    counts = graph.add("Min", graph.floor_divide(rounded, np.int32(size)), np.int32(count))
    ends = graph.unsqueeze(frames.name, 1)
    starts = graph.add("Sub", ends, graph.add("Mul", graph.unsqueeze(counts, 1), np.int32(size)))
    indices = graph.add("Add", starts, np.arange(count * size, dtype=np.int32)[None])
    last = _gathered(graph, values.name, ends, ends)
    last = graph.add("Where", graph.unsqueeze(graph.add("Greater", ends, np.int32(0)), 2), last, np.float32(0))
    offsets = graph.add("Sub", _gathered(graph, values.name, indices, ends), last)
    valid = graph.unsqueeze(graph.add("Less", indices, ends), 2)
    segments = graph.add("Transpose", graph.add("Where", valid, offsets, np.float32(0)), perm=[0, 2, 1])
    counts_by_channel = graph.add("Tile", graph.unsqueeze(counts, 1), np.array([1, channels]))
    return (
        graph.add("Reshape", segments, np.array([-1, count, size])),
        graph.add("Reshape", counts_by_channel, np.array([-1])),
        graph.add("Squeeze", last, np.array([1])),
    )


@writes(KnownSegments)
def _known_segments(graph: Graph, layer: KnownSegments, values: Tensor, frames: Tensor) -> tuple[str, str]:
    size, width = layer.size, layer.size * values.shape[-1]
    ends = graph.unsqueeze(frames.name, 1)
    now = graph.add("Sub", ends, np.int32(layer.horizon))
    rounded = graph.add("Add", now, np.int32(size - 1))
    counts = graph.add("Min", graph.floor_divide(rounded, np.int32(size)), np.int32(layer.past))
    starts = graph.add("Sub", now, graph.add("Mul", counts, np.int32(size)))
    before = graph.add("Add", starts, np.arange(layer.past * size, dtype=np.int32)[None])
    after = graph.add("Add", now, np.arange(layer.ahead * size, dtype=np.int32)[None])
    valid = graph.unsqueeze(graph.add("Less", before, now), 2)
    past = graph.add("Where", valid, _gathered(graph, values.name, before, now), np.float32(0))
    return (
        graph.add("Reshape", past, np.array([-1, layer.past, width])),
        graph.add("Reshape", _gathered(graph, values.name, after, ends), np.array([-1, layer.ahead, width])),
    )


@writes(FutureSegments)
def _future_segments(graph: Graph, layer: FutureSegments, like: Tensor) -> str:
    place, channel = weight(layer.place), weight(layer.channel)
    shape = (layer.channels, layer.count, layer.units // 2)
    embeddings = np.concatenate(
        [np.broadcast_to(place[None], shape), np.broadcast_to(channel[:, None], shape)], axis=-1
    )
    rows = graph.floor_divide(graph.dimension(like.name, 0), np.int64(layer.channels))
    return graph.add("Tile", embeddings, graph.add("Concat", graph.unsqueeze(rows, 0), np.ones(2, "int64"), axis=0))


def _gathered(graph: Graph, values: str, indices: str, ends: str) -> str:
    """The frames at indices int32 `(batch, n)` of `(batch, frames, channels)`: `(batch, n, channels)`.

    Indices are clipped to each row's frames, `[0, end - 1]` with ends `(batch, 1)`.
    """
    last = graph.add("Max", graph.add("Sub", ends, np.int32(1)), np.int32(0))
    indices = graph.add("Min", graph.add("Max", indices, np.int32(0)), last)
    return graph.add(
        "GatherND", values, graph.unsqueeze(graph.add("Cast", indices, to=TensorProto.INT64), 2), batch_dims=1
    )
