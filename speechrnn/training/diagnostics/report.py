"""A Keras callback that records the gradient norms of every layer during training."""

import csv
import importlib.util
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from speechrnn import files
from speechrnn.training.diagnostics.verdicts import Verdict, judge_norms

_COLUMNS = ("epoch", "step", "layer", "norm", "largest", "non_finite", "batches")


class GradientReport(keras.callbacks.Callback):
    """Gradient norms of every layer, and how many gradients were not finite, in a CSV file and in TensorBoard.

    It works with `speechrnn.train` and with any `fit` on one device. The gradients are those passed to the optimizer,
    before it clips them: while `fit` runs, the optimizer's `apply` is wrapped so that it measures them first, in the
    compiled step, without computing anything twice and for every batch.

    Args:
        path: CSV file with a row for each layer and interval; by default none is written. It is started over at epoch
            0, and continued when a run is resumed.
        tensorboard: Folder for TensorBoard, one curve for each layer.
        every: Batches in an interval; an epoch by default.

    Attributes:
        rows: The rows of the CSV file: `epoch` (from 1), `step` (batches so far), `layer`, `norm` (mean over the
            interval's finite gradients), `largest`, `non_finite` and `batches`.

    Raises:
        ModuleNotFoundError: `tensorboard` is given, and the package is not installed.

    Example:
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="a")])
    >>> model.compile("sgd", "mse")
    >>> report = GradientReport()
    >>> _ = model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0, callbacks=[report])
    >>> report.rows[0]["layer"], report.rows[0]["batches"]
    ('a', 1)
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        tensorboard: str | os.PathLike[str] | None = None,
        every: int | None = None,
    ) -> None:
        super().__init__()
        if every is not None and every < 1:
            raise ValueError(f"`every` must be at least 1. Received: every={every}.")
        if tensorboard is not None and importlib.util.find_spec("tensorboard") is None:
            raise ModuleNotFoundError(
                "`tensorboard` needs the package tensorboard. Install it: pip install 'speechrnn[tensorboard]'."
            )
        self.path, self.tensorboard, self.every = path, tensorboard, every
        self.rows: list[dict[str, Any]] = []
        self._writer: Any = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Wrap the optimizer's `apply` so that it measures gradients."""
        variables = self.model.trainable_variables
        names = [layer_of(variable.path, self.model.name) for variable in variables]
        self.layers = list(dict.fromkeys(names))
        self._weights = np.array([_weights(variables, names, layer) for layer in self.layers])
        self._sums = tf.Variable(tf.zeros((len(self.layers), 4)), trainable=False)  # norm, largest, non-finite, batches
        owners, optimizer = [self.layers.index(name) for name in names], self.model.optimizer
        apply = optimizer.apply

        def measured(grads: Any, trainable_variables: Any = None) -> Any:
            self._measure(grads, owners, getattr(optimizer, "dynamic_scale", 1.0))
            return apply(grads, trainable_variables)

        optimizer.apply = measured
        # A step compiled in an earlier `fit` calls the optimizer's original `apply`.
        self.model.make_train_function(force=True)

    def on_train_end(self, logs: Any = None) -> None:
        """Restore the optimizer's `apply`."""
        vars(self.model.optimizer).pop("apply", None)
        self.model.make_train_function(force=True)
        if self._writer is not None:
            self._writer.close()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start the rows, or continue those in the file if a run is resumed."""
        if not self.rows and epoch and self.path is not None and os.path.exists(self.path):
            self.rows = [row for row in _read(self.path) if row["epoch"] <= epoch]
        self.rows = [row for row in self.rows if row["epoch"] <= epoch]
        self._epoch, self._batches = epoch + 1, 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Add a row for each layer when an interval ends."""
        if self.every is not None and (batch + 1) // self.every > self._batches // self.every:
            self._add_rows()
        self._batches = batch + 1

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Add rows for the rest of the epoch, and write the file."""
        self._add_rows()
        if self.path is not None:
            files.write_csv(self.path, _COLUMNS, self.rows)

    def verdicts(self) -> list[Verdict]:
        """Judge the gradients of each layer over the whole training."""
        rows_of = {layer: [row for row in self.rows if row["layer"] == layer] for layer in self.layers}
        rows_of = {layer: rows for layer, rows in rows_of.items() if rows}
        sizes = dict(zip(self.layers, self._weights, strict=True))
        rms = {k: np.nanmedian([row["norm"] for row in rows]) / np.sqrt(sizes[k]) for k, rows in rows_of.items()}
        median = float(np.nanmedian(list(rms.values()))) if rms else 0.0
        return [
            judge_norms(
                layer,
                [row["norm"] for row in rows],
                [row["largest"] for row in rows],
                [row["batches"] for row in rows],
                non_finite=sum(row["non_finite"] for row in rows),
                share=rms[layer] / median if median else 0.0,
            )
            for layer, rows in rows_of.items()
        ]

    def _measure(self, grads: Any, owners: list[int], scale: Any) -> None:
        squares = [tf.zeros(())] * len(self.layers)
        for owner, gradient in zip(owners, grads, strict=True):
            if gradient is not None:
                gradient = tf.cast(tf.convert_to_tensor(gradient), tf.float32) / tf.cast(scale, tf.float32)
                squares[owner] += tf.reduce_sum(tf.square(gradient))
        norm = tf.sqrt(tf.stack(squares))
        finite = tf.math.is_finite(norm)
        norm = tf.where(finite, norm, 0.0)
        total, largest, non_finite, batches = tf.unstack(self._sums, axis=1)
        new = [total + norm, tf.maximum(largest, norm), non_finite + tf.cast(~finite, tf.float32), batches + 1]
        self._sums.assign(tf.stack(new, axis=1))

    def _add_rows(self) -> None:
        sums = self._sums.numpy()
        if not sums[0, 3]:
            return
        self._sums.assign(tf.zeros_like(self._sums))
        before = self.rows[-1]["step"] if self.rows else 0
        for layer, (total, largest, non_finite, batches) in zip(self.layers, sums.tolist(), strict=True):
            norm = total / (batches - non_finite) if batches > non_finite else float("nan")
            values = (self._epoch, before + int(batches), layer, norm, largest, int(non_finite), int(batches))
            self.rows.append(dict(zip(_COLUMNS, values, strict=True)))
        if self.tensorboard is not None:
            self._to_tensorboard(self.rows[-len(self.layers) :])

    def _to_tensorboard(self, rows: list[dict[str, Any]]) -> None:
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(os.fspath(Path(self.tensorboard or "", "gradients")))
        with self._writer.as_default():
            for row in rows:
                for name in ("norm", "largest", "non_finite"):
                    tf.summary.scalar(f"gradient_{name}/{row['layer']}", row[name], step=row["step"])
        self._writer.flush()


def layer_of(path: str, model: str = "") -> str:
    """The layer that a variable belongs to, from the variable's path.

    Example:
    >>> layer_of("net/bidirectional_0/forward_gru/gru_cell/kernel", "net")
    'bidirectional_0/forward_gru'
    """
    parts = path.split("/")[:-1]
    if len(parts) > 1 and parts[-1].endswith("_cell"):
        parts = parts[:-1]
    if len(parts) > 1 and parts[0] == model:
        parts = parts[1:]
    return "/".join(parts) or path


def _weights(variables: list[Any], names: list[str], layer: str) -> int:
    return int(sum(np.prod(v.shape) for v, name in zip(variables, names, strict=True) if name == layer))


def _read(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    types = dict(zip(_COLUMNS, (int, int, str, float, float, int, int), strict=True))
    with open(path, encoding="utf-8", newline="") as file:
        return [{name: types[name](value) for name, value in row.items()} for row in csv.DictReader(file)]
