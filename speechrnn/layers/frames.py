"""The stride of a network: input frames per output frame, found by passing shapes through its graph.

The output shape of every layer (`compute_output_spec`), Keras's or a user's, tells how many frames it gives, so
parallel branches, pooling of any kind and nested networks are counted correctly. No values are computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from speechrnn.layers.graph import Call, walk

_PROBES = (5040, 5041, 5039, 10080)
"""Numbers of input frames; the first is divisible by most strides."""


def stride(network: keras.Model) -> int:
    """Input frames per output frame of a network; if its outputs have no frames, per frame of the last layer that had.

    Args:
        network: Functional or sequential; its inputs are `(batch, frames, ...)`, or `(batch,)` lengths.

    Raises:
        ValueError: The stride is not a whole number, or not the same at every length.

    Example:
    >>> x = keras.Input((None, 3))
    >>> halves = [keras.layers.Conv1D(4, 2, strides=2)(x), keras.layers.AveragePooling1D(2)(x)]
    >>> stride(keras.Model(x, keras.layers.Concatenate()(halves)))
    2
    """
    return _stride(network, _frame_counts(network))


def checked_stride(network: keras.Model) -> int:
    """The stride of a network that gives `ceil(frames / stride)` frames, as a bundle's network must.

    Raises:
        ValueError: It gives another number of frames.
    """
    counts = _frame_counts(network)
    size = _stride(network, counts)
    if counts != tuple(-(-frames // size) for frames in _PROBES):
        raise _stride_error(network, counts)
    return size


def _stride(network: keras.Model, counts: tuple[int, ...]) -> int:
    size = _PROBES[0] // max(counts[0], 1)
    if counts[0] * size != _PROBES[0] or counts[-1] * size != _PROBES[-1]:
        raise _stride_error(network, counts)
    return size


def _stride_error(network: keras.Model, counts: tuple[int, ...]) -> ValueError:
    pairs = ", ".join(f"{count} of {frames}" for count, frames in zip(counts, _PROBES, strict=True))
    return ValueError(
        "A network must give ceil(frames / stride) frames, with one stride for every length. "
        f"Received: `{network.name}`, which makes {pairs}. Pad explicitly before a layer that sees several frames: a "
        "kernel or pool of `size` needs size - 1 frames of padding in all, for instance by keras.layers.ZeroPadding1D."
    )


class _Probes:
    """One tensor in a network, with its shape for each of the probes."""

    def __init__(self, tensors: Sequence[keras.KerasTensor]) -> None:
        self.tensors = tensors
        sizes = tuple(tensor.shape[1] if len(tensor.shape) > 1 else 0 for tensor in tensors)
        self.frames = sizes if len(set(sizes)) > 1 else None
        """Frames for each probe; None if it has no axis of frames."""


def _frame_counts(network: keras.Model) -> tuple[int, ...]:
    """Frames of the outputs for each probe; if they have none, of the last tensors that had."""
    if any(len(tensor.shape) > 1 and tensor.shape[1] is not None for tensor in network.inputs):
        return _PROBES  # it takes one number of frames only
    last: list[tuple[Any, ...]] = []

    def shapes(call: Call) -> list[_Probes]:
        by_probe = []
        for probe in range(len(_PROBES)):
            arguments, options = _of_probe((list(call.arguments), dict(call.options)), probe)
            by_probe.append(keras.tree.flatten(call.operation.compute_output_spec(*arguments, **options)))
        outputs = [_Probes(tensors) for tensors in zip(*by_probe, strict=True)]
        if not any(output.frames for output in outputs):
            inputs = keras.tree.flatten((call.arguments, call.options))
            last.extend(leaf.frames for leaf in inputs if isinstance(leaf, _Probes) and leaf.frames)
        return outputs

    inputs = [_Probes([_with_frames(tensor, frames) for frames in _PROBES]) for tensor in network.inputs]
    outputs = walk(network, inputs, shapes, ignored=lambda operation: ("training",))
    counts = [output.frames for output in outputs if output.frames] or last
    if not counts:
        raise ValueError(f"A network must take frames. Received: `{network.name}`, whose outputs depend on none.")
    return min(counts)


def _with_frames(like: keras.KerasTensor, frames: int) -> keras.KerasTensor:
    shape = tuple(like.shape)
    return keras.KerasTensor((shape[0], frames, *shape[2:]) if len(shape) > 1 else shape, like.dtype)


def _of_probe(structure: Any, probe: int) -> Any:
    return keras.tree.map_structure(lambda leaf: leaf.tensors[probe] if isinstance(leaf, _Probes) else leaf, structure)
