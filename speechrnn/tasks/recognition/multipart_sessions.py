"""Run exported transducers and recognizers with attention, whose files contain several models, without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from speechrnn.runtime import onnxfile
from speechrnn.runtime.session import Session, start
from speechrnn.tasks.recognition.model_types import TransducerMethods
from speechrnn.tasks.recognition.session import RecognizerSession
from speechrnn.tasks.recognition.streaming import StreamingSession
from speechrnn.tasks.sequence_to_sequence.search import initial_states


class MultipartSession(Session):
    """A session whose file contains an encoder, and other models as attachments."""

    parts: ClassVar[tuple[str, ...]]
    """Names of the attached models."""

    def _prepare(self) -> None:
        attached = onnxfile.attachments(self.file.content)
        self._parts = {
            name: start(onnxfile.read(bytes(attached[name]))._replace(name=self.file.name), threads=1)
            for name in self.parts
        }
        super()._prepare()

    @property
    def _width(self) -> int:
        return int(self.metadata["joint"])

    def _run_part(self, part: str, outputs: Sequence[str], inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run an attached model; inputs are converted to float32 or int32."""
        types = {name: np.float32 if value.dtype.kind == "f" else np.int32 for name, value in inputs.items()}
        return self._parts[part].run(
            outputs, {name: np.ascontiguousarray(value, types[name]) for name, value in inputs.items()}
        )


class _TransducerSession(TransducerMethods, MultipartSession):
    """A session of a transducer, with its predictor and joiner; see `speechrnn.decoding.transducer.Joint`."""

    parts = ("predictor", "joiner")

    @property
    def with_ctc(self) -> bool:
        """Whether the encoder was also trained with CTC."""
        return bool(self.metadata.get("ctc", True))

    def first_states(self) -> dict[str, np.ndarray]:
        """See `Joint`."""
        return {name: np.zeros(shape, np.float32) for name, shape in self.metadata["predictor"].items()}

    def predicted(
        self, previous: np.ndarray, states: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """See `Joint`."""
        names = tuple(self.metadata["predictor"])
        inputs = {"previous": np.asarray(previous)[:, None], **states}
        predictions, *states_out = self._run_part(
            "predictor", ["predicted", *(f"next_{name}" for name in names)], inputs
        )
        return predictions[:, 0], dict(zip(names, states_out, strict=True))

    def joined(self, encoded: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """See `Joint`."""
        return self._run_part("joiner", ["joined"], {"encoded": encoded, "predicted": predicted})[0]


class TransducerSession(_TransducerSession, RecognizerSession):
    """An exported transducer of whole signals, run by ONNX Runtime.

    Its `logits` are the encoder's outputs, the input of a `speechrnn.decoding.transducer.TransducerSearch`.

    Args and errors: see `speechrnn.runtime.session.Session`.
    """

    file_kind = "transducer"
    noun = "transducer of whole signals"


class StreamingTransducerSession(_TransducerSession, StreamingSession):
    """A one-directional transducer that runs block by block; see `StreamingSession`.

    Its words equal those of the whole signal, however it is split. By default a word becomes final when the next one
    begins; with `search(beam=...)`, once all hypotheses in the beam agree on it.
    """

    file_kind = noun = "streaming transducer"


class AttentionSession(MultipartSession, RecognizerSession):
    """An exported recognizer with attention, run by ONNX Runtime.

    Its `logits` are the encoder's outputs, the input of a
    `speechrnn.tasks.recognition.attention_search.AttentionSearch`.

    Args and errors: see `speechrnn.runtime.session.Session`.
    """

    file_kind = noun = "recognizer with attention"
    parts = ("ctc", "begin", "step")

    def ctc_logits(self, encoded: np.ndarray) -> np.ndarray:
        """See `AttentionModel`."""
        return self._run_part("ctc", ["logits"], {"encoded": encoded})[0]

    def begin(self, encoded: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """See `AttentionModel`."""
        length = np.array([len(encoded)], np.int32)
        values, keys, first = self._run_part(
            "begin", ["values", "keys", "first_output"], {"encoded": encoded[None], "length": length}
        )
        return {"values": values, "keys": keys, "length": length}, initial_states(
            self.metadata["decoder"], first, len(encoded)
        )

    def step(
        self, previous: np.ndarray, memory: Mapping[str, np.ndarray], states: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """See `speechrnn.tasks.sequence_to_sequence.search.Step`."""
        names = self.metadata["decoder"]
        outputs = ["logits", "attention", *(f"next_{name}" for name in names)]
        logits, attention, *states_out = self._run_part("step", outputs, {"previous": previous, **memory, **states})
        return logits, attention, dict(zip(names, states_out, strict=True))
