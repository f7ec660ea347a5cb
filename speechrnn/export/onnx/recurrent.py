"""Write LSTM, GRU and SimpleRNN layers as ONNX's own recurrent nodes.

ONNX Runtime runs each node as one kernel. `recurrent_node` takes initial states and returns the last ones, so that
graphs for streams, one block at a time, can be written as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from speechrnn import layers as ours
from speechrnn.export.onnx.graph import Graph
from speechrnn.export.onnx.layers import activation_name, weight
from speechrnn.export.onnx.registry import Tensor, cannot, writes

_OPERATORS = {keras.layers.LSTMCell: "LSTM", keras.layers.GRUCell: "GRU", keras.layers.SimpleRNNCell: "RNN"}
_LAYERS = (ours.LSTM, ours.GRU, ours.SimpleRNN, keras.layers.LSTM, keras.layers.GRU, keras.layers.SimpleRNN)
_ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (0, 1, 2), "RNN": (0,)}
"""ONNX's order of the gates (LSTM: input, output, forget, cell) as indices of Keras's (input, forget, cell, output)."""
_MERGED = {"sum": "ReduceSum", "ave": "ReduceMean", "mul": "ReduceProd"}
"""The operator that merges the outputs of two directions, by `merge_mode`."""
_ACTIVATIONS: dict[str, tuple[str, list[float], list[float]]] = {
    "tanh": ("Tanh", [], []),
    "sigmoid": ("Sigmoid", [], []),
    "relu": ("Relu", [], []),
    "linear": ("Affine", [1.0], [0.0]),
    "softsign": ("Softsign", [], []),
    "elu": ("Elu", [1.0], []),
    "hard_sigmoid": ("HardSigmoid", [1.0 / 6.0], [0.5]),
}
"""ONNX's function, its alpha and its beta; a function without them uses no entry of the node's lists. Softplus is not
supported: ONNX Runtime's recurrent nodes return infinity above 88."""


class Recurrent(NamedTuple):
    """Outputs of a recurrent node, all float32."""

    outputs: str
    """`(frames, directions, batch, units)`, zeros after each row's last frame."""
    states: tuple[str, ...]
    """States after each row's last frame, `(directions, batch, units)`: the output, and for an LSTM the cell."""


def recurrent_node(
    graph: Graph,
    sides: Sequence[keras.Layer],
    values: str,
    lengths: str = "",
    initial_states: Sequence[str] = (),
) -> Recurrent:
    """Add a node for a recurrent layer, or for the forward and backward layers of a bidirectional one.

    Args:
        graph: The graph to add the node to.
        sides: The layer, or the forward and the backward layer: LSTM, GRU or SimpleRNN of one class and size, or
            `keras.layers.RNN` of such cells.
        values: float32 `(frames, batch, features)`: time comes first.
        lengths: int32 `(batch,)`, valid frames of each row; without it all are valid.
        initial_states: `(directions, batch, units)` each, as in `Recurrent.states`; zeros if not given.

    Raises:
        ValueError: ONNX does not support an option of a layer, or the sides differ.
    """
    for side in sides:
        _check(side, sides[0])
    operator, cells = _OPERATORS[type(sides[0].cell)], [side.cell for side in sides]
    states = 2 if operator == "LSTM" else 1
    states_in = [*initial_states, *[""] * (states - len(initial_states))]
    options: dict[str, Any] = {"hidden_size": cells[0].units}
    if operator == "GRU":
        options["linear_before_reset"] = int(cells[0].reset_after)
    options |= _activations(operator, sides)
    options["direction"] = "bidirectional" if len(sides) == 2 else "reverse" if sides[0].go_backwards else "forward"
    weights = [np.stack(parts) for parts in zip(*(_weights(operator, cell) for cell in cells), strict=True)]
    outputs, *last = graph.add_many(operator, values, *weights, lengths, *states_in, outputs=1 + states, **options)
    return Recurrent(outputs, tuple(last))


@writes(*_OPERATORS)
def _one_step(graph: Graph, cell: Any, values: Tensor, states: Sequence[Tensor]) -> tuple[str, ...]:
    states_in = [graph.unsqueeze(state.name, 0) for state in states]
    recurrent = recurrent_node(
        graph, [keras.layers.RNN(cell)], graph.unsqueeze(values.name, 0), initial_states=states_in
    )
    states_out = [graph.add("Squeeze", state, np.array([0])) for state in recurrent.states]
    return states_out[0], *states_out


@writes(*_LAYERS, keras.layers.RNN)
def _one_direction(
    graph: Graph, layer: Any, sequence: Tensor, initial_state: Any = None, mask: Tensor | None = None
) -> str | tuple[str, ...]:
    initial = initial_state if isinstance(initial_state, list | tuple | type(None)) else [initial_state]
    states = [graph.unsqueeze(state.name, 0) for state in initial or ()]
    _check_outputs(layer, layer)
    if layer.go_backwards and layer.return_sequences:
        raise cannot(layer, "go_backwards=True turns its outputs round; use keras.layers.Bidirectional")
    recurrent = recurrent_node(
        graph, [layer], time_first(graph, sequence.name), row_lengths(graph, layer, mask), states
    )
    states_out = [graph.add("Squeeze", state, np.array([0])) for state in recurrent.states]
    last = states_out[0]
    if layer.return_sequences:
        outputs = graph.add("Transpose", graph.add("Squeeze", recurrent.outputs, np.array([1])), perm=[1, 0, 2])
        if mask is not None and not layer.zero_output_for_mask:
            valid, first_valid = graph.unsqueeze(mask.name, -1), graph.unsqueeze(_edge(graph, mask, 0), -1)
            repeated = graph.add("Where", first_valid, graph.unsqueeze(last, 1), np.float32(0))
            outputs = graph.add("Where", valid, outputs, repeated)
    elif mask is not None and (layer.zero_output_for_mask or initial):
        # Keras's last output is that of the last step, or of the last valid step; zeros if there is none.
        edge = _edge(graph, mask, -1 if layer.zero_output_for_mask and not layer.go_backwards else 0)
        outputs = graph.add("Where", edge, last, np.float32(0))
    else:
        outputs = last
    if not layer.return_state:
        return outputs
    return outputs, *states_out


