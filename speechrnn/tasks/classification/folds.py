"""Cross-validation: a model for each fold, one report of their predictions, and a final model of all examples."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from speechrnn import files
from speechrnn.data import manifest
from speechrnn.data.manifest import Example
from speechrnn.faults import Fault, check_choice
from speechrnn.tasks.classification.evaluation import evaluate_classifier
from speechrnn.tasks.classification.report import ClassificationReport, classification_report, restored
from speechrnn.tasks.classification.setting import Setting, Varied, varied
from speechrnn.training.options import TrainingOptions

if TYPE_CHECKING:
    from speechrnn.features.augment import Augmentation
    from speechrnn.tasks.classification.model import SequenceClassifier

Fold = Sequence[Example] | tuple[Sequence[Example], Sequence[Example]]
"""The held-out examples of a fold, or its training and its held-out examples."""
Reports = list[ClassificationReport]
_ROLES = {False: "validation", True: "nested"}


def cross_validate(
    setting: Callable[[], SequenceClassifier] | Setting | Mapping[str, Setting],
    examples: Sequence[Example],
    folds: int | Sequence[Fold],
    *,
    out: str | os.PathLike[str],
    options: TrainingOptions | None = None,
    augment: Augmentation | None = None,
    choose_by: str = "macro_f1",
    judge_on: Varied | None = None,
    also_on: Mapping[str, Varied] | None = None,
    valid_fraction: float = 0.0,
    final: bool = True,
    scheme: str | None = None,
    batch_size: int = 32,
    resume: bool = False,
    overwrite: bool = False,
    verbose: bool = True,
) -> ClassificationReport:
    """Train a classifier for each fold, evaluate it on the fold's held-out examples, and pool all predictions.

    Held-out examples have no influence on the training of their fold: the model of the last epoch is evaluated, or,
    with `valid_fraction`, the best one on a part of the fold's training examples. If settings are compared by such
    reports, their figures are validation figures, and are printed as such.

    With several settings the choice is nested: the setting of a fold is chosen by models that were trained without this
    fold and without the other fold on which they are evaluated, so that the pooled figures hold for new subjects. Each
    of these models serves two folds: K folds and S settings take S K (K - 1) / 2 + K models, times the number of
    members of a setting.

    A folder next to `out` (`sounds.folds/` for `sounds.keras`) stores the model and the predictions of each fold, so
    that an interrupted run can continue with `resume=True`. At the end a final model is trained on all examples in the
    same way; its card has the report's figures, which are those of the folds' models, under `cross_validation`.

    Args:
        setting: How to build and train a classifier; a function stands for `Setting(build=function)`. From several
            settings by name, one is chosen inside each fold.
        examples: All examples.
        folds: A number of folds for `manifest.stratified_group_folds`, or its result, or the held-out examples of each
            fold, which is trained on all others. To choose from settings, folds must hold every example out once.
        out: The final model's file, ending in `.keras`.
        options: How to train, for settings without options.
        augment: How to augment the training examples, for settings without augmentation.
        choose_by: The figure of `ClassificationReport.figures` by which settings are compared; the largest is taken,
            the first of equal ones.
        judge_on: A function from held-out examples to the examples on which settings are compared, such as the same
            ones and patients simulated from them. It does not change the examples of the report.
        also_on: By name, functions from held-out examples to others on which the folds' models are also evaluated, such
            as patients simulated from them. Their reports are separate.
        valid_fraction: Share of a fold's training examples that chooses its best epoch, split by subject if known.
        final: Train the final model. Without it nothing is written to `out`.
        scheme: See `evaluate_classifier`.
        batch_size: Records classified at once.
        resume: Skip finished folds, and continue an unfinished one.
        overwrite: Replace the files of an earlier run.
        verbose: Show progress on stderr.

    Returns:
        The pooled report. Its `folds` are the figures of each fold, `role` is "validation" or "nested", `chosen` the
        setting of each fold, and `also` the pooled reports of `also_on`.

    Raises:
        FileExistsError: There are files of an earlier run, and neither `resume` nor `overwrite` is set.
        ValueError: A fold is empty, an example is held out twice, a subject is on both sides of a fold, there is no
            figure `choose_by`, or the run to resume had other options or folds.
    """
    out, settings = Path(out), _settings(setting, options, augment)
    if out.suffix != ".keras":
        raise ValueError(f"The model's file must end in .keras. Received: {out}.")
    if isinstance(folds, int):
        folds = manifest.stratified_group_folds(examples, folds, seed=next(iter(settings.values())).training.seed)
    splits = _splits(examples, folds)
    parts, first = [held_out for _, held_out in splits], next(iter(settings))
    if (nested := len(settings) > 1) and len(ids := {e.id for part in parts for e in part}) < len(examples):
        raise ValueError(f"To choose from settings, folds must hold out all examples. Received: {len(ids)} of them.")
    if final:
        files.refuse_existing(out, overwrite=resume or overwrite)  # before hours of work, not after
    folder = out.with_suffix(".folds")

    def learn(name: str, training: Sequence[Example], path: Path, **card: object) -> SequenceClassifier:
        existing: Any = {"resume": resume, "overwrite": overwrite, "verbose": verbose}
        return settings[name].learn(training, out=path, valid_fraction=valid_fraction, card=card, **existing)

    def evaluate(name: str, training: list[Example], parts: list[list[Example]], paths: list[Path]) -> Reports:
        """Train one model and evaluate it on several parts; the first path also names the model's file."""
        if resume and all(path.exists() for path in paths):
            return [_read_report(path, part, settings[name]) for path, part in zip(paths, parts, strict=True)]
        model = learn(name, training, paths[0].with_suffix(".keras"))
        reports = [evaluate_classifier(model, part, scheme=scheme, batch_size=batch_size) for part in parts]
        for path, report in zip(paths, reports, strict=True):
            _write_report(path, report, settings[name])
        return reports

    judge_on = judge_on or (lambda part: part)
    nested_reports = _nested_reports(parts, list(settings), evaluate, folder, judge_on, choose_by) if nested else {}
    reports: Reports = []
    chosen: list[str] = []
    also: dict[str, Reports] = {kind: [] for kind in also_on or {}}
    for number, (training, held_out) in enumerate(splits):
        inner_reports = {name: by_fold[number] for name, by_fold in nested_reports.items()}
        name = _best(inner_reports, choose_by) if nested else first
        path = folder / f"fold_{number + 1}{f'_{name}' * nested}.json"
        other_parts = {kind: part for kind, vary in (also_on or {}).items() if (part := varied(vary, held_out))}
        paths = [path, *(path.with_name(f"{path.stem}_on_{kind}.json") for kind in other_parts)]
        report, *other_reports = evaluate(name, training, [held_out, *other_parts.values()], paths)
        reports.append(report)
        chosen.append(name)
        for kind, other_report in zip(other_parts, other_reports, strict=True):
            also[kind].append(other_report)
    selection: Any = {"role": _ROLES[nested], "chosen": tuple(chosen) if nested else ()}
    seed = settings[first].training.seed
    also_pooled = {kind: dataclasses.replace(_pooled(each, seed), **selection) for kind, each in also.items() if each}
    pooled = dataclasses.replace(_pooled(reports, seed), **selection, also=also_pooled)
    if final:
        summary = {"folds": len(splits), "records": len(pooled.records), "role": pooled.role, **_figures(pooled)}
        all_inner = {name: [*itertools.chain(*by_fold)] for name, by_fold in nested_reports.items()}
        name = _best(all_inner, choose_by) if nested else first
        learn(name, examples, out, cross_validation=summary)
    return pooled


