"""`train()`: trains a model on examples, and saves the best model, a log, and a state to resume from."""

import contextlib
import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from rich.console import Console

from speechrnn import files
from speechrnn.data.manifest import Example, check_disjoint
from speechrnn.faults import Faults, file_faults, read_text
from speechrnn.features.augment import Augmentation, chosen
from speechrnn.layers.graph import layers_of
from speechrnn.models import kinds
from speechrnn.models.averaging import averaged, check_averages, reinitialized
from speechrnn.models.bundle import Bundle
from speechrnn.models.loading import load_bundle
from speechrnn.training import diagnostics
from speechrnn.training.callbacks import Bookkeeping, RichProgress, RunState, digest, save_model, write_log
from speechrnn.training.hosts import Hosts
from speechrnn.training.optimizer import averaged_weights, make_optimizer
from speechrnn.training.options import TrainingOptions
from speechrnn.training.task import Split, Task, task_of


@dataclass(frozen=True)
class TrainingRun:
    """The result of a training run."""

    path: str
    """File of the best model (the last one, if nothing was validated)."""
    folder: str
    """Folder with `log.csv`, `training.json`, the last model and the state to resume from."""
    history: tuple[dict[str, float], ...]
    """One row per epoch, as in `log.csv`. With members, one row per member, that of its best epoch, with its number as
    `member`; the last row, number 0, has the validation figures of their average."""
    best_epoch: int
    """Epoch of the saved model, counted from 1; 0 for an average of members."""
    seconds: float
    """Time spent training, over all sessions of the run."""
    interrupted: bool
    """Whether Ctrl-C ended it."""
    members: "tuple[TrainingRun, ...]" = ()
    """The run of each member."""

    @cached_property
    def model(self) -> Any:
        """The best model, read from `path` on first access."""
        return load_bundle(self.path)

    def completed(self) -> "TrainingRun":
        """The run itself, for scripts that use its result.

        Raises:
            KeyboardInterrupt: Ctrl-C ended it. What half a run gives is no result; `resume=True` continues it.
        """
        if self.interrupted:
            raise KeyboardInterrupt
        return self


