"""Options that several kinds have, in a module without TensorFlow."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from speechrnn.faults import require


@dataclass(frozen=True)
class RecurrentNetwork:
    """What networks with convolutions and a stack of recurrent layers have."""

    units: int = 64
    """State size of a recurrent layer: of each direction."""
    layers: int = 1
    """Number of recurrent layers."""
    convolutions: int = 0
    """Number of convolutions before the recurrent layers. A convolution can be a block of several."""
    filters: int = 32
    """Filters of the convolutions."""
    bidirectional: bool = True
    """Read in both directions; without it a network can stream."""
    dropout: float = 0.0
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

    def __post_init__(self) -> None:
        require(self, "at least 1", lambda value: value >= 1, "units", "layers", "filters")
        require(self, "zero or positive", lambda value: value >= 0, "convolutions")
        require(self, "in [0, 1)", lambda value: 0 <= value < 1, "dropout")

    def recurrent(self) -> dict[str, Any]:
        """What `speechrnn.layers.blocks.recurrent_stack` takes."""
        names = {"cell", *(field.name for field in fields(RecurrentNetwork))} - {"convolutions", "filters"}
        return {name: value for name, value in asdict(self).items() if name in names}
