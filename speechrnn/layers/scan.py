"""Recurrent layers on a CPU: chunks of steps compiled by XLA, in a TensorFlow loop over the sequence.

Why it is fast (each point was measured by `benchmarks/recurrent.py`):

- XLA fuses the elementwise operations of a step, but compiles for static shapes. The compiled kernel therefore has room
  for `CHUNK` steps and takes the number of steps to run as an argument, and a `tf.while_loop` calls it: one compilation
  per batch size and number of units, at any length. If the graph has fewer steps, the kernel has room for fewer: a
  decoder of two steps does not allocate 48.
- Matrix products that do not depend on the previous step (input projection, gradients of inputs and weights) are
  TensorFlow's own, one per chunk: fast, and with less memory than for the whole sequence. The bias is added within the
  kernel: with a bias, TensorFlow would choose another product, which is slower by a quarter.
- Each gate is stored in rows of its own: reading slices of wider rows took three times as long.
- With inputs in bfloat16 these products are in bfloat16, twice as fast if the processor supports it; states, gates and
  the products within a step stay in float32.
- The custom gradient's loop carries only the state backwards and computes the gates' derivatives in the kernel. A
  second derivative is that of a plain TensorFlow loop.
- The two directions of a bidirectional layer are two loops, which TensorFlow runs in parallel.

A masked step keeps the state, for any mask, so a reverse scan starts with the initial state at the end of each row, and
no sequence is reversed. Tensors are time-major: `(steps, batch, units)`.
"""

import functools
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from speechrnn.layers.derivatives import twice_differentiable, without_gradient

CHUNK = 48
"""Maximum number of steps in one call of a compiled kernel. For sequences of 400 steps, any value from 24 to 200 trains
equally fast; for 40 steps, 48 is 8 % faster than 32 or 96."""


_log = logging.getLogger(__name__)


class Cell(NamedTuple):
    """The arithmetic of one step; a state is a tuple whose first element is the output.

    `forward(projected, state, recurrent_kernel, recurrent_bias) -> (state, saved)` and
    `backward(d_state, previous_state, saved, transposed) -> (d_projected, d_previous_state)`, where `saved` is a tuple
    of `num_saved` `(batch, units)`, `transposed` the recurrent kernel's transpose and `d_projected` the `num_gradients`
    gradients of the projected input and, if they differ, of `h @ recurrent_kernel + recurrent_bias`.
    """

    num_saved: int
    num_gradients: int
    forward: Callable
    backward: Callable


def _lstm_forward(projected: Any, state: Any, recurrent_kernel: Any, recurrent_bias: Any) -> Any:
    h, c = state
    i, f, g, o = tf.split(projected + tf.matmul(h, recurrent_kernel), 4, 1)
    i, f, g, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)
    c = f * c + i * g
    return (o * tf.tanh(c), c), (i, f, g, o)


def _lstm_backward(d_state: Any, previous: Any, saved: Any, transposed: Any) -> Any:
    (dh, dc), (_, c), (i, f, g, o) = d_state, previous, saved
    y = tf.tanh(f * c + i * g)
    dc += dh * o * (1 - y * y)
    d = tf.concat([dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g * g), dh * y * o * (1 - o)], 1)
    return (d,), (tf.matmul(d, transposed), dc * f)


def _gru_forward(projected: Any, state: Any, recurrent_kernel: Any, recurrent_bias: Any) -> Any:
    (h,) = state
    inner = tf.matmul(h, recurrent_kernel) + recurrent_bias
    (a_z, a_r, a_g), (b_z, b_r, b_g) = tf.split(projected, 3, 1), tf.split(inner, 3, 1)
    z, r = tf.sigmoid(a_z + b_z), tf.sigmoid(a_r + b_r)
    g = tf.tanh(a_g + r * b_g)
    return (z * h + (1 - z) * g,), (z, r, g, b_g)


def _gru_backward(d_state: Any, previous: Any, saved: Any, transposed: Any) -> Any:
    (dh,), (h,), (z, r, g, b_g) = d_state, previous, saved
    dz = dh * (h - g) * z * (1 - z)
    dg = dh * (1 - z) * (1 - g * g)
    dr = dg * b_g * r * (1 - r)
    d = tf.concat([dz, dr, dg * r], 1)
    return (tf.concat([dz, dr, dg], 1), d), (dh * z + tf.matmul(d, transposed),)


