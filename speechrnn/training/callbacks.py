"""Callbacks of training: validation, saving the best model and the state to resume from, and progress."""

import contextlib
import hashlib
import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from speechrnn import files
from speechrnn.faults import file_faults, read_text
from speechrnn.models.bundle import Bundle
from speechrnn.pipeline.graph import plan_of
from speechrnn.training.hosts import Hosts
from speechrnn.training.optimizer import averaged_weights, inner
from speechrnn.training.options import TrainingOptions
from speechrnn.training.task import Scores, Task


@dataclass
class RunState:
    """The state of a run; with the weights beside it, a run can be resumed."""

    epoch: int = 0
    """Epochs done."""
    best: float = float("inf")
    """Lowest value so far of the monitored figure, which is negated if higher is better."""
    best_epoch: int = 0
    """The epoch of that value, counted from 1; 0 before the first validation."""
    seconds: float = 0.0
    """Time spent training, over all sessions."""
    history: list[dict[str, float]] = field(default_factory=list)
    """One row per epoch."""
    stopped: bool = False
    """Whether it stopped early, after `patience` epochs without improvement."""
    seeds: list[list[int]] = field(default_factory=list)
    """State of each random generator of the model, which Keras leaves out of its weights."""
    given: dict[str, Any] = field(default_factory=dict)
    """The training data: numbers of batches, the augmentation, and digests of the examples."""

    @classmethod
    def read(cls, folder: Path) -> "RunState | None":
        """The state saved in `folder`, if there is one."""
        path = folder / "state.json"
        if not path.exists():
            return None
        with file_faults(path):
            return cls(**json.loads(read_text(path)))

    def check_same_data(self, folder: Path, data: dict[str, Any]) -> None:
        """Refuse to resume on other examples: the learning rate and the order of the batches would not fit.

        Raises:
            ValueError: The run was started with other numbers of batches or another augmentation.
        """
        changed = {name: value for name, value in data.items() if self.given.get(name, value) != value}
        if changed:
            before = {name: self.given[name] for name in changed}
            raise ValueError(
                f"{folder / 'state.json'}: the run to resume was given {_listed(before)}. Received: "
                f"{_listed(changed)}. Resume with the same examples and augmentation, or start over with "
                "overwrite=True (--overwrite)."
            )
        self.given = {**self.given, **data}

    def sync_from(self, hosts: Hosts) -> None:
        """Copy what decides how a run continues from the first of several processes."""
        names = ("epoch", "best", "best_epoch", "seconds", "stopped")
        for name, value in zip(names, hosts.broadcast([float(getattr(self, name)) for name in names]), strict=True):
            setattr(self, name, type(getattr(self, name))(value))

    def weights_path(self, folder: Path) -> Path:
        """The file of this epoch's weights and optimizer."""
        return folder / f"state-{self.epoch:04d}.weights.h5"

    def write(self, folder: Path, model: keras.Model) -> None:
        """Save state and weights, such that a kill at any moment leaves a matching pair."""
        self.seeds = [variable.numpy().tolist() for variable in _generators(model)]
        model.save_weights(self.weights_path(folder), overwrite=True)
        with files.replacing(folder / "state.json", overwrite=True) as file:
            file.write(json.dumps(asdict(self), indent=1).encode())
        for old in folder.glob("state-*.weights.h5"):
            if old != self.weights_path(folder):
                old.unlink()

    def restore(self, folder: Path, model: keras.Model) -> None:
        """Set the weights, the optimizer and the random generators of a compiled model to those of this epoch."""
        path = self.weights_path(folder)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # Keras warns of weights that it does not load
                model.load_weights(path)
            for variable, value in zip(_generators(model), self.seeds, strict=True):
                variable.assign(value)
        except (ValueError, UserWarning) as error:
            raise ValueError(
                f"{path}: the weights of the run to resume do not fit this model. Build the model with the options and "
                "examples that the run was started with, or start over with overwrite=True (--overwrite)."
            ) from error
        except (OSError, KeyError, RuntimeError) as error:  # of h5py
            raise ValueError(
                f"{path}: the weights of the run to resume are missing or damaged ({error}). Start over with "
                "overwrite=True (--overwrite)."
            ) from error


def digest(dataset: tf.data.Dataset | None, examples: Sequence[Any]) -> str:
    """Hash of the examples of a dataset, in their order, and without the folder they lie in.

    Args:
        dataset: Made of them, or None.
        examples: All that were given, for a dataset without a plan that lists those that were kept.
    """
    entries = None
    if dataset is not None:
        with contextlib.suppress(ValueError):  # a kind may make datasets without a plan
            entries = getattr(plan_of(dataset), "entries", None)
    result = hashlib.sha256()
    for example in examples if entries is None else (entry.example for entry in entries):
        fields = vars(example) if is_dataclass(example) else {"": example}
        result.update(f"{[(name, value) for name, value in fields.items() if name != 'path']!r}\n".encode())
    return result.hexdigest()[:12]


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in values.items())


def _generators(model: keras.Model) -> list[keras.Variable]:
    return [v for v in model.non_trainable_variables if v.name == "seed_generator_state"]


