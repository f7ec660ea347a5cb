"""A training setting: how to build a classifier, its training options, and the augmentation of examples."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from speechrnn.data import manifest
from speechrnn.data.manifest import Example
from speechrnn.tasks.classification.options import ClassifierTraining
from speechrnn.training.options import TrainingOptions, promoted

if TYPE_CHECKING:
    from speechrnn.features.augment import Augmentation
    from speechrnn.tasks.classification.model import SequenceClassifier

Varied = Callable[[Sequence[Example]], Sequence[Example]]
"""A function from examples to other examples of the same subjects."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """How to build and train a classifier; `cross_validate` can choose from several settings."""

    build: Callable[[], SequenceClassifier]
    """Builds an untrained classifier; called once per model, after Keras's random numbers were seeded by the options.
    Features with `normalize="global"` are adapted to the training examples, unless they have been already."""
    options: TrainingOptions | None = None
    """How to train."""
    augment: Augmentation | None = None
    """How to augment the training examples."""
    vary: Varied | None = None
    """Replaces the training examples, for instance by themselves and copies of them."""

    @property
    def training(self) -> ClassifierTraining:
        """The training options, as those of classifiers."""
        return promoted(self.options, ClassifierTraining, noun="classifier")

    @property
    def fingerprint(self) -> str:
        """A text that must be equal for a run to continue with another run's models."""
        return self.training.to_json()

    def learn(
        self,
        examples: Sequence[Example],
        *,
        out: str | os.PathLike[str],
        valid_fraction: float = 0.0,
        card: dict[str, Any] | None = None,
        resume: bool = False,
        overwrite: bool = False,
        verbose: bool = True,
    ) -> SequenceClassifier:
        """Train a classifier with this setting.

        Args:
            examples: Training examples.
            out: The model's file, ending in `.keras`; members are saved next to it.
            valid_fraction: Share of the examples by which the best epoch is chosen, split by subject if known.
            card: Additional entries of the model's card.
            resume: Continue an interrupted run.
            overwrite: Replace the files of an earlier run.
            verbose: Show progress on stderr.

        Raises:
            KeyboardInterrupt: The training was interrupted, so that there is no result.
        """
        import keras

        from speechrnn.tasks.classification.building import adapt
        from speechrnn.training import train

        options = self.training
        valid: list[Example] = []
        if valid_fraction:
            parts = manifest.stratified_group_folds(examples, max(2, round(1 / valid_fraction)), seed=options.seed)
            examples, valid = parts[0]
        training = examples if self.vary is None else varied(self.vary, examples)
        keras.utils.set_random_seed(options.seed)
        model = self.build()
        model.card = {**model.card, **(card or {})}
        adapt(model.features, examples)
        existing: Any = {"resume": resume, "overwrite": overwrite, "verbose": verbose}
        run = train(model, training, valid=valid, options=options, augment=self.augment, out=out, **existing)
        return run.completed().model


def varied(vary: Varied, examples: Sequence[Example]) -> list[Example]:
    """Call a function that varies examples, and check that it adds no subjects."""
    result, subjects = list(vary(examples)), {example.subject for example in examples}
    if others := [example.id for example in result if example.subject not in subjects]:
        raise ValueError(
            f"`vary` and `also_on` must keep subjects. Received {len(others)} examples of others, {others[0]} first."
        )
    return result
