"""Cross-validation: one model per fold, a report of all their answers, and a final model trained on all examples."""

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
"""What a fold holds out; or what it learns from and what it holds out."""
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
    """Train a classifier for each fold, score each on what it has not seen, and sum all the answers up.

    What a fold holds out is never looked at in its training: the model of the last epoch is scored, or, with
    `valid_fraction`, the best one on examples taken from what the fold learns from. If settings were compared by such
    a report, it is a validation figure, and is printed as one. With several settings the choice is nested: for each
    fold it is made by models that saw neither this fold nor the one of the others that they are scored on (such a model
    serves both folds, so that K folds and S settings take S K (K - 1) / 2 + K models, as many times as a setting has
    members), and what comes out holds for strangers.

    Beside `out` (say `sounds.keras`) a folder `sounds.folds/` keeps the model and the answers of each fold, so that a
    run that was stopped goes on with `resume=True`. At the end one more model learns from all examples in the same way;
    the report's figures, which are those of the others, stand in its card under `cross_validation`.

    Args:
        setting: How to learn; a function stands for `Setting(build=function)`. Several, by name, are chosen from inside
            each fold.
        examples: All examples.
        folds: A number of folds for `manifest.stratified_group_folds`, or what that gave, or the examples that each
            fold holds out (`examples` without them is what it learns from). To choose from settings, folds must hold
            every example out once.
        out: The last model's file, ending in `.keras`.
        options: How to train, unless the setting says it.
        augment: How to vary the training examples, unless the setting says it.
        choose_by: The figure of `ClassificationReport.figures` that settings are compared by; the largest is taken,
            the first of equal ones.
        judge_on: Gives what settings are compared on in place of the examples held out, such as these and patients
            simulated from them. The report is not changed by it.
        also_on: By name, what the models of the folds are scored on besides: gives examples for those held out, such as
            patients simulated from them. They are in reports of their own.
        valid_fraction: Part of what a fold learns from that decides its epoch, whole subjects where they are known.
        final: Train the last model. Without it nothing is written to `out`.
        scheme: As `evaluate_classifier` takes it.
        batch_size: Records classified at once.
        resume: Skip folds that are done, and continue one that is not.
        overwrite: Replace what an earlier run left.
        verbose: Show progress on stderr.

    Returns:
        The pooled report, with `folds` holding the figures of each, `role` "validation" or "nested", and `chosen` the
        setting of each fold, and `also` the pooled reports of `also_on`.

    Raises:
        FileExistsError: An earlier run left its files, and neither `resume` nor `overwrite` is set.
        ValueError: A fold is empty, an example is held out twice, a subject is on both sides of a fold, there is no
            figure `choose_by`, or what is to be resumed had other options or folds.
    """
    out, settings = Path(out), _settings(setting, options, augment)
    if out.suffix != ".keras":
        raise ValueError(f"The model's file must end in .keras. Received: {out}.")
    if isinstance(folds, int):
        folds = manifest.stratified_group_folds(examples, folds, seed=next(iter(settings.values())).training.seed)
    pairs = _pairs(examples, folds)
    held_out, first = [held for _, held in pairs], next(iter(settings))
    if (nested := len(settings) > 1) and len(ids := {e.id for held in held_out for e in held}) < len(examples):
        raise ValueError(f"To choose from settings, folds must hold out all examples. Received: {len(ids)} of them.")
    if final:
        files.refuse_existing(out, overwrite=resume or overwrite)  # before hours of work, not after
    folder = out.with_suffix(".folds")

    def learn(name: str, left: Sequence[Example], path: Path, **card: object) -> SequenceClassifier:
        how: Any = {"resume": resume, "overwrite": overwrite, "verbose": verbose}
        return settings[name].learn(left, out=path, valid_fraction=valid_fraction, card=card, **how)

    def scored(name: str, left: Sequence[Example], held: Sequence[Sequence[Example]], paths: Sequence[Path]) -> Reports:
        """Of one model, on several parts; the first path is also the model's."""
        if resume and all(path.exists() for path in paths):
            return [_kept(path, part, settings[name]) for path, part in zip(paths, held, strict=True)]
        model = learn(name, left, paths[0].with_suffix(".keras"))
        reports = [evaluate_classifier(model, part, scheme=scheme, batch_size=batch_size) for part in held]
        for path, report in zip(paths, reports, strict=True):
            _keep(path, report, settings[name])
        return reports

    judge_on = judge_on or (lambda part: part)
    nested_reports = _compared(held_out, list(settings), scored, folder, judge_on, choose_by) if nested else {}
    reports: Reports = []
    chosen: list[str] = []
    also: dict[str, Reports] = {kind: [] for kind in also_on or {}}
    for number, (left, held) in enumerate(pairs):
        inner_reports = {name: answers[number] for name, answers in nested_reports.items()}
        name = _best(inner_reports, choose_by) if nested else first
        path = folder / f"fold_{number + 1}{f'_{name}' * nested}.json"
        other_parts = {kind: part for kind, vary in (also_on or {}).items() if (part := varied(vary, held))}
        paths = [path, *(path.with_name(f"{path.stem}_on_{kind}.json") for kind in other_parts)]
        report, *others = scored(name, left, [held, *other_parts.values()], paths)
        reports.append(report)
        chosen.append(name)
        for kind, other in zip(other_parts, others, strict=True):
            also[kind].append(other)
    selection: Any = {"role": _ROLES[nested], "chosen": tuple(chosen) if nested else ()}
    seed = settings[first].training.seed
    also_pooled = {kind: dataclasses.replace(_pooled(of, seed), **selection) for kind, of in also.items() if of}
    pooled = dataclasses.replace(_pooled(reports, seed), **selection, also=also_pooled)
    if final:
        summary = {"folds": len(pairs), "records": len(pooled.records), "role": pooled.role, **_figures(pooled)}
        all_inner = {name: [*itertools.chain(*answers)] for name, answers in nested_reports.items()}
        name = _best(all_inner, choose_by) if nested else first
        learn(name, examples, out, cross_validation=summary)
    return pooled


