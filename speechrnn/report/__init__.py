"""One page about a recognizer: how often it is wrong, where, how sure it is, and what its worst moments sound like."""

from speechrnn.report.measuring import Clip, Measured, clip_of, measure, training_history
from speechrnn.report.page import drawn, history, page

__all__ = ["Clip", "Measured", "clip_of", "drawn", "history", "measure", "page", "training_history"]
