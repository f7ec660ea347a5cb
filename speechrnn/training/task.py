"""The base class of what differs between kinds in training: batches, loss, scores, and the lines that report them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import keras
import tensorflow as tf

from speechrnn.faults import Faults
from speechrnn.features.augment import Augmentation
from speechrnn.models import kinds
from speechrnn.models.bundle import Bundle
from speechrnn.training.options import SignalTraining, TrainingOptions, promoted


@dataclass(frozen=True)
class Scores:
    """Base class of validation scores; a kind adds its figures as fields."""

    def logs(self) -> dict[str, float]:
        """The figures by their names in training logs: `val_` and the field's name."""
        return {f"val_{field.name}": getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True)
class Split:
    """The training or validation examples, and how to iterate over them."""

    examples: Sequence[Any]
    training: bool = False
    """Whether they are the training examples: shuffled in every epoch, and augmented."""
    epoch: int = 0
    """Number of the first epoch."""
    augmentation: Augmentation | None = None
    """How examples are augmented."""
    faults: Faults = field(default_factory=Faults)
    """Collects the examples that are dropped."""


class Task:
    """A training task: batches, loss and validation scores for models of one kind.

    Args:
        model: The model.
        options: How to train; None for the defaults of the kind.

    Raises:
        TypeError: They are options of another kind.
    """

    options: Any
    """The options, of `options_class`."""
    options_class: ClassVar[type[TrainingOptions]]
    """The class of its options."""
    monitors: ClassVar[Mapping[str, int]]
    """Figures that may be monitored, the default first: 1 if lower is better, -1 if higher is better."""
    training_summary: ClassVar[str] = ""
    """Text about the training examples after their loss, a format string of the log's figures."""
    validation_summary: ClassVar[str] = "loss {val_loss:.4g}"
    """Text about the validation examples, a format string of the log's figures."""
    supports_hosts: ClassVar[bool] = False
    """Whether several processes can share its batches: whether `batches` uses `share`."""
    check_subjects: ClassVar[bool] = True
    """Whether to warn if training and validation examples share subjects."""
    share: tuple[int, int] = (0, 1)
    """Index of the part of every training batch that this process loads, and the number of parts."""

    def __init__(self, model: Any, options: TrainingOptions | None) -> None:
        self.model = model
        self.options = promoted(options, self.options_class, noun=kinds.of(model).noun)
        self.monitor = next(iter(self.monitors)) if self.options.monitor == "auto" else self.options.monitor

    def monitored_value(self, logs: Mapping[str, float]) -> float:
        """The monitored figure, negated if higher is better: lower is always better."""
        return self.monitors[self.monitor] * logs[f"val_{self.monitor}"]

    def batches(self, split: Split) -> tf.data.Dataset:
        """Batches for training or validation, with known cardinality; each pass over them is an epoch."""
        raise NotImplementedError

    def loss(self, dataset: tf.data.Dataset) -> keras.losses.Loss | None:
        """The loss for a dataset that `batches` made; None for the model's default loss."""
        return None

    def scorer(self, dataset: tf.data.Dataset) -> Callable[[], Scores]:
        """A function that scores the model on a dataset that `batches` made."""
        raise NotImplementedError

    def describe_training(self, logs: Mapping[str, float]) -> str:
        """Text about the training examples."""
        return self.training_summary.format_map(defaultdict(float, logs))

    def describe_validation(self, logs: Mapping[str, float]) -> str:
        """Text about the validation examples."""
        return self.validation_summary.format_map(logs)


def recording_batch_options(task: Task, split: Split) -> dict[str, Any]:
    """The arguments of `speechrnn.pipeline.batches` for recordings."""
    options: SignalTraining = task.options
    return {
        "augmentation": split.augmentation,
        "faults": split.faults,
        "initial_epoch": split.epoch,
        "shuffle": split.training,
        "stride": task.model.stride,
        "share": task.share if split.training else (0, 1),
        "batch_seconds": options.batch_seconds,
        "batch_size": options.batch_size if options.batch_seconds is None else None,
        "cache": options.cache,
        "cache_gigabytes": options.cache_gigabytes,
        "max_duration": options.max_duration,
        "seed": options.seed,
    }


def refuse_augmentation(what: str, augmentation: Augmentation | None) -> None:
    """Refuse an augmentation, for a kind whose examples cannot be augmented.

    Raises:
        ValueError: There is an augmentation.
    """
    if augmentation is not None:
        raise ValueError(f"{what} are not augmented. Received: {augmentation}.")


def task_of(model: Bundle, options: TrainingOptions | None) -> Task:
    """The training task of a model's kind.

    Raises:
        TypeError: The model is not a bundle, or the options are for models of another kind.
    """
    return kinds.resolve(kinds.of(model).training)(model, options)
