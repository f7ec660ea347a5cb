"""Options of classifiers, in a module without TensorFlow."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from speechrnn.training.options import SignalTraining, require

__all__ = ["ClassifierTraining"]


@dataclass(frozen=True)
class ClassifierTraining(SignalTraining):
    """How to train a classifier."""

    monitor: Literal["auto", "macro_f1", "accuracy", "loss"] = "auto"
    """Validation figure that decides which epoch is the best: mean F1 of the classes (auto), accuracy or loss."""
    class_weights: tuple[str, ...] = ()
    """Weights of the classes in the loss: "balanced" (rare ones count as much as frequent ones), "sqrt" (half way
    there), or NAME=NUMBER for some of them."""
    label_smoothing: float = 0.0
    """Share of the target that all classes get alike, such as 0.1."""
    focal: float = 0.0
    """Exponent of the focal loss, such as 2; 0 is plain cross entropy."""
    balance: float = 0.0
    """How much rare classes are repeated: 1 until all are equally frequent, 0 not at all."""
    mixup: float = 0.0
    """Parameter of the Beta distribution of mixup, such as 0.2, where a whole signal has one class; 0 mixes none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.class_weights, Mapping):
            given = tuple(f"{name}={weight}" for name, weight in self.class_weights.items())
        else:
            given = (self.class_weights,) if isinstance(self.class_weights, str) else tuple(self.class_weights)
        object.__setattr__(self, "class_weights", given)  # JSON gives lists
        require(self, "in [0, 1)", lambda value: 0 <= value < 1, "label_smoothing")
        require(self, "in [0, 1]", lambda value: 0 <= value <= 1, "balance")
        require(self, "zero or positive", lambda value: value >= 0, "focal", "mixup")