def train(
    model: Bundle,
    examples: Sequence[Any] | str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    valid: Sequence[Any] | str | os.PathLike[str] | None = None,
    options: TrainingOptions | None = None,
    augment: Augmentation | str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    faults: Faults | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: bool = True,
    hosts: Hosts | None = None,
) -> TrainingRun:
    """Train a model of any kind with Keras's `fit`, and save the best one.

    Next to `out`, such as `an4.keras`, a folder `an4.training/` contains the log, the options, the last model and the
    state after the last epoch: `resume=True` continues an interrupted run, which ends with the same weights as an
    uninterrupted one. Ctrl-C saves the model and returns.

    With `members` above 1, that many models like this one are trained from new weights, each with the next seed, and
    `out` is their average (see `speechrnn.averaged`). Each has its own file, such as `an4.member_1.keras`, and its own
    folder. An interrupted run is resumed at the member that was interrupted.

    Args:
        model: A bundle; it is trained in place and ends with the weights of the last epoch. With members, its weights
            are not changed, and only those that are not trained are used.
        examples: Training examples, or the path of their manifest: examples with a text; for a classifier with a label,
            labels or tags, depending on its task; for a forecaster series, or parts of them, see `pipeline.windows`;
            for a language model sentences.
        out: The best model's file, ending in `.keras`.
        valid: Examples of other speakers or subjects that decide which epoch is the best.
        options: How to train: `RecognizerTraining`, `ClassifierTraining` or `ForecasterTraining`, depending on the
            model, or `TrainingOptions`, which suit every kind; defaults of the latter are replaced by the kind's own.
        augment: How to augment the training examples: an `Augmentation`, or the name of a predefined one, such as
            "speech"; by default they are not augmented.
        resume: Continue the run whose state is next to `out`; without a state, start a new one.
        overwrite: Replace `out` and its training folder if they exist.
        faults: Collects the examples that had to be dropped; a summary of them is printed in any case.
        callbacks: More Keras callbacks.
        verbose: Show progress on stderr.
        hosts: The processes that train this model together. Each loads its share of every batch; the first one
            validates, shows progress and writes. The model is the same as from a single process.

    Returns:
        The paths of what was saved, and the history.

    Raises:
        FileExistsError: `out` exists and is not of a run to resume, and `overwrite` is not set.
        TypeError: The options are for models of another kind.
        ValueError: No example can be used, the state to resume is damaged or belongs to other options, examples or
            another model, training has diverged, the model has no weights to train, it is of a kind that cannot be
            averaged and `members` is above 1, or this is the scope of a `tf.distribute` strategy.
    """
    out = Path(out)
    if out.suffix != ".keras":
        raise ValueError(f"The model's file must end in .keras. Received: {out}.")
    if tf.distribute.has_strategy():
        raise ValueError(
            "`train` shares its work among processes, not replicas. Received: a call in the scope of a "
            f"{type(tf.distribute.get_strategy()).__name__}. Call it outside, with `hosts` or by `speechrnn train "
            "--devices N`; the model's own `fit` works in a scope."
        )
    examples, valid = _read(model, examples), _read(model, valid or ())
    folder = out.with_suffix(".training")
    first = hosts is None or hosts.first
    console = Console(stderr=True, quiet=not (verbose and first), highlight=False, markup=False)
    task = task_of(model, options)
    options = task.options
    if not model.trainable_variables:
        raise ValueError("The model has no weights that can be trained. Set `trainable` of its layers to True.")
    if options.members > 1:
        check_averages(model)
        if hosts is not None:
            raise ValueError("Several processes train one model. Leave out `members`, or train them in one process.")
        shared: Any = {"augment": augment, "callbacks": callbacks, "verbose": verbose}
        existing: Any = {"resume": resume, "overwrite": overwrite}
        return _train_members(model, examples, valid, options, out, console, faults=faults, **existing, **shared)
    if hosts is not None:
        _check_divisible(model, task)
        task.share = hosts.share
    if options.require_cudnn:
        diagnostics.require_cudnn(model)
    state = _prepare_folder(folder, out, options, resume=resume, overwrite=overwrite) if first else RunState()
    if hosts is not None:
        state.sync_from(hosts)
    collected = Faults() if faults is None else faults
    batches = task.batches(Split(examples, True, state.epoch, chosen(augment), collected))
    validation = task.batches(Split(valid, faults=collected)) if valid else None
    scorer = None if validation is None else task.scorer(validation)
    data = {
        "batches": len(batches),
        "validation batches": 0 if validation is None else len(validation),
        "augmentation": str(chosen(augment)),
    }
    state.check_same_data(folder, data)
    digests = {
        "examples of digest": digest(batches, examples),
        "validation examples of digest": digest(validation, valid),
    }
    state.check_same_data(folder, digests)
    if task.check_subjects:
        _warn_of_shared_subjects(console, examples, valid)
    if len(collected):
        console.print(collected.summary(len(examples) + len(valid)), soft_wrap=True)
    steps = len(batches)
    model.compile(
        optimizer=make_optimizer(options, model, steps * options.epochs),
        loss=task.loss(batches),
        jit_compile=False,
    )
    if state.epoch:
        if first:
            state.restore(folder, model)
        console.print(f"resuming after epoch {state.epoch}", soft_wrap=True)
    for line in diagnostics.paths.describe(model):
        console.print(f"recurrent layers: {line}", soft_wrap=True)
    if hosts is not None:
        hosts.equalize([*model.variables, *model.optimizer.variables])
    progress = RichProgress(state, options, task, console)
    report = _gradient_report(options, folder)
    own = [Bookkeeping(state, options, out, folder, task, scorer, hosts), progress]
    own += [*(_tensorboard(options, folder) if first else []), *report]
    interrupted = False
    try:
        epochs = state.epoch if state.stopped else options.epochs  # a run that stopped early is not trained further
        schedule: Any = {"epochs": epochs, "initial_epoch": state.epoch}
        with contextlib.nullcontext() if hosts is None else hosts.summing():
            # The dataset shuffles itself.
            model.fit(batches, **schedule, shuffle=False, verbose=0, callbacks=[*own, *callbacks])
    except KeyboardInterrupt:
        interrupted = True
    finally:
        progress.close()
    for verdict in (verdict for callback in report for verdict in callback.verdicts() if not verdict.healthy):
        console.print(f"gradients: {verdict}", soft_wrap=True)
    if first:
        with averaged_weights(model):
            save_model(model, folder / "last.keras")
            if not state.best_epoch:
                save_model(model, out)
    if interrupted:
        console.print(f"stopped in epoch {state.epoch + 1}; {out} is usable, and --resume continues", soft_wrap=True)
    return TrainingRun(
        path=str(out),
        folder=str(folder),
        history=tuple(state.history),
        best_epoch=state.best_epoch or state.epoch,
        seconds=state.seconds,
        interrupted=interrupted,
    )


