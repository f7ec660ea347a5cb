"""Figures of sound, training, recognition, classification, forecasts and sequences: all charts of the package.

Each function gives a `matplotlib.figure.Figure`, which a notebook shows, `savefig` writes and `svg` puts into a page;
matplotlib and librosa are imported by the functions that draw.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "classification": ["plot_confusion", "plot_record", "plot_reliability"],
        "forecasts": ["plot_anomalies", "plot_forecast"],
        "recognition": ["plot_ctc", "plot_intervals", "plot_words"],
        "sequences": ["plot_attention"],
        "sound": ["plot_signal"],
        "style": ["svg"],
        "training": ["measured_panels", "plot_gradient_flow", "plot_history", "plot_losses"],
    },
)
