"""Initializers of recurrent layers."""

from typing import Any

import keras
import numpy as np

from speechrnn.layers.config import Configured


@keras.saving.register_keras_serializable(package="speechrnn")
class ChronoBias(Configured, keras.initializers.Initializer):
    """Biases with which an untrained LSTM or GRU remembers for up to `lag` steps.

    A gate with bias `log(u)` forgets in about `u + 1` steps, so `u` is drawn between 1 and `lag - 1` for each unit. For
    an LSTM, pass `unit_forget_bias=False` as well.

    Args:
        lag: Steps from a cause to its effect.
        seed: Seed of the draw.

    Example:
    >>> from speechrnn.layers import GRU, LSTM
    >>> gru = GRU(4, bias_initializer=ChronoBias(100))
    >>> lstm = LSTM(4, bias_initializer=ChronoBias(100), unit_forget_bias=False)

    Reference:
        Tallec and Ollivier, "Can recurrent neural networks warp time?", ICLR 2018, section 2.
    """

    def __init__(self, lag: int, *, seed: int = 0) -> None:
        if lag < 3:
            raise ValueError(f"`lag` must be at least 3. Received: lag={lag}.")
        self.lag, self.seed = lag, seed

    def __call__(self, shape: Any, dtype: Any = None, **kwargs: Any) -> Any:
        """A bias `(4 * units,)` for an LSTM, or `(2, 3 * units)` for a GRU with `reset_after`."""
        bias = np.zeros(shape)
        gates = {1: 4, 2: 3}[len(shape)]
        if shape[-1] % gates or (len(shape) == 2 and shape[0] != 2):
            raise ValueError(
                "The bias must be that of an LSTM with `unit_forget_bias=False`, or of a GRU with `reset_after=True`. "
                f"Received: shape={tuple(shape)}."
            )
        units = shape[-1] // gates
        times = np.log(np.random.default_rng(self.seed).uniform(1, self.lag - 1, units))
        if gates == 4:  # input, forget, cell, output
            bias[:units], bias[units : 2 * units] = -times, times
        else:  # Keras's update gate multiplies the old state
            bias[0, :units] = times
        return keras.ops.convert_to_tensor(bias, dtype=dtype or "float32")
