"""Second derivatives of what has a fast gradient of its own."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf


def opaque(kernel: Callable) -> Callable:
    """A compiled kernel into which nothing looks for a gradient.

    A function under two tapes is differentiated with all that lies within it, and XLA cannot hand out what a gradient
    of its loops would need.
    """

    @tf.custom_gradient
    def call(*arguments: Any) -> Any:
        found = kernel(*tf.nest.map_structure(tf.stop_gradient, arguments))
        return found, lambda *upstream: tf.nest.map_structure(lambda _: None, arguments)

    return call


def twice_differentiable(
    first_order: Callable,
    plain: Callable,
    given: Sequence[tf.Tensor],
    upstream: Sequence[tf.Tensor],
    fixed: Sequence[tf.Tensor] = (),
) -> Any:
    """The gradients that `first_order` computes, as a function that can be differentiated in its turn.

    A gradient made of compiled kernels has no gradient. Where one is asked for, as for a gradient penalty, the same
    function in TensorFlow's own operations is differentiated twice: slower, and only then.

    Args:
        first_order: Takes `upstream` and gives the gradients in `given`.
        plain: Takes `fixed` and `given` and gives the outputs (one or a tuple), in operations that TensorFlow can
            differentiate.
        given: What the gradients are taken in.
        upstream: Gradients of the outputs.
        fixed: What else they depend on.

    Returns:
        The gradients in `given`, a tuple.

    Example:
    >>> x = tf.constant(3.0)
    >>> with tf.GradientTape() as tape:
    ...     tape.watch(x)
    ...     (slope,) = twice_differentiable(lambda u: (u * 3.0 * 9.0,), lambda x: x**3, [x], [tf.constant(1.0)])
    >>> float(slope), float(tape.gradient(slope, x))
    (27.0, 18.0)
    """
    count = len(given)
    # In the graph of the gradient: a second derivative is another graph's, which reaches no further back than this one.
    fixed, *arguments = tf.nest.map_structure(tf.identity, [tuple(fixed), *given, *upstream])

    @tf.custom_gradient
    def gradients(*arguments: Any) -> Any:
        def second_order(*above: Any) -> Any:
            with tf.GradientTape() as outer:
                outer.watch(arguments)
                with tf.GradientTape() as inner:
                    inner.watch(arguments[:count])
                    outputs = plain(*fixed, *arguments[:count])
                found = inner.gradient(
                    outputs if isinstance(outputs, tuple) else (outputs,),
                    arguments[:count],
                    output_gradients=arguments[count:],
                    unconnected_gradients=tf.UnconnectedGradients.ZERO,
                )
            return outer.gradient(
                found, arguments, output_gradients=above, unconnected_gradients=tf.UnconnectedGradients.ZERO
            )

        return tuple(first_order(*arguments[count:])), second_order

    return gradients(*arguments)
