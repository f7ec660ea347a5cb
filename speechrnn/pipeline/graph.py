"""What runs in TensorFlow's graph: features, their augmentation, and the passes over a dataset."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from speechrnn.features.augment import Augmentation, augment_features, warp_factors
from speechrnn.pipeline.loading import Loaded


class Counter(Protocol):
    """What counts the passes over a dataset."""

    epoch: int


def fingerprint(features: keras.Layer) -> str:
    """What a layer's values depend on: its class, configuration (but for its name) and weights."""
    config = {key: value for key, value in features.get_config().items() if key not in ("name", "trainable", "dtype")}
    weights = b"".join(np.ascontiguousarray(weight).tobytes() for weight in features.get_weights())
    return f"{type(features).__name__} {json.dumps(config, sort_keys=True, default=str)} {zlib.crc32(weights)}"


def own(features: keras.Layer) -> keras.Layer:
    """The layer, with its statistics where `tf.data` can reach them: in the processor's memory."""
    if not features.weights:
        return features
    with tf.device("/CPU:0"):
        copy = type(features).from_config(features.get_config())
        copy.set_weights(features.get_weights())
    return copy


def one_by_one(features: keras.Layer) -> Callable[[np.ndarray], np.ndarray]:
    """Features `(frames, features)` of one signal, for a cache that misses."""
    layer = own(features)
    channels = getattr(features, "channels", None)
    shape = [1, None] if channels is None else [1, None, channels]

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32), tf.TensorSpec([1], tf.int32)])
    def compute(signal: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        return layer(signal, length, training=False)

    def one(signal: np.ndarray) -> np.ndarray:
        with tf.device("/CPU:0"):
            return compute(signal[None], np.array([len(signal)], np.int32)).numpy()[0]

    return one


def warp_of(features: keras.Layer | None, augmentation: Augmentation | None) -> np.ndarray | None:
    """The matrices that scaling the frequency axis in hertz needs from the layer that made the bands."""
    if augmentation is None or not augmentation.frequency_scale:
        return None
    channels = getattr(features, "channels", None) or 1
    if channels > 1:
        raise ValueError(
            "`frequency_scale` moves the bands of one spectrum, and would mix channels that stand side by side. "
            f"Received: {type(features).__name__} of {channels} channels. Leave `frequency_scale` at 0."
        )
    if augmentation.frequency_axis != "hertz":
        return None
    if features is None or not hasattr(features, "frequency_warp"):
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


def repeated(rows: tf.Tensor, times: int) -> tf.Tensor:
    """The rows of a batch, `times` over: `(times * batch, ...)`."""
    return rows if times == 1 else tf.concat([rows] * times, 0)


class FeatureGraph:
    """Features of padded signals, and their augmentation, as operations of a graph.

    Args:
        features: The layer; None where the loaded values are features already.
        augmentation: How the features are changed, or None.
        warp: What scaling the frequency axis in hertz needs; see `warp_of`.
        views: Times that every row is given, each augmented in its own way.
    """

    def __init__(
        self,
        features: keras.Layer | None,
        augmentation: Augmentation | None,
        warp: np.ndarray | None,
        views: int = 1,
    ) -> None:
        self._layer = None if features is None else own(features)
        changes = augmentation is not None and augmentation.changes_features
        self._augmentation = augmentation if changes else None
        self._warp = warp
        self._views = views

    def __call__(self, values: tf.Tensor, lengths: tf.Tensor, seeds: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Features and frame counts."""
        if self._layer is not None:
            values, lengths = self._layer(values, lengths, training=False), self._layer.frame_count(lengths)
        values, lengths = repeated(values, self._views), repeated(lengths, self._views)
        if self._augmentation is not None:
            # The first number of a seed is random for each epoch, so its neighbors belong to no other.
            seeds = tf.concat([seeds + np.array([[view, 0]], np.int32) for view in range(self._views)], 0)
            augmented = _augment_rows(values, lengths, seeds, self._augmentation, self._warp)
            values = tf.ensure_shape(augmented, values.shape)
        return values, lengths


def passes(
    load: Callable[..., Loaded],
    plan: Counter,
    *,
    steps: int,
    shapes: tuple[list, list],
    names: tuple[str, str],
    finish: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]] | None = None,
    given: Callable[[dict[str, tf.Tensor], tf.Tensor, tf.Tensor], tuple] | None = None,
    decoded: Callable[[tf.data.Dataset], tf.data.Dataset] | None = None,
    workers: int | None = None,
    views: int = 1,
    target_type: tf.DType = tf.int32,
    value_type: tf.DType = tf.float32,
) -> tf.data.Dataset:
    """A dataset each pass over which is the epoch that `plan` counts; `plan_of` finds the plan again.

    Args:
        load: A batch, from its epoch and step and from signals decoded in the graph.
        plan: Its `epoch` is read when a pass begins, and counted up when the last batch is handed over.
        steps: Batches in a pass.
        shapes: Static shapes of the loaded values and of the target.
        names: Keys of values and lengths.
        finish: From values, lengths and seeds to values and lengths for the network; None leaves them.
        given: From inputs, target and weight to those that the network is given; None leaves them.
        decoded: Adds signals decoded in the graph to the steps, or None.
        workers: Batches in the making at a time; None is the number of processors.
        views: Times that `finish` gives every row; target and weight are repeated as often.
        target_type: Type of the target.
        value_type: Type of the loaded values.
    """
    rows, workers = shapes[0][0], workers or os.cpu_count() or 1

    def loaded(epoch: np.ndarray, step: np.ndarray, *signals: np.ndarray) -> tuple[np.ndarray, ...]:
        batch = load(int(epoch), int(step), *signals)
        return batch.values, batch.lengths, batch.target, batch.weight, batch.seeds

    def make(epoch: tf.Tensor, step: tf.Tensor, *signals: tf.Tensor) -> tuple:
        types = [value_type, tf.int32, target_type, tf.float32, tf.int32]
        tensors = tf.numpy_function(loaded, [epoch, step, *signals], types)
        for tensor, shape in zip(tensors, (shapes[0], [rows], shapes[1], [rows], [rows, 2]), strict=True):
            tensor.set_shape(shape)
        values, lengths, target, weight, seeds = tensors
        if finish is not None:
            values, lengths = finish(values, lengths, seeds)
        batch = {names[0]: values, names[1]: lengths}, repeated(target, views), repeated(weight, views)
        return epoch, step, batch if given is None else given(*batch)

    def begun() -> np.int64:
        return np.int64(plan.epoch)

    def ended(epoch: np.ndarray) -> np.int64:
        plan.epoch = int(epoch) + 1
        return np.int64(0)

    def hand_over(epoch: tf.Tensor, step: tf.Tensor, batch: tuple) -> tuple:
        # Counted here, behind the prefetch: a pass that somebody broke off, or only peeked into, is no epoch.
        zero = tf.constant(0, tf.int64)
        tf.cond(tf.equal(step, steps - 1), lambda: tf.numpy_function(ended, [epoch], tf.int64), lambda: zero)
        return batch

    def numbered(epoch: tf.Tensor) -> tf.data.Dataset:
        return tf.data.Dataset.range(steps).map(lambda step: (epoch, step))

    start = tf.data.Dataset.from_tensors(0)
    dataset = start.map(lambda _: tf.ensure_shape(tf.numpy_function(begun, [], tf.int64), [])).flat_map(numbered)
    if decoded is not None:
        dataset = decoded(dataset)
    dataset = dataset.map(make, num_parallel_calls=workers).prefetch(2).map(hand_over)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(steps))
    options = tf.data.Options()
    options.deterministic = True
    # Nothing here is left to TensorFlow to tune, and at the end of a pass its tuning thread can sleep through the call
    # to stop: the next pass then waited up to its period, 10 s after an epoch of 5 s.
    options.autotune.enabled = False
    # Threads of their own: a cache that misses computes features from within a loading thread, and must not wait for
    # the pool that the loading threads have filled.
    options.threading.private_threadpool_size = workers + 1
    dataset = dataset.with_options(options)
    dataset._speechrnn_plan = plan
    return dataset


def plan_of(dataset: tf.data.Dataset) -> Any:
    """The plan behind a dataset: a `Plan` where `batches` returned it, else that of `windows` or of the kind.

    Raises:
        ValueError: The dataset came from elsewhere, or was transformed since.
    """
    plan = getattr(dataset, "_speechrnn_plan", None)
    if plan is None:
        raise ValueError(f"`plan_of` needs the dataset that `batches` returned, untransformed. Received: {dataset}.")
    return plan