def _settings(setting: Any, options: TrainingOptions | None, augment: Augmentation | None) -> dict[str, Setting]:
    """The settings by name, each with options and augmentation."""
    if not isinstance(setting, Mapping):
        setting = {"": setting if isinstance(setting, Setting) else Setting(setting)}
    if not setting:
        raise ValueError("There must be a setting. Received: none.")
    return {
        name: dataclasses.replace(
            one,
            options=one.options or options,
            augment=one.augment if one.augment is not None else augment,
        )
        for name, one in setting.items()
    }


def _nested_reports(
    parts: Sequence[list[Example]],
    names: Sequence[str],
    evaluate: Callable[..., Reports],
    folder: Path,
    judge_on: Varied,
    choose_by: str,
) -> dict[str, list[Reports]]:
    """For each setting and fold, reports of models trained without this fold and without the one they are scored on."""
    reports: dict[str, list[Reports]] = {name: [[] for _ in parts] for name in names}
    judged_parts = [list(judge_on(part)) for part in parts]
    for i, j in itertools.combinations(range(len(parts)), 2):
        training = [example for k, part in enumerate(parts) if k not in (i, j) for example in part]
        if not training:
            raise ValueError(f"To choose from settings there must be three folds or more. Received: {len(parts)}.")
        for name in names:
            paths = [folder / f"without_{i + 1}_{j + 1}_{name}_on_{k + 1}.json" for k in (i, j)]
            on_first, on_second = evaluate(name, training, [judged_parts[i], judged_parts[j]], paths)
            _figure(on_first, choose_by)  # an unknown figure fails after the first model, not after the last
            reports[name][j].append(on_first)
            reports[name][i].append(on_second)
    return reports


