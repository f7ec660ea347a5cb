"""The optimizer: AdamW on TensorFlow's fused kernels, with clipping, averaging and a guard against bad gradients."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from speechrnn.layers.graph import layers_of
from speechrnn.losses.reduction import summed
from speechrnn.models.bundle import Bundle
from speechrnn.training.options import TrainingOptions


@keras.saving.register_keras_serializable(package="speechrnn")
class GuardedAdamW(keras.optimizers.Optimizer):
    """AdamW (Loshchilov and Hutter 2019) in one fused pass over each variable, where Keras's own makes a dozen.

    Before the update the gradient is clipped by its global norm; a step whose gradient contains NaN or infinity is
    skipped, so that one bad batch cannot destroy a model. After it, a moving average of every variable is updated. If
    several processes train together, the sum of their gradients is clipped.

    Args:
        learning_rate: A number or a Keras schedule.
        decay: Decoupled weight decay, times the learning rate; not applied to vectors and scalars (biases, norms).
        max_norm: Largest global gradient norm; 0 turns clipping off.
        average: Momentum of the moving average of the variables; 0 turns it off.
        beta_1, beta_2, epsilon: As in Adam (Kingma and Ba 2015).

    Attributes:
        gradient_norm: float32 scalar variable, the global norm of the last gradient before clipping.
        skipped: float32 scalar variable, the number of gradients skipped.
    """

    def __init__(
        self,
        learning_rate: Any = 1e-3,
        *,
        decay: float = 0.0,
        max_norm: float = 0.0,
        average: float = 0.0,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        name: str = "guarded_adamw",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, name=name, **kwargs)
        self.decay, self.max_norm, self.average = decay, max_norm, average
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def build(self, variables: Any) -> None:
        """Create the moments, the averages, and the variables `gradient_norm` and `skipped`."""
        if self.built:
            return
        super().build(variables)
        self._first = [self.add_variable_from_reference(v, name="first") for v in variables]
        self._second = [self.add_variable_from_reference(v, name="second") for v in variables]
        self._averages = []
        if self.average:
            self._averages = [self.add_variable_from_reference(v, name="average") for v in variables]
            for average, variable in zip(self._averages, variables, strict=True):
                average.assign(variable)
        self.gradient_norm = self.add_variable((), name="gradient_norm", dtype="float32")
        self.skipped = self.add_variable((), name="skipped", dtype="float32")

    def apply(self, grads: Any, trainable_variables: Any = None) -> Any:
        """Clip the gradient, or skip the step if it is not finite; then update as every Keras optimizer does."""
        grads = list(grads)
        present = [index for index, gradient in enumerate(grads) if gradient is not None]  # Keras warns of the others
        sums = summed([tf.convert_to_tensor(grads[index]) for index in present])
        if trainable_variables is not None and not self.built:
            self.build(list(trainable_variables))
        norm = tf.linalg.global_norm([tf.cast(g, tf.float32) for g in sums])
        finite = tf.math.is_finite(norm)
        self.gradient_norm.assign(norm)
        self.skipped.assign_add(1.0 - tf.cast(finite, tf.float32))
        scale = tf.minimum(1.0, self.max_norm / norm) if self.max_norm else 1.0
        for index, gradient in zip(present, sums, strict=True):
            grads[index] = gradient * tf.cast(scale, gradient.dtype)
        tf.cond(finite, lambda: self._apply(grads, trainable_variables), lambda: False)
        return self.iterations

    def _apply(self, grads: list[tf.Tensor | None], trainable_variables: Any) -> bool:
        super().apply(grads, trainable_variables)
        return True

    def update_step(self, gradient: tf.Tensor, variable: Any, learning_rate: Any) -> None:
        """Update one variable, its moments and its average."""
        index = self._get_variable_index(variable)
        value = variable.value if isinstance(variable, keras.Variable) else variable
        dtype = value.dtype
        step = tf.cast(self.iterations + 1, dtype)
        rate = tf.cast(learning_rate, dtype)
        if self.decay and len(variable.shape) > 1:
            tf.raw_ops.ResourceApplyGradientDescent(var=value.handle, alpha=rate * self.decay, delta=value.read_value())
        tf.raw_ops.ResourceApplyAdam(
            var=value.handle,
            m=self._first[index].value.handle,
            v=self._second[index].value.handle,
            beta1_power=tf.cast(self.beta_1, dtype) ** step,
            beta2_power=tf.cast(self.beta_2, dtype) ** step,
            lr=rate,
            beta1=tf.cast(self.beta_1, dtype),
            beta2=tf.cast(self.beta_2, dtype),
            epsilon=tf.cast(self.epsilon, dtype),
            grad=tf.cast(gradient, dtype),
        )
        if self.average:
            average = self._averages[index].value
            # A lower momentum at first, so that the average soon forgets the initial weights.
            momentum = tf.minimum(tf.cast(self.average, dtype), step / (step + 10.0))
            tf.raw_ops.ResourceApplyGradientDescent(
                var=average.handle, alpha=1.0 - momentum, delta=average.read_value() - value.read_value()
            )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("decay", "max_norm", "average", "beta_1", "beta_2", "epsilon")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def inner(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """The optimizer inside a loss scaler, or the optimizer itself."""
    return optimizer.inner_optimizer if isinstance(optimizer, keras.optimizers.LossScaleOptimizer) else optimizer


@contextlib.contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """A context in which the model has its moving-average weights, if its optimizer keeps them."""
    averages = getattr(inner(model.optimizer), "_averages", [])
    current = [variable.numpy() for variable in model.trainable_variables] if averages else []
    for variable, average in zip(model.trainable_variables, averages, strict=False):
        variable.assign(average)
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, current, strict=False):
            variable.assign(value)


def make_optimizer(options: TrainingOptions, model: Bundle, steps: int) -> keras.optimizers.Optimizer:
    """AdamW with warm-up and cosine decay over `steps` steps, and the clipping and averaging that `options` specify.

    For a model with float16 layers it is wrapped in a loss scaler, without which small gradients would underflow.
    """
    warmup = round(options.warmup * steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=options.learning_rate / 25 if warmup else options.learning_rate,
        decay_steps=max(1, steps - warmup),
        alpha=options.final_learning_rate / options.learning_rate,
        warmup_target=options.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    optimizer = GuardedAdamW(schedule, decay=options.weight_decay, max_norm=options.clip_norm, average=options.average)
    scaled = any(layer.compute_dtype == "float16" for layer in layers_of(model.network))
    optimizer = keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer
    optimizer.build(model.trainable_variables)
    return optimizer
