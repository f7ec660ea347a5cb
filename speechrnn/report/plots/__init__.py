"""Figures of training, recognition, classification and forecasts; matplotlib is imported by the functions that draw.

Each gives a `matplotlib.figure.Figure`, which a notebook shows and `savefig` writes.
"""

from speechrnn.report.plots.classification import plot_confusion, plot_record, plot_reliability
from speechrnn.report.plots.forecasts import plot_forecast
from speechrnn.report.plots.recognition import plot_ctc, plot_words
from speechrnn.report.plots.training import plot_gradient_flow, plot_history, plot_losses

__all__ = [
    "plot_confusion",
    "plot_ctc",
    "plot_forecast",
    "plot_gradient_flow",
    "plot_history",
    "plot_losses",
    "plot_record",
    "plot_reliability",
    "plot_words",
]
