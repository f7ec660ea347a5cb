"""Losses: CTC and the transducer loss with a length for every row, and losses of classifiers and forecasters."""

from speechrnn.losses.attention import Attention
from speechrnn.losses.classes import ClassLoss, sigmoid_cross_entropy, softmax_cross_entropy
from speechrnn.losses.connectionist import CTC, consistency, ctc, required_frames
from speechrnn.losses.quantiles import QuantileLoss, check_quantiles, pinball
from speechrnn.losses.transducer import Transducer, transducer

__all__ = [
    "CTC",
    "Attention",
    "ClassLoss",
    "QuantileLoss",
    "Transducer",
    "check_quantiles",
    "consistency",
    "ctc",
    "pinball",
    "required_frames",
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
    "transducer",
]
