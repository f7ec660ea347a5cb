"""Second derivatives of functions with a custom gradient."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf


def without_gradient(kernel: Callable) -> Callable:
    """A compiled kernel that TensorFlow never differentiates.

    Nested tapes differentiate everything within a function, and XLA cannot return the values that a gradient of its
    loops would need.
    """

    @tf.custom_gradient
    def call(*arguments: Any) -> Any:
        outputs = kernel(*tf.nest.map_structure(tf.stop_gradient, arguments))
        return outputs, lambda *upstream: tf.nest.map_structure(lambda _: None, arguments)

    return call


def twice_differentiable(
    first_order: Callable,
    plain: Callable,
    inputs: Sequence[tf.Tensor],
    upstream: Sequence[tf.Tensor],
    fixed: Sequence[tf.Tensor] = (),
) -> Any:
    """The gradients that `first_order` computes, themselves differentiable.

    A gradient made of compiled kernels has no gradient. If a second derivative is needed, as for a gradient penalty,
    the same function in TensorFlow's own operations is differentiated twice, which is slower.

    Args:
        first_order: Takes `upstream` and returns the gradients with respect to `inputs`.
        plain: Takes `fixed` and `inputs` and returns the outputs (one or a tuple), by operations that TensorFlow can
            differentiate.
        inputs: The tensors that gradients are taken with respect to.
        upstream: Gradients of the outputs.
        fixed: Further arguments of `plain`, without a gradient.

    Returns:
        The gradients with respect to `inputs`, a tuple.

    Example:
    >>> x = tf.constant(3.0)
    >>> with tf.GradientTape() as tape:
    ...     tape.watch(x)
    ...     (slope,) = twice_differentiable(lambda u: (u * 3.0 * 9.0,), lambda x: x**3, [x], [tf.constant(1.0)])
    >>> float(slope), float(tape.gradient(slope, x))
    (27.0, 18.0)
    """
    count = len(inputs)
    # Copied into the gradient's graph: the second derivative has a graph of its own, which can read this one only.
    fixed, *arguments = tf.nest.map_structure(tf.identity, [tuple(fixed), *inputs, *upstream])

    @tf.custom_gradient
    def gradients(*arguments: Any) -> Any:
        def second_order(*output_gradients: Any) -> Any:
            with tf.GradientTape() as outer:
                outer.watch(arguments)
                with tf.GradientTape() as inner:
                    inner.watch(arguments[:count])
                    outputs = plain(*fixed, *arguments[:count])
                first = inner.gradient(
                    outputs if isinstance(outputs, tuple) else (outputs,),
                    arguments[:count],
                    output_gradients=arguments[count:],
                    unconnected_gradients=tf.UnconnectedGradients.ZERO,
                )
            return outer.gradient(
                first, arguments, output_gradients=output_gradients, unconnected_gradients=tf.UnconnectedGradients.ZERO
            )

        return tuple(first_order(*arguments[count:])), second_order

    return gradients(*arguments)