def _best(reports_by_setting: Mapping[str, Reports], choose_by: str) -> str:
    """The setting whose pooled reports have the largest figure; a setting without this figure is never taken."""
    figures = {name: _figure(_pooled(reports, 0), choose_by) for name, reports in reports_by_setting.items()}
    known = {name: value for name, value in figures.items() if not math.isnan(value)}
    if not known:
        raise ValueError(
            f"Settings cannot be compared: `{choose_by}` has no value for any of {', '.join(figures)}. Choose another "
            "figure, or fewer folds, so that each has examples of all classes."
        )
    return max(known, key=lambda name: known[name])


def _figure(report: ClassificationReport, name: str) -> float:
    check_choice("the figure", name, report.figures)
    return report.figures[name]


def _splits(examples: Sequence[Example], folds: Sequence[Fold]) -> list[tuple[list[Example], list[Example]]]:
    """The training and the held-out examples of each fold, checked."""
    splits: list[tuple[list[Example], list[Example]]] = []
    seen: set[str] = set()
    for number, fold in enumerate(folds, start=1):
        if len(fold) == 2 and not any(isinstance(part, Example) for part in fold):
            training, held_out = (list(part) for part in fold)  # type: ignore[arg-type]
        else:
            held_out = list(fold)  # type: ignore[arg-type]
            ids = {example.id for example in held_out}
            training = [example for example in examples if example.id not in ids]
        ids = {example.id for example in held_out}
        if not training or not held_out:
            raise ValueError(f"Fold {number} must learn from some examples and hold some out. Received: an empty part.")
        if repeated := (seen & ids) or ({example.id for example in training} & ids):
            raise ValueError(f"Fold {number} holds out {min(repeated)!r}, which is held out or learned elsewhere.")
        manifest.check_disjoint({f"fold {number}, learned": training, f"fold {number}, held out": held_out})
        seen |= ids
        splits.append((training, held_out))
    if len(splits) < 2:
        raise ValueError(f"There must be two folds or more. Received: {len(splits)}.")
    return splits


def _pooled(reports: Sequence[ClassificationReport], seed: int) -> ClassificationReport:
    """One report of the records of all reports."""
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
    """The finite figures with their intervals, as JSON values for a card."""
    return {
        name: [round(value, 4), *(round(float(bound), 4) for bound in report.interval(name))]
        for name, value in report.figures.items()
        if np.isfinite([value, *report.interval(name)]).all()
    }


def _write_report(path: Path, report: ClassificationReport, setting: Setting) -> None:
    """Write the report of a fold."""
    faults = [(fault.where, fault.kind, fault.message) for fault in report.faults]
    content = {"options": setting.fingerprint, "elapsed": report.elapsed, "faults": faults, **report.stored()}
    with files.replacing(path, overwrite=True) as file:
        file.write(json.dumps(content).encode())


def _read_report(path: Path, examples: Sequence[Example], setting: Setting) -> ClassificationReport:
    """Read the report of a fold that an earlier run evaluated on these examples."""
    content = json.loads(path.read_bytes())
    if content["options"] != setting.fingerprint or {row[0] for row in content["rows"]} - {e.id for e in examples}:
        raise ValueError(
            f"{path}: the fold to resume had other options or examples. Resume with the same ones, or start over with "
            "overwrite=True."
        )
    return restored([content], faults=[Fault(*row) for row in content["faults"]], elapsed=content["elapsed"])
