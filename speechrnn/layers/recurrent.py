"""LSTM, GRU and SimpleRNN with Keras's arguments, weights and saved form, which choose the fastest way to run.

On a GPU they are Keras's own layers, which call cuDNN. On a CPU, where Keras would run a generic loop, they run the
compiled scan of `speechrnn.layers.scan`. `execution_path(layer)` tells which one runs, and why. On every path masked
steps give what Keras documents: the previous output, or zeros with `zero_output_for_mask=True`. The final states are
those of the last valid step. The inputs of masked steps never matter, NaN included.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from speechrnn.layers.scan import scan
from speechrnn.layers.steps import recurrent_state, recurrent_step

_PLAIN: ContextVar[bool] = ContextVar("plain loops", default=False)


@contextmanager
def plain_loops() -> Iterator[None]:
    """Trace layers as Keras's own loops, without XLA and cuDNN: slow, but any TensorFlow can run them."""
    token = _PLAIN.set(True)
    try:
        yield
    finally:
        _PLAIN.reset(token)


@contextmanager
def replaced_loop(
    layer: keras.layers.RNN, loop: Callable[[Any, list[Any], Any], tuple[Any, Any, Any]]
) -> Iterator[None]:
    """Run one layer, ours or Keras's, with another loop over its steps; its state is restored at the end.

    Args:
        layer: The layer; other layers of its class are not affected.
        loop: Takes inputs `(batch, steps, features)`, initial states and mask bool `(batch, steps)`; returns the last
            output, all outputs and the final states. The inputs are zeros where the mask is False.
    """
    saved = [state.numpy() for state in layer.states] if layer.stateful and layer.states is not None else []

    def inner_loop(sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> tuple[Any, Any, Any]:
        mask = _mask(mask)
        if mask is None:
            mask = tf.ones(tf.shape(sequences)[:2], tf.bool)
        return loop(_zeros_in_padding(sequences, mask), keras.tree.flatten(initial_state), mask)

    layer.inner_loop = inner_loop
    try:
        yield
    finally:
        del layer.inner_loop
        for state, value in zip(layer.states if saved else [], saved, strict=True):
            state.assign(value)


def _mask(mask: Any) -> Any:
    """The mask as booleans, out of the list that Keras may pass, or None."""
    return None if mask is None else tf.cast(keras.tree.flatten(mask)[0], tf.bool)


def _checked_mask(mask: Any, sequences: Any) -> Any:
    """The mask as bool `(batch, steps)`, or None.

    Raises:
        ValueError: It has another shape.
    """
    mask = _mask(mask)
    if mask is None:
        return None
    if mask.shape.rank == 3:  # which Keras's loop takes too
        mask = tf.squeeze(mask, -1)
    if not mask.shape.is_compatible_with(sequences.shape[:2]):
        raise ValueError(
            f"`mask` must be `(batch, steps)`, as the sequences of shape {tuple(sequences.shape)} are. Received: a "
            f"mask of shape {tuple(mask.shape)}."
        )
    return mask


def _zeros_in_padding(sequences: Any, mask: Any) -> Any:
    return tf.where(mask[:, :, None], sequences, tf.zeros((), sequences.dtype))


class ExecutionPath(NamedTuple):
    """How a recurrent layer runs.

    "cudnn", "scan" (compiled, for the CPU), "keras" (a generic loop, slow), or "steps" (another layer calls its cell).
    """

    name: str
    reason: str


def sides(layer: keras.layers.Layer) -> tuple[keras.layers.Layer, ...]:
    """Both layers of a `keras.layers.Bidirectional`, the forward one first; for any other layer, the layer alone."""
    return (layer.forward_layer, layer.backward_layer) if isinstance(layer, keras.layers.Bidirectional) else (layer,)


def execution_path(layer: keras.layers.Layer) -> ExecutionPath:
    """How a recurrent layer, or both layers of a `keras.layers.Bidirectional`, will run on this machine, and why.

    Example:
    >>> execution_path(GRU(8, recurrent_dropout=0.1)).reason
    'recurrent_dropout=0.1; the scan needs recurrent_dropout=0'
    """
    if isinstance(layer, keras.layers.Bidirectional):
        return max(map(execution_path, sides(layer)), key=lambda path: path.name == "keras")
    stepped_by = getattr(layer, "stepped_by", None)
    if stepped_by is not None:
        return ExecutionPath("steps", f"{stepped_by} runs its cell: each step needs the result of the one before")
    if isinstance(layer, _FastRecurrent):
        return layer.execution_path
    if isinstance(layer, keras.layers.RNN):
        return ExecutionPath("keras", f"{type(layer).__name__} is not one of speechrnn.layers; use those")
    raise TypeError(f"`layer` must be a recurrent layer. Received: {layer!r}.")


def _required_options(layer: keras.layers.RNN) -> dict[str, Any]:
    """Options for which the scan and cuDNN support one value only, with that value."""
    options = {"activation": keras.activations.tanh, "unroll": False, "recurrent_dropout": 0}
    if hasattr(layer, "recurrent_activation"):
        options["recurrent_activation"] = keras.activations.sigmoid
    if hasattr(layer, "reset_after"):
        options["reset_after"] = True
    return options


def _name(value: Any) -> str:
    return getattr(value, "__name__", repr(value))


@functools.cache
def _multiplies_bfloat16() -> bool:
    """Whether this processor multiplies in bfloat16; without such instructions bfloat16 is slower than float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


class _FastRecurrent(keras.layers.RNN):
    """A recurrent layer of Keras with another inner loop; a subclass names its cell."""

    cell_name: str
    initial_state = recurrent_state
    step = recurrent_step

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The scan holds its own compiled kernels, and cuDNN is not compiled: XLA around the whole model would compile
        # every product for every length.
        self.supports_jit = False

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        """Make the weights, and fix the number of features, so that Keras refuses any other."""
        super().build(sequences_shape, initial_state_shape)
        self.input_spec = keras.InputSpec(ndim=3, axes={-1: sequences_shape[-1]})

    @property
    def execution_path(self) -> ExecutionPath:
        """How this layer runs on this machine, and why."""
        if _PLAIN.get():
            return ExecutionPath("keras", "plain loops are active")
        for option, required in _required_options(self).items():
            value = getattr(self, option)
            if value != required:
                return ExecutionPath("keras", f"{option}={_name(value)}; the scan needs {option}={_name(required)}")
        if self.dropout and getattr(self.cell, "implementation", 2) != 2:
            return ExecutionPath("keras", "dropout with implementation=1; the scan needs implementation=2")
        use_cudnn = getattr(self, "use_cudnn", False)
        if not tf.config.list_logical_devices("GPU"):
            return ExecutionPath("scan", "no GPU here")
        if use_cudnn and self.use_bias:
            return ExecutionPath("cudnn", "a GPU, and options that cuDNN has")
        return ExecutionPath("scan", "use_bias=False" if use_cudnn else "use_cudnn=False")

    def inner_loop(self, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> tuple[Any, Any, Any]:
        """The last output, all outputs and the last states, by the path of `execution_path`."""
        mask = _checked_mask(mask, sequences)
        self._check_states(sequences, initial_state)
        if self.execution_path.name == "scan":
            return self._scan(sequences, initial_state, mask, training)
        return self._stock(sequences, initial_state, mask, training)

    def _check_states(self, sequences: Any, states: Any) -> None:
        expected = tf.TensorShape([sequences.shape[0], self.units])
        states = keras.tree.flatten(states)
        count = len(keras.tree.flatten(self.cell.state_size))
        if len(states) != count or not all(expected.is_compatible_with(state.shape) for state in states):
            raise ValueError(
                f"`initial_state` must be {count} of shape {tuple(expected)}. Received: shapes "
                f"{[tuple(state.shape) for state in states]}."
            )

    def _stock(self, sequences: Any, initial_state: Any, mask: Any, training: bool) -> tuple[Any, Any, Any]:
        # Keras's LSTM and GRU would look for a GPU themselves, so plain loops skip their override.
        loop = keras.layers.RNN.inner_loop.__get__(self) if _PLAIN.get() else super().inner_loop
        if mask is None:
            return loop(sequences, initial_state, None, training=training)
        last, outputs, states = loop(_zeros_in_padding(sequences, mask), initial_state, mask, training=training)
        if self.execution_path.name == "cudnn":  # gives zeros in the padding, and the last valid output as the last one
            if self.zero_output_for_mask:
                valid = mask[:, :1] if self.go_backwards else mask[:, -1:]
                last = tf.where(valid, last, tf.zeros((), last.dtype))
            elif self.return_sequences and not self.go_backwards:
                outputs = tf.where(mask[:, :, None], outputs, states[0][:, None])
        return last, outputs, states

    def _scan(self, sequences: Any, initial_state: Any, mask: Any, training: bool) -> tuple[Any, Any, Any]:
        if training and self.dropout:
            sequences *= self.cell.get_dropout_mask(sequences[:, 0, :])[:, None, :]
        # The state is carried in float32 under the mixed policies: bfloat16 would lose 8 bits at every step.
        dtype = tf.float64 if sequences.dtype == tf.float64 else tf.float32
        initial_state = [tf.cast(value, dtype) for value in initial_state]
        if not (sequences.dtype == tf.bfloat16 and _multiplies_bfloat16()):
            sequences = tf.cast(sequences, dtype)
        outputs, states = scan(
            self.cell_name,
            sequences,
            mask,
            initial_state,
            *self._weights(dtype),
            reverse=self.go_backwards,
            zero_output_for_mask=self.zero_output_for_mask,
            any_batch_size=not training,
        )
        last = states[0] if self.return_sequences or mask is None else outputs[:, -1]
        return last, outputs, list(states)

    def _weights(self, dtype: tf.DType) -> tuple[Any, Any, Any, Any]:
        """Kernel, bias, recurrent kernel and recurrent bias; missing biases are zeros."""
        cell = self.cell
        kernel, recurrent_kernel = (
            tf.cast(keras.ops.convert_to_tensor(v), dtype) for v in (cell.kernel, cell.recurrent_kernel)
        )
        zeros = tf.zeros(kernel.shape[-1:], dtype)
        if cell.bias is None:
            return kernel, zeros, recurrent_kernel, zeros
        bias = tf.cast(keras.ops.convert_to_tensor(cell.bias), dtype)
        bias, recurrent_bias = (bias, zeros) if len(bias.shape) == 1 else tf.unstack(bias)
        return kernel, bias, recurrent_kernel, recurrent_bias

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = super().get_config()
        if hasattr(self, "use_cudnn"):
            config["use_cudnn"] = self.use_cudnn  # Keras leaves it out, so that a reload would reset it.
        return config


@keras.saving.register_keras_serializable(package="speechrnn")
class LSTM(_FastRecurrent, keras.layers.LSTM):
    """`keras.layers.LSTM`, fast on a CPU as well; arguments, weights and saved form are the same.

    Example:
    >>> LSTM(4, return_sequences=True)(np.zeros((2, 10, 8), "float32")).shape
    TensorShape([2, 10, 4])
    """

    cell_name = "lstm"


@keras.saving.register_keras_serializable(package="speechrnn")
class GRU(_FastRecurrent, keras.layers.GRU):
    """`keras.layers.GRU`, fast on a CPU as well; arguments, weights and saved form are the same.

    Example:
    >>> GRU(4, return_sequences=True)(np.zeros((2, 10, 8), "float32")).shape
    TensorShape([2, 10, 4])
    """

    cell_name = "gru"


@keras.saving.register_keras_serializable(package="speechrnn")
class SimpleRNN(_FastRecurrent, keras.layers.SimpleRNN):
    """`keras.layers.SimpleRNN`, fast on a CPU as well; arguments, weights and saved form are the same.

    Example:
    >>> SimpleRNN(4, return_sequences=True)(np.zeros((2, 10, 8), "float32")).shape
    TensorShape([2, 10, 4])
    """

    cell_name = "simple"
