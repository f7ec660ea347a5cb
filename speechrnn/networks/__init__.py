"""Networks: functions that return a `keras.Model` from features and frame counts to logits, or to forecasts."""

from speechrnn.networks.classifier import recurrent_classifier
from speechrnn.networks.ctc import recurrent_ctc, with_outputs
from speechrnn.networks.forecaster import recurrent_forecaster
from speechrnn.networks.language import recurrent_lm
from speechrnn.networks.parts import stride

__all__ = ["recurrent_classifier", "recurrent_ctc", "recurrent_forecaster", "recurrent_lm", "stride", "with_outputs"]