def _simple_forward(projected: Any, state: Any, recurrent_kernel: Any, recurrent_bias: Any) -> Any:
    h = tf.tanh(projected + tf.matmul(state[0], recurrent_kernel))
    return (h,), (h,)


def _simple_backward(d_state: Any, previous: Any, saved: Any, transposed: Any) -> Any:
    d = d_state[0] * (1 - saved[0] * saved[0])
    return (d,), (tf.matmul(d, transposed),)


CELLS = {
    "lstm": Cell(4, 1, _lstm_forward, _lstm_backward),
    "gru": Cell(4, 2, _gru_forward, _gru_backward),
    "simple": Cell(1, 1, _simple_forward, _simple_backward),
}


def _where(valid: Any, new: Any, old: Any) -> Any:
    return tuple(tf.where(valid, a, b) for a, b in zip(new, old, strict=True))


def _compiled_loop(step: Any, state: Any, reads: Any, length: Any, dtype: Any, writes: Any, reverse: bool) -> Any:
    """Run `step(rows, state) -> (state, rows)` over the first `length` steps of a chunk.

    A tensor of `reads` and of the outputs holds one or more series, each `chunk` rows long and one after the other (the
    first of `reads` holds one); `writes` is the number of series in each output. XLA initializes arrays of equal shape
    by copying the first, and large ones in another thread: one array for several series is faster.

    Returns:
        The final state, and the outputs.
    """
    chunk = reads[0].shape[0]
    arrays = [tf.TensorArray(values.dtype, values.shape[0]).unstack(values) for values in reads]
    sources = [(array, start) for array, v in zip(arrays, reads, strict=True) for start in range(0, v.shape[0], chunk)]
    targets = [(which, part * chunk) for which, parts in enumerate(writes) for part in range(parts)]

    def body(count: Any, state: Any, written: Any) -> Any:
        row = length - 1 - count if reverse else count
        state, rows = step([array.read(start + row) for array, start in sources], state)
        written = list(written)
        for (which, start), values in zip(targets, rows, strict=True):
            written[which] = written[which].write(start + row, values)
        return count + 1, state, written

    written = [tf.TensorArray(dtype, parts * chunk) for parts in writes]
    _, state, written = tf.while_loop(
        lambda count, *_: count < length, body, (0, state, written), maximum_iterations=chunk
    )
    return state, [array.stack() for array in written]


@functools.cache
def _announce(name: str, rows: int | str, units: int) -> None:
    """Log a compilation once, even if several layers or both directions need it."""
    _log.info("compiling the %s scan for %s rows of %d units", name, rows, units)


@functools.cache
def _kernels(name: str, reverse: bool) -> Any:
    """The two compiled kernels of a cell and direction, shared by every layer of the process."""
    cell = CELLS[name]

    @tf.function(jit_compile=True, autograph=False)
    def forward(
        projected: Any, valid: Any, length: Any, state: Any, bias: Any, recurrent_kernel: Any, recurrent_bias: Any
    ) -> Any:
        batch, units = state[0].shape
        _announce(name, "any number of" if batch is None else batch, units)

        def step(rows: Any, state: Any) -> Any:
            new, saved = cell.forward(rows[0] + bias, state, recurrent_kernel, recurrent_bias)
            new = _where(rows[1], new, state)
            return new, (new[0], *saved, *state[1:])

        writes = (1, cell.num_saved + len(state) - 1)
        state, (outputs, saved) = _compiled_loop(
            step, state, (projected, valid), length, projected.dtype, writes, reverse
        )
        return outputs, saved, state

    @tf.function(jit_compile=True, autograph=False)
    def backward(
        d_outputs: Any, valid: Any, length: Any, before: Any, saved: Any, d_state: Any, totals: Any, transposed: Any
    ) -> Any:
        def step(rows: Any, carried: Any) -> Any:
            dy, valid, *rows = rows
            d_state, totals = carried
            d_next = (d_state[0] + dy, *d_state[1:])  # the output of a masked step is its unchanged state
            saved, previous = rows[1 : 1 + cell.num_saved], (rows[0], *rows[1 + cell.num_saved :])
            d_projected, d_previous = cell.backward(d_next, previous, saved, transposed)
            d_projected = [tf.where(valid, d, tf.zeros_like(d)) for d in d_projected]
            totals = [total + d for total, d in zip(totals, d_projected, strict=True)]
            return (_where(valid, d_previous, d_next), totals), d_projected

        reads = (d_outputs, valid, before, saved)
        (d_state, totals), (d_projected,) = _compiled_loop(
            step, (d_state, totals), reads, length, d_outputs.dtype, (cell.num_gradients,), not reverse
        )
        return d_projected, d_state, totals

    return forward, backward


