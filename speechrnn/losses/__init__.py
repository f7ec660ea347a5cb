"""Losses: CTC with a length for every row, and those of classifiers."""

from speechrnn.losses.classes import ClassLoss, sigmoid_cross_entropy, softmax_cross_entropy
from speechrnn.losses.connectionist import CTC, consistency, ctc, required_frames

__all__ = [
    "CTC",
    "ClassLoss",
    "consistency",
    "ctc",
    "required_frames",
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
]
