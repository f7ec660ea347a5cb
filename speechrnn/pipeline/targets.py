"""Training targets: texts, classes, classes of frames, or tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from speechrnn.data.manifest import Example
from speechrnn.decoding.alignment import required_frames
from speechrnn.faults import check_choice, choice_message
from speechrnn.pipeline.selection import Entry, Fault, Framing, Targets
from speechrnn.text import Vocabulary

TASKS = ("single", "multi", "frames")


def targets_of(
    task: str | None,
    vocabulary: Vocabulary | None,
    classes: Sequence[str] | None,
    examples: Sequence[Example],
    *,
    longer_texts: bool = False,
) -> Targets:
    """The kind of targets for the arguments of `batches`.

    Raises:
        ValueError: The arguments are incompatible.
    """
    if task is None:
        if vocabulary is not None:
            return Texts(vocabulary, longer=longer_texts)
        return Labels(classes) if any(example.label is not None for example in examples) else Texts(None)
    check_choice("task", task, TASKS, other="None")
    if vocabulary is not None:
        raise ValueError("A `task` is for classes. Received: a vocabulary as well. Leave one of them out.")
    if task != "single" and classes is None:
        raise ValueError(f"`classes` must name the classes. Received: classes=None with task={task!r}.")
    kinds: dict[str, type[Labels | Tags | FrameLabels]] = {"single": Labels, "multi": Tags, "frames": FrameLabels}
    return kinds[task](classes)


class Texts(Targets):
    """The encoded text, int32 `(labels,)`; empty without a vocabulary.

    Args:
        vocabulary: The symbols.
        longer: Whether one frame is enough for any text, as for a transducer; otherwise a text needs those of CTC.
    """

    def __init__(self, vocabulary: Vocabulary | None, *, longer: bool = False) -> None:
        self._vocabulary, self._longer = vocabulary, longer

    def of(self, example: Example, length: int, framing: Framing) -> tuple[np.ndarray | None, Fault | None]:
        """See `Targets`."""
        if self._vocabulary is None:
            return np.zeros(0, np.int32), None
        fault = _encoding_fault(example, self._vocabulary)
        if fault is not None:
            return None, fault
        target = np.asarray(self._vocabulary.encode(example.text or ""), np.int32)
        return target, _too_short(self.required_frames(target), framing.logit_frames(length))

    def required_frames(self, target: np.ndarray) -> int:
        """See `Targets`."""
        return min(len(target), 1) if self._longer else required_frames(target)


class _ClassTargets(Targets):
    """Base of targets that are classes."""

    def __init__(self, classes: Sequence[str] | None) -> None:
        self._classes = classes
        self._indices = {name: index for index, name in enumerate(classes or ())}

    def _index(self, label: Any) -> int | None:
        """Index of a class; None if it is unknown."""
        if self._classes is None:
            return label if isinstance(label, int) else None
        return self._indices.get(label if isinstance(label, str) else str(label))

    def _unknown(self, example: Example, what: str, received: Any) -> Fault:
        message = f"{what} must be an integer, or give `classes`. Received: {received!r}."
        if self._classes is not None:
            message = choice_message(what, received, self._classes)
        return "with an unknown label", f"{example.path}: {message}"


class Labels(_ClassTargets):
    """The `label`, int32 `()`."""

    def of(self, example: Example, length: int, framing: Framing) -> tuple[np.ndarray | None, Fault | None]:
        """See `Targets`."""
        index = None if example.label is None else self._index(example.label)
        if index is None:
            return None, self._unknown(example, "`label`", example.label)
        return np.asarray(index, np.int32), None


class Tags(_ClassTargets):
    """Which classes are in `extra["tags"]`, float32 `(classes,)`; a `label` counts as one tag."""

    def of(self, example: Example, length: int, framing: Framing) -> tuple[np.ndarray | None, Fault | None]:
        """See `Targets`."""
        tags = example.extra.get("tags")
        if tags is None and example.label is not None:
            tags = [example.label]
        if not isinstance(tags, list | tuple):
            return None, ("without labels", f'{example.path}: `extra["tags"]` must be a list. Received: {tags!r}.')
        target = np.zeros(len(self._indices), np.float32)
        for tag in tags:
            index = self._index(tag)
            if index is None:
                return None, self._unknown(example, "a tag", tag)
            target[index] = 1.0
        return target, None


class FrameLabels(_ClassTargets):
    """The class at the middle of each output frame, int32 `(frames,)`, -1 for none.

    `labels` are (start, end, class) in seconds from the example's start, or one class for each of any number of parts
    of equal length; None is no class.
    """

    per_frame = True

    def of(self, example: Example, length: int, framing: Framing) -> tuple[np.ndarray | None, Fault | None]:
        """See `Targets`."""
        if not example.labels:
            return None, ("without labels", f"{example.path}: has no `labels`, which a class for each frame needs.")
        times, duration = framing.times(length), length / framing.sample_rate
        target = np.full(len(times), -1, np.int32)
        segments = all(isinstance(label, tuple | list) for label in example.labels)
        for i, label in enumerate(example.labels):
            if segments:
                fault = _wrong_segment(example, label, duration)
                if fault is not None:
                    return None, fault
                start, end, label = label
            else:
                start, end = (duration * part / len(example.labels) for part in (i, i + 1))
            if label is None:
                continue
            index = self._index(label)
            if index is None:
                return None, self._unknown(example, "each class in `labels`", label)
            target[slice(*np.searchsorted(times, (start, end)))] = index
        return target, None

    def resized(self, target: np.ndarray, frames: int) -> np.ndarray:
        """The classes at the same relative positions."""
        if frames == len(target) or not len(target):
            return target
        return target[((np.arange(frames) + 0.5) * len(target) / frames).astype(int)]


def balanced(entries: Sequence[Entry], strength: float, seed: int) -> list[Entry]:
    """The entries, with those of rare classes repeated.

    Args:
        entries: Entries with a class each, or with tags, of which the rarest counts.
        strength: 1 repeats each class until it is as frequent as the most frequent one; 0 repeats nothing, and 0.5
            leaves the square root of the ratio.
        seed: Seed of the choice of entries that are repeated once more than others.

    Raises:
        ValueError: The entries have a class for each frame.
    """
    if not strength:
        return list(entries)
    targets = [entry.target for entry in entries]
    if targets[0].ndim and not np.issubdtype(targets[0].dtype, np.floating):
        raise ValueError("Balancing needs one class per example, or tags. Received: targets of another kind.")
    if targets[0].ndim:
        counts = np.maximum(np.sum(targets, axis=0), 1)
        rarest = [np.where(target > 0.5, counts, np.inf).argmin() if target.any() else -1 for target in targets]
    else:
        rarest = [int(target) for target in targets]
    groups: dict[int, list[Entry]] = {}
    for group, entry in zip(rarest, entries, strict=True):
        groups.setdefault(int(group), []).append(entry)
    largest = max(map(len, groups.values()))
    rng = np.random.default_rng([seed, largest])
    repeated = list(entries)
    for members in groups.values():
        count = round(len(members) * (largest / len(members)) ** strength)
        for copy in range(1, -(-count // len(members))):
            chosen = rng.permutation(len(members))[: count - copy * len(members)]
            repeated += [replace(members[i], copy=copy) for i in sorted(chosen)]
    return repeated


def _wrong_segment(example: Example, label: Any, duration: float) -> Fault | None:
    if not 0 <= label[0] < label[1] or label[0] >= duration:
        return "with labels outside the record", (
            f"{example.path}: labels must lie within its {duration:.3f} s. Received: {label!r}. Prepare it again."
        )
    return None


def _encoding_fault(example: Example, vocabulary: Vocabulary) -> Fault | None:
    if example.text is None:
        return "without a text", f"{example.path}: has no `text`, which training on a vocabulary needs."
    missing = vocabulary.missing(example.text)
    if missing:
        characters = " ".join(repr(c) for c in sorted(missing))
        return "with characters outside the vocabulary", (
            f"{example.path}: {characters} in {example.text!r}. Normalize the text, or make the vocabulary from it."
        )
    return None


def _too_short(required: int, frames: int) -> Fault | None:
    if frames < required:
        return "too short for their text", (
            f"the text needs at least {required} output frames, and the audio gives {frames}. "
            "Check that text and audio belong together, or use a smaller stride."
        )
    return None
