"""Decoding in TensorFlow's graph by tensorflow-io, if its native library loads.

Its last release, 0.37.1, loads with TensorFlow 2.16 only. Its decoders scale differently: 8-bit WAV is unsigned, 24-bit
samples are in the upper bits of 32, and Ogg and MP3 are float. They do not support Opus, SPHERE, 32-bit integers and
float64, which are left to soundfile.
"""

from __future__ import annotations

import functools
import importlib.util
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from speechrnn import audio
from speechrnn.faults import check_choice, data_error
from speechrnn.pipeline.cache import Store
from speechrnn.pipeline.loading import read
from speechrnn.pipeline.planning import Planner
from speechrnn.pipeline.selection import Entry

FORMATS = (
    "WAV PCM_16", "WAV PCM_U8", "WAV PCM_24", "WAV FLOAT", "FLAC PCM_16", "FLAC PCM_24", "OGG VORBIS",
    "MP3 MPEG_LAYER_III",
)  # fmt: skip
"""Formats that can be decoded in the graph, by their names in `audio.probe`."""

_TOLERANCE = 0.02
"""Seconds by which a file may be longer than its example and still count as a whole file."""


@functools.cache
def unavailable() -> str | None:
    """The reason why tensorflow-io cannot be used; None if it can."""
    need = "It needs tensorflow 2.16, tensorflow-io 0.37.1 and Python 3.12 or older."
    if importlib.util.find_spec("tensorflow_io") is None:
        return f"tensorflow-io is not installed. {need}"
    try:
        _module().audio.decode_wav(_SHORTEST_WAV, dtype=tf.int16)
    except (ImportError, AttributeError, NotImplementedError, RuntimeError, OSError, tf.errors.OpError) as error:
        reason = str(error).strip().splitlines()
        version = f"tensorflow {tf.__version__}"
        return f"tensorflow-io does not load with {version} ({reason[0] if reason else type(error).__name__}). {need}"
    return None


def _module() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("tensorflow_io")


_SHORTEST_WAV = (
    b"RIFF\x26\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\x3e\x00\x00\x00\x7d\x00\x00\x02\x00\x10\x00"
    b"data\x02\x00\x00\x00\x00\x00"
)


def decodes_in_graph(decoder: str) -> bool:
    """Whether the option `decoder` selects tensorflow-io.

    Raises:
        ValueError: It is selected by name and cannot be used, or the option is unknown.
    """
    check_choice("decoder", decoder, ("auto", "soundfile", "tensorflow-io"))
    if decoder == "tensorflow-io" and unavailable():
        raise ValueError(f'decoder="tensorflow-io" cannot be used. {unavailable()} Use decoder="auto" or "soundfile".')
    return decoder != "soundfile" and unavailable() is None


def decode(path: tf.Tensor, form: tf.Tensor) -> tf.Tensor:
    """A whole file as float32 `(samples,)`, channels averaged; `form` is an index into `FORMATS`."""
    tfio, data = _module(), tf.io.read_file(path)

    def integers(function: Callable, dtype: tf.DType, zero: float, scale: float) -> Callable[[], tf.Tensor]:
        return lambda: (tf.cast(function(data, dtype=dtype), tf.float32) - zero) / scale

    branches = [
        integers(tfio.audio.decode_wav, tf.int16, 0.0, 2.0**15),
        integers(tfio.audio.decode_wav, tf.uint8, 128.0, 2.0**7),
        integers(tfio.audio.decode_wav, tf.int32, 0.0, 2.0**31),
        lambda: tfio.audio.decode_wav(data, dtype=tf.float32),
        integers(tfio.audio.decode_flac, tf.int16, 0.0, 2.0**15),
        integers(tfio.audio.decode_flac, tf.int32, 0.0, 2.0**31),
        lambda: tfio.audio.decode_vorbis(data),
        lambda: tfio.audio.decode_mp3(data),
    ]
    return tf.ensure_shape(tf.switch_case(form, branches), [None, None])


def _probed(path: str, encoding: str | None) -> audio.AudioInfo | None:
    try:
        return audio.probe(path, encoding=encoding)
    except (OSError, ValueError):
        return None  # decoding will raise the error


