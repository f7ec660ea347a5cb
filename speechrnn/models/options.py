"""Options shared by several kinds, in a module without TensorFlow."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from speechrnn.faults import CheckedOptions, Count, Fraction, NonNegativeInt


@dataclass(frozen=True)
class RecurrentNetwork(CheckedOptions):
    """Options of networks with convolutions and a stack of recurrent layers."""

    units: Count = 64
    """State size of a recurrent layer: of each direction."""
    layers: Count = 1
    """Number of recurrent layers."""
    convolutions: NonNegativeInt = 0
    """Number of convolutions before the recurrent layers. A convolution can be a block of several."""
    filters: Count = 32
    """Filters of the convolutions."""
    bidirectional: bool = True
    """Read in both directions; without it a network can stream."""
    dropout: Fraction = 0.0
    """Share of activations dropped in training: those after each recurrent layer."""
    layer_norm: bool = True
    """Normalize the input of each recurrent layer, and the last output."""
    residual: bool = True
    """Add each recurrent layer's input to its output where the sizes agree."""
    unit_forget_bias: bool = True
    """Start the LSTM's forget gates open."""
    recurrent_initializer: str = "orthogonal"
    """Initializer of the recurrent weights."""
    dtype: str | None = None
    """Policy of the layers, such as "mixed_bfloat16"; by default Keras's global policy."""

    def recurrent(self) -> dict[str, Any]:
        """The arguments of `speechrnn.layers.blocks.recurrent_stack`."""
        names = {"cell", *(field.name for field in fields(RecurrentNetwork))} - {"convolutions", "filters"}
        return {name: value for name, value in asdict(self).items() if name in names}
