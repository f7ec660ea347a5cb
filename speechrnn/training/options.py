"""Training options: frozen dataclasses, saved beside the model.

`TrainingOptions` has the options of all kinds of models; a kind adds its own in `tasks/*/options.py`.
"""

import json
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, Self, TypeVar

from speechrnn.faults import (
    CheckedOptions,
    Count,
    Fraction,
    NonNegative,
    NonNegativeInt,
    Positive,
    PositiveFinite,
    suggestion,
)

_Options = TypeVar("_Options", bound="TrainingOptions")


@dataclass(frozen=True)
class TrainingOptions(CheckedOptions):
    """How to train a model of any kind. Saved beside it as `training.json`."""

    epochs: Count = 60
    """Passes over the training data."""
    batch_size: Count = 16
    """Examples in a batch."""
    learning_rate: PositiveFinite = 1.5e-3
    """Highest learning rate, reached at the end of the warm-up."""
    warmup: Fraction = 0.1
    """Share of all steps in which the learning rate rises; then it falls along a cosine."""
    final_learning_rate: PositiveFinite = 1e-6
    """Learning rate of the last step."""
    weight_decay: NonNegative = 1e-2
    """Decoupled weight decay (AdamW); biases and normalization are left out."""
    clip_norm: NonNegative = 5.0
    """Largest global gradient norm; 0 turns clipping off."""
    average: Fraction = 0.0
    """Momentum of a moving average of the weights, which is validated and saved, such as 0.998; 0 turns it off."""
    monitor: str = "auto"
    """Validation figure that decides which epoch is the best; by default the one that suits the kind of model."""
    patience: NonNegativeInt = 0
    """Epochs without improvement after which training stops; 0 trains all epochs."""
    validate_every: Count = 1
    """Epochs from one validation to the next; the last epoch is always validated."""
    tensorboard: bool = False
    """Write logs for TensorBoard next to the model."""
    require_cudnn: bool = False
    """Refuse to train if a recurrent layer would not run on cuDNN, instead of training slowly."""
    gradient_report: bool = False
    """Write the gradient norms of every layer to `gradients.csv` in the training folder, and report whether they are
    healthy."""
    seed: NonNegativeInt = 1
    """Seed of random numbers: new weights, order and augmentation."""
    members: Count = 1
    """Number of models that are trained from new weights, each with the next seed, and averaged to one; for
    classifiers, forecasters and recognizers with CTC."""

    def to_json(self) -> str:
        """The options as JSON text."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The options that `to_json` wrote.

        Raises:
            ValueError: An option is unknown or out of its range.
        """
        values: dict[str, Any] = json.loads(text)
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise ValueError(f"Unknown training option `{name}`.{suggestion(name, known, 'Known')}")
        return cls(**values)


@dataclass(frozen=True)
class SignalTraining(TrainingOptions):
    """How to train a model whose examples are whole recordings, each of its own length."""

    batch_seconds: Positive | None = None
    """Seconds of signal in a batch, padding counted: instead of `batch_size`."""
    cache: str | None = "memory"
    """Where decoded examples are kept between epochs: "memory", a folder, or nothing (`none`)."""
    cache_gigabytes: Positive | None = None
    """Largest size of the cache; what does not fit is decoded again in every epoch. By default half of the free memory,
    or all of the disk's free space."""
    max_duration: Positive | None = None
    """Longest example, in seconds; longer ones are dropped, and counted."""


def promoted(options: TrainingOptions | None, kind: type[_Options], *, noun: str) -> _Options:
    """Convert training options to the dataclass of a kind.

    Args:
        options: None, options of the kind, or options of a base class: those that have their default value get the
            default of the kind.
        kind: The kind's dataclass.
        noun: Name of a model of the kind in messages.

    Raises:
        TypeError: They are options of another kind.
        ValueError: `monitor` is a figure of another kind.
    """
    if options is None:
        return kind()
    if isinstance(options, kind):
        return options
    if not issubclass(kind, type(options)):
        raise TypeError(
            f"{type(options).__name__} is not for a {noun}. Pass {kind.__name__}, or TrainingOptions, which every kind "
            "has."
        )
    values = {field.name: getattr(options, field.name) for field in fields(options)}
    defaults = {field.name: field.default for field in fields(options) if field.default is not MISSING}
    return kind(**{name: value for name, value in values.items() if value != defaults.get(name, MISSING)})
