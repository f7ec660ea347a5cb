"""Sound and spectrograms as data URIs: what a page holds besides text."""

from __future__ import annotations

import base64
import io
import struct
import zlib

import numpy as np
import soundfile

from speechrnn import audio
from speechrnn.features.mel import mel_filterbank

_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
_COLOURS = ((12, 12, 24), (40, 44, 92), (96, 66, 130), (186, 86, 108), (240, 140, 84), (252, 214, 130), (255, 250, 220))
"""Of the spectrogram, from quiet to loud: even steps of lightness, readable without red and green."""


def data_uri(content: bytes, kind: str) -> str:
    """Content as a `data:` address, so that a page needs no other file."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def sound(signal: np.ndarray, sample_rate: int) -> str:
    """A signal as Ogg Opus (about 6 kB a second at most), or as FLAC where libsndfile has no Opus; a `data:` address.

    Args:
        signal: float32 `(samples,)`; what exceeds [-1, 1] is clipped.
        sample_rate: Samples per second; Opus has five rates, and others are resampled.
    """
    opus = "OPUS" in soundfile.available_subtypes("OGG")
    if opus and sample_rate not in _OPUS_RATES:
        higher = [rate for rate in _OPUS_RATES if rate > sample_rate]
        signal, sample_rate = (
            audio.resample(signal, sample_rate, higher[0] if higher else 48000),
            (higher or [48000])[0],
        )
    file = io.BytesIO()
    container, subtype = ("OGG", "OPUS") if opus else ("FLAC", "PCM_16")
    soundfile.write(file, np.clip(signal, -1, 1), sample_rate, format=container, subtype=subtype)
    return data_uri(file.getvalue(), "audio/ogg" if opus else "audio/flac")


def spectrogram(signal: np.ndarray, sample_rate: int, *, bands: int = 72, step: float = 0.01) -> str:
    """Log-mel energies as a PNG, low frequencies at the bottom; a `data:` address.

    Args:
        signal: float32 `(samples,)`.
        sample_rate: Samples per second.
        bands: Height of the picture.
        step: Seconds a column.
    """
    energies = log_mel(signal, sample_rate, bands=bands, step=step)
    low, high = np.quantile(energies, [0.05, 0.998])
    scaled = np.clip((energies - low) / max(high - low, 1e-9), 0, 1)
    return data_uri(png(np.rint(255 * scaled.T[::-1]).astype(np.uint8)), "image/png")


def log_mel(signal: np.ndarray, sample_rate: int, *, bands: int, step: float) -> np.ndarray:
    """float64 `(columns, bands)`, log10 of power; column `i` is centred at `(i + 0.5) * step` seconds."""
    hop, window = max(1, round(step * sample_rate)), max(2, round(0.025 * sample_rate))
    columns = max(1, -(-len(signal) // hop))
    padded = np.zeros(columns * hop + window)
    padded[(window - hop) // 2 :][: len(signal)] = signal[: len(padded)]
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[: columns * hop : hop]
    length = 1 << (2 * window - 1).bit_length()  # long, so that the lowest bands have bins of their own
    power = np.abs(np.fft.rfft(frames * np.hanning(window + 2)[1:-1], length)) ** 2
    return np.log10(power @ mel_filterbank(sample_rate, fft_length=length, num_mels=bands) + 1e-10)


def png(image: np.ndarray) -> bytes:
    """An image of 8-bit values `(height, width)` as PNG, dark to light through the spectrogram's colours."""
    height, width = image.shape
    places = np.linspace(0, len(_COLOURS) - 1, 256)
    palette = np.stack([np.interp(places, range(len(_COLOURS)), channel) for channel in np.array(_COLOURS).T], axis=1)
    rows = np.concatenate([np.zeros((height, 1), np.uint8), image], axis=1)  # each row begins with its filter: none
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", np.rint(palette).astype(np.uint8).tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
        (b"IEND", b""),
    )
    chunks = (struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