def _settings(setting: Any, options: TrainingOptions | None, augment: Augmentation | None) -> dict[str, Setting]:
    """Every setting by name, whole."""
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


def _compared(
    parts: Sequence[list[Example]],
    names: Sequence[str],
    scored: Callable[..., Reports],
    folder: Path,
    judge_on: Varied,
    choose_by: str,
) -> dict[str, list[Reports]]:
    """For each setting and each fold, the reports on the other folds of models that saw neither."""
    reports: dict[str, list[Reports]] = {name: [[] for _ in parts] for name in names}
    judging = [list(judge_on(part)) for part in parts]
    for i, j in itertools.combinations(range(len(parts)), 2):
        left = [example for k, part in enumerate(parts) if k not in (i, j) for example in part]
        if not left:
            raise ValueError(f"To choose from settings there must be three folds or more. Received: {len(parts)}.")
        for name in names:
            paths = [folder / f"without_{i + 1}_{j + 1}_{name}_on_{k + 1}.json" for k in (i, j)]
            on_first, on_second = scored(name, left, [judging[i], judging[j]], paths)
            _figure(on_first, choose_by)  # an unknown one is an error after the first model, not after the last
            reports[name][j].append(on_first)
            reports[name][i].append(on_second)
    return reports


def _best(answers: Mapping[str, Reports], choose_by: str) -> str:
    """The setting whose answers, summed up, have the largest figure; one without a figure is never taken."""
    figures = {name: _figure(_pooled(reports, 0), choose_by) for name, reports in answers.items()}
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


def _pairs(examples: Sequence[Example], folds: Sequence[Fold]) -> list[tuple[list[Example], list[Example]]]:
    pairs: list[tuple[list[Example], list[Example]]] = []
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
        pairs.append((training, held_out))
    if len(pairs) < 2:
        raise ValueError(f"There must be two folds or more. Received: {len(pairs)}.")
    return pairs


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


def _keep(path: Path, report: ClassificationReport, setting: Setting) -> None:
    """Write the answers of a fold."""
    faults = [(fault.where, fault.kind, fault.message) for fault in report.faults]
    content = {"options": setting.fingerprint, "elapsed": report.elapsed, "faults": faults, **report.stored()}
    with files.replacing(path, overwrite=True) as file:
        file.write(json.dumps(content).encode())


def _kept(path: Path, held: Sequence[Example], setting: Setting) -> ClassificationReport:
    """Read the answers of a fold back."""
    content = json.loads(path.read_bytes())
    if content["options"] != setting.fingerprint or {row[0] for row in content["rows"]} - {e.id for e in held}:
        raise ValueError(
            f"{path}: the fold to resume had other options or examples. Resume with the same ones, or start over with "
            "overwrite=True."
        )
    return restored([content], faults=[Fault(*row) for row in content["faults"]], elapsed=content["elapsed"])
