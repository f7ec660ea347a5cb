"""Building blocks of the networks: convolutions over time, over spectra and within frames, and recurrent stacks.

Each block maps tensors of a functional model to such tensors, with zeros in their padding. Padding is explicit, never
TensorFlow's "same", which depends on the length of the batch.
"""

from typing import Any

import keras
import numpy as np

from speechrnn.faults import check_choice
from speechrnn.layers import GRU, LSTM, LengthMask, LookAhead, SimpleRNN, ZeroPadding
from speechrnn.layers.recurrent import sides

MOMENTUM = 0.9
"""Momentum of batch normalization in classifiers: sets are small, and with Keras's 0.99 the first hundreds of steps
would be validated with the moving means of the initial weights."""

CELLS: dict[str, type[keras.layers.Layer]] = {"lstm": LSTM, "gru": GRU, "rnn": SimpleRNN}


def recurrent_stack(
    x: Any,
    mask: Any,
    *,
    cell: str,
    units: int,
    layers: int,
    bidirectional: bool,
    dropout: float,
    layer_norm: bool,
    residual: bool,
    unit_forget_bias: bool,
    recurrent_initializer: str,
    dtype: Any,
    look_ahead: int = 0,
) -> Any:
    """Recurrent layers, each after layer normalization and with a residual connection: `(batch, frames, width)`."""
    width = units * (2 if bidirectional else 1)
    if residual and x.shape[-1] != width:
        x = keras.layers.Dense(width, use_bias=False, dtype=dtype, name="projection")(x)
    for i in range(layers):
        y = keras.layers.LayerNormalization(dtype=dtype, name=f"norm_{i}")(x) if layer_norm else x
        kwargs = {"unit_forget_bias": unit_forget_bias} if cell == "lstm" else {}
        layer = CELLS[cell](
            units,
            return_sequences=True,
            zero_output_for_mask=True,
            recurrent_initializer=recurrent_initializer,
            dtype=dtype,
            **kwargs,
        )
        if bidirectional:
            layer = keras.layers.Bidirectional(layer, name=f"bidirectional_{i}", dtype=dtype)
        y = layer(y, mask=mask)
        if dropout:
            y = keras.layers.Dropout(dropout, dtype=dtype, name=f"dropout_{i}")(y)
        x = x + y if residual else y
    if look_ahead:
        x = LookAhead(look_ahead, dtype=dtype, name="look_ahead")(ZeroPadding(dtype=dtype)(x, mask))
    return keras.layers.LayerNormalization(dtype=dtype, name="norm_out")(x) if layer_norm else x


def spectral_convolutions(
    x: Any, length: Any, count: int, filters: int, dtype: Any, *, momentum: float = 0.99
) -> tuple[Any, Any]:
    """Strided 3 x 3 convolutions: `(batch, frames, features)` to `(batch, ceil(frames / 2**count), ...)`."""
    x = keras.layers.Reshape((-1, x.shape[-1], 1), name="to_image", dtype=dtype)(x)
    for i in range(count):
        x = keras.layers.ZeroPadding2D(1, name=f"conv_padding_{i}", dtype=dtype)(x)
        x = keras.layers.Conv2D(filters, 3, strides=2, use_bias=False, name=f"conv_{i}", dtype=dtype)(x)
        length = (length + 1) // 2
        mask = LengthMask()(length, x)
        x = _normalized_image(x, mask, f"conv_norm_{i}", momentum, dtype)
        x = keras.layers.Activation("relu", name=f"conv_relu_{i}", dtype=dtype)(x)
        x = ZeroPadding(name=f"conv_zero_{i}", dtype=dtype)(x, mask)
    return keras.layers.Reshape((-1, x.shape[2] * x.shape[3]), name="to_frames", dtype=dtype)(x), length


def _normalized_image(x: Any, mask: Any, name: str, momentum: float, dtype: Any) -> Any:
    """Batch normalization of `(batch, frames, width, channels)` over its valid frames."""
    mask = keras.ops.repeat(keras.ops.expand_dims(mask, -1), x.shape[2], axis=-1)
    return keras.layers.BatchNormalization(momentum=momentum, name=name, dtype=dtype)(x, mask=mask)


def convolutions_over_time(
    x: Any,
    length: Any,
    *,
    blocks: int,
    filters: int,
    widen: float,
    kernel: int,
    stem: int,
    pool: int,
    dropout: float,
    dtype: Any,
) -> tuple[Any, Any]:
    """Residual blocks of two convolutions and max pooling: to `ceil(frames / (stem * pool**blocks))` frames.

    Reference:
        He et al., "Deep residual learning for image recognition", CVPR 2016; for series Wang, Yan and Oates, "Time
        series classification from scratch with deep neural networks", IJCNN 2017.
    """
    if stem > 1:
        x, length = _convolution(x, length, filters, kernel, stem, "stem", dtype)
        x = _relu(x, "stem", dtype)
    for i in range(blocks):
        width, name = round(filters * widen**i), f"block_{i}"
        y, _ = _convolution(x, length, width, kernel, 1, f"{name}_first", dtype)
        y = _relu(y, f"{name}_first", dtype)
        if dropout:
            y = keras.layers.SpatialDropout1D(dropout, name=f"{name}_dropout", dtype=dtype)(y)
        y, _ = _convolution(y, length, width, kernel, 1, f"{name}_second", dtype)
        if x.shape[-1] != width:
            x, _ = _convolution(x, length, width, 1, 1, f"{name}_across", dtype)
        x = _relu(x + y, name, dtype)
        if pool > 1:
            # The pooled values are never negative, so the zeros after a row's last frame change no maximum.
            x = keras.layers.ZeroPadding1D((0, pool - 1), name=f"{name}_padding", dtype=dtype)(x)
            x = keras.layers.MaxPooling1D(pool, name=f"{name}_pool", dtype=dtype)(x)
            length = (length + (pool - 1)) // pool
    return x, length


