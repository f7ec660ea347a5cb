"""`tf.data` datasets of batches: planned by length, with features in the graph, and resumable at any epoch."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from speechrnn.data.manifest import Example
from speechrnn.faults import Faults
from speechrnn.features.augment import Augmentation
from speechrnn.pipeline.cache import Memory, Store
from speechrnn.pipeline.graph import FeatureGraph, feature_function, fingerprint, passes, warp_matrices
from speechrnn.pipeline.loading import FeatureSource, Loaded, Loader, Source
from speechrnn.pipeline.mixing import mix_rows
from speechrnn.pipeline.planning import Planner
from speechrnn.pipeline.records import Records
from speechrnn.pipeline.selection import Entry, Framing, Targets, select
from speechrnn.pipeline.targets import balanced, targets_of
from speechrnn.pipeline.tfio import GraphDecoder, decodes_in_graph
from speechrnn.text import Vocabulary
from speechrnn.text.tokens import Tokens

_log = logging.getLogger(__name__)


@dataclass
class Plan:
    """The plan of a dataset of `batches`; `plan_of(dataset)` returns it."""

    planner: Planner
    """Batches, buckets and padding of any epoch."""
    entries: list[Entry]
    """The usable examples."""
    faults: Faults
    """Examples that were dropped, or failed since."""
    total: int
    """Number of examples, with dropped ones."""
    epoch: int = 0
    """Number of the epoch of the next pass over the dataset."""

    @property
    def steps(self) -> int:
        """Batches in every epoch."""
        return self.planner.steps

    def examples(self, epoch: int = 0) -> list[list[Example]]:
        """The examples in each batch of an epoch, without the copies that fill batches up."""
        batches = self.planner.epoch(epoch).batches
        return [[self.entries[i].example for i in b.indices[: len(b.indices) - b.filled]] for b in batches]

    def padding_efficiency(self, epoch: int = 0) -> float:
        """Share of an epoch's padded samples that is signal, in [0, 1]."""
        return self.planner.padding_efficiency(epoch)

    def summary(self) -> str:
        """A sentence about the examples that were dropped so far."""
        return self.faults.summary(self.total)


