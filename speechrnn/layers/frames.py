"""How many frames a network makes of those that it takes: its stride, found by walking shapes through its graph.

Every layer says how many frames it gives for how many by its output shape (`compute_output_spec`), Keras's own as well
as a user's, so that parallel branches, pooling of any kind and networks within networks count as what they are.
Nothing is computed: the frames are known from shapes alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from speechrnn.layers.graph import Call, walk

_PROBES = (5040, 5041, 5039, 10080)
"""Frames that go in; the first can be divided by most numbers that a stride may be."""


def stride(network: keras.Model) -> int:
    """Input frames per output frame of a network; where its outputs have no frames, per frame of what is pooled last.

    Args:
        network: Functional or sequential; its inputs are `(batch, frames, ...)`, or `(batch,)` lengths.

    Raises:
        ValueError: No whole number of input frames makes an output frame, or not the same at every length.

    Example:
    >>> x = keras.Input((None, 3))
    >>> halves = [keras.layers.Conv1D(4, 2, strides=2)(x), keras.layers.AveragePooling1D(2)(x)]
    >>> stride(keras.Model(x, keras.layers.Concatenate()(halves)))
    2
    """
    return _stride(network, _frame_counts(network))


def checked_stride(network: keras.Model) -> int:
    """The stride of a network that gives `ceil(frames / stride)` frames, as those of a bundle must.

    Raises:
        ValueError: It gives another number.
    """
    counts = _frame_counts(network)
    found = _stride(network, counts)
    if counts != tuple(-(-frames // found) for frames in _PROBES):
        raise _no_stride(network, counts)
    return found


def _stride(network: keras.Model, counts: tuple[int, ...]) -> int:
    found = _PROBES[0] // max(counts[0], 1)
    if counts[0] * found != _PROBES[0] or counts[-1] * found != _PROBES[-1]:
        raise _no_stride(network, counts)
    return found


def _no_stride(network: keras.Model, counts: tuple[int, ...]) -> ValueError:
    made = ", ".join(f"{count} of {frames}" for count, frames in zip(counts, _PROBES, strict=True))
    return ValueError(
        "A network must give ceil(frames / stride) frames, with one stride for every length. "
        f"Received: `{network.name}`, which makes {made}. Pad by hand before what sees several frames: a kernel or "
        "pool of `size` with `stride` needs size - 1 frames in all, as keras.layers.ZeroPadding1D gives them."
    )


class _Probed:
    """A tensor for each of the probes."""

    def __init__(self, tensors: Sequence[keras.KerasTensor]) -> None:
        self.tensors = tensors
        sizes = tuple(tensor.shape[1] if len(tensor.shape) > 1 else 0 for tensor in tensors)
        self.frames = sizes if len(set(sizes)) > 1 else None
        """How many frames it has; None where it has no frames."""


def _frame_counts(network: keras.Model) -> tuple[int, ...]:
    """Frames of the outputs for each probe, or of what has frames last."""
    if any(len(given.shape) > 1 and given.shape[1] is not None for given in network.inputs):
        return _PROBES  # it takes one number of frames only
    last: list[tuple[Any, ...]] = []

    def shapes(call: Call) -> list[_Probed]:
        made = []
        for probe in range(len(_PROBES)):
            arguments, options = _of_probe((list(call.arguments), dict(call.options)), probe)
            made.append(keras.tree.flatten(call.operation.compute_output_spec(*arguments, **options)))
        found = [_Probed(tensors) for tensors in zip(*made, strict=True)]
        if not any(each.frames for each in found):
            given = keras.tree.flatten((call.arguments, call.options))
            last.extend(leaf.frames for leaf in given if isinstance(leaf, _Probed) and leaf.frames)
        return found

    starts = [_Probed([_given(each, frames) for frames in _PROBES]) for each in network.inputs]
    ends = walk(network, starts, shapes, ignored=lambda operation: ("training",))
    found = [end.frames for end in ends if end.frames] or last
    if not found:
        raise ValueError(f"A network must take frames. Received: `{network.name}`, whose outputs depend on none.")
    return min(found)


def _given(like: keras.KerasTensor, frames: int) -> keras.KerasTensor:
    shape = tuple(like.shape)
    return keras.KerasTensor((shape[0], frames, *shape[2:]) if len(shape) > 1 else shape, like.dtype)


def _of_probe(structure: Any, probe: int) -> Any:
    return keras.tree.map_structure(lambda leaf: leaf.tensors[probe] if isinstance(leaf, _Probed) else leaf, structure)
