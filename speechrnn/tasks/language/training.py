"""`fit()`: a language model and sentences in; the best model, its log and its state out.

`train()` is for recordings; texts need neither features nor audio, so this is short. Optimiser, state and the way to
resume are the same.
"""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from speechrnn import files
from speechrnn.decoding.rescoring import BOUNDARY, perplexity
from speechrnn.tasks.language.model import LanguageModel
from speechrnn.tasks.language.options import UNUSED, LanguageTraining
from speechrnn.text import Vocabulary
from speechrnn.training.callbacks import RunState
from speechrnn.training.optimizer import make_optimizer
from speechrnn.training.options import TrainingOptions, promoted

__all__ = ["LanguageRun", "fit", "sentences_dataset"]

_POOL = 64
"""Batches whose sentences are sorted by length together, so that a batch holds little padding."""


@dataclass(frozen=True)
class LanguageRun:
    """What a training run left behind."""

    model: str
    """Path of the best model (the last one, without sentences to validate on)."""
    history: tuple[dict[str, float], ...]
    """One row an epoch: loss in nats a character, perplexity of a word of the validation sentences, seconds so far."""
    best_epoch: int
    """Epoch of the saved model, counted from 1."""
    dropped: int
    """Sentences left out because they are too long."""
    interrupted: bool
    """Whether Ctrl-C ended it."""


def fit(
    model: LanguageModel,
    sentences: Sequence[str],
    *,
    out: str | os.PathLike[str],
    valid: Sequence[str] = (),
    options: TrainingOptions | None = None,
    resume: bool = False,
    overwrite: bool = False,
    verbose: bool = True,
) -> LanguageRun:
    """Train a language model with Keras's `fit`, and save the best one.

    Beside `out` (say `lm.keras`) a folder `lm.training/` holds options and, after every epoch, the state: a run that
    was killed goes on from there with `resume=True`. Ctrl-C saves what there is and returns.

    Args:
        model: The model; it is trained in place.
        sentences: One text each, in the form the recogniser writes.
        out: The best model's file, ending in `.keras`.
        valid: Other sentences, which decide what epoch is the best.
        options: How to train.
        resume: Go on from the state beside `out`. Without a state there, begin.
        overwrite: Replace `out` and its folder's files where they exist.
        verbose: Show progress on stderr.

    Raises:
        FileExistsError: `out` exists and is not of a run to resume, and `overwrite` is not set.
        ValueError: There is no sentence, one has characters that the model lacks, or the state beside `out` belongs to
            other options.
    """
    options, out = promoted(options, LanguageTraining, noun="language model"), Path(out)
    _refuse_unused(options)
    if out.suffix != ".keras":
        raise ValueError(f"A recurrent language model's file must end in .keras. Received: {out}.")
    kept = [text for text in sentences if len(text) <= options.max_length]
    if not kept:
        raise ValueError(
            f"Training needs sentences of at most max_length={options.max_length} characters. "
            f"Received: none, and {len(sentences):,} longer ones."
        )
    folder = out.with_suffix(".training")
    state = _prepared(folder, out, options, resume=resume, overwrite=overwrite)
    dataset, steps = sentences_dataset(model.vocabulary, kept, options, first_epoch=state.epoch)
    model.compile(optimizer=make_optimizer(options, model, steps * options.epochs), jit_compile=False)
    if state.epoch:
        state.restore(folder, model)
    keeper = _Keeper(state, out, folder, valid)
    progress = _Bar(state, options, steps, verbose)
    interrupted = False
    try:
        if state.epoch < options.epochs:
            model.fit(
                dataset,
                epochs=options.epochs,
                initial_epoch=state.epoch,
                steps_per_epoch=steps,
                shuffle=False,
                verbose=0,
                callbacks=[keeper, progress],
            )
    except KeyboardInterrupt:
        interrupted = True
    finally:
        progress.close()
    if not state.best_epoch:
        _save(model, out)
    best = state.best_epoch or state.epoch
    return LanguageRun(str(out), tuple(state.history), best, len(sentences) - len(kept), interrupted)


