"""Figures of sound, training, recognition, classification, forecasts and sequences: all charts of the package.

Each function returns a `matplotlib.figure.Figure`, to show in a notebook, save with `savefig` or embed with `svg`;
matplotlib and librosa are imported only when something is drawn.
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
