"""Keras layers: recurrent ones that are fast on a CPU, masks from lengths, zeroed padding, stacked frames."""

from speechrnn.layers.masking import LengthMask, StackFrames, ZeroPadded
from speechrnn.layers.recurrent import GRU, LSTM, ExecutionPath, SimpleRNN, execution_path

__all__ = [
    "GRU",
    "LSTM",
    "ExecutionPath",
    "LengthMask",
    "SimpleRNN",
    "StackFrames",
    "ZeroPadded",
    "execution_path",
]
