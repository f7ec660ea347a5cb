"""Options of exports, in a module without TensorFlow."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ExportOptions:
    """How a model is exported."""

    int8: bool = False
    """Keep the weights of LSTM layers in 8 bits: a quarter of their size, and faster on a CPU. Other layers stay in
    float32; for GRU and SimpleRNN ONNX Runtime has no 8-bit kernels."""
    streaming: bool = False
    """Write the graph of one step, with its states as inputs and outputs, for `speechrnn stream`; the model must be
    one-directional and normalize with "global" statistics or not at all."""
    overwrite: bool = False
    """Replace files that exist."""
