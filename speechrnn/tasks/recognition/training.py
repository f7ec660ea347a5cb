"""Train recognizers: batches, losses and validation for CTC, transducers and attention."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from speechrnn import pipeline
from speechrnn.decoding.best_path import greedy
from speechrnn.decoding.options import Decoder
from speechrnn.losses import CTC, Attention, Transducer, ctc
from speechrnn.metrics import edits
from speechrnn.tasks.recognition import attachments
from speechrnn.tasks.recognition.attention import AttentionRecognizer
from speechrnn.tasks.recognition.encoder import EncoderRecognizer, without_padding
from speechrnn.tasks.recognition.model import SpeechRecognizer
from speechrnn.tasks.recognition.model_types import has_encoder, is_transducer
from speechrnn.tasks.recognition.options import RecognizerTraining
from speechrnn.tasks.recognition.phones import pronounced
from speechrnn.tasks.recognition.transducer import TransducerRecognizer
from speechrnn.text import Lexicon, Phones, lexicons
from speechrnn.training.task import Scores, Split, Task, recording_batch_options

__all__ = ["AttentionTask", "RecognizerTask", "Score", "TransducerTask", "recognizer_task"]


class RecognizerTask(Task):
    """Trains a recognizer with CTC."""

    model: SpeechRecognizer
    options: RecognizerTraining
    options_class = RecognizerTraining
    monitors: ClassVar = {"wer": 1, "loss": 1}
    training_summary = "token errors {token_error_rate:.1%}"
    supports_hosts = True
    longer_texts: ClassVar = False
    """Whether texts may have more symbols than frames."""

    def batches(self, split: Split) -> tf.data.Dataset:
        """See `Task`."""
        views = 2 if split.training and self.options.consistency else 1
        model = self.model
        return pipeline.batches(
            self._with_targets(split),
            model.features,
            model.vocabulary,
            views=views,
            longer_texts=self.longer_texts,
            **recording_batch_options(self, split),
        )

    def _with_targets(self, split: Split) -> Sequence[Any]:
        """The examples with the texts to learn: the phones of their words, if there is a lexicon."""
        if self.options.lexicon is None:
            return split.examples
        if not isinstance(self.model.vocabulary, Phones):
            raise ValueError(
                f"`lexicon` is for a model of phones. Received: lexicon={self.options.lexicon!r}, and a model that "
                f"writes {self.model.vocabulary!r:.100}. Build the model with the lexicon, too, or leave it out."
            )
        return pronounced(split.examples, self._lexicon, faults=split.faults)

    @cached_property
    def _lexicon(self) -> Lexicon:
        return lexicons.load(str(self.options.lexicon))

    def loss(self, dataset: tf.data.Dataset) -> CTC:
        """See `Task`."""
        return CTC(consistency=self.options.consistency)

    def scorer(self, dataset: tf.data.Dataset) -> Callable[[], Score]:
        """See `Task`; the forward pass is traced once and reused."""
        model, decode, search = self.model, self.model.vocabulary.decode, self._search()

        @tf.function(reduce_retracing=True)
        def forward(x: dict[str, tf.Tensor], target: tf.Tensor) -> tuple[tf.Tensor, ...]:
            outputs, frames = model(x, training=False), model.logit_frames(x)
            return outputs, frames, self._losses(target, outputs, frames)

        def score() -> Score:
            losses: list[float] = []
            words = tokens = edits.Edits()
            for x, target, weight in dataset:
                outputs, frames, loss = (np.asarray(v) for v in forward(x, target))
                for row in np.flatnonzero(np.asarray(weight)):
                    reference = decode(np.asarray(target[row]))
                    hypothesis = decode(search(outputs[row, : frames[row]]).ids)
                    words += edits.counts(reference.split(), hypothesis.split())
                    tokens += edits.counts(reference, hypothesis)
                    losses.append(float(loss[row]))
            finite = [value for value in losses if not np.isinf(value)]
            return Score(float(np.mean(finite)) if finite else float("nan"), words, tokens)

        return score

    def describe_validation(self, logs: Mapping[str, float]) -> str:
        """The word error rate; for a model of phones, each of which counts as a word, the phone errors."""
        noun = "phone errors" if isinstance(self.model.vocabulary, Phones) else "WER"
        return f"{noun} {100 * logs['val_wer']:.1f} %"

    def _search(self) -> Decoder:
        """The decoder for validation."""
        return greedy

    def _losses(self, target: tf.Tensor, outputs: tf.Tensor, frames: tf.Tensor) -> tf.Tensor:
        """The loss of each row, float32 `(batch,)`."""
        return ctc(target, outputs, frames)


class EncoderTask(RecognizerTask):
    """Trains a model whose network is an encoder, and which has its own search."""

    model: EncoderRecognizer
    training_summary = "nats per utterance"

    def _search(self) -> Decoder:
        return attachments.decoder(self.model)

    def _losses(self, target: tf.Tensor, outputs: tf.Tensor, frames: tf.Tensor) -> tf.Tensor:
        target = without_padding(target)
        return self.model.loss_class().rows(target, self.model.symbol_logits(outputs, target, frames), frames)


class TransducerTask(EncoderTask):
    """Trains a transducer."""

    model: TransducerRecognizer
    longer_texts = True

    def loss(self, dataset: tf.data.Dataset) -> Transducer:
        """See `Task`; also sets whether the model is trained with CTC."""
        self.model.with_ctc = self.options.ctc_weight > 0
        return Transducer(ctc=self.options.ctc_weight, consistency=self.options.consistency)


class AttentionTask(EncoderTask):
    """Trains a recognizer with CTC and attention together."""

    model: AttentionRecognizer

    def loss(self, dataset: tf.data.Dataset) -> Attention:
        """See `Task`.

        Raises:
            ValueError: The weight of CTC, which the search needs, is 0.
        """
        options = self.options
        if not options.ctc_weight > 0:
            raise ValueError(
                "`ctc_weight` must be positive for a recognizer with attention, whose search asks CTC as well. "
                f"Received: ctc_weight={options.ctc_weight}."
            )
        return Attention(smoothing=options.label_smoothing, ctc=options.ctc_weight, consistency=options.consistency)


def recognizer_task(model: SpeechRecognizer, options: Any) -> RecognizerTask:
    """The training task of a recognizer."""
    if not has_encoder(model):
        return RecognizerTask(model, options)
    return (TransducerTask if is_transducer(model) else AttentionTask)(model, options)


@dataclass(frozen=True)
class Score(Scores):
    """Error counts of a dataset."""

    loss: float
    """Mean loss, nats per utterance, over the rows whose loss is finite."""
    words: edits.Edits
    """Word edits, without pairs."""
    tokens: edits.Edits
    """Character edits, without pairs."""

    def logs(self) -> dict[str, float]:
        """The loss and the error rates by their names in training logs."""
        return {"val_loss": self.loss, "val_token_error_rate": self.tokens.rate, "val_wer": self.words.rate}
