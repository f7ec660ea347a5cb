"""The optimiser: AdamW that measures its gradients and passes over those that are not finite."""

from typing import Any

import keras
import tensorflow as tf

from speechrnn.training.options import TrainingOptions

__all__ = ["GuardedAdamW", "make_optimizer"]


@keras.saving.register_keras_serializable(package="speechrnn")
class GuardedAdamW(keras.optimizers.AdamW):
    """AdamW that keeps the global norm of its last gradient, and counts gradients that are not finite.

    A gradient with NaN or infinity in it is replaced by zeros, so one bad batch cannot destroy a model.
    `gradient_norm` (before clipping) and `skipped` are scalar variables. Arguments are those of `keras.optimizers.AdamW`.
    """

    def build(self, variables: Any) -> None:
        """Make the optimiser's variables."""
        super().build(variables)
        self.gradient_norm = self.add_variable((), name="gradient_norm", dtype="float32")
        self.skipped = self.add_variable((), name="skipped", dtype="float32")

    def apply(self, grads: Any, trainable_variables: Any = None) -> Any:
        """Update the variables with their gradients."""
        grads = list(grads)
        if not self.built:
            self.build(trainable_variables)
        norm = tf.linalg.global_norm([tf.cast(g, tf.float32) for g in grads if g is not None])
        finite = tf.math.is_finite(norm)
        self.gradient_norm.assign(norm)
        self.skipped.assign_add(1.0 - tf.cast(finite, tf.float32))
        grads = [None if g is None else tf.where(finite, g, tf.zeros_like(g)) for g in grads]
        return super().apply(grads, trainable_variables)


def make_optimizer(options: TrainingOptions, model: keras.Model, steps: int) -> GuardedAdamW:
    """AdamW with warm-up and cosine decay over `steps` steps, clipping and averaging as `options` say."""
    warmup = round(options.warmup * steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=options.learning_rate / 25 if warmup else options.learning_rate,
        decay_steps=max(1, steps - warmup),
        alpha=options.final_learning_rate / options.learning_rate,
        warmup_target=options.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    optimizer = GuardedAdamW(
        schedule,
        weight_decay=options.weight_decay,
        global_clipnorm=options.clip_norm or None,
        use_ema=options.average > 0,
        ema_momentum=options.average or 0.99,
    )
    optimizer.exclude_from_weight_decay([v for v in model.trainable_variables if len(v.shape) < 2])
    optimizer.build(model.trainable_variables)
    return optimizer
