"""The `tf.data` end of the pipeline: batches of a plan, features in the graph, epochs that can be addressed."""

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
from speechrnn.pipeline.graph import FeatureGraph, fingerprint, one_by_one, passes, warp_of
from speechrnn.pipeline.loading import FeatureSource, Loaded, Loader, Source
from speechrnn.pipeline.mixing import mixed
from speechrnn.pipeline.planning import Planner
from speechrnn.pipeline.records import Records
from speechrnn.pipeline.selection import Entry, Framing, Targets, select
from speechrnn.pipeline.targets import balanced, targets_of
from speechrnn.pipeline.tfio import GraphDecoder, wanted
from speechrnn.text import Vocabulary
from speechrnn.text.tokens import Tokens

_log = logging.getLogger(__name__)


@dataclass
class Plan:
    """What a dataset made by `batches` will do; `plan_of(dataset)` gives it."""

    planner: Planner
    """Batches, buckets and padding of any epoch."""
    entries: list[Entry]
    """The examples that were kept."""
    faults: Faults
    """What was dropped, and what failed since."""
    total: int
    """Examples given."""
    epoch: int = 0
    """Number of the epoch that the next pass over the dataset will be."""

    @property
    def steps(self) -> int:
        """Batches in every epoch."""
        return self.planner.steps

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
    """Padded batches of examples, decoded, augmented and turned into features while the model works.

    Each pass over the dataset is one epoch, in an order and with an augmentation of its own that follow from `seed` and
    the epoch's number alone. Passes count up from `initial_epoch`; one that is broken off is repeated. To resume a
    run, give `initial_epoch`, or set `plan_of(dataset).epoch` before a pass.

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
        views: Copies of every row that are augmented differently, at the same speed; row `i + k * batch_size` is view
            `k` of row `i`.
        initial_epoch: Number of the first pass.
        sample_rate: Samples per second of the signals where `features` is None.
        classes: Names of the classes, in order; without them an integer label is its own class.
        task: What classes are learned: "single" (the `label`), "multi" (those that `extra["tags"]` names) or "frames"
            (that of each output frame, from `labels`); None takes the `label` where there is one.
        balance: How much rare classes are repeated, from 0 (not at all) to 1 (until all are equally frequent).
        mixup: Parameter of the Beta distribution that each row's share in a mixture with another row is drawn from;
            0 mixes none. It is for one class per example, or for several at once.
        share: Which part of the rows of every batch are loaded, counted from 0, and how many parts there are: what one
            of several processes that train together loads.
        cache_gigabytes: Most that the cache may take; what does not fit is decoded again in every epoch.
        longer_texts: Keep texts of more symbols than output frames, which a transducer can write.

    Returns:
        A dataset of `({"features": float32 (batch, frames, features), "frames": int32 (batch,)}, target, weight)` with
        known cardinality; without features the first part is `{"signal": float32 (batch, samples), "length": int32
        (batch,)}`. `target` is int32 `(batch, labels)` padded with 0, or `(batch,)` for classes, or `(batch, frames)`
        padded with -1 for classes of frames; float32 `(batch, classes)` for several at once, and with `mixup`. `weight`
        is float32 `(batch,)`, 0 for the rows that fill a batch up.

        Features with `channels` are of signals `(samples, channels)`, read by `speechrnn.signals`.

    Raises:
        ValueError: No example can be used, or an option does not fit the others.
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
    entries, collected = _selected(examples, framing, targets, max_duration, faults)
    if balance:
        entries = balanced(entries, balance, seed)
    planner = Planner(
        entries=entries, framing=framing, shuffle=shuffle, seed=seed, most_buckets=buckets,
        batch_size=None if batch_seconds is not None else batch_size or 16, batch_seconds=batch_seconds,
        speed=(augmentation.speed if augmentation else None) or (1.0, 1.0),
        shares=share[1],
    )  # fmt: skip
    plan = Plan(planner, entries, collected, len(examples), initial_epoch)
    changes = augmentation is not None and augmentation.changes_signal
    keeps = features is not None and cache is not None and not changes
    store = _store(cache, features if keeps else framing, cache_gigabytes)
    in_graph = None
    texts = getattr(features, "tokens", None)
    if framing.channels is None and texts is None and share[1] == 1 and wanted(decoder):
        in_graph = GraphDecoder(entries, planner, store, int(framing.sample_rate), decoder == "tensorflow-io", workers)
    decode: Callable[[Entry, np.ndarray | None], np.ndarray] | None = None if in_graph is None else in_graph.finish
    if texts is not None:
        decode = _reader(texts)
    about: Any = {"framing": framing, "store": store, "decode": decode}
    source: Source
    if features is not None and keeps:
        source = FeatureSource(compute=one_by_one(features), width=features.num_features, **about)
    else:
        source = Source(augmentation=augmentation if changes else None, **about)
    mix = _mixer(planner, mixup, entries, classes) if mixup else None
    loader = Loader(entries, planner, source, targets, collected, mix, share)
    rows = {bucket.batch_size // share[1] for bucket in planner.buckets}
    return _dataset(loader, plan, features, augmentation, in_graph, workers, views, rows)


def _reader(texts: Tokens) -> Callable[[Entry, np.ndarray | None], np.ndarray]:
    """Reads the text of an entry in the place of its recording."""
    return lambda entry, _: texts.read(entry.example.text, where=entry.example.id)


def _mixer(
    planner: Planner, alpha: float, entries: Sequence[Entry], classes: Sequence[str] | None
) -> Callable[[Loaded, int, int], Loaded]:
    """What mixes the rows of a batch, given its epoch and step."""
    target = entries[0].target
    if target.ndim and not np.issubdtype(target.dtype, np.floating):
        raise ValueError(f"`mixup` needs one class per example, or tags. Received: mixup={alpha} with other targets.")
    count = len(classes) if classes is not None else 1 + max(int(entry.target.max()) for entry in entries)
    return lambda batch, epoch, step: mixed(batch, alpha, count, planner.mixing(epoch, step))


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
    given = loader.source.width  # None where what is loaded are signals
    layer = features if given is None else None
    graph = None if features is None else FeatureGraph(layer, augmentation, warp_of(features, augmentation), views)
    target = plan.entries[0].target
    soft = loader.mix is not None or target.dtype != np.int32
    return passes(
        loader.load, plan, steps=plan.steps, finish=graph, workers=workers, views=views,
        shapes=([rows, None, *loader.source.padded(0)[1:]],
                [rows, None] if soft or target.ndim else [rows]),
        target_type=tf.float32 if soft else tf.int32,
        names=("signal", "length") if features is None else ("features", "frames"),
        decoded=None if in_graph is None else in_graph.apply,
    )  # fmt: skip


def _selected(
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
    """Says at once what would otherwise come out as a fault of every example."""
    for name in ("noise_folder", "rir_folder"):
        folder = getattr(augmentation, name, None)
        if folder is not None and not os.path.isdir(folder):
            raise ValueError(f"`{name}` must be a folder of recordings. Received: {folder!r}, which is none.")


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
            raise ValueError("`sample_rate` must be given where `features` is None. Received: sample_rate=None.")
        return Framing(sample_rate, int, stride)
    if sample_rate not in (None, features.sample_rate):
        raise ValueError(
            f"`sample_rate` must be the features', {features.sample_rate} Hz. Received: {sample_rate}. Leave it out."
        )
    channels = getattr(features, "channels", None)
    return Framing(features.sample_rate, features.frame_count, stride, features.window, features.hop, channels)


def _store(cache: str | os.PathLike | None, kept: keras.Layer | Framing, gigabytes: float | None) -> Store | None:
    most = None if gigabytes is None else int(1e9 * gigabytes)
    if cache is None:
        return None
    if cache == "memory":
        return Memory(most)
    if isinstance(kept, Framing):
        channels = "" if kept.channels is None else f", {kept.channels} channels"
        return Records(cache, f"signal at {kept.sample_rate} Hz{channels}", most)
    return Records(cache, fingerprint(kept), most)
