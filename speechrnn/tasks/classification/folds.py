"""Cross-validation: one model per fold, all their answers in one report, and a last model that learns from all."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from speechrnn import files
from speechrnn.data import manifest
from speechrnn.data.manifest import Example
from speechrnn.faults import Fault
from speechrnn.tasks.classification.evaluation import evaluate_classifier
from speechrnn.tasks.classification.options import ClassifierTraining
from speechrnn.tasks.classification.report import ClassificationReport, Classified, classification_report
from speechrnn.training.options import TrainingOptions, promoted

if TYPE_CHECKING:
    from speechrnn.features.augment import Augmentation
    from speechrnn.tasks.classification.model import SequenceClassifier

Fold = Sequence[Example] | tuple[Sequence[Example], Sequence[Example]]
"""What a fold holds out; or what it learns from and what it holds out."""


def cross_validate(
    build: Callable[[], SequenceClassifier],
    examples: Sequence[Example],
    folds: int | Sequence[Fold],
    *,
    out: str | os.PathLike[str],
    options: TrainingOptions | None = None,
    augment: Augmentation | None = None,
    valid_fraction: float = 0.0,
    final: bool = True,
    scheme: str | None = None,
    batch_size: int = 32,
    resume: bool = False,
    overwrite: bool = False,
    verbose: bool = True,
) -> ClassificationReport:
    """Train a classifier for each fold, score each on what it has not seen, and sum all the answers up.

    What a fold holds out is never looked at in its training: the model of the last epoch is scored, or, with
    `valid_fraction`, the best one on examples taken from what the fold learns from. Beside `out` (say `sounds.keras`)
    a folder `sounds.folds/` keeps the model and the answers of each fold, so that a run that was stopped goes on with
    `resume=True`. At the end one more model learns from all examples in the same way; the report's figures, which are
    those of the others, stand in its card under `cross_validation`.

    Args:
        build: Makes a fresh classifier; called once a fold, with Keras's random numbers seeded by `options.seed`.
            Features with `normalize="global"` are adapted to what the fold learns from, unless they are already.
        examples: All examples.
        folds: A number of folds for `manifest.stratified_group_folds`, or what that gave, or the examples that each
            fold holds out (`examples` without them is what it learns from).
        out: The last model's file, ending in `.keras`.
        options: How to train.
        augment: How to vary the training examples.
        valid_fraction: Part of what a fold learns from that decides its epoch, whole subjects where they are known.
        final: Train the last model. Without it nothing is written to `out`.
        scheme: As `evaluate_classifier` takes it.
        batch_size: Records classified at once.
        resume: Pass over folds that are done, and go on within one that is not.
        overwrite: Replace what an earlier run left.
        verbose: Show progress on stderr.

    Returns:
        The pooled report, with `folds` holding the figures of each.

    Raises:
        FileExistsError: An earlier run left its files, and neither `resume` nor `overwrite` is set.
        ValueError: A fold is empty, an example is held out twice, a subject is on both sides of a fold, or what is to
            be resumed had other options or folds.
    """
    options, out = promoted(options, ClassifierTraining, noun="classifier"), Path(out)
    if out.suffix != ".keras":
        raise ValueError(f"The model's file must end in .keras. Received: {out}.")
    if isinstance(folds, int):
        folds = manifest.stratified_group_folds(examples, folds, seed=options.seed)
    pairs = _pairs(examples, folds)

    def learn(left: Sequence[Example], path: Path, **card: object) -> SequenceClassifier:
        return _learn(
            build, left, path, options, augment, valid_fraction, card, resume=resume, overwrite=overwrite,
            verbose=verbose,
        )  # fmt: skip

    if final:
        files.refuse_existing(out, overwrite=resume or overwrite)  # before hours of work, not after
    reports = []
    for number, (left, held) in enumerate(pairs, start=1):
        path = out.with_suffix(".folds") / f"fold_{number}.keras"
        answers = path.with_suffix(".npz")
        if resume and answers.exists():
            reports.append(_kept(answers, held, options))
            continue
        report = evaluate_classifier(learn(left, path), held, scheme=scheme, batch_size=batch_size)
        _keep(answers, report, options)
        reports.append(report)
    pooled = _pooled(reports, options.seed)
    if final:
        learn(examples, out, cross_validation={"folds": len(pairs), "records": len(pooled.records), **_figures(pooled)})
    return pooled


def _pairs(examples: Sequence[Example], folds: Sequence[Fold]) -> list[tuple[list[Example], list[Example]]]:
    pairs: list[tuple[list[Example], list[Example]]] = []
    seen: set[str] = set()
    for number, fold in enumerate(folds, start=1):
        if len(fold) == 2 and not any(isinstance(part, Example) for part in fold):
            left, held = (list(part) for part in fold)  # type: ignore[arg-type]
        else:
            held = list(fold)  # type: ignore[arg-type]
            ids = {example.id for example in held}
            left = [example for example in examples if example.id not in ids]
        ids = {example.id for example in held}
        if not left or not held:
            raise ValueError(f"Fold {number} must learn from some examples and hold some out. Received: an empty part.")
        if twice := (seen & ids) or ({example.id for example in left} & ids):
            raise ValueError(f"Fold {number} holds out {min(twice)!r}, which is held out or learned elsewhere.")
        manifest.check_disjoint({f"fold {number}, learned": left, f"fold {number}, held out": held})
        seen |= ids
        pairs.append((left, held))
    if len(pairs) < 2:
        raise ValueError(f"There must be two folds or more. Received: {len(pairs)}.")
    return pairs


def _learn(
    build: Callable[[], SequenceClassifier],
    examples: Sequence[Example],
    path: Path,
    options: TrainingOptions,
    augment: Augmentation | None,
    valid_fraction: float,
    card: dict[str, object],
    **how: bool,
) -> SequenceClassifier:
    import keras

    from speechrnn.tasks.classification.building import adapt
    from speechrnn.training import train

    valid: list[Example] = []
    if valid_fraction:
        parts = manifest.stratified_group_folds(examples, max(2, round(1 / valid_fraction)), seed=options.seed)
        examples, valid = parts[0]
    keras.utils.set_random_seed(options.seed)
    model = build()
    model.card = {**model.card, **card}
    adapt(model.features, examples)
    run = train(model, examples, valid=valid, options=options, augment=augment, out=path, **how)
    if run.interrupted:
        raise KeyboardInterrupt  # a fold that is not through is no result; `resume` goes on
    return run.model


def _pooled(reports: Sequence[ClassificationReport], seed: int) -> ClassificationReport:
    first = reports[0]
    if any((report.classes, report.task) != (first.classes, first.task) for report in reports):
        raise ValueError(f"The models of all folds must have the same classes. Received: {first.classes} and others.")
    pooled = classification_report(
        [record for report in reports for record in report.records],
        first.classes,
        task=first.task,
        scheme=first.scheme,
        faults=[fault for report in reports for fault in report.faults],
        elapsed=sum(report.elapsed for report in reports),
        seed=seed,
    )
    return dataclasses.replace(pooled, folds=tuple(report.figures for report in reports))


def _figures(report: ClassificationReport) -> dict[str, object]:
    """Figures with their intervals, as a card can hold them."""
    return {
        name: [round(value, 4), *(round(float(end), 4) for end in report.interval(name))]
        for name, value in report.figures.items()
        if np.isfinite([value, *report.interval(name)]).all()
    }


def _keep(path: Path, report: ClassificationReport, options: TrainingOptions) -> None:
    """Write the answers of a fold."""
    about = {
        "classes": report.classes,
        "task": report.task,
        "scheme": report.scheme,
        "elapsed": report.elapsed,
        "options": options.to_json(),
        "records": [(record.id, record.subject, record.seconds) for record in report.records],
        "faults": [(fault.where, fault.kind, fault.message) for fault in report.faults],
    }
    frames = [len(np.atleast_2d(record.probabilities)) for record in report.records]
    truth = np.concatenate([np.ravel(record.truth) for record in report.records] or [np.zeros(0)])
    answers = [np.atleast_2d(record.probabilities) for record in report.records]
    probabilities = np.concatenate(answers or [np.zeros((0, len(report.classes)))])
    with files.replacing(path, overwrite=True) as file:
        np.savez_compressed(
            file, about=np.array(json.dumps(about)), frames=frames, truth=truth, probabilities=probabilities
        )


def _kept(path: Path, held: Sequence[Example], options: TrainingOptions) -> ClassificationReport:
    """Read the answers of a fold back."""
    with np.load(path) as stored:
        about, frames = json.loads(str(stored["about"])), stored["frames"]
        truth, probabilities = stored["truth"], stored["probabilities"]
    if about["options"] != options.to_json() or {row[0] for row in about["records"]} - {e.id for e in held}:
        raise ValueError(
            f"{path}: the fold to resume had other options or examples. Resume with the same ones, or start anew with "
            "overwrite=True."
        )
    records, task, end = [], about["task"], 0
    for (name, subject, seconds), count in zip(about["records"], frames, strict=True):
        start, end = end, end + int(count)
        whole = slice(start, end) if task == "frames" else start
        wide = len(about["classes"]) if task == "multi" else 1
        one = truth[start * wide : end * wide] if task != "single" else truth[start]
        records.append(Classified(name, one, probabilities[whole], subject, seconds))
    faults = [Fault(*row) for row in about["faults"]]
    return classification_report(
        records, about["classes"], task=about["task"], scheme=about["scheme"], faults=faults, elapsed=about["elapsed"]
    )
