"""Evaluate a classifier on a manifest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from speechrnn import metrics
from speechrnn.data.manifest import Example
from speechrnn.faults import Fault, Faults, options_as_keywords
from speechrnn.models.loading import open_model
from speechrnn.pipeline.selection import Framing
from speechrnn.pipeline.targets import targets_of
from speechrnn.tasks.classification.classify import Classification, outcomes, task_of
from speechrnn.tasks.classification.options import ClassifierEvaluation
from speechrnn.tasks.classification.report import ClassificationReport, Classified, classification_report

if TYPE_CHECKING:
    from speechrnn.models.protocols import Classifier


@options_as_keywords(ClassifierEvaluation)
def evaluate_classifier(  # noqa: D417 - the decorator adds the options
    model: Any,
    examples: Iterable[Example],
    *,
    options: ClassifierEvaluation,
    faults: Faults | None = None,
    progress: Callable[[str], None] | None = None,
) -> ClassificationReport:
    """Classify examples and compare the results with their labels.

    An example without a label that the model knows, or whose signal cannot be read, is excluded from the figures and
    listed in the report's `faults`.

    Args:
        model: A classifier, or its path.
        examples: Examples of a manifest with `label`, for one class per frame with `labels`, or for several at once
            with `extra["tags"]`.
        faults: Earlier faults, such as those of reading the manifest; new ones are added.
        progress: Called with the path of each example once it is done.
    """
    faults, model = Faults() if faults is None else faults, open_model(model, "classifier")
    all_examples, task = list(examples), task_of(model)
    scheme = options.scheme or getattr(model, "card", {}).get("scheme")
    metrics.scheme_scores(scheme, np.eye(len(model.classes)), model.classes)  # raises an error if it does not fit
    targets, scored = targets_of(task, None, model.classes, all_examples), []
    started = time.perf_counter()
    results = outcomes(model, all_examples, batch_size=options.batch_size, progress=progress)
    for example, outcome in zip(all_examples, results, strict=True):
        if isinstance(outcome, Fault):
            faults.extend([outcome])
            continue
        truth, fault = targets.of(example, round(outcome.duration * model.sample_rate), _framing(model, outcome))
        if truth is None or fault is not None:
            faults.add(example.path, *(fault or ("without labels", f"{example.path}: has no class.")))
        else:
            scored.append(Classified(example.id, truth, outcome.probabilities, example.subject, outcome.duration))
    elapsed = time.perf_counter() - started
    return classification_report(
        scored, model.classes, task=task, scheme=scheme, faults=tuple(faults), elapsed=elapsed, seed=options.seed
    )


def _framing(model: Classifier, outcome: Classification) -> Framing:
    """The times of an answer's frames; each frame lasts until the start of the next one."""
    frames, hop = len(outcome.probabilities), max(1, round(model.frame_period * model.sample_rate))
    return Framing(model.sample_rate, lambda length: frames, window=hop, hop=hop)
