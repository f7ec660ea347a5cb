"""Token numbers as features, for networks with an embedding."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from speechrnn.features.base import FeatureLayer
from speechrnn.text.tokens import Tokens, Unit


@keras.saving.register_keras_serializable(package="speechrnn")
class Symbols(FeatureLayer):
    """The numbers of a text's tokens, one per frame.

    A text takes the place of a signal: its samples are the numbers of its tokens, and its rate is 1, so that durations
    count tokens. `SymbolEmbedding` maps them to vectors.

    Args:
        symbols: The model's tokens, see `speechrnn.text.tokens.Tokens`.
        unit: The kind of tokens that texts are split into.
        lowercase: Whether texts are converted to lower case.
        **kwargs: `name` and other arguments of `keras.Layer`; the dtype is always float32.

    Call arguments:
        signal: float32 `(batch, tokens)`, whole numbers below `len(layer.tokens)`.
        length: int32 `(batch,)`, valid tokens in each row; None means all.
        training: Has no effect.

    Returns:
        float32 `(batch, tokens, 1)`.

    Example:
    >>> layer = Symbols(["a", "b"], unit="characters")
    >>> layer(np.array([[2, 1]], "float32")).numpy().tolist()
    [[[2.0], [1.0]]]
    """

    def __init__(self, symbols: Any, *, unit: Unit, lowercase: bool = True, **kwargs: Any) -> None:
        super().__init__(1, window=1, hop=1, normalize=None, **kwargs)
        self.tokens = Tokens(symbols, unit=unit, lowercase=lowercase)
        self._finish(1, 1)

    @property
    def channels(self) -> None:
        """None, since a text has one number per token."""
        return

    def _compute(self, signal: tf.Tensor, length: Any, training: bool) -> tf.Tensor:
        return signal[..., None]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**keras.Layer.get_config(self), **self.tokens.get_config()}
