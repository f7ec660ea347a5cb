"""Inversion of log-mel energies or cepstra to a signal, by librosa."""

from __future__ import annotations

from typing import Any

import numpy as np

from speechrnn.features.mel import dct_matrix


def invert(features: np.ndarray, layer: Any, *, iterations: int = 32, seed: int = 0) -> np.ndarray:
    """Reconstructs a signal from features, to hear the information that a network gets.

    The power spectrum within the mel bands is estimated by non-negative least squares, and the phase by the Griffin-Lim
    algorithm (Perraudin, Balazs and Søndergaard 2013).

    Args:
        features: float `(frames, num_features)`, computed by `layer`; deltas are not used.
        layer: The `LogMel` or `MFCC` layer, with `normalize=None`.
        iterations: Iterations of Griffin-Lim.
        seed: Seed of the initial phases.

    Returns:
        float32 `((frames - 1) * hop + window,)`: frame `t` begins at sample `t * hop`.

    Raises:
        ValueError: The features are normalized, which removes their level, or have another shape.

    Example:
    >>> from speechrnn import LogMel
    >>> layer = LogMel(8000, num_mels=40, normalize=None)
    >>> tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000, dtype="float32")
    >>> signal = invert(layer(tone).numpy(), layer)
    >>> signal.shape, bool(abs(np.abs(np.fft.rfft(signal, 8000)).argmax() - 440) < 40)
    ((7960,), True)
    """
    import librosa
    from scipy.signal import lfilter

    if layer.normalize is not None:
        raise ValueError(
            "Normalized features cannot be inverted: compute them by a layer with normalize=None. "
            f"Received: normalize={layer.normalize!r}."
        )
    features = np.asarray(features, np.float64)
    if features.ndim != 2 or features.shape[1] != layer.num_features:
        raise ValueError(f"`features` must be (frames, {layer.num_features}). Received: {features.shape}.")
    energies = features[:, : layer.num_features // (1 + layer.deltas)]
    if energies.shape[1] != layer.num_mels:
        energies = energies @ dct_matrix(layer.num_mels, energies.shape[1]).T
    # Padded with silence, since the window is near zero at the ends of the signal, which would become noise.
    margin = -(-layer.fft_length // layer.hop)
    power = np.exp(np.pad(energies, ((margin, margin), (0, 0)), constant_values=np.log(layer.floor))).T
    spectrum = librosa.feature.inverse.mel_to_stft(
        power, sr=layer.sample_rate, n_fft=layer.fft_length, fmin=layer.f_min, fmax=layer.f_max,
        htk=layer.mel_scale == "htk", norm=layer.mel_norm,
    )  # fmt: skip
    signal = librosa.griffinlim(
        spectrum, n_iter=iterations, hop_length=layer.hop, win_length=layer.window, n_fft=layer.fft_length,
        center=False, random_state=seed,
    )  # fmt: skip
    start = margin * layer.hop + (layer.fft_length - layer.window) // 2  # librosa centers a shorter window
    signal = signal[start : start + (len(features) - 1) * layer.hop + layer.window]
    return lfilter([1.0], [1.0, -layer.preemphasis], signal).astype(np.float32)