def _chunk_size(steps: int | None) -> int:
    """Steps per chunk: `CHUNK`, or a smaller power of two for a known, smaller number of steps."""
    return CHUNK if steps is None else min(CHUNK, 1 << max(steps - 1, 0).bit_length())


def _pad_to(rows: Any, chunk: int) -> Any:
    """Pad the rows to `chunk` rows, with zeros (False)."""
    rows = tf.pad(rows, [[0, chunk - tf.shape(rows)[0]]] + [[0, 0]] * (len(rows.shape) - 1))
    return tf.ensure_shape(rows, (chunk, *rows.shape[1:]))


def _merge(values: Any) -> Any:
    return tf.reshape(values, (-1, values.shape[-1]))


def _split(values: Any, like: Any) -> Any:
    return tf.reshape(values, (-1, tf.shape(like)[1], values.shape[-1]))


def _loop(num_chunks: Any, body: Any, *state: Any) -> Any:
    def same_shape(new: Any, old: Any) -> Any:
        # A kernel traced for an unknown batch size is also used for a known one, and would lose the static shape.
        return tf.ensure_shape(new, old.shape) if tf.is_tensor(old) else new

    def step(count: Any, *state: Any) -> Any:
        count, *new = body(count, *state)
        return count, *tf.nest.map_structure(same_shape, tuple(new), state)

    return tf.while_loop(lambda count, *_: count < num_chunks, step, (0, *state), maximum_iterations=num_chunks)[1:]


def _plain(name: str, reverse: bool) -> Any:
    """The outputs of `_differentiable`, by operations that TensorFlow can differentiate any number of times."""
    cell = CELLS[name]

    def run(x: Any, valid: Any, state: Any, kernel: Any, bias: Any, recurrent_kernel: Any, recurrent_bias: Any) -> Any:
        dtype, steps = recurrent_kernel.dtype, tf.shape(x)[0]
        projected = tf.cast(_split(tf.matmul(_merge(x), tf.cast(kernel, x.dtype)), x), dtype) + bias

        def step(count: Any, state: Any, outputs: Any) -> Any:
            row = steps - 1 - count if reverse else count
            new, _ = cell.forward(projected[row], state, recurrent_kernel, recurrent_bias)
            new = _where(valid[row], new, state)
            return count + 1, new, outputs.write(row, new[0])

        outputs = tf.TensorArray(dtype, steps, element_shape=state[0].shape)
        _, state, outputs = tf.while_loop(
            lambda count, *_: count < steps, step, (0, state, outputs), maximum_iterations=steps
        )
        return outputs.stack(), *state

    return run


