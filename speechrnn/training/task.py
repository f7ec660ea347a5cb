"""What differs between training one kind of model and another: targets, loss, scores, and their words."""

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
    """What a scorer gives; a kind adds its figures as fields."""

    def logs(self) -> dict[str, float]:
        """The figures under the names training logs them by: those of the fields."""
        return {f"val_{field.name}": getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True)
class Given:
    """The examples that a model is trained or validated on, and how they are gone through."""

    examples: Sequence[Any]
    training: bool = False
    """Whether they are learned from: in another order every epoch, and augmented."""
    epoch: int = 0
    """Number of the first pass."""
    augmentation: Augmentation | None = None
    """How they are varied."""
    faults: Faults = field(default_factory=Faults)
    """Collects the examples that are dropped."""


class Task:
    """What a model is trained for.

    Args:
        model: The model.
        options: How to train; None for the defaults of the kind.

    Raises:
        TypeError: They are options of another kind.
    """

    options: Any
    """The options, of the kind's class."""
    options_class: ClassVar[type[TrainingOptions]]
    """The class of its options."""
    monitors: ClassVar[Mapping[str, int]]
    """What may be monitored, the default first: 1 where lower is better, -1 where higher is."""
    of_training: ClassVar[str] = ""
    """Words about the training examples beside their loss, with figures of the log in braces."""
    of_validation: ClassVar[str] = "loss {val_loss:.4g}"
    """Words about the validation examples."""
    divides: ClassVar[bool] = False
    """Whether several processes can share its batches: whether `batches` heeds `share`."""
    of_strangers: ClassVar[bool] = True
    """Whether it is validated on people other than those it learns from."""
    share: tuple[int, int] = (0, 1)
    """Which part of every training batch this process loads, and how many parts there are."""

    def __init__(self, model: Any, options: TrainingOptions | None) -> None:
        self.model = model
        self.options = promoted(options, self.options_class, noun=kinds.of(model).noun)
        self.monitor = next(iter(self.monitors)) if self.options.monitor == "auto" else self.options.monitor

    def monitored_value(self, logs: Mapping[str, float]) -> float:
        """What is monitored, so that lower is better."""
        return self.monitors[self.monitor] * logs[f"val_{self.monitor}"]

    def batches(self, given: Given) -> tf.data.Dataset:
        """Batches to train on or to validate on, with known cardinality; each pass over them is an epoch."""
        raise NotImplementedError

    def loss(self, dataset: tf.data.Dataset) -> keras.losses.Loss | None:
        """What is minimized on a dataset that `batches` made; None where the model's own loss has no options."""
        return None

    def scorer(self, dataset: tf.data.Dataset) -> Callable[[], Scores]:
        """What scores the model on a dataset that `batches` made."""
        raise NotImplementedError

    def trained(self, logs: Mapping[str, float]) -> str:
        """Words about the training examples."""
        return self.of_training.format_map(defaultdict(float, logs))

    def validated(self, logs: Mapping[str, float]) -> str:
        """Words about the validation examples."""
        return self.of_validation.format_map(logs)


def of_recordings(task: Task, given: Given) -> dict[str, Any]:
    """How recordings are batched."""
    options: SignalTraining = task.options
    return {
        "augmentation": given.augmentation,
        "faults": given.faults,
        "initial_epoch": given.epoch,
        "shuffle": given.training,
        "stride": task.model.stride,
        "share": task.share if given.training else (0, 1),
        "batch_seconds": options.batch_seconds,
        "batch_size": options.batch_size if options.batch_seconds is None else None,
        "cache": options.cache,
        "cache_gigabytes": options.cache_gigabytes,
        "max_duration": options.max_duration,
        "seed": options.seed,
    }


def refuse_augmentation(what: str, augmentation: Augmentation | None) -> None:
    """Of a kind whose examples cannot be varied.

    Raises:
        ValueError: There is an augmentation.
    """
    if augmentation is not None:
        raise ValueError(f"{what} are not augmented. Received: {augmentation}.")


def task_of(model: Bundle, options: TrainingOptions | None) -> Task:
    """What a model is trained for.

    Raises:
        TypeError: It is not a bundle, or the options are for models of another kind.
    """
    return kinds.resolve(kinds.of(model).training)(model, options)