@writes(keras.layers.Bidirectional)
def _bidirectional(
    graph: Graph, layer: Any, sequences: Tensor, initial_state: Any = None, mask: Tensor | None = None
) -> str:
    if initial_state is not None:
        raise cannot(layer, "an initial state that another layer gives is not supported")
    sides = [layer.forward_layer, layer.backward_layer]
    for side in sides:
        _check_outputs(layer, side)
        if side.return_state:
            raise cannot(layer, "return_state=True of two directions is not supported")
    recurrent = recurrent_node(graph, sides, time_first(graph, sequences.name), row_lengths(graph, layer, mask))
    units = sides[0].units
    if sides[0].return_sequences:
        outputs = graph.add("Transpose", recurrent.outputs, perm=[2, 0, 1, 3])  # batch, frames, directions, units
        joined, axis, shape = outputs, 2, [0, 0, 2 * units]
    else:
        joined, axis, shape = graph.add("Transpose", recurrent.states[0], perm=[1, 0, 2]), 1, [0, 2 * units]
    if layer.merge_mode == "concat":
        return graph.add("Reshape", joined, np.array(shape))
    if layer.merge_mode not in _MERGED:
        raise cannot(layer, f"merge_mode must be concat, sum, ave or mul. Received: {layer.merge_mode!r}")
    return graph.reduce(_MERGED[layer.merge_mode], joined, axis)


def _edge(graph: Graph, mask: Tensor, step: int) -> str:
    """Whether the first (0) or the last (-1) step of each row is valid, bool `(batch, 1)`."""
    return graph.slice(mask.name, np.array([step]), np.array([1 if step == 0 else np.iinfo("int64").max]), 1)


def time_first(graph: Graph, values: str) -> str:
    """`(batch, frames, features)` as `(frames, batch, features)`."""
    return graph.add("Transpose", values, perm=[1, 0, 2])


def row_lengths(graph: Graph, layer: Any, mask: Tensor | None) -> str:
    """The lengths from which a mask was made; empty without a mask."""
    if mask is None:
        return ""
    if mask.name not in graph.lengths:
        raise cannot(layer, "its mask must come straight from a LengthMask, since ONNX knows lengths and no masks")
    return graph.lengths[mask.name]


def _check(side: Any, first: Any) -> None:
    if type(side) not in (*_LAYERS, keras.layers.RNN) or type(side.cell) not in _OPERATORS:
        raise cannot(side, "it is no LSTM, GRU or SimpleRNN")
    same = ("units", "reset_after", "use_bias")
    one, other = side.cell, first.cell
    if type(one) is not type(other) or any(getattr(one, n, None) != getattr(other, n, None) for n in same):
        raise cannot(side, "both directions must be of one kind and size")


def _check_outputs(layer: Any, side: Any) -> None:
    if side.stateful:
        raise cannot(layer, "stateful=True is not supported")


def _activations(operator: str, sides: Sequence[Any]) -> dict[str, Any]:
    """ONNX's activation attributes; empty if they have their default values."""
    names = {"LSTM": "recurrent_activation activation activation", "GRU": "recurrent_activation activation"}
    options = names.get(operator, "activation").split()
    chosen = []
    for side in sides:
        for option in options:
            chosen.append(_ACTIVATIONS[activation_name(side, getattr(side.cell, option), _ACTIVATIONS, option)])
    if {name for name, _, _ in chosen} <= {"Tanh", "Sigmoid"} and all(_is_default(side) for side in sides):
        return {}
    alphas, betas = ([value for entry in chosen for value in entry[i]] for i in (1, 2))
    attributes: dict[str, Any] = {"activations": [entry[0] for entry in chosen]}
    return attributes | ({"activation_alpha": alphas} if alphas else {}) | ({"activation_beta": betas} if betas else {})


def _is_default(side: Any) -> bool:
    recurrent = getattr(side.cell, "recurrent_activation", keras.activations.sigmoid)
    return side.cell.activation is keras.activations.tanh and recurrent is keras.activations.sigmoid


def _weights(operator: str, cell: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """W `(gates * units, features)`, R `(gates * units, units)` and B `(2 * gates * units,)` in ONNX's order."""
    order = _ORDER[operator]

    def ordered(columns: np.ndarray) -> np.ndarray:
        parts = np.split(columns, len(order), axis=-1)
        return np.concatenate([parts[gate] for gate in order], axis=-1)

    kernel, recurrent = ordered(weight(cell.kernel)).T, ordered(weight(cell.recurrent_kernel)).T
    bias = np.zeros((2, kernel.shape[0]), "float32")
    if cell.bias is not None:
        biases = ordered(weight(cell.bias))
        bias[: biases.shape[0] if biases.ndim == 2 else 1] = biases
    return np.ascontiguousarray(kernel), np.ascontiguousarray(recurrent), bias.reshape(-1)
