"""The `tf.data` end of the pipeline: batches of a plan, features in the graph, epochs that can be addressed."""

from __future__ import annotations

import json
import logging
import os
import threading
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from speechrnn.faults import Faults
from speechrnn.features.augment import Augmentation, augment_features, warp_factors
from speechrnn.manifest import Example
from speechrnn.pipeline.cache import Folder, Memory, Nothing, Store
from speechrnn.pipeline.loading import FeatureSource, Loader, Source
from speechrnn.pipeline.planning import Planner
from speechrnn.pipeline.selection import Entry, select
from speechrnn.text import Vocabulary

_UNIT = 0.1
"""Seconds that padded lengths are multiples of."""
_log = logging.getLogger(__name__)


@dataclass
class Plan:
    """What a dataset made by `batches` will do; `plan_of(dataset)` gives it.

    Attributes:
        planner: Batches, buckets and padding of any epoch.
        entries: The examples that were kept.
        faults: What was dropped, and what failed since.
        total: Examples given.
    """

    planner: Planner
    entries: list[Entry]
    faults: Faults
    total: int
    _epoch: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    @property
    def steps(self) -> int:
        """Batches in every epoch."""
        return self.planner.steps

    @property
    def epoch(self) -> int:
        """Number of the epoch that the next pass over the dataset will be."""
        with self._lock:
            return self._epoch

    @epoch.setter
    def epoch(self, number: int) -> None:
        with self._lock:
            self._epoch = int(number)

    def examples(self, epoch: int = 0) -> list[list[Example]]:
        """The examples in each batch of an epoch, without the rows that fill one up."""
        batches = self.planner.epoch(epoch).batches
        return [[self.entries[i].example for i in b.indices[: len(b.indices) - b.filled]] for b in batches]

    def padding_efficiency(self, epoch: int = 0) -> float:
        """Share of an epoch's padded samples that is signal, in [0, 1]."""
        return self.planner.padding_efficiency(epoch)

    def summary(self) -> str:
        """What was dropped so far, in a sentence."""
        return self.faults.summary(self.total)


@dataclass(frozen=True)
class _Front:
    """How long a signal's features are; without features, a sample is a frame."""

    layer: Any
    sample_rate: int

    def frame_count(self, length: Any) -> Any:
        return length if self.layer is None else self.layer.frame_count(length)


def batches(
    examples: Sequence[Example],
    features: keras.Layer | None,
    vocabulary: Vocabulary | None = None,
    *,
    batch_size: int | None = None,
    batch_seconds: float | None = None,
    shuffle: bool = False,
    seed: int = 0,
    augmentation: Augmentation | None = None,
    cache: str | os.PathLike | None = None,
    decoder: str = "auto",
    workers: int | None = None,
    faults: Faults | None = None,
    stride: int = 1,
    max_duration: float | None = None,
    buckets: int = 8,
    initial_epoch: int = 0,
    sample_rate: int | None = None,
    classes: Sequence[str] | None = None,
) -> tf.data.Dataset:
    """Padded batches of examples, decoded, augmented and turned into features while the model works.

    Each pass over the dataset is one epoch, in an order and with an augmentation of its own that follow from `seed` and
    the epoch's number alone. Passes count up from `initial_epoch`; one that is broken off is repeated. To take a run up
    again, give `initial_epoch`, or set `plan_of(dataset).epoch` before a pass (`EpochOrder` does it in `fit`).

    Examples that cannot be used (missing, over-long, too short for their text, with characters outside the vocabulary)
    are dropped before the first epoch, and named in `faults`. One that fails while it is decoded is replaced by a copy
    of another row at weight 0, and named there once.

    Args:
        examples: Lines of a manifest.
        features: A layer such as `LogMel`; None gives the signals.
        vocabulary: Writes the texts as targets; None for labels or inference.
        batch_size: Rows in every batch; 16 if neither this nor `batch_seconds` is given.
        batch_seconds: Seconds in a batch, padding included: shorter buckets get more rows, at least one.
        shuffle: Another order every epoch; otherwise batches run from short to long.
        seed: Seed of order and augmentation.
        augmentation: What is changed at random in every epoch. Dither, a layer's own randomness, is left off.
        cache: "memory", or a folder, keeps features between epochs; with an augmentation of the signal, or without
            features, it keeps the decoded signals instead.
        decoder: "soundfile"; "tensorflow-io", which decodes in TensorFlow's graph; or "auto", which takes the latter
            where it is installed and can read the file.
        workers: Batches in the making at a time; None is the number of processors.
        faults: Collects what was dropped or failed; None logs a summary.
        stride: Feature frames to an output frame of the network, which decides whether a text fits.
        max_duration: Longest example, in seconds; a longer one is a fault.
        buckets: Largest number of batch shapes.
        initial_epoch: Number of the first pass.
        sample_rate: Samples per second of the signals where `features` is None.
        classes: Names of the classes, in order, for examples with a `label`; an integer label is its own class.

    Returns:
        A dataset of `({"features": float32 (batch, frames, features), "frames": int32 (batch,)}, target, weight)` with
        known cardinality; without features the first part is `{"signal": float32 (batch, samples), "length": int32
        (batch,)}`. `target` is int32 `(batch, labels)` padded with 0, or `(batch,)` for classes; `weight` is float32
        `(batch,)`, 0 for the rows that fill a batch up.

    Raises:
        ValueError: No example can be used, or an option does not fit the others.
    """
    if batch_size is not None and batch_seconds is not None:
        raise ValueError(f"Give one of `batch_size` and `batch_seconds`. Received: {batch_size=}, {batch_seconds=}.")
    rate = _rate(features, sample_rate)
    front = _Front(features, rate)
    collected = Faults() if faults is None else faults
    before = len(collected)
    entries = select(
        examples, sample_rate=rate, frame_count=front.frame_count, vocabulary=vocabulary, classes=classes,
        stride=stride, max_duration=max_duration, faults=collected,
    )
    if not entries:
        raise ValueError(f"No example is left to make a batch of. {collected.summary(len(examples))}")
    if faults is None and len(collected) > before:
        _log.warning("%s", collected.summary(len(examples)))
    signals_change = augmentation is not None and augmentation.changes_signal
    planner = Planner(
        entries, frame_count=front.frame_count, shuffle=shuffle, seed=seed, stride=stride, buckets=buckets,
        batch_size=None if batch_seconds is not None else batch_size or 16,
        batch_samples=None if batch_seconds is None else round(batch_seconds * rate),
        speed=_speed(augmentation), unit=max(1, round(_UNIT * rate)),
    )
    plan = Plan(planner, entries, collected, len(examples), initial_epoch)
    options = {"sample_rate": rate, "frame_count": front.frame_count, "stride": stride}
    keeps_features = features is not None and cache is not None and not signals_change
    source = (
        FeatureSource(_one_by_one(features), features.num_features, store=_store(cache, features), **options)
        if keeps_features
        else Source(store=_store(cache, rate), augmentation=augmentation if signals_change else None, **options)
    )
    loader = Loader(entries, planner, source, collected)
    return _dataset(loader, plan, features, keeps_features, augmentation, workers or os.cpu_count() or 1)


