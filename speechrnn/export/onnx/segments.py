"""Segments of a sequence, and the places of those to come, as ONNX nodes."""

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
    lacking = graph.add("Add", frames.name, np.int32(size - 1))
    counts = graph.add("Min", graph.floor_divide(lacking, np.int32(size)), np.int32(count))
    ends = graph.unsqueeze(frames.name, 1)
    starts = graph.add("Sub", ends, graph.add("Mul", graph.unsqueeze(counts, 1), np.int32(size)))
    places = graph.add("Add", starts, np.arange(count * size, dtype=np.int32)[None])
    last = _gathered(graph, values.name, ends, ends)
    last = graph.add("Where", graph.unsqueeze(graph.add("Greater", ends, np.int32(0)), 2), last, np.float32(0))
    moved = graph.add("Sub", _gathered(graph, values.name, places, ends), last)
    there = graph.unsqueeze(graph.add("Less", places, ends), 2)
    found = graph.add("Transpose", graph.add("Where", there, moved, np.float32(0)), perm=[0, 2, 1])
    each = graph.add("Tile", graph.unsqueeze(counts, 1), np.array([1, channels]))
    return (
        graph.add("Reshape", found, np.array([-1, count, size])),
        graph.add("Reshape", each, np.array([-1])),
        graph.add("Squeeze", last, np.array([1])),
    )


@writes(KnownSegments)
def _known_segments(graph: Graph, layer: KnownSegments, values: Tensor, frames: Tensor) -> tuple[str, str]:
    size, width = layer.size, layer.size * values.shape[-1]
    ends = graph.unsqueeze(frames.name, 1)
    now = graph.add("Sub", ends, np.int32(layer.horizon))
    lacking = graph.add("Add", now, np.int32(size - 1))
    counts = graph.add("Min", graph.floor_divide(lacking, np.int32(size)), np.int32(layer.past))
    starts = graph.add("Sub", now, graph.add("Mul", counts, np.int32(size)))
    before = graph.add("Add", starts, np.arange(layer.past * size, dtype=np.int32)[None])
    after = graph.add("Add", now, np.arange(layer.ahead * size, dtype=np.int32)[None])
    there = graph.unsqueeze(graph.add("Less", before, now), 2)
    past = graph.add("Where", there, _gathered(graph, values.name, before, now), np.float32(0))
    return (
        graph.add("Reshape", past, np.array([-1, layer.past, width])),
        graph.add("Reshape", _gathered(graph, values.name, after, ends), np.array([-1, layer.ahead, width])),
    )


@writes(FutureSegments)
def _future_segments(graph: Graph, layer: FutureSegments, like: Tensor) -> str:
    place, channel = weight(layer.place), weight(layer.channel)
    shape = (layer.channels, layer.count, layer.units // 2)
    told = np.concatenate([np.broadcast_to(place[None], shape), np.broadcast_to(channel[:, None], shape)], axis=-1)
    rows = graph.floor_divide(graph.dimension(like.name, 0), np.int64(layer.channels))
    return graph.add("Tile", told, graph.add("Concat", graph.unsqueeze(rows, 0), np.ones(2, "int64"), axis=0))


def _gathered(graph: Graph, values: str, places: str, ends: str) -> str:
    """The frames at int32 `(batch, n)` of `(batch, frames, channels)`: `(batch, n, channels)`.

    A place before the first frame gives the first one, a place at the ends `(batch, 1)` or behind them the last one.
    """
    newest = graph.add("Max", graph.add("Sub", ends, np.int32(1)), np.int32(0))
    places = graph.add("Min", graph.add("Max", places, np.int32(0)), newest)
    return graph.add(
        "GatherND", values, graph.unsqueeze(graph.add("Cast", places, to=TensorProto.INT64), 2), batch_dims=1
    )