def save_model(model: Bundle, path: Path) -> None:
    """Save the model atomically, without its optimizer."""
    without_optimizer = model.with_parts()
    partial = path.with_name(f".{path.stem}.part.keras")
    try:
        without_optimizer.save(partial, overwrite=True)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_log(folder: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write the history of a run to `log.csv`."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    files.write_csv(folder / "log.csv", names, rows)


class Bookkeeping(keras.callbacks.Callback):
    """After each epoch: validates, saves the best model, writes the log and the state.

    Args:
        state: The state of the run; it is updated.
        options: The run's options.
        out: The best model's file.
        folder: The folder of the state and the log.
        task: The training task.
        scorer: Scores the model on the validation set; without it the last model counts as the best.
        hosts: The processes that train together; the first one scores and writes, and broadcasts the result.
    """

    def __init__(
        self,
        state: RunState,
        options: TrainingOptions,
        out: Path,
        folder: Path,
        task: Task,
        scorer: Callable[[], Scores] | None,
        hosts: Hosts | None = None,
    ) -> None:
        super().__init__()
        self.state, self.options, self.out, self.folder = state, options, out, folder
        self.task, self.scorer, self.hosts = task, scorer, hosts
        self._writes = hosts is None or hosts.first

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start measuring the epoch's time."""
        self._started, self._updates = time.perf_counter(), int(inner(self.model.optimizer).iterations)
        self._norms: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Record the gradient's norm."""
        self._norms.append(float(inner(self.model.optimizer).gradient_norm))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """See the class."""
        logs = {} if logs is None else logs
        logs["learning_rate"] = float(inner(self.model.optimizer).learning_rate)
        logs["gradient_norm"] = float(np.median(self._norms)) if self._norms else float("nan")
        skipped = len(self._norms) - (int(inner(self.model.optimizer).iterations) - self._updates)
        if skipped:
            logs["skipped_steps"] = skipped
            self._check_progress(epoch + 1, skipped, logs)
        state, last = self.state, epoch + 1 >= self.options.epochs
        state.epoch = epoch + 1
        if self.scorer and ((epoch + 1) % self.options.validate_every == 0 or last):
            with averaged_weights(self.model):
                if self._writes:
                    logs.update(self.scorer().logs())
                value = self.task.monitored_value(logs) if self._writes else 0.0
                self._keep_if_best(value if self.hosts is None else float(self.hosts.broadcast([value])[0]))
        state.seconds += time.perf_counter() - self._started
        row = {name: float(value) for name, value in logs.items()}
        state.history.append({"epoch": epoch + 1, **row, "seconds": round(state.seconds, 2)})
        if self._writes:
            write_log(self.folder, state.history)
            state.write(self.folder, self.model)

    def _check_progress(self, epoch: int, skipped: int, logs: Mapping[str, float]) -> None:
        # A loss scaler also skips steps until it has found its scale, but with a finite loss.
        if skipped < len(self._norms) or np.isfinite(logs["loss"]):
            return
        best = f" {self.out} holds the model of epoch {self.state.best_epoch}." if self.state.best_epoch else ""
        raise ValueError(
            f"Training has diverged: in epoch {epoch} no step had a finite loss and gradient, so none was made. Lower "
            f"`learning_rate` ({self.options.learning_rate}), or look for extreme values in the examples.{best}"
        )

    def _keep_if_best(self, value: float) -> None:
        state = self.state
        if value < state.best:
            state.best, state.best_epoch = value, state.epoch
            if self._writes:
                save_model(self.model, self.out)
        elif self.options.patience and state.epoch - state.best_epoch >= self.options.patience:
            state.stopped = self.model.stop_training = True


class RichProgress(keras.callbacks.Callback):
    """A progress bar of the whole run with loss, training errors, learning rate, gradient norm and time left.

    On a terminal it prints a bar and one line per epoch, elsewhere the lines only, both to stderr.
    """

    def __init__(self, state: RunState, options: TrainingOptions, task: Task, console: Console | None = None) -> None:
        super().__init__()
        self.state, self.options, self.task = state, options, task
        self.console = console or Console(stderr=True, highlight=False, markup=False)
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=self.console,
            disable=not self.console.is_terminal,
        )

    def on_train_begin(self, logs: Any = None) -> None:
        """Show the bar, on a terminal."""
        steps, done = self.params.get("steps") or 1, self.state.epoch
        columns: Any = {"epoch": done + 1, "text": "compiling"}
        self._task = self._progress.add_task(
            "train", total=self.options.epochs * steps, completed=done * steps, **columns
        )
        self._progress.start()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Advance the bar."""
        if self._progress.disable:
            return
        logs, optimizer = logs or {}, inner(self.model.optimizer)
        text = (
            f"loss {logs.get('loss', float('nan')):.4g} {self.task.describe_training(logs)} "
            f"rate {float(optimizer.learning_rate):.1e} gradient {float(optimizer.gradient_norm):.1f}"
        )
        self._progress.update(self._task, advance=1, text=text, epoch=self.state.epoch + 1)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Print a line about the epoch."""
        row = self.state.history[-1]
        parts = [
            f"epoch {epoch + 1}/{self.options.epochs}",
            f"loss {row['loss']:.4g}",
            self.task.describe_training(row),
        ]
        if "val_loss" in row:
            best = "  best" if self.state.best_epoch == epoch + 1 else ""
            parts.append(f"validation loss {row['val_loss']:.4g} {self.task.describe_validation(row)}{best}")
        parts.append(f"gradient {row['gradient_norm']:.1f}")
        if "skipped_steps" in row:
            parts.append(f"skipped steps {row['skipped_steps']:.0f} (gradient not finite)")
        parts.append(f"rate {row['learning_rate']:.1e}")
        parts.append(f"{row['seconds']:.0f} s")
        self.console.print("  ".join(parts), soft_wrap=True)

    def close(self) -> None:
        """Remove the bar, however training ended."""
        self._progress.stop()
