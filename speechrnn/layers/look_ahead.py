"""Row convolution: a few future frames for networks of one direction."""

from typing import Any

import keras
from keras import ops

from speechrnn.layers.config import Configured


@keras.saving.register_keras_serializable(package="speechrnn")
class LookAhead(Configured, keras.Layer):
    """Row convolution: every channel is a weighted sum of its frame and the next few (Wang et al. 2016, Deep Speech 2).

    After recurrent layers of one direction it recovers part of the benefit of a second direction, at a latency of
    `frames` frames. Its initial weights are the identity.

    Args:
        frames: Number of future frames in each sum.

    Call arguments:
        values: float `(batch, frames, features)`, zeros in the padding.

    Returns:
        Like `values`.

    Example:
    >>> layer = LookAhead(1)
    >>> layer.build((1, 3, 1))
    >>> layer.set_weights([np.array([[1.0], [0.5]])])
    >>> layer(np.array([[[1.0], [2.0], [4.0]]], "float32")).numpy().ravel().tolist()
    [2.0, 4.0, 4.0]
    """

    def __init__(self, frames: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if frames < 1:
            raise ValueError(f"`frames` must be at least 1. Received: frames={frames}.")
        self.frames = frames

    def build(self, values_shape: tuple) -> None:
        """One weight for each future frame and channel: `(frames + 1, features)`."""
        self.kernel = self.add_weight(shape=(self.frames + 1, values_shape[-1]), initializer=_identity, name="kernel")

    def call(self, values: Any) -> Any:
        """See the class."""
        return self._sums(ops.pad(values, [[0, 0], [0, self.frames], [0, 0]]))

    def _sums(self, values: Any) -> Any:
        """The sums of the frames for which all future frames are present."""
        ends = [i - self.frames or None for i in range(self.frames + 1)]
        return sum(values[:, i:end] * self.kernel[i] for i, end in enumerate(ends))

    @property
    def delay(self) -> int:
        """Frames by which the outputs of a stream are delayed."""
        return self.frames

    def initial_state(self, batch: int | None, shape: tuple) -> dict[str, tuple]:
        """The frames that still wait for future frames."""
        return {"frames": (batch, self.frames, shape[-1])}

    def step(self, states: dict[str, Any], values: Any) -> tuple[Any, dict[str, Any]]:
        """As many outputs as inputs, `frames` frames late."""
        joined = ops.concatenate([states["frames"], values], axis=1)
        return self._sums(joined), {"frames": joined[:, -self.frames :]}

    def compute_output_spec(self, values: Any) -> keras.KerasTensor:
        """Shape and dtype without computing."""
        return keras.KerasTensor(values.shape, self.compute_dtype)


def _identity(shape: tuple, dtype: Any = None) -> Any:
    return ops.concatenate([ops.ones((1, *shape[1:]), dtype), ops.zeros((shape[0] - 1, *shape[1:]), dtype)])
