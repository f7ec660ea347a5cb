"""Write signal filters as ONNX nodes, with the same arithmetic as `speechrnn.features.filter_layers`."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from speechrnn.export.onnx.graph import Graph
from speechrnn.features import filters
from speechrnn.features.filter_layers import KernelFilter, RobustScale, SignalFilter


def write_filter(graph: Graph, layer: SignalFilter, signal: str, length: str) -> str:
    """Write a filter.

    Args:
        graph: The graph to add nodes to.
        layer: A layer of `speechrnn.features.filter_layers`.
        signal: float32 `(batch, samples, channels)`, zeros in the padding.
        length: int32 `(batch,)`, valid samples of each row.

    Returns:
        float32 `(batch, samples, channels)`, zeros in the padding.

    Raises:
        ValueError: The layer's class is not supported.
    """
    if isinstance(layer, KernelFilter):
        filtered = _convolved(graph, signal, length, layer.kernel().astype("float32"))
    elif type(layer) is RobustScale:
        filtered = _robust(graph, signal, length)
    else:
        raise ValueError(f"A filter must be BandPass, Notch or RobustScale to be exported. Received: {layer!r}.")
    return graph.zero_padding(filtered, graph.length_mask(length, graph.dimension(signal, 1)), 3)


def _convolved(graph: Graph, signal: str, length: str, kernel: np.ndarray) -> str:
    """Convolve with a symmetric kernel; each row's first and last valid samples are repeated beyond its ends."""
    reach = np.int64(len(kernel) // 2)
    end = graph.add("Add", graph.dimension(signal, 1), reach)
    indices = graph.add("Max", graph.add("Range", -reach, end, np.int64(1)), np.int64(0))
    rows = graph.add("Min", graph.unsqueeze(indices, 0), graph.unsqueeze(_last(graph, length), 1))
    extended = graph.add("Transpose", _gather_samples(graph, signal, graph.unsqueeze(rows, 2)), perm=[0, 2, 1])
    rows = graph.add("Reshape", extended, graph.add("Concat", np.array([-1, 1]), _size(graph, extended, 2), axis=0))
    filtered = graph.add("Conv", rows, kernel[np.newaxis, np.newaxis])
    shape = graph.add("Shape", graph.add("Transpose", signal, perm=[0, 2, 1]))
    return graph.add("Transpose", graph.add("Reshape", filtered, shape), perm=[0, 2, 1])


def _robust(graph: Graph, signal: str, length: str) -> str:
    """Subtract the median and divide by the interquartile range; the padding is sorted to the end."""
    mask = graph.unsqueeze(graph.length_mask(length, graph.dimension(signal, 1)), 2)
    values = graph.add("Where", mask, signal, np.float32(np.finfo("float32").max))
    ordered, _ = graph.add_many("TopK", values, _size(graph, signal, 1), outputs=2, axis=1, largest=0, sorted=1)
    last = _last(graph, length)
    first, median, third = (_quantile(graph, ordered, last, share) for share in (0.25, 0.5, 0.75))
    scale = graph.add("Div", graph.add("Sub", third, first), np.float32(filters.NORMAL_QUARTILES))
    return graph.add("Div", graph.add("Sub", signal, median), graph.add("Max", scale, np.float32(filters.MIN_SCALE)))


def _quantile(graph: Graph, ordered: str, last: str, share: float) -> str:
    """A quantile of each row's values up to index `last`, by linear interpolation: float32 `(batch, 1, channels)`."""
    position = graph.add("Mul", graph.add("Cast", last, to=TensorProto.FLOAT), np.float32(share))
    floor = graph.add("Floor", position)
    fraction = graph.unsqueeze(graph.add("Sub", position, floor), 1, 2)
    low = graph.add("Cast", floor, to=TensorProto.INT64)
    high = graph.add("Min", graph.add("Add", low, np.int64(1)), last)
    below, above = (_gather_samples(graph, ordered, graph.unsqueeze(at, 1, 2)) for at in (low, high))
    return graph.add("Add", below, graph.add("Mul", fraction, graph.add("Sub", above, below)))


def _last(graph: Graph, length: str) -> str:
    """Index of each row's last valid sample, 0 if there is none: int64 `(batch,)`."""
    before = graph.add("Sub", graph.add("Cast", length, to=TensorProto.INT64), np.int64(1))
    return graph.add("Max", before, np.int64(0))


def _gather_samples(graph: Graph, values: str, indices: str) -> str:
    """Samples of every channel at indices int64 `(batch, n, 1)`: `(batch, n, channels)`."""
    shape = graph.add("Concat", _size(graph, indices, 0), _size(graph, indices, 1), _size(graph, values, 2), axis=0)
    return graph.add("GatherElements", values, graph.add("Expand", indices, shape), axis=1)


def _size(graph: Graph, tensor: str, axis: int) -> str:
    """The size of an axis, int64 `(1,)`."""
    return graph.unsqueeze(graph.dimension(tensor, axis), 0)
