"""Keras layers: fast recurrent layers for the CPU, masks, zeroed padding, frame stacking, segments, pooling."""

from speechrnn.layers.initial import ChronoBias
from speechrnn.layers.kernels import RandomKernels
from speechrnn.layers.look_ahead import LookAhead
from speechrnn.layers.masking import LengthMask, ZeroPadding, zero_padding
from speechrnn.layers.pooling import AttentionPooling, MaskedPooling
from speechrnn.layers.recurrent import GRU, LSTM, ExecutionPath, SimpleRNN, execution_path
from speechrnn.layers.segments import FutureSegments, KnownSegments, LastSegments
from speechrnn.layers.subsampling import StackFrames

__all__ = [
    "GRU",
    "LSTM",
    "AttentionPooling",
    "ChronoBias",
    "ExecutionPath",
    "FutureSegments",
    "KnownSegments",
    "LastSegments",
    "LengthMask",
    "LookAhead",
    "MaskedPooling",
    "RandomKernels",
    "SimpleRNN",
    "StackFrames",
    "ZeroPadding",
    "execution_path",
    "zero_padding",
]