def _speed(augmentation: Augmentation | None) -> tuple[float, float]:
    if augmentation is None or not augmentation.speed:
        return 1.0, 1.0
    low, high = augmentation.speed
    return low, high


def plan_of(dataset: tf.data.Dataset) -> Plan:
    """The plan behind a dataset that `batches` returned.

    Raises:
        ValueError: The dataset came from elsewhere, or was transformed since.
    """
    plan = getattr(dataset, "_speechrnn_plan", None)
    if plan is None:
        raise ValueError(f"`plan_of` needs the dataset that `batches` returned, untransformed. Received: {dataset}.")
    return plan


class EpochOrder(keras.callbacks.Callback):
    """Makes pass k of `fit` epoch k of the dataset, whatever epoch training starts or resumes at.

    Args:
        dataset: What `batches` returned.
    """

    def __init__(self, dataset: tf.data.Dataset) -> None:
        super().__init__()
        self._plan = plan_of(dataset)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Sets the epoch of the coming pass."""
        self._plan.epoch = epoch


def _rate(features: keras.Layer | None, sample_rate: int | None) -> int:
    if features is None:
        if sample_rate is None:
            raise ValueError("`sample_rate` must be given where `features` is None. Received: sample_rate=None.")
        return sample_rate
    if sample_rate not in (None, features.sample_rate):
        raise ValueError(
            f"`sample_rate` must be the features', {features.sample_rate} Hz. Received: {sample_rate}. Leave it out."
        )
    return int(features.sample_rate)


def _store(cache: str | os.PathLike | None, kept: keras.Layer | int) -> Store:
    if cache is None:
        return Nothing()
    if cache == "memory":
        return Memory()
    if isinstance(kept, int):
        return Folder(cache, f"signal at {kept} Hz")
    return Folder(cache, fingerprint(kept))


def fingerprint(features: keras.Layer) -> str:
    """What a layer's values depend on: its class, configuration (but for its name) and weights."""
    config = {key: value for key, value in features.get_config().items() if key not in ("name", "trainable", "dtype")}
    weights = b"".join(np.ascontiguousarray(weight).tobytes() for weight in features.get_weights())
    return f"{type(features).__name__} {json.dumps(config, sort_keys=True, default=str)} {zlib.crc32(weights)}"


def _own(features: keras.Layer) -> keras.Layer:
    """The layer, with its statistics where `tf.data` can reach them: in the processor's memory."""
    if not features.weights:
        return features
    with tf.device("/CPU:0"):
        own = type(features).from_config(features.get_config())
        own.set_weights(features.get_weights())
    return own


