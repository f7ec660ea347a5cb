"""Train voices: predict the spectrum of each recording from its phones, and the phones' variances."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from speechrnn.data.manifest import Example
from speechrnn.faults import Faults, data_error
from speechrnn.pipeline.graph import passes, plan_of
from speechrnn.pipeline.loading import Loaded
from speechrnn.pipeline.planning import PooledPlan
from speechrnn.runtime.batches import padded
from speechrnn.tasks.synthesis.analysis import Analysis, analyzer
from speechrnn.tasks.synthesis.model import SpeechSynthesizer
from speechrnn.tasks.synthesis.network import VARIANCES
from speechrnn.tasks.synthesis.options import SynthesizerTraining
from speechrnn.tasks.synthesis.sound import padded_shares
from speechrnn.training.task import Scores, Split, Task, refuse_augmentation

_POOL = 16
"""Batches whose recordings are sorted by length together, so that a batch holds little padding."""


class SynthesizerTask(Task):
    """Trains a voice to predict spectra, and the durations, pitches and levels of phones."""

    model: SpeechSynthesizer
    options: SynthesizerTraining
    options_class = SynthesizerTraining
    monitors: ClassVar = {"spectrum": 1, "duration": 1, "loss": 1}
    training_summary = "nats"
    validation_summary = "spectrum {val_spectrum:.3f}, duration {val_duration:.3f}"
    check_subjects = False

    def batches(self, split: Split) -> tf.data.Dataset:
        """See `Task`; examples are aligned recordings, which are all analyzed first and kept in memory."""
        refuse_augmentation("A voice's recordings", split.augmentation)
        analyses = list(self._analyzed(split.examples, split.faults))
        if not analyses:
            first = next(iter(split.faults), "no example")
            raise ValueError(f"Training needs an aligned recording that can be read. Received none; {first}")
        plan = RecordingPlan(self.model, analyses, self.options, split.epoch)
        bands = analyses[0].spectrum.shape[1]
        rows = plan.batch_size
        return passes(
            plan.load, plan, steps=plan.steps, names=("values", "count"), to_inputs=plan.inputs,
            shapes=([rows, None, 1 + VARIANCES], [rows, None, bands]), target_type=tf.float32,
        )  # fmt: skip

    def _analyzed(self, examples: Sequence[Example], faults: Faults) -> Iterator[Analysis]:
        analyzed, known = analyzer(self.model.features), set(self.model.vocabulary.symbols)
        for example in examples:
            try:
                found = analyzed(example)
                if lacking := sorted(set(found.phones) - known):
                    raise data_error(
                        example.id, "with phones that the voice lacks", f"has the phones {' '.join(lacking)}, which "
                        "the voice lacks. Leave it out, or make the voice from a manifest that has them.",
                    )  # fmt: skip
                yield found
            except (OSError, ValueError) as error:
                faults.add_error(example.id, error)

    def scorer(self, dataset: tf.data.Dataset) -> Callable[[], VoiceScore]:
        """See `Task`."""
        plan: RecordingPlan = plan_of(dataset)

        @tf.function(reduce_retracing=True)
        def measured(x: dict[str, tf.Tensor], y: tf.Tensor) -> tf.Tensor:
            found = self.model.losses_of(x, y, self.model(x, training=False))
            return tf.stack([found["spectrum"], found["duration"], tf.add_n(list(found.values()))])

        def score() -> VoiceScore:
            sums, frames = np.zeros(3), 0.0
            for batch in plan.in_order():
                x, y, _ = plan.inputs({"values": batch.values, "count": batch.lengths}, batch.target, batch.weight)
                many = float(np.sum(x["frames"]))
                sums, frames = sums + many * measured(x, tf.constant(y)).numpy(), frames + many
            spectrum, duration, loss = map(float, sums / frames)
            return VoiceScore(loss, spectrum, duration)

        return score


@dataclass(frozen=True)
class VoiceScore(Scores):
    """What a voice is worth on recordings whose durations, pitches and levels it is told."""

    loss: float
    """What training minimizes."""
    spectrum: float
    """Its part for spectra: mean absolute and half squared distance, in nats."""
    duration: float
    """Mean squared distance of the logarithms of durations."""


class RecordingPlan(PooledPlan):
    """Which recordings are in which batch of an epoch.

    Args:
        model: The voice.
        analyses: The recordings.
        options: Size of a batch, and seed.
        initial_epoch: Number of the first pass.
    """

    def __init__(
        self,
        model: SpeechSynthesizer,
        analyses: Sequence[Analysis],
        options: SynthesizerTraining,
        initial_epoch: int = 0,
    ) -> None:
        lengths = [len(one.spectrum) for one in analyses]
        super().__init__(lengths, options.batch_size, _POOL, options.seed, initial_epoch)
        self._step, self._spectra = model.frames_per_step, [one.spectrum for one in analyses]
        self._values = []
        for one in analyses:
            phones = np.array(model.vocabulary.encode(" ".join(one.phones)), np.float32)
            self._values.append(np.column_stack([phones, one.variances(model.levels)]))

    def inputs(self, x: dict[str, Any], target: Any, weight: Any) -> tuple[dict[str, Any], Any, Any]:
        """What `SpeechSynthesizer` takes, and `frames` int32 `(batch,)`, those of the recordings."""
        values, count = tf.convert_to_tensor(x["values"]), tf.convert_to_tensor(x["count"])

        def shares(values: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, ...]:
            counts = [np.rint(np.exp(row[:many, 1])).astype(int) for row, many in zip(values, count, strict=True)]
            frames = np.array([each.sum() for each in counts], np.int32)
            return (*padded_shares(counts, self._step), -(-frames // self._step), frames)

        found = tf.numpy_function(shares, [values, count], [tf.float32, tf.float32, tf.int32, tf.int32])
        rows = values.shape[0]
        for tensor, shape in zip(found, ([rows, None, None], [rows, None, 1], [rows], [rows]), strict=True):
            tensor.set_shape(shape)
        given = dict(zip(("shares", "places", "steps", "frames"), found, strict=True))
        phones = tf.cast(values[:, :, 0], tf.int32)
        return {"phones": phones, "count": count, "variances": values[:, :, 1:], **given}, target, weight

    def _batch(self, chosen: np.ndarray) -> Loaded:
        rows, spectra = [self._values[i] for i in chosen], [self._spectra[i] for i in chosen]
        values, lengths = padded(rows, rows[0].shape[1])
        return Loaded.of(values, lengths, padded(spectra, spectra[0].shape[1])[0])