def _differentiable(name: str, reverse: bool, stacked: bool) -> Any:
    """The scan of a cell and direction, with its gradient.

    With `stacked` the values saved for the gradient are one tensor instead of a `TensorArray`, at the cost of a copy: a
    SavedModel contains gradients too, and cannot contain arrays.
    """
    cell, (forward_kernel, backward_kernel) = CELLS[name], map(without_gradient, _kernels(name, reverse))
    plain = _plain(name, reverse)

    @tf.custom_gradient
    def run(x: Any, valid: Any, state: Any, kernel: Any, bias: Any, recurrent_kernel: Any, recurrent_bias: Any) -> Any:
        inputs = (x, *state, kernel, bias, recurrent_kernel, recurrent_bias)
        low, dtype, units = x.dtype, recurrent_kernel.dtype, recurrent_kernel.shape[0]
        steps, batch, chunk = tf.shape(x)[0], tf.shape(x)[1], _chunk_size(x.shape[0])
        num_chunks = (steps + chunk - 1) // chunk
        low_kernel, num_saved = tf.cast(kernel, low), cell.num_saved + len(state) - 1

        def part(values: Any, index: Any) -> Any:  # a view, not a copy
            return values[index * chunk : (index + 1) * chunk]

        def array(size: Any = num_chunks, dtype: Any = dtype) -> Any:
            return tf.TensorArray(dtype, size, infer_shape=False, clear_after_read=False)

        # The initial state, then the state after each step: the state before a step is one row off.
        after, earlier = (0, 1) if reverse else (1, 0)
        states = array(num_chunks + 1).write(num_chunks if reverse else 0, state[0][None])

        def forward(count: Any, state: Any, states: Any, saved: Any) -> Any:
            index = num_chunks - 1 - count if reverse else count
            rows = part(x, index)
            length = tf.shape(rows)[0]
            projected = _split(tf.cast(tf.matmul(_merge(rows), low_kernel), dtype), rows)
            outputs, for_gradient, state = forward_kernel(
                _pad_to(projected, chunk),
                _pad_to(part(valid, index), chunk),
                length,
                state,
                bias,
                recurrent_kernel,
                recurrent_bias,
            )
            states, saved = states.write(index + after, outputs[:length]), saved.write(index, for_gradient)
            return count + 1, state, states, saved

        final, states, saved = _loop(num_chunks, forward, state, states, array())
        states = tf.reshape(states.concat(), (-1, batch, units))
        saved_shape = (num_saved * chunk, state[0].shape[0], units)
        saved_rows = tf.ensure_shape(saved.stack(), (None, *saved_shape)) if stacked else saved

        def first_order(d_outputs: Any, *d_final: Any) -> Any:
            transposed = tf.transpose(recurrent_kernel)

            def backward(count: Any, d_state: Any, totals: Any, dx: Any, d_kernel: Any, d_recurrent_kernel: Any) -> Any:
                index = count if reverse else num_chunks - 1 - count
                rows, before = part(x, index), part(states[earlier : earlier + steps], index)
                values = tf.ensure_shape(saved_rows[index] if stacked else saved_rows.read(index), saved_shape)
                length = tf.shape(rows)[0]
                d_projected, d_state, totals = backward_kernel(
                    _pad_to(part(d_outputs, index), chunk),
                    _pad_to(part(valid, index), chunk),
                    length,
                    _pad_to(before, chunk),
                    values,
                    d_state,
                    totals,
                    transposed,
                )
                starts = range(0, cell.num_gradients * chunk, chunk)
                gradients = [tf.cast(_merge(d_projected[start : start + length]), low) for start in starts]
                d_input, d_recurrent, low_before = gradients[0], gradients[-1], tf.cast(_merge(before), low)
                return (
                    count + 1,
                    d_state,
                    totals,
                    dx.write(index, _split(tf.matmul(d_input, low_kernel, transpose_b=True), rows)),
                    d_kernel + tf.cast(tf.matmul(_merge(rows), d_input, transpose_a=True), dtype),
                    d_recurrent_kernel + tf.cast(tf.matmul(low_before, d_recurrent, transpose_a=True), dtype),
                )

            totals = [tf.zeros((batch, kernel.shape[1]), dtype)] * cell.num_gradients
            d_state, totals, dx, d_kernel, d_recurrent_kernel = _loop(
                num_chunks,
                backward,
                tuple(d_final),
                totals,
                array(dtype=low),
                tf.zeros_like(kernel),
                tf.zeros_like(recurrent_kernel),
            )
            dx = tf.reshape(dx.concat(), (-1, batch, x.shape[-1]))
            d_bias, d_recurrent_bias = tf.reduce_sum(totals[0], 0), tf.reduce_sum(totals[-1], 0)
            return dx, *d_state, d_kernel, d_bias, d_recurrent_kernel, d_recurrent_bias

        def gradient(*upstream: Any) -> Any:
            dx, *d_state, d_kernel, d_bias, d_recurrent_kernel, d_recurrent_bias = twice_differentiable(
                first_order, plain_loop, inputs, upstream, (valid,)
            )
            return dx, None, tuple(d_state), d_kernel, d_bias, d_recurrent_kernel, d_recurrent_bias

        return (states[after : after + steps], *final), gradient

    def plain_loop(valid: Any, x: Any, *inputs: Any) -> Any:
        *state, kernel, bias, recurrent_kernel, recurrent_bias = inputs
        return plain(x, valid, tuple(state), kernel, bias, recurrent_kernel, recurrent_bias)

    return run


