"""Figures of sound, training, recognition, classification, forecasts and sequences: all charts of the package.

Each function gives a `matplotlib.figure.Figure`, which a notebook shows, `savefig` writes and `svg` puts into a page;
matplotlib and librosa are imported by the functions that draw.
"""

from speechrnn.report.plots.classification import plot_confusion, plot_record, plot_reliability
from speechrnn.report.plots.forecasts import plot_anomalies, plot_forecast
from speechrnn.report.plots.recognition import plot_ctc, plot_intervals, plot_words
from speechrnn.report.plots.sequences import plot_attention
from speechrnn.report.plots.sound import plot_signal
from speechrnn.report.plots.style import svg
from speechrnn.report.plots.training import measured_panels, plot_gradient_flow, plot_history, plot_losses

__all__ = [
    "measured_panels",
    "plot_anomalies",
    "plot_attention",
    "plot_confusion",
    "plot_ctc",
    "plot_forecast",
    "plot_gradient_flow",
    "plot_history",
    "plot_intervals",
    "plot_losses",
    "plot_record",
    "plot_reliability",
    "plot_signal",
    "plot_words",
    "svg",
]