def _one_by_one(features: keras.Layer) -> Callable[[np.ndarray], np.ndarray]:
    """Features `(frames, features)` of one signal, for a cache that misses."""
    own = _own(features)

    @tf.function(input_signature=[tf.TensorSpec([1, None], tf.float32), tf.TensorSpec([1], tf.int32)])
    def compute(signal: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        return own(signal, length, training=False)

    def one(signal: np.ndarray) -> np.ndarray:
        with tf.device("/CPU:0"):
            return compute(signal[None], np.array([len(signal)], np.int32)).numpy()[0]

    return one


def _warp(features: keras.Layer | None, augmentation: Augmentation | None) -> np.ndarray | None:
    """The matrices that scaling the frequency axis in hertz needs from the layer that made the bands."""
    if augmentation is None or not augmentation.frequency_scale or augmentation.frequency_axis != "hertz":
        return None
    if not hasattr(features, "frequency_warp"):
        raise ValueError(
            'frequency_axis="hertz" needs features with mel bands, such as LogMel. '
            f'Received: {type(features).__name__}. Use frequency_axis="mel", or leave `frequency_scale` at 0.'
        )
    return features.frequency_warp(warp_factors(augmentation))


def _augment_rows(
    features: tf.Tensor, frames: tf.Tensor, seeds: tf.Tensor, augmentation: Augmentation, warp: np.ndarray | None
) -> tf.Tensor:
    padded = tf.shape(features)[1]

    def one(row: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        values, count, seed = row
        changed = augment_features(values[:count], augmentation, seed, warp=warp)
        return tf.pad(changed, [[0, padded - tf.shape(changed)[0]], [0, 0]])

    return tf.map_fn(one, (features, frames, seeds), fn_output_signature=tf.float32)


def _dataset(
    loader: Loader,
    plan: Plan,
    features: keras.Layer | None,
    keeps_features: bool,
    augmentation: Augmentation | None,
    workers: int,
) -> tf.data.Dataset:
    sizes = {bucket.batch_size for bucket in plan.planner.buckets}
    rows = sizes.pop() if len(sizes) == 1 else None
    classes = plan.entries[0].target.ndim == 0
    front = None if features is None or keeps_features else _own(features)

    warp = _warp(features, augmentation)

    def load(epoch: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, ...]:
        batch = loader.load(int(epoch), int(step))
        return batch.values, batch.lengths, batch.target, batch.weight, batch.seeds

    def make(epoch: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, tuple]:
        types = [tf.float32, tf.int32, tf.int32, tf.float32, tf.int32]
        values, lengths, target, weight, seeds = tf.numpy_function(load, [epoch, step], types)
        values.set_shape([rows, None, features.num_features] if keeps_features else [rows, None])
        target.set_shape([rows] if classes else [rows, None])
        for tensor, shape in ((lengths, [rows]), (weight, [rows]), (seeds, [rows, 2])):
            tensor.set_shape(shape)
        if features is None:
            return step, ({"signal": values, "length": lengths}, target, weight)
        if front is not None:
            values, lengths = front(values, lengths, training=False), front.frame_count(lengths)
        if augmentation is not None and augmentation.changes_features:
            values = tf.ensure_shape(_augment_rows(values, lengths, seeds, augmentation, warp), values.shape)
        return step, ({"features": values, "frames": lengths}, target, weight)

    def next_epoch() -> np.ndarray:
        return np.int64(plan.epoch)

    def finish(epoch: np.ndarray) -> np.ndarray:
        plan.epoch = int(epoch) + 1
        return np.int64(0)

    def hand_over(epoch: tf.Tensor, made: tuple[tf.Tensor, tuple]) -> tuple:
        # Counted here, after the prefetch: a pass that somebody broke off, or only peeked into, is no epoch.
        step, batch = made
        last = tf.equal(step, plan.steps - 1)
        tf.cond(last, lambda: tf.numpy_function(finish, [epoch], tf.int64), lambda: tf.constant(0, tf.int64))
        return batch

    one_pass = tf.data.Dataset.from_tensors(0).map(lambda _: tf.ensure_shape(
        tf.numpy_function(next_epoch, [], tf.int64), []))
    steps = one_pass.flat_map(
        lambda epoch: tf.data.Dataset.range(plan.steps).map(lambda step: (epoch, step)))
    made = steps.map(lambda epoch, step: (epoch, make(epoch, step)), num_parallel_calls=workers)
    dataset = made.prefetch(2).map(hand_over).apply(tf.data.experimental.assert_cardinality(plan.steps))
    options = tf.data.Options()
    options.deterministic = True
    options.threading.private_threadpool_size = workers + 1
    dataset = dataset.with_options(options)
    dataset._speechrnn_plan = plan
    return dataset
