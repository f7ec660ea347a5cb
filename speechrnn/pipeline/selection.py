"""Which examples can be learned or recognized, decided from the manifest before anything is decoded."""

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
    """How samples become frames.

    Attributes:
        sample_rate: Samples per second of the signals.
        frame_count: Feature frames of a signal of so many samples.
        stride: Feature frames to an output frame of the network.
        window: Samples in a feature frame.
        hop: Samples from one feature frame to the next.
        channels: Of a signal `(samples, channels)`; None for a mono signal `(samples,)`.
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
"""Kind and message of a fault, as `Faults.add` takes them."""


class Targets:
    """What examples are to be learned as; see `speechrnn.pipeline.targets`."""

    per_frame = False
    """Whether there is one number for each output frame; those in the padding are -1."""

    def of(self, example: Example, length: int, framing: Framing) -> tuple[np.ndarray | None, Fault | None]:
        """The target of an example of `length` samples, or why it has none."""
        raise NotImplementedError

    def required_frames(self, target: np.ndarray) -> int:
        """The fewest output frames that the target needs; 0 where one is enough."""
        return 0

    def resized(self, target: np.ndarray, frames: int) -> np.ndarray:
        """The target of a row that has `frames` output frames, since its speed was changed."""
        return target


@dataclass(frozen=True)
class Entry:
    """An example that was kept.

    Attributes:
        index: Its place in the examples given, which its random numbers derive from.
        example: The manifest's line.
        length: Samples at the pipeline's rate, from the manifest's duration.
        target: int32 `(labels,)`, empty where there is none; a class, int32 `()`; a class for each logit frame, int32
            `(frames,)`; or which classes are true, float32 `(classes,)`.
        required: Fewest logit frames in which CTC can write the target.
        copy: How many times the example was there before, where rare classes are repeated.
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
    """Examples that can be used; the others are named in `faults`, one kind each."""
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
    """What a fault calls an example: its id, or its path where it has none."""
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