def _convolution(x: Any, length: Any, filters: int, kernel: int, step: int, name: str, dtype: Any) -> tuple[Any, Any]:
    """A convolution over time with batch normalization: to `ceil(frames / step)` frames."""
    if kernel > 1:
        around = (kernel // 2, (kernel - 1) // 2)
        x = keras.layers.ZeroPadding1D(around, name=f"{name}_around", dtype=dtype)(x)
    x = keras.layers.Conv1D(filters, kernel, strides=step, use_bias=False, name=f"{name}_conv", dtype=dtype)(x)
    length = (length + (step - 1)) // step if step > 1 else length
    mask = LengthMask()(length, x)
    x = keras.layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_norm", dtype=dtype)(x, mask=mask)
    return ZeroPadding(name=f"{name}_zero", dtype=dtype)(x, mask), length


def _relu(x: Any, name: str, dtype: Any) -> Any:
    return keras.layers.Activation("relu", name=f"{name}_relu", dtype=dtype)(x)


def convolutions_within_frames(
    x: Any, mask: Any, *, shape: tuple[int, int], count: int, filters: int, kernel: int, dropout: float, dtype: Any
) -> Any:
    """Convolutions within each frame, whose first columns are a piece of signal of `shape`.

    Args:
        x: `(batch, frames, samples * channels + more)`, channels innermost, zeros in the padding.
        mask: bool `(batch, frames)`.
        shape: `(samples, channels)` of the piece.
        count: Number of convolutions, each of which halves the samples.
        filters: Channels of the convolutions.
        kernel: Samples that a convolution sees.
        dropout: Fraction of the output columns dropped in training.
        dtype: Policy of the layers.

    Returns:
        `(batch, frames, 2 * filters + more)`: mean and maximum over the piece, and the other columns unchanged.
    """
    samples, channels = shape
    size, width = samples * channels, x.shape[-1]
    y = x[:, :, :size] if width > size else x
    y = keras.layers.Reshape((-1, samples, channels), name="pieces", dtype=dtype)(y)
    for i in range(count):
        around = ((0, 0), (kernel // 2, (kernel - 1) // 2))
        y = keras.layers.ZeroPadding2D(around, name=f"piece_around_{i}", dtype=dtype)(y)
        y = keras.layers.Conv2D(filters, (1, kernel), use_bias=False, name=f"piece_conv_{i}", dtype=dtype)(y)
        y = _normalized_image(y, mask, f"piece_norm_{i}", MOMENTUM, dtype)
        y = keras.layers.Activation("relu", name=f"piece_relu_{i}", dtype=dtype)(y)
        y = ZeroPadding(name=f"piece_zero_{i}", dtype=dtype)(y, mask)
        if y.shape[2] > 1:
            y = keras.layers.MaxPooling2D((1, 2), name=f"piece_pool_{i}", dtype=dtype)(y)
    y = keras.ops.concatenate([keras.ops.mean(y, axis=2), keras.ops.max(y, axis=2)], axis=-1)
    if dropout:
        y = keras.layers.Dropout(dropout, name="piece_dropout", dtype=dtype)(y)
    y = keras.ops.concatenate([y, keras.ops.cast(x[:, :, size:], y.dtype)], axis=-1) if width > size else y
    return ZeroPadding(name="pieces_zero", dtype=dtype)(y, mask)


def recurrent_layers(network: keras.Model) -> list[keras.Layer]:
    """The recurrent layers of a network, from input to output; a bidirectional one counts once."""
    return [x for x in network.layers if isinstance(x, (keras.layers.Bidirectional, *CELLS.values()))]


def zero_candidates(layer: keras.Layer) -> None:
    """Zero a recurrent layer's weights of the candidate state, so that its outputs are 0 until it is trained."""
    for cell in sides(layer):
        first = 0 if isinstance(cell, SimpleRNN) else 2 * cell.units  # after two gates, in LSTM and GRU
        for weight in cell.weights:
            values = np.array(weight)
            values[..., first : first + cell.units] = 0
            weight.assign(values)


def bidirectional_stack(x: Any, mask: Any, *, cell: str, units: int, layers: int, dropout: float, dtype: Any) -> Any:
    """Bidirectional layers, each after dropout: `(batch, steps, 2 * units)`, zeros in the padding."""
    for i in range(layers):
        if dropout:
            x = keras.layers.Dropout(dropout, dtype=dtype, name=f"dropout_{i}")(x)
        layer = CELLS[cell](units, return_sequences=True, zero_output_for_mask=True, dtype=dtype)
        x = keras.layers.Bidirectional(layer, dtype=dtype, name=f"bidirectional_{i}")(x, mask=mask)
    return x


def check(cell: str, **positive: int) -> None:
    """Refuse an unknown cell, and numbers below 1.

    Raises:
        ValueError: One of them is out of range.
    """
    check_choice("cell", cell, CELLS)
    for name, value in positive.items():
        if value < 1:
            raise ValueError(f"`{name}` must be at least 1. Received: {name}={value}.")
