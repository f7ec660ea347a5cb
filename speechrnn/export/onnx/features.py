"""Write feature layers as ONNX nodes, with the same arithmetic and constants as `speechrnn.features.spectral`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto

from speechrnn.export.onnx.filters import write_filter
from speechrnn.export.onnx.graph import Graph
from speechrnn.export.onnx.registry import Tensor, writes
from speechrnn.features.base import FeatureLayer, FeatureStep
from speechrnn.features.channels import ChannelLayer
from speechrnn.features.layers import MFCC, LogMel, LogSpectrogram, RawSignal
from speechrnn.features.mel import dct_matrix
from speechrnn.features.spectral import hann
from speechrnn.features.symbols import Symbols

_END = np.array([np.iinfo("int64").max])


def write_features(graph: Graph, layer: FeatureLayer, signal: str, length: str) -> tuple[str, str]:
    """Write a feature layer.

    Args:
        graph: The graph to add nodes to.
        layer: A layer of `speechrnn.features`.
        signal: float32 `(batch, samples)`, or `(batch, samples, channels)`.
        length: int32 `(batch,)`, valid samples of each row.

    Returns:
        Names of the features, float32 `(batch, frames, features)`, and of the number of valid frames of each row, int32
        `(batch,)`. If no row has a frame, there is one of zeros, since some operators refuse an empty axis.

    Raises:
        ValueError: The layer's class is not supported, or its statistics are missing.
    """
    write = next((write for kind, write in _WRITERS.items() if type(layer) is kind), None)
    if write is None:
        known = ", ".join(kind.__name__ for kind in _WRITERS)
        raise ValueError(
            f"Features must be one of {known} to be exported. Received: {type(layer).__name__} `{layer.name}`."
        )
    with graph.scope("features"):
        frames = frame_count(graph, length, layer.window, layer.hop)
        signal = _at_least(graph, signal, layer.window, 2 if getattr(layer, "channels", None) is None else 3)
        values = write(graph, layer, signal, length, frames)
        mask = graph.length_mask(frames, graph.dimension(values, 1))
        return graph.zero_padding(values, mask, 3), frames


def frame_count(graph: Graph, length: str, window: int, hop: int) -> str:
    """`max(0, 1 + (length - window) // hop)`, int32."""
    hops = graph.add("Max", graph.add("Sub", length, np.int32(window - hop)), np.int32(0))
    return graph.add("Div", hops, np.int32(hop))


def _at_least(graph: Graph, signal: str, size: int, rank: int) -> str:
    """The signal, padded with zeros to at least `size` samples."""
    missing = graph.add("Max", graph.add("Sub", np.int64(size), graph.dimension(signal, 1)), np.int64(0))
    before, after = np.zeros(rank + 1, "int64"), np.zeros(rank - 2, "int64")
    pads = graph.add("Concat", before, graph.unsqueeze(missing, 0), after, axis=0)
    return graph.add("Pad", signal, pads, np.float32(0))


def frames_of(graph: Graph, signal: str, window: int, hop: int, offsets: np.ndarray | None = None) -> str:
    """Overlapping frames `(batch, frames, window, ...)` of `(batch, samples, ...)`, or their samples at `offsets`."""
    offsets = np.arange(window) if offsets is None else offsets
    size = graph.dimension(signal, 1)
    count = graph.add("Div", graph.add("Sub", size, np.int64(window - hop)), np.int64(hop))
    starts = graph.add("Mul", graph.add("Range", np.int64(0), count, np.int64(1)), np.int64(hop))
    index = graph.add("Add", graph.unsqueeze(starts, 1), offsets.astype("int64"))
    return graph.add("Gather", signal, index, axis=1)


def _log_mel(graph: Graph, layer: LogMel, signal: str, length: str, frames: str) -> str:
    return normalized(graph, layer, log_mel(graph, layer, signal, length, frames), frames)


def log_mel(graph: Graph, layer: LogMel, signal: str, length: str, frames: str) -> str:
    """The features of `LogMel` and `MFCC` before normalization."""
    mask = graph.length_mask(length, graph.dimension(signal, 1))
    signal = graph.zero_padding(signal, mask, 2)
    if layer.preemphasis:  # the sample before the first one is zero
        signal = graph.add("Pad", signal, np.array([0, 1, 0, 0]), np.float32(0))
    return _with_deltas(graph, _mel_columns(graph, layer, signal), frames, layer.deltas, layer.delta_width)


def _mel_columns(graph: Graph, layer: LogMel, signal: str) -> str:
    """Log-mel energies, or their cosine transform; with pre-emphasis the signal starts one sample earlier."""
    if layer.preemphasis:
        now, before = graph.slice(signal, np.array([1]), _END, 1), graph.slice(signal, np.array([0]), np.array([-1]), 1)
        signal = graph.add("Sub", now, graph.add("Mul", before, np.float32(layer.preemphasis)))
    power = power_spectrum(graph, signal, window=layer.window, hop=layer.hop, fft_length=layer.fft_length)
    values = graph.add("MatMul", power, layer._filterbank())
    values = graph.add("Log", graph.add("Max", values, np.float32(layer.floor)))
    if isinstance(layer, MFCC):
        values = graph.add("MatMul", values, dct_matrix(layer.num_mels, layer.num_coefficients))
    return values


def power_spectrum(
    graph: Graph,
    signal: str,
    *,
    window: int,
    hop: int,
    fft_length: int,
    bins: range | None = None,
    channels: bool = False,
) -> str:
    """Squared magnitude of the Fourier transform of Hann-windowed frames, by multiplication with its matrices.

    Power does not depend on the time origin, which is placed in the middle of a frame: the cosine terms then depend
    only on sums of samples at equal distances before and after it, and the sine terms on differences. That halves the
    matrices; ONNX's own STFT takes four times as long.

    Args:
        graph: The graph to add nodes to.
        signal: float32 `(batch, samples)`; with `channels` `(batch, samples, channels)`.
        window: Frame length in samples.
        hop: Step between frames in samples.
        fft_length: Transform length.
        bins: Frequencies to keep, as multiples of the rate over `fft_length`; None keeps all.
        channels: Whether the signal has an axis of channels.

    Returns:
        float32 `(batch, frames, bins)`, or `(batch, frames, channels, bins)`.
    """
    after = np.arange((window + 1) // 2, window) if window > 1 else np.arange(1)  # sample 0 has no weight
    distance = after - window / 2
    bins = range(fft_length // 2 + 1) if bins is None else bins
    angle = 2 * np.pi / fft_length * np.outer(distance, np.asarray(bins))
    weight = hann(window)[after] * np.where(distance == 0, 0.5, 1.0)  # the middle sample is counted twice
    if window == 1:
        weight = np.full(1, 0.5)
    later = frames_of(graph, signal, window, hop, after)
    earlier = frames_of(graph, signal, window, hop, (window - after) % window)
    if channels:
        later, earlier = (graph.add("Transpose", part, perm=[0, 1, 3, 2]) for part in (later, earlier))
    cosines, sines = (function(angle) * weight[:, None] for function in (np.cos, np.sin))
    even = graph.add("MatMul", graph.add("Add", later, earlier), cosines.astype("float32"))
    odd = graph.add("MatMul", graph.add("Sub", later, earlier), sines.astype("float32"))
    return graph.add("Add", graph.add("Mul", even, even), graph.add("Mul", odd, odd))


def _with_deltas(graph: Graph, values: str, frames: str, order: int, width: int) -> str:
    parts = [values]
    for _ in range(order):
        parts.append(_deltas(graph, parts[-1], frames, width))
    return graph.add("Concat", *parts, axis=-1) if order else values


def _deltas(graph: Graph, values: str, frames: str, width: int) -> str:
    """Slope over time by linear regression; each row is extended by its first and last valid frames."""
    reach = width // 2
    last = graph.add("Max", graph.add("Sub", frames, np.int32(1)), np.int32(0))
    index = graph.unsqueeze(graph.add("Cast", last, to=TensorProto.INT64), 1)
    last_frame = graph.unsqueeze(graph.add("GatherND", values, index, batch_dims=1), 1)
    mask = graph.length_mask(frames, graph.dimension(values, 1))
    values = graph.add("Where", graph.unsqueeze(mask, 2), values, last_frame)
    padded = graph.add("Pad", values, np.array([0, reach, 0, 0, reach, 0]), "", mode="edge")
    total = None
    for step in range(1, reach + 1):
        stop = np.array([step - reach]) if step < reach else _END
        ahead = graph.slice(padded, np.array([reach + step]), stop, 1)
        behind = graph.slice(padded, np.array([reach - step]), np.array([-reach - step]), 1)
        slope = graph.add("Mul", graph.add("Sub", ahead, behind), np.float32(step))
        total = slope if total is None else graph.add("Add", total, slope)
    scale = np.float32(2.0 * sum(step * step for step in range(1, reach + 1)))
    return graph.add("Div", total or values, scale)


def _raw_signal(graph: Graph, layer: RawSignal, signal: str, length: str, frames: str) -> str:
    return _cut(graph, layer, normalized(graph, layer, _samples(graph, layer, signal, length), length))


def _cut(graph: Graph, layer: RawSignal, samples: str) -> str:
    frames = frames_of(graph, samples, layer.window, layer.hop)
    return graph.add("Reshape", frames, np.array([0, 0, layer.num_features]))


def _log_spectrogram(graph: Graph, layer: LogSpectrogram, signal: str, length: str, frames: str) -> str:
    sizes = {"window": layer.window, "hop": layer.hop, "fft_length": layer.fft_length}
    samples = _samples(graph, layer, signal, length)
    power = power_spectrum(graph, samples, bins=layer.bins, channels=True, **sizes)
    values = graph.add("Log", graph.add("Max", power, np.float32(layer.floor)))
    return normalized(graph, layer, graph.add("Reshape", values, np.array([0, 0, layer.num_features])), frames)


def _samples(graph: Graph, layer: ChannelLayer, signal: str, length: str) -> str:
    """The filtered samples, float32 `(batch, samples, channels)`, with zeros in the padding."""
    if layer.channels is None:
        signal = graph.unsqueeze(signal, 2)
    mask = graph.length_mask(length, graph.dimension(signal, 1))
    samples = graph.zero_padding(signal, mask, 3)
    for each in layer.filters:
        samples = write_filter(graph, each, samples, length)
    return samples


def normalized(graph: Graph, layer: FeatureLayer, values: str, frames: str) -> str:
    """Normalize as the layer does, over the first `frames` of each row."""
    if layer.normalize == "utterance":
        return normalize_utterance(graph, values, frames, layer.min_std)
    if layer.normalize == "global":
        mean, std = np.asarray(layer.mean, "float32"), np.asarray(layer.std, "float32")
        if not (np.isfinite(mean).all() and np.isfinite(std).all()):
            raise ValueError('normalize="global" needs statistics: call `adapt(signals)` before the export.')
        return graph.add("Div", graph.add("Sub", values, mean), np.maximum(std, np.float32(layer.min_std)))
    return values


def normalize_utterance(graph: Graph, values: str, frames: str, min_std: float) -> str:
    """Normalize every feature to zero mean and unit variance over each row's valid frames."""
    mask = graph.length_mask(frames, graph.dimension(values, 1))
    count = graph.add("Cast", graph.add("Max", frames, np.int32(1)), to=TensorProto.FLOAT)
    weight = graph.add("Div", graph.add("Cast", mask, to=TensorProto.FLOAT), graph.unsqueeze(count, 1))
    weight = graph.unsqueeze(weight, 1)
    # The first frame is subtracted first, as in `spectral.normalize_utterance`, which says why.
    shifted = graph.add("Sub", values, graph.slice(values, np.array([0]), np.array([1]), 1))
    centered = graph.add("Sub", shifted, graph.add("MatMul", weight, shifted))
    variance = graph.add("MatMul", weight, graph.add("Mul", centered, centered))
    return graph.add("Div", centered, graph.add("Sqrt", graph.add("Max", variance, np.float32(min_std**2))))