@functools.cache
def _scan(name: str, reverse: bool, zeros: bool, stacked: bool, weight_shapes: tuple) -> Any:
    """The scan within a graph, and as a `tf.function`; `weight_shapes` keeps `reduce_retracing` from relaxing them."""
    differentiable = _differentiable(name, reverse, stacked)

    def scan(x: Any, mask: Any, state: Any, kernel: Any, bias: Any, recurrent_kernel: Any, recurrent_bias: Any) -> Any:
        if mask is None:
            valid = tf.ones((tf.shape(x)[1], tf.shape(x)[0], 1), tf.bool)
        else:
            # `where`, not a product: padding may hold NaN, and NaN * 0 would reach the gradient of the kernel.
            x = tf.where(mask[:, :, None], x, tf.zeros((), x.dtype))
            valid = tf.transpose(mask)[:, :, None]
        outputs, *final = differentiable(
            tf.transpose(x, (1, 0, 2)), valid, state, kernel, bias, recurrent_kernel, recurrent_bias
        )
        if mask is not None:
            started = tf.cumsum(tf.cast(valid, tf.int32), reverse=reverse) > 0
            outputs = tf.where(valid if zeros else started, outputs, tf.zeros((), outputs.dtype))
        outputs = tf.transpose(outputs, (1, 0, 2))
        return (tf.reverse(outputs, [1]) if reverse else outputs), tuple(final)

    return scan, tf.function(scan, autograph=False, reduce_retracing=True)


def _padded_batch_size(batch: Any) -> Any:
    """The smallest of 1, 2, 3, 4, 6, 8, 12, 16, 24, ... that is at least `batch`."""
    sizes = [1, 2, *(k << n for n in range(20) for k in (3, 4))]
    sizes = tf.constant([k for k in sizes if k < 1 << 20])
    return tf.maximum(batch, sizes[tf.searchsorted(sizes, [batch])[0]])


def _append_zeros(values: Any, rows: Any) -> Any:
    return tf.pad(values, [[0, rows]] + [[0, 0]] * (len(values.shape) - 1))


def scan(
    name: str,
    x: Any,
    mask: Any,
    state: Any,
    kernel: Any,
    bias: Any,
    recurrent_kernel: Any,
    recurrent_bias: Any,
    *,
    reverse: bool = False,
    zero_output_for_mask: bool = False,
    any_batch_size: bool = False,
) -> Any:
    """Run a recurrent cell over a batch of sequences, differentiable in everything but the mask.

    Args:
        name: "lstm", "gru" (`reset_after`) or "simple"; tanh and sigmoid.
        x: float `(batch, steps, features)`; masked steps may hold anything. In bfloat16 the products that need no
            previous step are in bfloat16 too.
        mask: bool `(batch, steps)`, True at valid steps, in any pattern, or None.
        state: Tuple of `(batch, units)`: `(h, c)` for an LSTM, else `(h,)`.
        kernel: `(features, gates * units)`, gates in Keras's order.
        bias: `(gates * units,)`.
        recurrent_kernel: `(units, gates * units)`.
        recurrent_bias: `(gates * units,)`, used by a GRU only.
        reverse: Run from the last step to the first and return the outputs in that order, as `go_backwards` does.
        zero_output_for_mask: Masked steps give zeros; without it they repeat the previous output, or give zeros before
            the first valid step.
        any_batch_size: Pad the batch to one of a few sizes, so that batches of many sizes compile few kernels.

    Returns:
        Outputs `(batch, steps, units)`, and the tuple of final states: those of the last valid step.
    """
    shapes = (*kernel.shape, *recurrent_kernel.shape)
    inline, as_function = _scan(name, reverse, zero_output_for_mask, any_batch_size, shapes)
    run = as_function if tf.executing_eagerly() else inline
    batch, padded, state = tf.shape(x)[0], x, tuple(state)
    if any_batch_size:
        extra = _padded_batch_size(batch) - batch
        padded, state = _append_zeros(x, extra), tuple(_append_zeros(values, extra) for values in state)
        mask = None if mask is None else _append_zeros(mask, extra)
    outputs, final = run(padded, mask, state, kernel, bias, recurrent_kernel, recurrent_bias)
    if any_batch_size:
        outputs, final = outputs[:batch], tuple(values[:batch] for values in final)
    return tf.ensure_shape(outputs, (*x.shape[:2], recurrent_kernel.shape[0])), final
