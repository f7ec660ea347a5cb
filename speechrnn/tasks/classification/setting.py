"""One way to learn: a classifier, its options, how examples are varied, and how many models answer as one."""

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
"""Examples for examples, of the same subjects."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """One way to learn, of those that `cross_validate` chooses from."""

    build: Callable[[], SequenceClassifier]
    """Makes a fresh classifier; called once a model, with Keras's random numbers seeded by the options. Features with
    `normalize="global"` are adapted to what it learns from, unless they are already."""
    options: TrainingOptions | None = None
    """How to train."""
    augment: Augmentation | None = None
    """How to vary the training examples."""
    vary: Varied | None = None
    """Gives what is learned from in place of the examples that may be, such as these and copies of them."""

    @property
    def training(self) -> ClassifierTraining:
        """The options, whole."""
        return promoted(self.options, ClassifierTraining, noun="classifier")

    @property
    def fingerprint(self) -> str:
        """What two runs must have in common for one to continue with the other's models."""
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
        """Train a classifier in this way; members are kept beside it.

        Args:
            examples: What to learn from.
            out: The model's file, ending in `.keras`.
            valid_fraction: Part of the examples that decides the epoch, whole subjects where they are known.
            card: What its card says besides.
            resume: Go on with a run that was stopped.
            overwrite: Replace what an earlier run left.
            verbose: Show progress on stderr.

        Raises:
            KeyboardInterrupt: The training was stopped: half of it is no result.
        """
        import keras

        from speechrnn.tasks.classification.building import adapt
        from speechrnn.training import train

        options = self.training
        valid: list[Example] = []
        if valid_fraction:
            parts = manifest.stratified_group_folds(examples, max(2, round(1 / valid_fraction)), seed=options.seed)
            examples, valid = parts[0]
        learned = examples if self.vary is None else varied(self.vary, examples)
        keras.utils.set_random_seed(options.seed)
        model = self.build()
        model.card = {**model.card, **(card or {})}
        adapt(model.features, examples)
        how: Any = {"resume": resume, "overwrite": overwrite, "verbose": verbose}
        run = train(model, learned, valid=valid, options=options, augment=self.augment, out=out, **how)
        if run.interrupted:
            raise KeyboardInterrupt
        return run.model


def varied(vary: Varied, examples: Sequence[Example]) -> list[Example]:
    """What a function varies examples to, none of which may be of a subject that is not among them."""
    found, subjects = list(vary(examples)), {example.subject for example in examples}
    if others := [example.id for example in found if example.subject not in subjects]:
        raise ValueError(
            f"`vary` and `also_on` must keep subjects. Received {len(others)} examples of others, {others[0]} first."
        )
    return found
