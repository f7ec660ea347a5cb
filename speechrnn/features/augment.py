"""Augmentation: random, reproducible changes of training examples on the fly.

`augment_signal` changes a decoded signal in NumPy, `augment_features` its features in TensorFlow. The seeds of both
come from `example_rng`: from the run's seed, the epoch and the example. TensorFlow is imported by the functions that
need it, so that the options can be listed without it.
"""

from __future__ import annotations

import functools
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from speechrnn import audio
from speechrnn.faults import check_choice
from speechrnn.features import mel, perturb
from speechrnn.features.options import Augmentation

if TYPE_CHECKING:
    import tensorflow as tf

NUM_WARPS = 33
"""Number of frequency scales to draw from, evenly spaced with 1 in the middle."""

_DIRECT_TO_REVERBERANT = (0.0, 12.0)  # dB, from across a room to an arm's length
_CLIP_SECONDS = 20.0
_CACHED_CLIPS = 256  # 330 MB at 16 kHz, if all are that long


def example_rng(seed: int, epoch: int, example_id: str) -> np.random.Generator:
    """Random generator for one example in one epoch, independent of the order and the number of threads."""
    return np.random.default_rng([seed, epoch, zlib.crc32(example_id.encode())])


def tensor_seed(rng: np.random.Generator) -> np.ndarray:
    """A seed for `augment_features`: int32 `(2,)`."""
    return rng.integers(np.iinfo("int32").max, size=2, dtype="int32")


# Signals, in NumPy


def augment_signal(
    signal: np.ndarray, sample_rate: int, augmentation: Augmentation, rng: np.random.Generator
) -> np.ndarray:
    """Augments a decoded signal.

    The order is: speed, room, noise, gain; crop, time warp, channel scaling, wander, jitter, lead drop, sign.

    Args:
        signal: float32 `(samples[, channels])`.
        sample_rate: Samples per second; noises and rooms are resampled to it.
        augmentation: The options.
        rng: Random generator, see `example_rng`.

    Returns:
        float32 `(samples[, channels])`, of another length if the speed changed or it was cropped.

    Raises:
        ValueError: A folder has no recording, or one that cannot be read.
    """
    if augmentation.speed is not None:
        signal = perturb.change_speed(signal, rng.uniform(*augmentation.speed))
    rooms = _rooms(augmentation, sample_rate)
    if rooms and rng.random() < augmentation.rir_probability:
        room = rooms[rng.integers(len(rooms))] if len(rooms) > 1 else rooms[0]
        signal = perturb.reverberate(signal, room(rng))
    if augmentation.noise_folder is not None and rng.random() < augmentation.noise_probability:
        noise = _draw(augmentation.noise_folder, sample_rate, rng)
        start = int(rng.integers(len(noise)))
        fits = start + len(signal) <= len(noise)
        noise = noise[start : start + len(signal)] if fits else np.roll(noise, -start)
        signal = perturb.add_noise(signal, noise, snr_db=rng.uniform(*augmentation.noise_snr))
    if augmentation.gain is not None:
        signal = signal * np.float32(10.0 ** (rng.uniform(*augmentation.gain) / 20.0))
    return _augment_sensors(signal, sample_rate, augmentation, rng)


def _augment_sensors(
    signal: np.ndarray, sample_rate: float, augmentation: Augmentation, rng: np.random.Generator
) -> np.ndarray:
    if augmentation.crop < 1:
        signal = perturb.crop(signal, rng.uniform(augmentation.crop, 1), rng)
    if augmentation.time_warp:
        signal = perturb.time_warp(signal, augmentation.time_warp, rng)
    if augmentation.scaling:
        signal = perturb.scale_channels(signal, augmentation.scaling, rng)
    if augmentation.wander:
        signal = perturb.wander(signal, sample_rate, augmentation.wander, rng)
    if augmentation.jitter:
        signal = perturb.jitter(signal, augmentation.jitter, rng)
    if augmentation.lead_drop:
        signal = perturb.drop_leads(signal, augmentation.lead_drop, rng)
    if augmentation.flip and rng.random() < augmentation.flip:
        signal = -signal
    return signal