def _train_members(
    model: Any,
    examples: Sequence[Any],
    valid: Sequence[Any],
    options: TrainingOptions,
    out: Path,
    console: Console,
    *,
    faults: Faults | None,
    resume: bool,
    overwrite: bool,
    **shared: Any,
) -> TrainingRun:
    """Train each member in turn, then save their average; see `train`."""
    paths = [out.with_name(f"{out.stem}.member_{number}.keras") for number in range(1, options.members + 1)]
    for path in paths:  # before training starts
        _refuse_existing(path.with_suffix(".training"), path, resume=resume, overwrite=overwrite)
    folder = out.with_suffix(".training")
    _prepare_folder(folder, out, options, resume=resume, overwrite=overwrite)
    runs: list[TrainingRun] = []
    rows: list[dict[str, float]] = []
    for number, path in enumerate(paths, start=1):
        member_options = replace(options, members=1, seed=options.seed + number - 1)
        console.print(f"member {number} of {options.members}, seed {member_options.seed}", soft_wrap=True)
        keras.utils.set_random_seed(member_options.seed)
        member = reinitialized(model)
        shared["faults"] = faults if number == 1 else None  # every member drops the same examples
        existing: Any = {"resume": resume, "overwrite": overwrite}
        run = train(member, examples, out=path, valid=valid, options=member_options, **existing, **shared)
        runs.append(run)
        rows += [{"member": number, **row} for row in run.history if row["epoch"] == run.best_epoch]
        if run.interrupted:
            break
    totals: Any = {"folder": str(folder), "seconds": sum(run.seconds for run in runs), "members": tuple(runs)}
    if runs[-1].interrupted:
        return replace(runs[-1], history=tuple(rows), **totals)
    mean = averaged([run.model for run in runs])
    if valid:
        task = task_of(mean, options)
        rows.append({"member": 0, **task.scorer(task.batches(Split(valid)))().logs()})
        console.print(f"average of {options.members}: {task.describe_validation(rows[-1])}", soft_wrap=True)
    write_log(folder, rows)
    save_model(mean, out)
    return TrainingRun(path=str(out), history=tuple(rows), best_epoch=0, interrupted=False, **totals)


def _read(model: Bundle, examples: Sequence[Any] | str | os.PathLike[str]) -> Sequence[Any]:
    if not isinstance(examples, str | os.PathLike):
        return examples
    return kinds.resolve(kinds.of(model).read)(examples)


def _check_divisible(model: Bundle, task: Task) -> None:
    """Refuse a model or options that several processes cannot train together."""
    if not task.supports_hosts:
        raise ValueError(
            f"Several processes can train only recognizers and classifiers. Received: a {kinds.of(model).noun}."
        )
    if any(layer.compute_dtype == "float16" for layer in layers_of(model.network)):
        raise ValueError("Several processes cannot scale one float16 loss together. Use mixed_bfloat16 or float32.")
    if task.options.gradient_report:
        raise ValueError("`gradient_report` needs a single process. Leave it out if several train together.")


def _warn_of_shared_subjects(console: Console, examples: Sequence[Any], valid: Sequence[Any]) -> None:
    """Warn if training and validation share subjects: the score then says little about new ones. It may be intended."""
    if not all(isinstance(example, Example) for example in (*examples[:1], *valid[:1])):
        return
    try:
        check_disjoint({"training": examples, "validation": valid})
    except ValueError as error:
        console.print(f"warning: {error}", soft_wrap=True)


def _prepare_folder(folder: Path, out: Path, options: TrainingOptions, *, resume: bool, overwrite: bool) -> RunState:
    """Prepare the training folder, and return the state to start from."""
    state = RunState.read(folder) if resume else None
    record = folder / "training.json"
    if resume and record.exists():
        with file_faults(record):
            recorded = type(options).from_json(read_text(record))
        if recorded != options:
            raise ValueError(
                f"{record}: the run to resume was started with other options. Received: {options}. "
                "Resume with the same ones, or start over with overwrite=True (--overwrite)."
            )
    if state is not None:
        return state
    _refuse_existing(folder, out, resume=resume, overwrite=overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    for stale in (folder / "state.json", folder / "log.csv"):
        stale.unlink(missing_ok=True)
    with files.replacing(record, overwrite=True) as file:
        file.write(options.to_json().encode())
    return RunState()


def _refuse_existing(folder: Path, out: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse to replace files, unless they belong to the run to resume."""
    record = folder / "training.json"
    # A run that was killed before its first state has left a record; without one, `out` belongs to another run.
    resumed = resume and record.exists()
    files.refuse_existing(out, overwrite=overwrite or resumed)
    files.refuse_existing(record, overwrite=overwrite or resumed)


def _gradient_report(options: TrainingOptions, folder: Path) -> list[diagnostics.GradientReport]:
    if not options.gradient_report:
        return []
    board = folder / "tensorboard" if options.tensorboard else None
    return [diagnostics.GradientReport(folder / "gradients.csv", tensorboard=board)]


def _tensorboard(options: TrainingOptions, folder: Path) -> list[keras.callbacks.Callback]:
    if not options.tensorboard:
        return []
    if importlib.util.find_spec("tensorboard") is None:
        raise ModuleNotFoundError(
            "`tensorboard=True` needs the package tensorboard. Install it: pip install 'speechrnn[tensorboard]'."
        )
    return [keras.callbacks.TensorBoard(folder / "tensorboard", update_freq="epoch", write_graph=False)]
