"""Selects usable examples from the manifest, before anything is decoded."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from speechrnn.data.manifest import Example
from speechrnn.data.texts import unit_of
from speechrnn.faults import Faults


@dataclass(frozen=True)
class Framing:
    """Frames of signals: sample rate, window, hop, and the network's stride.

    Attributes:
        sample_rate: Samples per second of the signals.
        frame_count: Function from a number of samples to a number of feature frames.
        stride: Feature frames per output frame of the network.
        window: Samples in a feature frame.
        hop: Samples from one feature frame to the next.
        channels: Channels of signals `(samples, channels)`; None for mono signals `(samples,)`.
    """

    sample_rate: float
    frame_count: Callable[[int], int]
    stride: int = 1
    window: int = 1
    hop: int = 1
    channels: int | None = None

    def logit_frames(self, length: int) -> int:
        """Frames of the network's output for a signal of `length` samples."""
        return -(-int(self.frame_count(length)) // self.stride)

    def times(self, length: int) -> np.ndarray:
        """Seconds from the start to the middle of each frame of the network's output, within the signal."""
        first = (self.window + (self.stride - 1) * self.hop) / 2
        middle = first + self.stride * self.hop * np.arange(self.logit_frames(length))
        return np.minimum(middle, length - 0.5) / self.sample_rate

    def shape(self, length: int) -> tuple[int, ...]:
        """Shape of a signal of `length` samples."""
        return (length,) if self.channels is None else (length, self.channels)


Fault = tuple[str, str]
"""Kind and message of a fault, the arguments of `Faults.add`."""


class Targets:
    """A kind of training targets; see `speechrnn.pipeline.targets`."""

    per_frame = False
    """Whether there is one class for each output frame, with -1 in the padding."""

    def of(self, example: Example, length: int, framing: Framing) -> tuple[np.ndarray | None, Fault | None]:
        """The target of an example of `length` samples, or the reason why it has none."""
        raise NotImplementedError

    def required_frames(self, target: np.ndarray) -> int:
        """Minimum number of output frames for the target; 0 if one is enough."""
        return 0

    def resized(self, target: np.ndarray, frames: int) -> np.ndarray:
        """The target of a row whose speed was changed and that now has `frames` output frames."""
        return target


@dataclass(frozen=True)
class Entry:
    """A usable example.

    Attributes:
        index: Its index among all examples, which is part of its random seeds.
        example: The line of the manifest.
        length: Samples at the pipeline's rate, from the manifest's duration.
        target: int32 `(labels,)`, possibly empty; a class, int32 `()`; a class for each logit frame, int32 `(frames,)`;
            or which classes are true, float32 `(classes,)`.
        required: Minimum number of logit frames in which CTC can write the target.
        copy: Number of earlier copies of the example, if rare classes are repeated.
    """

    index: int
    example: Example
    length: int
    target: np.ndarray
    required: int
    copy: int = 0


def select(
    examples: Sequence[Example],
    framing: Framing,
    *,
    targets: Targets,
    max_duration: float | None = None,
    faults: Faults,
) -> list[Entry]:
    """Returns usable examples; the others are reported in `faults`, with one kind of fault each."""
    entries = []
    for index, example in enumerate(examples):
        length = round(example.duration * framing.sample_rate)
        fault = _unusable(example, length, framing, max_duration)
        target = None
        if fault is None:
            target, fault = targets.of(example, length, framing)
        if target is None or fault is not None:
            faults.add(name(example), *(fault or ("without a target", f"{example.path}: has no target.")))
        else:
            entries.append(Entry(index, example, length, target, targets.required_frames(target)))
    return entries


def name(example: Example) -> str:
    """The name of an example in faults: its id, or else its path."""
    return str(example.id or example.path)


def _unusable(example: Example, length: int, framing: Framing, max_duration: float | None) -> tuple[str, str] | None:
    if unit_of(example) is None and not os.path.exists(example.path):
        return "missing", f"{example.path}: there is no such file. Correct the manifest, or fetch the corpus again."
    if max_duration is not None and example.duration > max_duration:
        return "too long", (
            f"{example.path}: lasts {example.duration:.2f} s, and `max_duration` is {max_duration} s. "
            "Split it (`offset`, `duration`), or raise `max_duration`."
        )
    if framing.frame_count(length) < 1:
        return "shorter than one frame", f"{example.path}: {example.duration:.4f} s is less than one feature frame."
    return None
