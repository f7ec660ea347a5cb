"""LSTM, GRU and SimpleRNN that keep Keras's arguments, weights and saved form, and choose how to run.

On a GPU they are Keras's own layers, which call cuDNN. On a CPU, where Keras would run a generic loop, they run the
compiled scan of `speechrnn.layers.scan`. `execution_path(layer)` says which, and why. On every path masked steps give
what Keras documents: the output before them, or zeros with `zero_output_for_mask=True`. The states are those of the
last valid step; what masked steps hold never matters, NaN included.
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
    """Within it layers are traced as Keras's own loops, without XLA and cuDNN: slow, and run by any TensorFlow."""
    token = _PLAIN.set(True)
    try:
        yield
    finally:
        _PLAIN.reset(token)


@contextmanager
def another_loop(
    layer: keras.layers.RNN, loop: Callable[[Any, list[Any], Any], tuple[Any, Any, Any]]
) -> Iterator[None]:
    """Within it this one layer, ours or Keras's, runs another loop over its steps, and its state is left as it was.

    Args:
        layer: The layer; its class keeps its own loop.
        loop: From inputs `(batch, steps, features)`, first states and mask bool `(batch, steps)` to the last output,
            all outputs and the last states. The inputs are zeros where the mask is False.
    """
    kept = [state.numpy() for state in layer.states] if layer.stateful and layer.states is not None else []

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
        for state, value in zip(layer.states if kept else [], kept, strict=True):
            state.assign(value)


def _mask(mask: Any) -> Any:
    """The one mask that Keras gives, as booleans, or None."""
    return None if mask is None else tf.cast(keras.tree.flatten(mask)[0], tf.bool)


def _fitting_mask(mask: Any, sequences: Any) -> Any:
    """The mask, of one number for each step.

    Raises:
        ValueError: It is not.
    """
    mask = _mask(mask)
    if mask is None:
        return None
    if mask.shape.rank == 3:  # Keras's loop takes that too
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
    """How a recurrent layer runs: "cudnn", "scan" (compiled, CPU), "keras" (generic loop, slow), or "steps" (another
    layer runs its cell).
    """

    name: str
    reason: str


def sides(layer: keras.layers.Layer) -> tuple[keras.layers.Layer, ...]:
    """Both layers of a `keras.layers.Bidirectional`, the forward one first; of any other layer, itself alone."""
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
        return ExecutionPath("steps", f"{stepped_by} runs its cell: each step needs what came of the last one")
    if isinstance(layer, _Scanned):
        return layer.execution_path
    if isinstance(layer, keras.layers.RNN):
        return ExecutionPath("keras", f"{type(layer).__name__} is not one of speechrnn.layers; use those")
    raise TypeError(f"`layer` must be a recurrent layer. Received: {layer!r}.")


def _fixed_options(layer: keras.layers.RNN) -> dict[str, Any]:
    """The options that the scan, and cuDNN, were written for, with the value each must have."""
    options = {"activation": keras.activations.tanh, "unroll": False, "recurrent_dropout": 0}
    if hasattr(layer, "recurrent_activation"):
        options["recurrent_activation"] = keras.activations.sigmoid
    if hasattr(layer, "reset_after"):
        options["reset_after"] = True
    return options


def _shown(value: Any) -> str:
    return getattr(value, "__name__", repr(value))


@functools.cache
def _multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for products in bfloat16; without them they are slower than float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


class _Scanned(keras.layers.RNN):
    """Replaces the inner loop of a stock recurrent layer; a subclass names its cell."""

    cell_name: str
    initial_state = recurrent_state
    step = recurrent_step

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The scan holds its own compiled kernels, and cuDNN is not compiled: XLA around the whole model would compile
        # every product for every length.
        self.supports_jit = False

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        """Make the weights, and note how many features a step has, so that Keras refuses others."""
        super().build(sequences_shape, initial_state_shape)
        self.input_spec = keras.InputSpec(ndim=3, axes={-1: sequences_shape[-1]})

    @property
    def execution_path(self) -> ExecutionPath:
        """How this layer runs on this machine, and why."""
        if _PLAIN.get():
            return ExecutionPath("keras", "plain loops were asked for")
        for option, needed in _fixed_options(self).items():
            value = getattr(self, option)
            if value != needed:
                return ExecutionPath("keras", f"{option}={_shown(value)}; the scan needs {option}={_shown(needed)}")
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
        mask = _fitting_mask(mask, sequences)
        self._check_states(sequences, initial_state)
        if self.execution_path.name == "scan":
            return self._scan(sequences, initial_state, mask, training)
        return self._stock(sequences, initial_state, mask, training)

    def _check_states(self, sequences: Any, states: Any) -> None:
        wanted = tf.TensorShape([sequences.shape[0], self.units])
        states = keras.tree.flatten(states)
        count = len(keras.tree.flatten(self.cell.state_size))
        if len(states) != count or not all(wanted.is_compatible_with(state.shape) for state in states):
            raise ValueError(
                f"`initial_state` must be {count} of shape {tuple(wanted)}. Received: shapes "
                f"{[tuple(state.shape) for state in states]}."
            )

    def _stock(self, sequences: Any, initial_state: Any, mask: Any, training: bool) -> tuple[Any, Any, Any]:
        # Past Keras's LSTM and GRU, which look for a GPU themselves.
        loop = keras.layers.RNN.inner_loop.__get__(self) if _PLAIN.get() else super().inner_loop
        if mask is None:
            return loop(sequences, initial_state, None, training=training)
        last, outputs, states = loop(_zeros_in_padding(sequences, mask), initial_state, mask, training=training)
        if self.execution_path.name == "cudnn":  # gives zeros in the padding, and the last valid output as the last one
            if self.zero_output_for_mask:
                shown = mask[:, :1] if self.go_backwards else mask[:, -1:]
                last = tf.where(shown, last, tf.zeros((), last.dtype))
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
        """Kernel, bias, recurrent kernel and recurrent bias; biases that the layer lacks are zeros."""
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
class LSTM(_Scanned, keras.layers.LSTM):
    """`keras.layers.LSTM`, fast on a CPU as well; arguments, weights and saved form are the same.

    Example:
    >>> LSTM(4, return_sequences=True)(np.zeros((2, 10, 8), "float32")).shape
    TensorShape([2, 10, 4])
    """

    cell_name = "lstm"


@keras.saving.register_keras_serializable(package="speechrnn")
class GRU(_Scanned, keras.layers.GRU):
    """`keras.layers.GRU`, fast on a CPU as well; arguments, weights and saved form are the same.

    Example:
    >>> GRU(4, return_sequences=True)(np.zeros((2, 10, 8), "float32")).shape
    TensorShape([2, 10, 4])
    """

    cell_name = "gru"


@keras.saving.register_keras_serializable(package="speechrnn")
class SimpleRNN(_Scanned, keras.layers.SimpleRNN):
    """`keras.layers.SimpleRNN`, fast on a CPU as well; arguments, weights and saved form are the same.

    Example:
    >>> SimpleRNN(4, return_sequences=True)(np.zeros((2, 10, 8), "float32")).shape
    TensorShape([2, 10, 4])
    """

    cell_name = "simple"