def batches(
    examples: Sequence[Example],
    features: Any,
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
    views: int = 1,
    initial_epoch: int = 0,
    sample_rate: int | None = None,
    classes: Sequence[str] | None = None,
    task: Literal["single", "multi", "frames"] | None = None,
    balance: float = 0.0,
    mixup: float = 0.0,
    share: tuple[int, int] = (0, 1),
    cache_gigabytes: float | None = None,
    longer_texts: bool = False,
) -> tf.data.Dataset:
    """Padded batches of examples, decoded, augmented and converted to features while the model trains.

    Each pass over the dataset is one epoch, whose order and augmentation are determined by `seed` and the number of the
    epoch. Passes count up from `initial_epoch`; an interrupted pass is repeated. To resume a run, pass `initial_epoch`,
    or set `plan_of(dataset).epoch` before a pass.

    Examples that cannot be used (missing, too long, too short for their text, with characters outside the vocabulary)
    are dropped before the first epoch, and reported in `faults`. An example that fails during decoding is replaced by a
    copy of another row with weight 0, and reported once.

    Args:
        examples: Lines of a manifest.
        features: A layer such as `LogMel`; None gives the signals.
        vocabulary: Encodes the texts as targets; None for labels or inference.
        batch_size: Rows in every batch; 16 if neither this nor `batch_seconds` is given.
        batch_seconds: Seconds per batch, with padding: shorter buckets get more rows, at least one.
        shuffle: Another order every epoch; otherwise batches are ordered by length.
        seed: Seed of order and augmentation.
        augmentation: Random changes in every epoch. Dither, a layer's own randomness, is off.
        cache: "memory" or a folder: caches features between epochs, or the decoded signals if the signal is augmented
            or there are no features.
        decoder: "soundfile"; "tensorflow-io", which decodes in TensorFlow's graph; or "auto", which uses the latter if
            it is installed and can read the file.
        workers: Batches prepared at the same time; None is the number of processors.
        faults: Collects what was dropped or failed; None logs a summary.
        stride: Feature frames per output frame of the network, which decides whether a text fits.
        max_duration: Maximum length of an example, in seconds; a longer one is a fault.
        buckets: Maximum number of batch shapes.
        views: Number of differently augmented copies of every row, at the same speed; row `i + k * batch_size` is view
            `k` of row `i`.
        initial_epoch: Number of the first pass.
        sample_rate: Samples per second of the signals if `features` is None.
        classes: Names of the classes, in order; without them an integer label is its own class.
        task: Which classes are learned: "single" (the `label`), "multi" (all in `extra["tags"]`) or "frames" (one for
            each output frame, from `labels`); None uses the `label` if there is one.
        balance: How much rare classes are repeated, from 0 (not at all) to 1 (until all are equally frequent).
        mixup: Parameter of the Beta distribution of each row's share in a mixture with another row; 0 is no mixup. It
            needs one class per example, or tags.
        share: Index of the part of every batch that is loaded, and the number of parts, for one of several processes
            that train together.
        cache_gigabytes: Maximum size of the cache; examples that do not fit are decoded again in every epoch.
        longer_texts: Keep texts with more symbols than output frames, which a transducer can write.

    Returns:
        A dataset of `({"features": float32 (batch, frames, features), "frames": int32 (batch,)}, target, weight)` with
        known cardinality; without features the first part is `{"signal": float32 (batch, samples), "length": int32
        (batch,)}`. `target` is int32 `(batch, labels)` padded with 0, or `(batch,)` for classes, or `(batch, frames)`
        padded with -1 for classes of frames; float32 `(batch, classes)` for tags, and with `mixup`. `weight` is float32
        `(batch,)`, 0 for rows that fill a batch up.

        Features with `channels` are of signals `(samples, channels)`, read by `speechrnn.signals`.

    Raises:
        ValueError: No example can be used, or options are incompatible.
    """
    if batch_size is not None and batch_seconds is not None:
        raise ValueError(f"Give one of `batch_size` and `batch_seconds`. Received: {batch_size=}, {batch_seconds=}.")
    _check_folders(augmentation)
    _check_views(views, features, augmentation)
    if task == "frames" and augmentation is not None and augmentation.moves_samples:
        raise ValueError(
            "Classes of frames cannot follow a time warp or a crop. Received: "
            f"time_warp={augmentation.time_warp}, crop={augmentation.crop}. Set time_warp=0 and crop=1."
        )
    workers = workers or os.cpu_count() or 1
    framing = _framing(features, sample_rate, stride)
    targets = targets_of(task, vocabulary, classes, examples, longer_texts=longer_texts)
    entries, collected = _select(examples, framing, targets, max_duration, faults)
    if balance:
        entries = balanced(entries, balance, seed)
    planner = Planner(
        entries=entries, framing=framing, shuffle=shuffle, seed=seed, max_buckets=buckets,
        batch_size=None if batch_seconds is not None else batch_size or 16, batch_seconds=batch_seconds,
        speed=(augmentation.speed if augmentation else None) or (1.0, 1.0),
        shares=share[1],
    )  # fmt: skip
    plan = Plan(planner, entries, collected, len(examples), initial_epoch)
    augments_signal = augmentation is not None and augmentation.changes_signal
    caches_features = features is not None and cache is not None and not augments_signal
    store = _store(cache, features if caches_features else framing, cache_gigabytes)
    in_graph = None
    tokens = getattr(features, "tokens", None)
    if framing.channels is None and tokens is None and share[1] == 1 and decodes_in_graph(decoder):
        in_graph = GraphDecoder(entries, planner, store, int(framing.sample_rate), decoder == "tensorflow-io", workers)
    decode: Callable[[Entry, np.ndarray | None], np.ndarray] | None = None if in_graph is None else in_graph.finish
    if tokens is not None:
        decode = _text_reader(tokens)
    common: Any = {"framing": framing, "store": store, "decode": decode}
    source: Source
    if features is not None and caches_features:
        source = FeatureSource(compute=feature_function(features), width=features.num_features, **common)
    else:
        source = Source(augmentation=augmentation if augments_signal else None, **common)
    mix = _mixer(planner, mixup, entries, classes) if mixup else None
    loader = Loader(entries, planner, source, targets, collected, mix, share)
    rows = {bucket.batch_size // share[1] for bucket in planner.buckets}
    return _dataset(loader, plan, features, augmentation, in_graph, workers, views, rows)


def _text_reader(tokens: Tokens) -> Callable[[Entry, np.ndarray | None], np.ndarray]:
    """A function that reads the text of an entry instead of a recording."""
    return lambda entry, _: tokens.read(entry.example.text, where=entry.example.id)


def _mixer(
    planner: Planner, alpha: float, entries: Sequence[Entry], classes: Sequence[str] | None
) -> Callable[[Loaded, int, int], Loaded]:
    """A function that mixes the rows of a batch, given its epoch and step."""
    target = entries[0].target
    if target.ndim and not np.issubdtype(target.dtype, np.floating):
        raise ValueError(f"`mixup` needs one class per example, or tags. Received: mixup={alpha} with other targets.")
    count = len(classes) if classes is not None else 1 + max(int(entry.target.max()) for entry in entries)
    return lambda batch, epoch, step: mix_rows(batch, alpha, count, planner.mixing(epoch, step))


def _dataset(
    loader: Loader,
    plan: Plan,
    features: keras.Layer | None,
    augmentation: Augmentation | None,
    in_graph: GraphDecoder | None,
    workers: int,
    views: int,
    sizes: set[int],
) -> tf.data.Dataset:
    rows = sizes.pop() if len(sizes) == 1 else None
    layer = features if loader.source.width is None else None  # a width means that features are loaded
    warp = warp_matrices(features, augmentation)
    graph = None if features is None else FeatureGraph(layer, augmentation, warp, views)
    target = plan.entries[0].target
    soft = loader.mix is not None or target.dtype != np.int32
    return passes(
        loader.load, plan, steps=plan.steps, finish=graph, workers=workers, views=views,
        shapes=([rows, None, *loader.source.padded(0)[1:]],
                [rows, None] if soft or target.ndim else [rows]),
        target_type=tf.float32 if soft else tf.int32,
        names=("signal", "length") if features is None else ("features", "frames"),
        decode=None if in_graph is None else in_graph.apply,
    )  # fmt: skip


def _select(
    examples: Sequence[Example],
    framing: Framing,
    targets: Targets,
    max_duration: float | None,
    faults: Faults | None,
) -> tuple[list[Entry], Faults]:
    collected = Faults() if faults is None else faults
    entries = select(examples, framing, targets=targets, max_duration=max_duration, faults=collected)
    if not entries:
        raise ValueError(f"No example is left to make a batch of. {collected.summary(len(examples))}")
    if faults is None and len(collected):
        _log.warning("%s", collected.summary(len(examples)))
    return entries, collected


def _check_folders(augmentation: Augmentation | None) -> None:
    """Raises at once instead of reporting a fault of every example."""
    for name in ("noise_folder", "rir_folder"):
        folder = getattr(augmentation, name, None)
        if folder is not None and not os.path.isdir(folder):
            raise ValueError(f"`{name}` must be a folder of recordings. Received: {folder!r}, which is not a folder.")


def _check_views(views: int, features: Any, augmentation: Augmentation | None) -> None:
    if views < 1:
        raise ValueError(f"`views` must be at least 1. Received: views={views}.")
    if views > 1 and (features is None or augmentation is None or not augmentation.changes_features):
        raise ValueError(
            "Two views of an utterance need features and an augmentation of them, or they would be the same. "
            f"Received: views={views}, {augmentation=}. Set frequency_scale, feature_noise, time_masks or "
            "frequency_masks."
        )


def _framing(features: keras.Layer | None, sample_rate: float | None, stride: int) -> Framing:
    if features is None:
        if sample_rate is None:
            raise ValueError("`sample_rate` must be given if `features` is None. Received: sample_rate=None.")
        return Framing(sample_rate, int, stride)
    if sample_rate not in (None, features.sample_rate):
        raise ValueError(
            f"`sample_rate` must be the features', {features.sample_rate} Hz. Received: {sample_rate}. Leave it out."
        )
    channels = getattr(features, "channels", None)
    return Framing(features.sample_rate, features.frame_count, stride, features.window, features.hop, channels)


def _store(cache: str | os.PathLike | None, content: keras.Layer | Framing, gigabytes: float | None) -> Store | None:
    """The cache of the features of a layer, or of signals."""
    max_bytes = None if gigabytes is None else int(1e9 * gigabytes)
    if cache is None:
        return None
    if cache == "memory":
        return Memory(max_bytes)
    if isinstance(content, Framing):
        channels = "" if content.channels is None else f", {content.channels} channels"
        return Records(cache, f"signal at {content.sample_rate} Hz{channels}", max_bytes)
    return Records(cache, fingerprint(content), max_bytes)
