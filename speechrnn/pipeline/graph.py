"""The graph of a dataset: features, their augmentation, and passes that count epochs."""

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
    """A counter of the passes over a dataset."""

    epoch: int


def fingerprint(features: keras.Layer) -> str:
    """A text that identifies a layer's values: its class, configuration (without its name) and weights."""
    config = {key: value for key, value in features.get_config().items() if key not in ("name", "trainable", "dtype")}
    weights = b"".join(np.ascontiguousarray(weight).tobytes() for weight in features.get_weights())
    return f"{type(features).__name__} {json.dumps(config, sort_keys=True, default=str)} {zlib.crc32(weights)}"


def on_cpu(features: keras.Layer) -> keras.Layer:
    """The layer with its weights in the CPU's memory, where `tf.data` can read them."""
    if not features.weights:
        return features
    with tf.device("/CPU:0"):
        copy = type(features).from_config(features.get_config())
        copy.set_weights(features.get_weights())
    return copy


def feature_function(features: keras.Layer) -> Callable[[np.ndarray], np.ndarray]:
    """A function from one signal to its features `(frames, features)`, compiled once."""
    layer = on_cpu(features)
    channels = getattr(features, "channels", None)
    shape = [1, None] if channels is None else [1, None, channels]

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32), tf.TensorSpec([1], tf.int32)])
    def compute(signal: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        return layer(signal, length, training=False)

    def one(signal: np.ndarray) -> np.ndarray:
        with tf.device("/CPU:0"):
            return compute(signal[None], np.array([len(signal)], np.int32)).numpy()[0]

    return one


def warp_matrices(features: keras.Layer | None, augmentation: Augmentation | None) -> np.ndarray | None:
    """The matrices of a feature layer for scaling the frequency axis in hertz, or None if they are not needed."""
    if augmentation is None or not augmentation.frequency_scale:
        return None
    channels = getattr(features, "channels", None) or 1
    if channels > 1:
        raise ValueError(
            "`frequency_scale` moves the bands of one spectrum, and would mix the bands of several channels. "
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
    """The rows of a batch repeated `times` times: `(times * batch, ...)`."""
    return rows if times == 1 else tf.concat([rows] * times, 0)


class FeatureGraph:
    """Features of padded signals, and their augmentation, as operations of a graph.

    Args:
        features: The layer; None if the loaded values are features already.
        augmentation: The augmentation of the features, or None.
        warp: See `warp_matrices`.
        views: Number of differently augmented copies of every row.
    """

    def __init__(
        self,
        features: keras.Layer | None,
        augmentation: Augmentation | None,
        warp: np.ndarray | None,
        views: int = 1,
    ) -> None:
        self._layer = None if features is None else on_cpu(features)
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
            # The first number of a seed is random for each epoch, so consecutive numbers are not used elsewhere.
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
    to_inputs: Callable[[dict[str, tf.Tensor], tf.Tensor, tf.Tensor], tuple] | None = None,
    decode: Callable[[tf.data.Dataset], tf.data.Dataset] | None = None,
    workers: int | None = None,
    views: int = 1,
    target_type: tf.DType = tf.int32,
    value_type: tf.DType = tf.float32,
) -> tf.data.Dataset:
    """A dataset of which each pass is one epoch, counted by `plan`; `plan_of` returns the plan.

    Args:
        load: Loads a batch, from its epoch and step and from signals decoded in the graph.
        plan: Its `epoch` is read when a pass begins, and incremented when the last batch has been delivered.
        steps: Batches in a pass.
        shapes: Static shapes of the loaded values and of the target.
        names: Keys of values and lengths.
        finish: Maps values, lengths and seeds to values and lengths for the network, or None.
        to_inputs: Maps inputs, target and weight to those of the network, or None.
        decode: Adds signals decoded in the graph to the steps, or None.
        workers: Batches prepared at the same time; None is the number of processors.
        views: Number of copies of every row that `finish` gives; target and weight are repeated as often.
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
        return epoch, step, batch if to_inputs is None else to_inputs(*batch)

    def current_epoch() -> np.int64:
        return np.int64(plan.epoch)

    def finish_epoch(epoch: np.ndarray) -> np.int64:
        plan.epoch = int(epoch) + 1
        return np.int64(0)

    def deliver(epoch: tf.Tensor, step: tf.Tensor, batch: tuple) -> tuple:
        # Counted here, after the prefetch, so that an interrupted pass, or a look at its first batch, is not an epoch.
        zero = tf.constant(0, tf.int64)
        tf.cond(tf.equal(step, steps - 1), lambda: tf.numpy_function(finish_epoch, [epoch], tf.int64), lambda: zero)
        return batch

    def epoch_steps(epoch: tf.Tensor) -> tf.data.Dataset:
        return tf.data.Dataset.range(steps).map(lambda step: (epoch, step))

    epoch = tf.data.Dataset.from_tensors(0).map(
        lambda _: tf.ensure_shape(tf.numpy_function(current_epoch, [], tf.int64), [])
    )
    dataset = epoch.flat_map(epoch_steps)
    if decode is not None:
        dataset = decode(dataset)
    dataset = dataset.map(make, num_parallel_calls=workers).prefetch(2).map(deliver)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(steps))
    options = tf.data.Options()
    options.deterministic = True
    # There is nothing to tune here, and TensorFlow's tuning thread can miss the call to stop at the end of a pass: the
    # next pass then waited for up to its period, 10 s after an epoch of 5 s.
    options.autotune.enabled = False
    # A private thread pool: features that are not cached are computed from within a loading thread, which must not wait
    # for the pool that the loading threads occupy.
    options.threading.private_threadpool_size = workers + 1
    dataset = dataset.with_options(options)
    dataset._speechrnn_plan = plan
    return dataset


def plan_of(dataset: tf.data.Dataset) -> Any:
    """The plan of a dataset: a `Plan` if `batches` returned it, else that of `windows` or of the kind.

    Raises:
        ValueError: The dataset has another origin, or was transformed.
    """
    plan = getattr(dataset, "_speechrnn_plan", None)
    if plan is None:
        raise ValueError(f"`plan_of` needs the dataset that `batches` returned, untransformed. Received: {dataset}.")
    return plan