@dataclass
class GraphDecoder:
    """Decodes the rows of a batch in the graph, if it can; the loader decodes the others."""

    entries: Sequence[Entry]
    """The usable examples."""
    planner: Planner
    """Plans the batches of each epoch."""
    store: Store | None
    """Cache; cached rows are not decoded."""
    sample_rate: int
    """Samples per second of the signals."""
    forced: bool
    """Whether a file that cannot be decoded in the graph is a fault, instead of being decoded by soundfile."""
    workers: int
    """Files decoded at a time."""

    def __post_init__(self) -> None:
        self._probed = functools.cache(_probed)

    def apply(self, steps: tf.data.Dataset) -> tf.data.Dataset:
        """Map `(epoch, step)` to `(epoch, step, rows, signals, lengths)`; row -1 is a placeholder."""

        def requests(epoch: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, ...]:
            return self._requests(int(epoch), int(step))

        def decoded(row: tf.Tensor, path: tf.Tensor, form: tf.Tensor, channel: tf.Tensor) -> tuple[tf.Tensor, ...]:
            samples = decode(path, form)
            mono = tf.cond(channel < 0, lambda: tf.reduce_mean(samples, axis=1), lambda: samples[:, channel])
            return row, mono, tf.size(mono)

        def one(epoch: tf.Tensor, step: tf.Tensor) -> tf.data.Dataset:
            columns = tf.numpy_function(requests, [epoch, step], [tf.int32, tf.string, tf.int32, tf.int32])
            for column in columns:
                column.set_shape([None])
            files = tf.data.Dataset.from_tensor_slices(tuple(columns))
            rows = files.map(decoded, num_parallel_calls=self.workers).ignore_errors()
            # A row that failed is missing from here on; `finish` raises its error. A placeholder keeps an empty batch.
            none = tf.data.Dataset.from_tensors((tf.constant(-1), tf.zeros([0]), tf.constant(0)))
            size = tf.size(columns[0], out_type=tf.int64) + 1
            padded = rows.concatenate(none).padded_batch(size, padded_shapes=([], [None], []))
            return padded.map(lambda row, signal, length: (epoch, step, row, signal, length))

        return steps.flat_map(one)

    def _requests(self, epoch: int, step: int) -> tuple[np.ndarray, ...]:
        batch = self.planner.epoch(epoch).batches[step]
        requests = []
        for row, index in enumerate(batch.indices[: len(batch.indices) - batch.filled]):
            entry = self.entries[index]
            form = self._form(entry)
            if form is not None and not (self.store and self.store.holds(entry)):
                channel = -1 if entry.example.channel is None else entry.example.channel
                requests.append((row, entry.example.path, form, channel))
        rows, paths, forms, channels = zip(*requests, strict=True) if requests else ((), (), (), ())
        return (
            np.array(rows, np.int32),
            np.array([path.encode() for path in paths], object),
            np.array(forms, np.int32),
            np.array(channels, np.int32),
        )

    def _info(self, entry: Entry) -> audio.AudioInfo | None:
        return self._probed(entry.example.path, entry.example.encoding)

    def _form(self, entry: Entry) -> int | None:
        """Index into `FORMATS` of a file to decode in the graph; None for soundfile."""
        info = self._info(entry)
        if info is None or info.format not in FORMATS or entry.example.encoding is not None:
            return None
        # The graph decodes whole files, which is wasted on a short segment of a long one.
        whole = entry.example.offset == 0 and info.duration <= entry.example.duration + _TOLERANCE
        return FORMATS.index(info.format) if whole or self.forced else None

    def finish(self, entry: Entry, samples: np.ndarray | None) -> np.ndarray:
        """The example's signal at the pipeline's rate, from samples decoded in the graph, or else from soundfile.

        Raises:
            ValueError: It cannot be decoded, or not in the graph although `forced`.
        """
        signal = None if samples is None else self._cut(entry, samples)
        if signal is not None:
            return signal
        signal = read(entry, self.sample_rate)  # raises the error of a broken file
        if self.forced:
            info = self._info(entry)
            raise data_error(
                entry.example.path,
                "not decodable by tensorflow-io",
                (
                    f"{info.format if info else 'this format'} is not a format that tensorflow-io decodes "
                    f'({", ".join(FORMATS)}). Use decoder="auto".'
                ),
            )
        return signal

    def _cut(self, entry: Entry, samples: np.ndarray) -> np.ndarray | None:
        """The example's segment at the pipeline's rate; None if it is too short or not finite."""
        info, example = self._info(entry), entry.example
        if info is None:
            return None
        start, count = round(example.offset * info.sample_rate), max(1, round(example.duration * info.sample_rate))
        signal = samples[start : start + count]
        if len(signal) < count - _TOLERANCE * info.sample_rate or not len(signal) or not np.isfinite(signal).all():
            return None
        return audio.resample(signal, info.sample_rate, self.sample_rate)
