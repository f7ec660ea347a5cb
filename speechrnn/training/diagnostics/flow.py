"""How far back through time a network can learn: the norm of the loss's gradient in a recurrent state, against lag."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from speechrnn.faults import check_choice
from speechrnn.layers.recurrent import another_loop, sides
from speechrnn.training.diagnostics.paths import recurrent_layers
from speechrnn.training.diagnostics.verdicts import LOST, Verdict, of_flow


@dataclass(frozen=True)
class GradientFlow:
    """Gradient of a loss in the states of one direction of a recurrent layer."""

    layer: str
    """Name of the layer, with `forward` or `backward` where it is bidirectional."""
    kind: str
    """Its class."""
    norms: np.ndarray
    """float64 `(lags,)`: at each lag the median over the rows of the norm."""

    @property
    def relative(self) -> np.ndarray:
        """The norms over that at lag 0."""
        return self.norms / self.norms[0]

    @property
    def reach(self) -> int:
        """The longest lag whose norm is still `LOST` times that at lag 0."""
        return int(np.flatnonzero(self.norms >= LOST * self.norms[0])[-1])

    @property
    def per_step(self) -> float:
        """Factor by which the norm changes from one lag to the next, the geometric mean over all that are not 0."""
        found = np.flatnonzero(np.isfinite(self.norms) & (self.norms > 0))
        last = int(found[-1]) if found.size else 0
        return float((self.norms[last] / self.norms[0]) ** (1 / last)) if last else 0.0

    def verdict(self, lag: int | None = None) -> Verdict:
        """Vanishing, exploding or healthy at `lag`, the longest by default."""
        return of_flow(self.layer, self.kind, self.norms, lag=lag)


@dataclass
class _Probe:
    """What was seen of one direction of a layer while the network ran."""

    layer: keras.layers.RNN
    nudges: list[Any] = field(default_factory=list)
    """Zeros added to each state at each step, float `(batch, steps, units)`; their gradient is the state's."""
    valid: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), bool))
    stepped: list[list[Any]] = field(default_factory=list)
    """The states after each step, where another layer runs the cell."""

    @property
    def by_another(self) -> bool:
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

    The state of an LSTM is its output and its cell together; that of the other layers is their output. Lag 0 is a row's
    last valid step, or its first for a layer that reads backwards. The layers run step by step here, whatever path they
    take otherwise, so a call takes seconds.

    Args:
        model: Any Keras model with `LSTM`, `GRU` or `SimpleRNN` layers, ours or Keras's, alone or in a `Bidirectional`.
        batch: `x`, `(x, y)` or `(x, y, weight)`, as `fit` takes them.
        source: "last": a random projection of each row's last valid output (the first, for a layer that reads
            backwards), so that nothing nearer hides what comes from afar. "loss": the model's own loss, which needs
            `y`; where it looks at every frame, the gradient at a lag is the sum of what all later frames send.
        layer: Name of one recurrent layer; all of them by default.
        seed: Seed of the projection.

    Returns:
        By name of the layer (and `forward` or `backward`), in the order of the model.

    Raises:
        ValueError: There is no such recurrent layer, "loss" without `y`, or a layer that only the loss runs without it.
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
            if probe.stepped:
                _settle(probe, outputs)
        if source == "loss":
            loss = model.compute_loss(x=x, y=y, y_pred=outputs, sample_weight=weight, training=False)
            losses = {False: loss, True: loss}
        # What only the loss runs, as a transducer's predictor, has no part in the outputs.
        probes = {name: probe for name, probe in probes.items() if probe.valid.size or probe.stepped}
        if not probes:
            raise ValueError(f'`{layer}` is run by the loss alone. Received: source={source!r}. Use source="loss".')
        if source != "loss":
            valid = list(probes.values())[-1].valid
            directions = {probe.layer.go_backwards for probe in probes.values()}
            losses = {backwards: _end(outputs, valid, backwards, seed) for backwards in directions}
    found = {}
    for name, probe in probes.items():
        seen = probe.stepped or probe.nudges
        gradients = tape.gradient(losses[probe.layer.go_backwards], seen, unconnected_gradients="zero")
        if probe.by_another:
            gradients = [tf.stack(steps, axis=1) for steps in zip(*gradients, strict=True)]
        norms = np.sqrt(sum(np.sum(np.square(np.asarray(g, np.float64)), -1) for g in gradients))
        if not probe.valid.size:  # stepped by the loss, which looks at no padding
            probe.valid = norms > 0
        found[name] = GradientFlow(name, _kind(probe.layer), _by_lag(norms, probe.valid, probe.layer.go_backwards))
    return found


