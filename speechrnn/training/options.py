"""How to train: one frozen dataclass, saved beside the model."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

from speechrnn.faults import suggestion

__all__ = ["TrainingOptions"]


@dataclass(frozen=True)
class TrainingOptions:
    """How to train. Saved beside the model as `training.json`."""

    epochs: int = 60
    """Passes over the training manifest."""
    batch_size: int = 16
    """Examples in a batch."""
    batch_seconds: float | None = None
    """Seconds of signal in a batch, padding counted, instead of a number of examples."""
    learning_rate: float = 1.5e-3
    """Highest learning rate, reached at the end of the warm-up."""
    warmup: float = 0.1
    """Share of all steps in which the learning rate rises; after it, it falls along a cosine."""
    final_learning_rate: float = 1e-6
    """Learning rate of the last step."""
    weight_decay: float = 1e-2
    """Decoupled weight decay (AdamW); biases and normalisation are left out."""
    clip_norm: float = 5.0
    """Largest global gradient norm; 0 turns clipping off."""
    average: float = 0.0
    """Momentum of the moving average of the weights that is validated and saved, such as 0.998; 0 turns it off."""
    consistency: float = 0.0
    """Weight of the agreement between two augmentations of each utterance, such as 0.2; twice the work a step."""
    class_weights: tuple[str, ...] = ()
    """Weights of a classifier's classes in the loss: "balanced" (rare ones count as much as frequent ones), "sqrt"
    (half way there), or NAME=NUMBER for some of them."""
    label_smoothing: float = 0.0
    """Share of a classifier's target that all classes get alike, such as 0.1."""
    focal: float = 0.0
    """Exponent of the focal loss of a classifier, such as 2; 0 is plain cross entropy."""
    balance: float = 0.0
    """How much a classifier's rare classes are repeated: 1 until all are equally frequent, 0 not at all."""
    mixup: float = 0.0
    """Parameter of the Beta distribution of mixup, such as 0.2, for a classifier of whole signals; 0 mixes none."""
    monitor: Literal["auto", "wer", "loss", "accuracy", "macro_f1", "mae", "mse"] = "auto"
    """What decides which epoch is the best, on the validation set: word error rate of a recogniser, accuracy or mean F1
    of the classes of a classifier, absolute or squared error of a forecaster, or the loss; by default the word error
    rate, the mean F1, or a forecaster's loss."""
    patience: int = 0
    """Epochs without a better one after which training stops; 0 trains them all."""
    validate_every: int = 1
    """Epochs from one validation to the next; the last epoch is always validated."""
    cache: str | None = "memory"
    """Where decoded examples are kept between epochs: "memory", a folder, or nothing (`none`)."""
    max_duration: float | None = None
    """Longest example, in seconds; longer ones are dropped, and counted."""
    tensorboard: bool = False
    """Write logs for TensorBoard beside the model."""
    require_cudnn: bool = False
    """Refuse to train where a recurrent layer would not run on cuDNN, instead of training slowly."""
    gradient_report: bool = False
    """Write the gradient norms of every layer to `gradients.csv` beside the model, and say if they are healthy."""
    seed: int = 1
    """Seed of order and augmentation."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "validate_every"):
            _require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        for name in ("learning_rate", "final_learning_rate"):
            value = getattr(self, name)
            _require(math.isfinite(value) and value > 0, name, "positive", value)
        if isinstance(self.class_weights, Mapping):
            given = tuple(f"{name}={weight}" for name, weight in self.class_weights.items())
        else:
            given = (self.class_weights,) if isinstance(self.class_weights, str) else tuple(self.class_weights)
        object.__setattr__(self, "class_weights", given)  # JSON gives lists
        for name in ("warmup", "average", "label_smoothing"):
            _require(0 <= getattr(self, name) < 1, name, "in [0, 1)", getattr(self, name))
        _require(0 <= self.balance <= 1, "balance", "in [0, 1]", self.balance)
        for name in ("weight_decay", "clip_norm", "consistency", "patience", "focal", "mixup"):
            _require(getattr(self, name) >= 0, name, "zero or positive", getattr(self, name))
        known = get_args(get_type_hints(type(self))["monitor"])
        _require(self.monitor in known, "monitor", f"one of {', '.join(known)}", self.monitor)
        if self.batch_seconds is not None:
            _require(self.batch_seconds > 0, "batch_seconds", "positive", self.batch_seconds)

    def to_json(self) -> str:
        """The options as JSON text."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "TrainingOptions":
        """The options that `to_json` wrote.

        Raises:
            ValueError: An option is unknown or out of its range.
        """
        values: dict[str, Any] = json.loads(text)
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise ValueError(f"Unknown training option `{name}`.{suggestion(name, known)}")
        return cls(**values)


def _require(holds: bool, name: str, requirement: str, value: Any) -> None:
    if not holds:
        raise ValueError(f"`{name}` must be {requirement}. Received: {name}={value!r}.")
