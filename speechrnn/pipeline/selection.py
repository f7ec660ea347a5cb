"""Which examples can be learnt or recognised, decided from the manifest before anything is decoded."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from speechrnn.faults import Faults
from speechrnn.manifest import Example
from speechrnn.text import Vocabulary


@dataclass(frozen=True)
class Framing:
    """How samples become frames.

    Attributes:
        sample_rate: Samples per second of the signals.
        frame_count: Feature frames of a signal of so many samples.
        stride: Feature frames to an output frame of the network.
    """

    sample_rate: int
    frame_count: Callable[[int], int]
    stride: int = 1

    def logit_frames(self, length: int) -> int:
        """Frames of the network's output for a signal of `length` samples."""
        return -(-int(self.frame_count(length)) // self.stride)


@dataclass(frozen=True)
class Entry:
    """An example that was kept.

    Attributes:
        index: Its place in the examples given, which its random numbers derive from.
        example: The manifest's line.
        length: Samples at the pipeline's rate, from the manifest's duration.
        target: int32 `(labels,)`, empty where there is none; or a class, int32 `()`.
        required: Fewest logit frames in which CTC can write the target.
    """

    index: int
    example: Example
    length: int
    target: np.ndarray
    required: int


def required_frames(ids: Sequence[int]) -> int:
    """The fewest frames in which CTC can write `ids`: their number and one blank for each repeat."""
    return len(ids) + sum(a == b for a, b in pairwise(ids))


def select(
    examples: Sequence[Example],
    framing: Framing,
    *,
    vocabulary: Vocabulary | None,
    classes: Sequence[str] | None = None,
    max_duration: float | None = None,
    faults: Faults,
) -> list[Entry]:
    """Examples that can be used; the others are named in `faults`, one kind each."""
    entries = []
    labelled = vocabulary is None and any(example.label is not None for example in examples)
    for index, example in enumerate(examples):
        length = round(example.duration * framing.sample_rate)
        fault = _unusable(example, length, framing, max_duration)
        target: list[int] = []
        if fault is None and vocabulary is not None:
            fault = _unwritable(example, vocabulary)
            if fault is None:
                target = vocabulary.encode(example.text or "")
                fault = _too_short(target, framing.logit_frames(length))
        label = 0
        if fault is None and labelled:
            label, fault = _class_of(example, classes)
        if fault is None:
            ids = np.asarray(label if labelled else target, dtype=np.int32)
            entries.append(Entry(index, example, length, ids, required_frames(target)))
        else:
            faults.add(name(example), *fault)
    return entries


def name(example: Example) -> str:
    """What a fault calls an example: its id, or its path where it has none."""
    return str(example.id or example.path)


def _unusable(example: Example, length: int, framing: Framing, max_duration: float | None) -> tuple[str, str] | None:
    if not os.path.exists(example.path):
        return "missing", f"{example.path}: there is no such file. Correct the manifest, or fetch the corpus again."
    if max_duration is not None and example.duration > max_duration:
        return "too long", (
            f"{example.path}: lasts {example.duration:.2f} s, and `max_duration` is {max_duration} s. "
            "Split it (`offset`, `duration`), or raise `max_duration`."
        )
    if framing.frame_count(length) < 1:
        return "shorter than one frame", f"{example.path}: {example.duration:.4f} s is less than one feature frame."
    return None


def _unwritable(example: Example, vocabulary: Vocabulary) -> tuple[str, str] | None:
    if example.text is None:
        return "without a text", f"{example.path}: has no `text`, which training on a vocabulary needs."
    missing = vocabulary.missing(example.text)
    if missing:
        shown = " ".join(repr(c) for c in sorted(missing))
        return "with characters outside the vocabulary", (
            f"{example.path}: {shown} in {example.text!r}. Normalise the text, or make the vocabulary from it."
        )
    return None


def _class_of(example: Example, classes: Sequence[str] | None) -> tuple[int, tuple[str, str] | None]:
    label = example.label
    if classes is not None and isinstance(label, str) and label in classes:
        return list(classes).index(label), None
    if classes is None and isinstance(label, int):
        return label, None
    known = "an integer, or give `classes`" if classes is None else f"one of {', '.join(map(str, classes))}"
    return 0, ("with an unknown label", f"{example.path}: `label` must be {known}. Received: {label!r}.")


def _too_short(target: Sequence[int], frames: int) -> tuple[str, str] | None:
    needed = required_frames(target)
    if frames < needed:
        return "too short for their text", (
            f"the text needs at least {needed} output frames, and the audio gives {frames}. "
            "Check that text and audio belong together, or use a smaller stride."
        )
    return None
