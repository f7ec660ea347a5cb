"""Plots of recordings: waveform and spectrogram, by librosa."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from speechrnn.report.plots.style import DARK, blank, without_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HOP, _WINDOW = 0.01, 0.025
_BANDS = 80


def plot_signal(
    signal: np.ndarray, sample_rate: int, *, title: str = "", width: float = 8.0, height: float = 3.6
) -> Figure:
    """Plot a waveform above its spectrogram.

    Args:
        signal: float32 `(samples,)`.
        sample_rate: Samples per second.
        title: Text above.
        width: Width of the figure in inches.
        height: Height of the figure in inches.
    """
    figure = blank(width, height)
    from librosa.display import waveshow

    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2))
    waveshow(np.asarray(signal), sr=sample_rate, ax=above, color=DARK[0], axis="s")
    above.set(title=title, xlabel="", ylabel="amplitude")
    draw_spectrogram(below, signal, sample_rate)
    without_frame(above)
    return figure


def draw_spectrogram(axes: Axes, signal: np.ndarray, sample_rate: int) -> None:
    """Draw log-mel energies over seconds and Hz; frames are centered at their times.

    Args:
        axes: Axes to draw on.
        signal: float32 `(samples,)`.
        sample_rate: Samples per second.
    """
    import librosa
    from librosa.display import specshow

    hop, window = max(1, round(_HOP * sample_rate)), max(2, round(_WINDOW * sample_rate))
    length = 1 << (2 * window - 1).bit_length()  # zero-padded, so that the lowest bands have bins
    padded = librosa.util.fix_length(np.asarray(signal, np.float32), size=max(len(signal), length))
    power = librosa.feature.melspectrogram(
        y=padded, sr=sample_rate, n_fft=length, win_length=window, hop_length=hop, n_mels=_BANDS
    )
    energies = np.log10(power[:, : len(signal) // hop + 1] + 1e-10)
    low, high = np.quantile(energies, [0.05, 0.998])
    specshow(
        energies, sr=sample_rate, n_fft=length, hop_length=hop, x_axis="s", y_axis="mel", fmax=sample_rate / 2,
        ax=axes, cmap="magma", vmin=low, vmax=max(high, low + 1e-6), rasterized=True,
    )  # fmt: skip
    axes.set(xlabel="seconds", ylabel="Hz", xlim=(0, len(signal) / sample_rate))