def _probes(model: keras.Model, name: str | None) -> dict[str, _Probe]:
    layers = recurrent_layers(model)
    if not layers:
        raise ValueError("The model must have a recurrent layer. Received: one without.")
    if name is not None:
        check_choice("the recurrent layer", name, layers)
    found: dict[str, _Probe] = {}
    for key, layer in layers.items():
        if name in (None, key):
            both = sides(layer)
            names = [key] if len(both) == 1 else [f"{key} forward", f"{key} backward"]
            found.update(zip(names, map(_Probe, both), strict=True))
    return found


def _kind(layer: keras.layers.RNN) -> str:
    return next((c for c in ("LSTM", "GRU", "SimpleRNN") if isinstance(layer, getattr(keras.layers, c))), "RNN")


def _probing(probe: _Probe, tape: tf.GradientTape) -> AbstractContextManager[None]:
    """While it lasts, the layer runs its cell step by step, with a watched zero added to each state."""
    layer = probe.layer
    if _kind(layer) == "RNN":
        raise ValueError(f"The layer must be an LSTM, a GRU or a SimpleRNN. Received: {layer!r}.")
    if probe.by_another:
        return _recording(probe)

    def loop(sequences: Any, states: list[Any], mask: Any) -> tuple[Any, Any, Any]:
        states = [tf.convert_to_tensor(state) for state in states]
        probe.valid = mask.numpy()
        probe.nudges = [tf.zeros((*sequences.shape[:2], state.shape[-1]), state.dtype) for state in states]
        tape.watch(probe.nudges)
        outputs, states = _stepped(layer, sequences, states, mask, probe.nudges)
        return states[0], outputs if layer.return_sequences else states[0], states

    return another_loop(layer, loop)


@contextmanager
def _recording(probe: _Probe) -> Iterator[None]:
    """While it lasts, the states that the cell gives are kept, whoever runs it."""
    cell, run = probe.layer.cell, probe.layer.cell.call

    def call(*arguments: Any, **options: Any) -> Any:
        output, states = run(*arguments, **options)
        # Copies: a state that is the output as well would have the gradient of both.
        states = [tf.identity(state) for state in keras.tree.flatten(states)]
        probe.stepped.append(states)
        return output, states

    cell.call = call  # of this object only
    try:
        yield
    finally:
        del cell.call


def _settle(probe: _Probe, outputs: Any) -> None:
    """Which steps are valid, where another layer runs the cell: those whose output is not the zeros of the padding."""
    found = np.asarray(keras.tree.flatten(outputs)[0])
    if found.ndim != 3 or found.shape[1] != len(probe.stepped):
        raise ValueError(
            f"{probe.layer.stepped_by} must give an output for each step of `{probe.layer.name}`. Received: outputs "
            f"{found.shape}, {len(probe.stepped)} steps."
        )
    probe.valid = np.any(found != 0, axis=2)


def _stepped(layer: keras.layers.RNN, x: Any, states: list[Any], mask: Any, nudges: list[Any]) -> tuple[Any, list[Any]]:
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
    """A random projection of each row's last valid output, or first; of the only one where there is no time axis."""
    outputs = tf.cast(keras.tree.flatten(outputs)[0], tf.float32)
    if len(outputs.shape) > 2:
        # The last valid step of the layer, in the frames of the output.
        steps = np.arange(valid.shape[1])
        last = np.max(np.where(valid, steps, 0), axis=1) * outputs.shape[1] // valid.shape[1]
        first = np.min(np.where(valid, steps, valid.shape[1] - 1), axis=1) * outputs.shape[1] // valid.shape[1]
        outputs = tf.gather(outputs, first if backwards else last, axis=1, batch_dims=1)
    return tf.reduce_sum(outputs * np.random.default_rng(seed).normal(size=outputs.shape).astype("float32"))


def _by_lag(norms: np.ndarray, valid: np.ndarray, backwards: bool) -> np.ndarray:
    """Median over the rows at each lag from a row's end; rows shorter than the lag are left out."""
    rows: list[Sequence[float]] = []
    for norm, mask in zip(norms, valid, strict=True):
        places = np.flatnonzero(mask)
        if places.size:
            inside = norm[places[0] : places[-1] + 1]
            rows.append(inside if backwards else inside[::-1])
    lags = max((len(row) for row in rows), default=0)
    if not lags:
        raise ValueError("`batch` must hold a valid step. Received: none.")
    return np.array([np.median([row[lag] for row in rows if len(row) > lag]) for lag in range(lags)])