@writes("FeatureStep")
def _step(graph: Graph, operation: FeatureStep, samples: Tensor, frames: Tensor, *carried: Tensor) -> tuple[str, ...]:
    """The features of one block, and the samples that the next block needs again."""
    layer, signal = operation.layer, samples.name
    for each in carried:
        signal = graph.add("Concat", each.name, signal, axis=1)
    carried_out = [graph.slice(signal, np.array([-each.shape[1]]), _END, 1) for each in carried]
    if isinstance(layer, RawSignal):
        columns = signal if samples.rank == 3 else graph.unsqueeze(signal, 2)
        values = _cut(graph, layer, normalized(graph, layer, columns, frames.name))
    else:
        values = normalized(graph, layer, _mel_columns(graph, layer, signal), frames.name)
    mask = graph.length_mask(frames.name, graph.dimension(values, 1))
    return graph.zero_padding(values, mask, 3), *carried_out


_WRITERS: dict[type[FeatureLayer], Callable[[Graph, Any, str, str, str], str]] = {
    LogMel: _log_mel,
    LogSpectrogram: _log_spectrogram,
    MFCC: _log_mel,
    RawSignal: _raw_signal,
    Symbols: lambda graph, layer, signal, length, frames: graph.unsqueeze(signal, 2),
}