def sentences_dataset(
    vocabulary: Vocabulary, sentences: Sequence[str], options: LanguageTraining, *, first_epoch: int = 0
) -> tuple[tf.data.Dataset, int]:
    """Batches of sentences of about equal lengths, in an order that seed and epoch decide.

    All batches are of one size, for which the layers are compiled once: the few sentences that are left over are other
    ones in every epoch.

    Returns:
        The epochs from `first_epoch` on, one after the other, each element `({"ids": int32 (batch, steps), "length":
        int32 (batch,)}, targets int32 (batch, steps))`; and the number of batches in an epoch.
    """
    lengths = np.array([len(text) for text in sentences])
    flat = np.concatenate([np.array(vocabulary.encode(text), np.int32) for text in sentences])
    rows = tf.RaggedTensor.from_row_lengths(flat, lengths)
    size = min(options.batch_size, len(sentences))
    steps = len(sentences) // size

    def plan(epoch: int) -> np.ndarray:
        rng = np.random.default_rng([options.seed, int(epoch)])
        order = rng.permutation(len(sentences))[: steps * size]
        pools = [order[i : i + _POOL * size] for i in range(0, len(order), _POOL * size)]
        order = np.concatenate([pool[np.argsort(lengths[pool], kind="stable")] for pool in pools])
        return rng.permutation(order.reshape(steps, size), axis=0)

    def batches_of(epoch: tf.Tensor) -> tf.data.Dataset:
        places = tf.numpy_function(plan, [epoch], tf.int64)
        return tf.data.Dataset.from_tensor_slices(tf.ensure_shape(places, (steps, size)))

    def padded(places: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        found = tf.gather(rows, places)
        length = tf.cast(found.row_lengths(), tf.int32) + 1
        symbols = found.to_tensor(BOUNDARY)
        x = {"ids": tf.pad(symbols, [[0, 0], [1, 0]], constant_values=BOUNDARY), "length": length}
        return x, tf.pad(symbols, [[0, 0], [0, 1]], constant_values=BOUNDARY)

    dataset = tf.data.Dataset.range(first_epoch, options.epochs).flat_map(batches_of)
    return dataset.map(padded, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE), steps


def _prepared(folder: Path, out: Path, options: LanguageTraining, *, resume: bool, overwrite: bool) -> RunState:
    """The folder beside the model, and the state to begin with."""
    record = folder / "training.json"
    state = RunState.read(folder) if resume else None
    if state is not None:
        if json.loads(record.read_text()) != asdict(options):
            raise ValueError(
                f"{record}: the run to resume was started with other options. Received: {options}. "
                "Resume with the same ones, or start anew with overwrite=True (--overwrite)."
            )
        return state
    mine = resume and record.exists()  # killed before its first state
    files.refuse_existing(out, overwrite=overwrite or mine)
    files.refuse_existing(record, overwrite=overwrite or mine)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "state.json").unlink(missing_ok=True)
    with files.replacing(record, overwrite=True) as file:
        file.write(json.dumps(asdict(options), indent=2).encode())
    return RunState()


def _refuse_unused(options: LanguageTraining) -> None:
    """Refuse what `train()` would do and this loop does not."""
    for name in UNUSED:
        if getattr(options, name) != getattr(LanguageTraining(), name):
            raise ValueError(f"`{name}` is not used for a language model. Leave it out.")


def _save(model: LanguageModel, path: Path) -> None:
    """Save the model without its optimiser, whole or not at all."""
    partial = path.with_name(f".{path.stem}.part.keras")
    try:
        model.without_optimizer().save(partial, overwrite=True)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


class _Keeper(keras.callbacks.Callback):
    """At the end of an epoch: validate, save the best model, keep the state."""

    def __init__(self, state: RunState, out: Path, folder: Path, valid: Sequence[str]) -> None:
        super().__init__()
        self.state, self.out, self.folder, self.valid = state, out, folder, valid

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        state = self.state
        state.epoch = epoch + 1
        row = {"epoch": epoch + 1, "loss": float((logs or {})["loss"])}
        if self.valid:
            row["val_perplexity"] = perplexity(self.model, self.valid).perplexity
            if row["val_perplexity"] < state.best:
                state.best, state.best_epoch = row["val_perplexity"], state.epoch
                _save(self.model, self.out)
        state.seconds += time.perf_counter() - self._started
        state.history.append({**row, "seconds": round(state.seconds, 2)})
        state.write(self.folder, self.model)


class _Bar(keras.callbacks.Callback):
    """A bar over the run where stderr is a terminal; elsewhere one line an epoch."""

    def __init__(self, state: RunState, options: LanguageTraining, steps: int, verbose: bool) -> None:
        super().__init__()
        self.state, self.epochs, self.console = state, options.epochs, Console(stderr=True, quiet=not verbose)
        self._bar: Progress | None = None
        if self.console.is_terminal and verbose:
            columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
            self._bar = Progress(*columns, console=self.console)
            self._task = self._bar.add_task("compiling", total=options.epochs * steps, completed=state.epoch * steps)
            self._bar.start()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._bar is not None:
            said = f"epoch {self.state.epoch + 1}, {(logs or {})['loss']:.3f} nats a character"
            self._bar.update(self._task, advance=1, description=said)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        row = self.state.history[-1]
        parts = [f"epoch {epoch + 1}/{self.epochs}", f"loss {row['loss']:.3f} nats a character"]
        if "val_perplexity" in row:
            best = "  best" if self.state.best_epoch == epoch + 1 else ""
            parts.append(f"validation perplexity {row['val_perplexity']:.1f} a word{best}")
        self.console.print("  ".join([*parts, f"{row['seconds']:.0f} s"]), highlight=False, soft_wrap=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
