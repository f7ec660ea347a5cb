"""Measure how far back in time a network can learn: the norm of d loss / d state of recurrent layers by time lag."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from speechrnn.faults import check_choice
from speechrnn.layers.recurrent import replaced_loop, sides
from speechrnn.training.diagnostics.paths import recurrent_layers
from speechrnn.training.diagnostics.verdicts import LOST, Verdict, judge_flow


@dataclass(frozen=True)
class GradientFlow:
    """Gradient of a loss with respect to the states of one direction of a recurrent layer."""

    layer: str
    """Name of the layer, with `forward` or `backward` if it is bidirectional."""
    kind: str
    """Its class."""
    norms: np.ndarray
    """float64 `(lags,)`: the median norm over the rows at each lag."""

    @property
    def relative(self) -> np.ndarray:
        """The norms relative to the norm at lag 0."""
        return self.norms / self.norms[0]

    @property
    def reach(self) -> int:
        """The longest lag whose norm is at least `LOST` times the norm at lag 0."""
        return int(np.flatnonzero(self.norms >= LOST * self.norms[0])[-1])

    @property
    def per_step(self) -> float:
        """Factor by which the norm changes from one lag to the next: the geometric mean over all non-zero norms."""
        lags = np.flatnonzero(np.isfinite(self.norms) & (self.norms > 0))
        last = int(lags[-1]) if lags.size else 0
        return float((self.norms[last] / self.norms[0]) ** (1 / last)) if last else 0.0

    def verdict(self, lag: int | None = None) -> Verdict:
        """Vanishing, exploding or healthy at `lag`, the longest by default."""
        return judge_flow(self.layer, self.kind, self.norms, lag=lag)


@dataclass
class _Probe:
    """Records of one direction of a layer, made while the network runs."""

    layer: keras.layers.RNN
    nudges: list[Any] = field(default_factory=list)
    """Zeros added to each state at each step, float `(batch, steps, units)`; their gradient is that of the state."""
    valid: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), bool))
    step_states: list[list[Any]] = field(default_factory=list)
    """The states after each step, if another layer runs the cell."""

    @property
    def stepped_by_another(self) -> bool:
        """Whether another layer runs the cell."""
        return getattr(self.layer, "stepped_by", None) is not None


def gradient_flow(
    model: keras.Model,
    batch: Any,
    *,
    source: Literal["last", "loss"] = "last",
    layer: str | None = None,
    seed: int = 0,
) -> dict[str, GradientFlow]:
    """Norm of d loss / d state against time lag, for every recurrent layer of a model.

    The state of an LSTM is its output and its cell together, that of other layers their output. Lag 0 is a row's last
    valid step, or its first for a layer that reads backwards. The layers run step by step here, whatever path they
    normally take, so a call takes seconds.

    Args:
        model: Any Keras model with `LSTM`, `GRU` or `SimpleRNN` layers, ours or Keras's, alone or in a `Bidirectional`.
        batch: `x`, `(x, y)` or `(x, y, weight)`, as `fit` takes them.
        source: "last" differentiates a random projection of each row's last valid output (the first, for a layer that
            reads backwards), so that nearer steps do not mask distant ones. "loss" differentiates the model's own loss
            and needs `y`; if it depends on every frame, the gradient at a lag is a sum over all later frames.
        layer: Name of one recurrent layer; all of them by default.
        seed: Seed of the projection.

    Returns:
        The flow of each layer by name (with `forward` or `backward`), in the order of the model.

    Raises:
        ValueError: No recurrent layer has that name, "loss" is given without `y`, or "last" for a layer that only the
            loss runs.
    """
    x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
    check_choice("source", source, ("last", "loss"))
    if source == "loss" and y is None:
        raise ValueError('`source="loss"` needs a batch with its targets. Received: no targets. Use source="last".')
    probes = _probes(model, layer)
    with ExitStack() as stack, tf.GradientTape(persistent=True) as tape:
        for probe in probes.values():
            stack.enter_context(_probing(probe, tape))
        outputs = model(x, training=False)
        for probe in probes.values():
            if probe.step_states:
                _infer_valid_steps(probe, outputs)
        if source == "loss":
            loss = model.compute_loss(x=x, y=y, y_pred=outputs, sample_weight=weight, training=False)
            losses = {False: loss, True: loss}
        # The outputs do not depend on layers that only the loss runs, such as a transducer's predictor.
        probes = {name: probe for name, probe in probes.items() if probe.valid.size or probe.step_states}
        if not probes:
            raise ValueError(f'`{layer}` is run by the loss alone. Received: source={source!r}. Use source="loss".')
        if source != "loss":
            valid = list(probes.values())[-1].valid
            directions = {probe.layer.go_backwards for probe in probes.values()}
            losses = {backwards: _end(outputs, valid, backwards, seed) for backwards in directions}
    flows = {}
    for name, probe in probes.items():
        states = probe.step_states or probe.nudges
        gradients = tape.gradient(losses[probe.layer.go_backwards], states, unconnected_gradients="zero")
        if probe.stepped_by_another:
            gradients = [tf.stack(steps, axis=1) for steps in zip(*gradients, strict=True)]
        norms = np.sqrt(sum(np.sum(np.square(np.asarray(g, np.float64)), -1) for g in gradients))
        if not probe.valid.size:  # run by the loss, which ignores padding
            probe.valid = norms > 0
        flows[name] = GradientFlow(name, _kind(probe.layer), _by_lag(norms, probe.valid, probe.layer.go_backwards))
    return flows


def _probes(model: keras.Model, name: str | None) -> dict[str, _Probe]:
    layers = recurrent_layers(model)
    if not layers:
        raise ValueError("The model must have a recurrent layer. Received: one without.")
    if name is not None:
        check_choice("the recurrent layer", name, layers)
    probes: dict[str, _Probe] = {}
    for key, layer in layers.items():
        if name in (None, key):
            directions = sides(layer)
            names = [key] if len(directions) == 1 else [f"{key} forward", f"{key} backward"]
            probes.update(zip(names, map(_Probe, directions), strict=True))
    return probes


def _kind(layer: keras.layers.RNN) -> str:
    return next((c for c in ("LSTM", "GRU", "SimpleRNN") if isinstance(layer, getattr(keras.layers, c))), "RNN")


def _probing(probe: _Probe, tape: tf.GradientTape) -> AbstractContextManager[None]:
    """A context in which the layer runs its cell step by step, with a watched zero added to each state."""
    layer = probe.layer
    if _kind(layer) == "RNN":
        raise ValueError(f"The layer must be an LSTM, a GRU or a SimpleRNN. Received: {layer!r}.")
    if probe.stepped_by_another:
        return _recording(probe)

    def loop(sequences: Any, states: list[Any], mask: Any) -> tuple[Any, Any, Any]:
        states = [tf.convert_to_tensor(state) for state in states]
        probe.valid = mask.numpy()
        probe.nudges = [tf.zeros((*sequences.shape[:2], state.shape[-1]), state.dtype) for state in states]
        tape.watch(probe.nudges)
        outputs, states = _run_steps(layer, sequences, states, mask, probe.nudges)
        return states[0], outputs if layer.return_sequences else states[0], states

    return replaced_loop(layer, loop)


@contextmanager
def _recording(probe: _Probe) -> Iterator[None]:
    """A context in which the states that the cell returns are recorded, whatever layer runs it."""
    cell, run = probe.layer.cell, probe.layer.cell.call

    def call(*arguments: Any, **options: Any) -> Any:
        output, states = run(*arguments, **options)
        # Copies: a state that is also the output would have the gradient of both.
        states = [tf.identity(state) for state in keras.tree.flatten(states)]
        probe.step_states.append(states)
        return output, states

    cell.call = call  # replaced in this object only
    try:
        yield
    finally:
        del cell.call


def _infer_valid_steps(probe: _Probe, outputs: Any) -> None:
    """Set `probe.valid` if another layer runs the cell: a step is valid unless its output is all zeros, the padding."""
    values = np.asarray(keras.tree.flatten(outputs)[0])
    if values.ndim != 3 or values.shape[1] != len(probe.step_states):
        raise ValueError(
            f"{probe.layer.stepped_by} must give an output for each step of `{probe.layer.name}`. Received: outputs "
            f"{values.shape}, {len(probe.step_states)} steps."
        )
    probe.valid = np.any(values != 0, axis=2)


def _run_steps(
    layer: keras.layers.RNN, x: Any, states: list[Any], mask: Any, nudges: list[Any]
) -> tuple[Any, list[Any]]:
    outputs = []
    nudges = [tf.unstack(nudge, axis=1) for nudge in nudges]
    rows, valid = tf.unstack(x, axis=1), tf.unstack(mask[:, :, None], axis=1)
    for step in range(len(rows))[:: -1 if layer.go_backwards else 1]:
        _, new = layer.cell(rows[step], states, training=False)
        new = [s + nudge[step] for s, nudge in zip(keras.tree.flatten(new), nudges, strict=True)]
        states = [tf.where(valid[step], n, s) for n, s in zip(new, states, strict=True)]
        outputs.append(tf.where(valid[step], states[0], tf.zeros((), states[0].dtype)))
    return tf.stack(outputs, axis=1), states


def _end(outputs: Any, valid: np.ndarray, backwards: bool, seed: int) -> Any:
    """A random projection of each row's last valid output, or first; without a time axis, of its only output."""
    outputs = tf.cast(keras.tree.flatten(outputs)[0], tf.float32)
    if len(outputs.shape) > 2:
        # Steps of the layer are converted to frames of the output.
        steps = np.arange(valid.shape[1])
        last = np.max(np.where(valid, steps, 0), axis=1) * outputs.shape[1] // valid.shape[1]
        first = np.min(np.where(valid, steps, valid.shape[1] - 1), axis=1) * outputs.shape[1] // valid.shape[1]
        outputs = tf.gather(outputs, first if backwards else last, axis=1, batch_dims=1)
    return tf.reduce_sum(outputs * np.random.default_rng(seed).normal(size=outputs.shape).astype("float32"))


def _by_lag(norms: np.ndarray, valid: np.ndarray, backwards: bool) -> np.ndarray:
    """Median norm over the rows at each lag from a row's end; rows shorter than the lag are ignored."""
    rows: list[Sequence[float]] = []
    for norm, mask in zip(norms, valid, strict=True):
        steps = np.flatnonzero(mask)
        if steps.size:
            row = norm[steps[0] : steps[-1] + 1]
            rows.append(row if backwards else row[::-1])
    lags = max((len(row) for row in rows), default=0)
    if not lags:
        raise ValueError("`batch` must hold a valid step. Received: none.")
    return np.array([np.median([row[lag] for row in rows if len(row) > lag]) for lag in range(lags)])