def _rooms(augmentation: Augmentation, sample_rate: int) -> list[Callable[[np.random.Generator], np.ndarray]]:
    """Functions that draw an impulse response: from the folder, and by simulation."""
    rooms: list[Callable[[np.random.Generator], np.ndarray]] = []
    if (folder := augmentation.rir_folder) is not None:
        rooms.append(lambda rng: _draw(folder, sample_rate, rng))
    if (times := augmentation.reverberation) is not None:
        rooms.append(
            lambda rng: perturb.simulated_room(
                sample_rate, rng.uniform(*times), rng.uniform(*_DIRECT_TO_REVERBERANT), rng
            )
        )
    return rooms


def _draw(folder: str, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    paths = _recordings(folder)
    return _clip(paths[rng.integers(len(paths))], sample_rate)


@functools.lru_cache(maxsize=8)
def _recordings(folder: str) -> list[str]:
    paths = sorted(str(path) for path in Path(folder).rglob("*") if path.suffix.lower() in audio.SUFFIXES)
    if not paths:
        raise ValueError(
            f"{folder}: an augmentation folder must hold recordings ({' '.join(audio.SUFFIXES)}). Received: "
            f"{'none' if os.path.isdir(folder) else 'no such folder'}."
        )
    return paths


@functools.lru_cache(maxsize=_CACHED_CLIPS)
def _clip(path: str, sample_rate: int) -> np.ndarray:
    duration = audio.probe(path).duration
    signal, _ = audio.read(path, sample_rate=sample_rate, duration=min(duration, _CLIP_SECONDS))
    signal.setflags(write=False)
    return signal


# Features, in TensorFlow


def warp_factors(augmentation: Augmentation) -> np.ndarray:
    """The frequency scales that `augment_features` draws from: float64 `(NUM_WARPS,)`."""
    return 1.0 + augmentation.frequency_scale * np.linspace(-1.0, 1.0, NUM_WARPS)


def augment_features(
    features: Any, augmentation: Augmentation, seed: Any, *, warp: np.ndarray | None = None
) -> tf.Tensor:
    """Augments the features of one utterance: frequency scale, noise and SpecAugment, in this order.

    Args:
        features: float32 `(frames, features)`, normalized, without padding; the number of features is static.
        augmentation: The options.
        seed: int32 `(2,)`, see `tensor_seed`; the same seed gives the same result.
        warp: For `frequency_axis="hertz"`: `layer.frequency_warp(warp_factors(augmentation))`.

    Returns:
        float32 `(frames, features)`.
    """
    import tensorflow as tf

    features = tf.convert_to_tensor(features)
    if augmentation.frequency_scale:
        if augmentation.frequency_axis == "mel":
            warp = _band_warp(augmentation, int(features.shape[-1]))
        elif warp is None:
            raise ValueError(
                'frequency_axis="hertz" needs to know the bands. '
                "Pass warp=layer.frequency_warp(warp_factors(augmentation)). Received: None."
            )
        index = tf.random.stateless_uniform([], _fold(seed, 0), maxval=NUM_WARPS, dtype=tf.int32)
        features = tf.matmul(features, tf.gather(tf.constant(warp), index))
    if augmentation.feature_noise:
        noise = tf.random.stateless_normal(tf.shape(features), _fold(seed, 1), stddev=augmentation.feature_noise)
        features = features + noise
    return spec_augment(
        features,
        seed=_fold(seed, 2),
        time_masks=augmentation.time_masks,
        time_mask_frames=augmentation.time_mask_frames,
        time_mask_fraction=augmentation.time_mask_fraction,
        frequency_masks=augmentation.frequency_masks,
        frequency_mask_bins=augmentation.frequency_mask_bins,
    )


def spec_augment(
    features: Any,
    frames: Any = None,
    *,
    seed: Any,
    time_masks: int = 3,
    time_mask_frames: int = 25,
    time_mask_fraction: float = 0.2,
    frequency_masks: int = 2,
    frequency_mask_bins: int = 20,
) -> tf.Tensor:
    """SpecAugment without time warping (Park et al., 2019): random frames and bands become zero, a normalized mean.

    Args:
        features: float32 `(batch, frames, features)` or `(frames, features)`.
        frames: int32 `(batch,)` or scalar, valid frames in each row; None means all. Masks lie within them.
        seed: int32 `(2,)`; the same seed gives the same masks.
        time_masks: Number of time masks.
        time_mask_frames: Widest time mask, in frames; widths are uniform from 0.
        time_mask_fraction: Widest time mask, as a share of the valid frames.
        frequency_masks: Number of frequency masks.
        frequency_mask_bins: Widest frequency mask, in bands.

    Returns:
        float32, the shape of `features`.
    """
    import tensorflow as tf

    features = tf.convert_to_tensor(features)
    shape = tf.shape(features)
    rows, size, bands = shape[:-2], shape[-2], shape[-1]
    keep = tf.ones([1, 1], tf.bool)
    if time_masks:
        length = tf.broadcast_to(size if frames is None else tf.cast(frames, tf.int32), rows)
        widest = tf.cast(tf.math.floor(time_mask_fraction * tf.cast(length, tf.float32)), tf.int32)
        widest = tf.minimum(widest, time_mask_frames)
        keep = keep & ~_masked(time_masks, widest, length, size, _fold(seed, 0))[..., tf.newaxis]
    if frequency_masks:
        widest = tf.broadcast_to(tf.minimum(frequency_mask_bins, bands), rows)
        bins = _masked(frequency_masks, widest, tf.broadcast_to(bands, rows), bands, _fold(seed, 1))
        keep = keep & ~bins[..., tf.newaxis, :]
    return tf.where(keep, features, tf.zeros([], features.dtype))


def _masked(count: int, widest: Any, length: Any, size: Any, seed: Any) -> tf.Tensor:
    """Whether each of `size` positions is in one of `count` random ranges within the first `length`: `(..., size)`."""
    import tensorflow as tf

    shape = tf.concat([tf.shape(length), [count]], axis=0)
    draws = tf.random.stateless_uniform(tf.concat([[2], shape], axis=0), seed)
    width = tf.cast(draws[0] * tf.cast(widest + 1, tf.float32)[..., tf.newaxis], tf.int32)
    start = tf.cast(draws[1] * tf.cast(length[..., tf.newaxis] - width + 1, tf.float32), tf.int32)
    position = tf.range(size)
    inside = (position >= start[..., tf.newaxis]) & (position < (start + width)[..., tf.newaxis])
    return tf.reduce_any(inside, axis=-2)


def _fold(seed: Any, number: int) -> Any:
    import tensorflow as tf

    return tf.random.fold_in(seed, number)


@functools.lru_cache(maxsize=16)
def _band_warp(augmentation: Augmentation, bands: int) -> np.ndarray:
    # The center of band i is i + 1 steps above the lower edge of the first band, which does not move.
    return mel.interpolation_matrices(np.outer(warp_factors(augmentation), np.arange(1, bands + 1)) - 1.0)


def chosen(augment: Augmentation | str | None) -> Augmentation | None:
    """The augmentation itself, or the preset of that name.

    Raises:
        ValueError: The name is unknown.

    Example:
    >>> chosen("speech") == Augmentation.speech()
    True
    """
    if not isinstance(augment, str):
        return augment
    presets = {"speech": Augmentation.speech, "sensor": Augmentation.sensor}
    check_choice("augment", augment, presets, other="an Augmentation")
    return presets[augment]()
