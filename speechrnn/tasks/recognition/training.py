"""Training recognizers: texts, by CTC."""

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
from speechrnn.tasks.recognition import carried
from speechrnn.tasks.recognition.attention import AttentionRecognizer
from speechrnn.tasks.recognition.encoder import EncoderRecognizer, without_padding
from speechrnn.tasks.recognition.joint import encodes, transduces
from speechrnn.tasks.recognition.model import SpeechRecognizer
from speechrnn.tasks.recognition.options import RecognizerTraining
from speechrnn.tasks.recognition.phones import pronounced
from speechrnn.tasks.recognition.transducer import TransducerRecognizer
from speechrnn.text import Lexicon, Phones, lexicons
from speechrnn.training.task import Scores, Split, Task, recording_batch_options

__all__ = ["Attending", "Recognition", "Score", "Transduction", "recognition"]


class Recognition(Task):
    """Texts, by CTC."""

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
            self._as_written(split),
            model.features,
            model.vocabulary,
            views=views,
            longer_texts=self.longer_texts,
            **recording_batch_options(self, split),
        )

    def _as_written(self, split: Split) -> Sequence[Any]:
        """The examples with texts that the model writes: phones of their words, if there is a lexicon."""
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
        return lexicons.named(str(self.options.lexicon))

    def loss(self, dataset: tf.data.Dataset) -> CTC:
        """See `Task`."""
        return CTC(consistency=self.options.consistency)

    def scorer(self, dataset: tf.data.Dataset) -> Callable[[], Score]:
        """See `Task`; the forward pass is traced once and kept."""
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
            possible = [value for value in losses if not np.isinf(value)]
            return Score(float(np.mean(possible)) if possible else float("nan"), words, tokens)

        return score

    def describe_validation(self, logs: Mapping[str, float]) -> str:
        """Word errors; of a model of phones, each of which counts as a word, phone errors."""
        noun = "phone errors" if isinstance(self.model.vocabulary, Phones) else "WER"
        return f"{noun} {100 * logs['val_wer']:.1f} %"

    def _search(self) -> Decoder:
        """What validation decodes by."""
        return greedy

    def _losses(self, target: tf.Tensor, outputs: tf.Tensor, frames: tf.Tensor) -> tf.Tensor:
        """float32 `(batch,)`, of the network's outputs."""
        return ctc(target, outputs, frames)


class Encoding(Recognition):
    """Texts, by a model whose network is an encoder and which has a search of its own."""

    model: EncoderRecognizer
    training_summary = "nats per utterance"

    def _search(self) -> Decoder:
        return carried.decoder(self.model)

    def _losses(self, target: tf.Tensor, outputs: tf.Tensor, frames: tf.Tensor) -> tf.Tensor:
        target = without_padding(target)
        return self.model.loss_class().rows(target, self.model.symbol_logits(outputs, target, frames), frames)


class Transduction(Encoding):
    """Texts, by a transducer."""

    model: TransducerRecognizer
    longer_texts = True

    def loss(self, dataset: tf.data.Dataset) -> Transducer:
        """See `Task`; the model notes whether it learns CTC."""
        self.model.with_ctc = self.options.ctc_weight > 0
        return Transducer(ctc=self.options.ctc_weight, consistency=self.options.consistency)


class Attending(Encoding):
    """Texts, by CTC and attention together."""

    model: AttentionRecognizer
    loss_name = "loss of attention and CTC"

    def loss(self, dataset: tf.data.Dataset) -> Attention:
        """See `Task`.

        Raises:
            ValueError: CTC, without which there is no search, has no weight.
        """
        options = self.options
        if not options.ctc_weight > 0:
            raise ValueError(
                "`ctc_weight` must be positive for a recognizer with attention, whose search asks CTC as well. "
                f"Received: ctc_weight={options.ctc_weight}."
            )
        return Attention(smoothing=options.label_smoothing, ctc=options.ctc_weight, consistency=options.consistency)


def recognition(model: SpeechRecognizer, options: Any) -> Recognition:
    """What a recognizer is trained for."""
    if not encodes(model):
        return Recognition(model, options)
    return (Transduction if transduces(model) else Attending)(model, options)


@dataclass(frozen=True)
class Score(Scores):
    """Counts over a dataset, and the rates they give."""

    loss: float
    """Mean loss, nats per utterance, over the rows that are possible."""
    words: edits.Edits
    """Word edits, without pairs."""
    tokens: edits.Edits
    """Character edits, without pairs."""

    def logs(self) -> dict[str, float]:
        """The rates under the names training logs them by."""
        return {"val_loss": self.loss, "val_token_error_rate": self.tokens.rate, "val_wer": self.words.rate}
