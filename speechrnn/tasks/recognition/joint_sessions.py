"""Exported recognizers of several models in one file, of which words come; no TensorFlow is started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from speechrnn.runtime import onnxfile
from speechrnn.runtime.session import Session, start
from speechrnn.tasks.recognition.joint import Transduces
from speechrnn.tasks.recognition.session import RecognizerSession
from speechrnn.tasks.recognition.streaming import StreamingSession
from speechrnn.tasks.sequence_to_sequence.search import begun


class Parts(Session):
    """A session whose file holds other models behind the encoder."""

    parts: ClassVar[tuple[str, ...]]
    """Their names."""

    def _prepare(self) -> None:
        found = onnxfile.attachments(self.file.content)
        self._parts = {
            name: start(onnxfile.read(bytes(found[name]))._replace(name=self.file.name), threads=1)
            for name in self.parts
        }
        super()._prepare()

    @property
    def _width(self) -> int:
        return int(self.metadata["joint"])

    def _part(self, name: str, outputs: Sequence[str], given: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Outputs of one of them; numbers are float32, and counts int32."""
        kinds = {name: np.float32 if value.dtype.kind == "f" else np.int32 for name, value in given.items()}
        return self._parts[name].run(
            outputs, {name: np.ascontiguousarray(value, kinds[name]) for name, value in given.items()}
        )


class _Joint(Transduces, Parts):
    """Predictor and joiner of a session; see `speechrnn.decoding.transducer.Joint`."""

    parts = ("predictor", "joiner")

    @property
    def with_ctc(self) -> bool:
        """Whether the encoder was trained by CTC as well."""
        return bool(self.metadata.get("ctc", True))

    def first_states(self) -> dict[str, np.ndarray]:
        """See `Joint`."""
        return {name: np.zeros(shape, np.float32) for name, shape in self.metadata["predictor"].items()}

    def predicted(
        self, previous: np.ndarray, states: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """See `Joint`."""
        names = tuple(self.metadata["predictor"])
        given = {"previous": np.asarray(previous)[:, None], **states}
        found, *after = self._part("predictor", ["predicted", *(f"next_{name}" for name in names)], given)
        return found[:, 0], dict(zip(names, after, strict=True))

    def joined(self, encoded: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """See `Joint`."""
        return self._part("joiner", ["joined"], {"encoded": encoded, "predicted": predicted})[0]


class TransducerSession(_Joint, RecognizerSession):
    """A transducer of whole signals that `speechrnn export` wrote, ready to run.

    Its `logits` are the encoder's outputs, which a `speechrnn.decoding.transducer.TransducerSearch` takes.

    Args and errors: see `speechrnn.runtime.session.Session`.
    """

    file_kind = "transducer"
    noun = "transducer of whole signals"


class StreamingTransducerSession(_Joint, StreamingSession):
    """A one-directional transducer run block by block; see `StreamingSession`.

    Words are those of the whole signal, however it is split. Greedy, they become final when the next one begins; with
    `search(beam=...)`, once all that the beam keeps agrees on them.
    """

    file_kind = noun = "streaming transducer"


class AttentionSession(Parts, RecognizerSession):
    """A recognizer with attention that `speechrnn export` wrote, ready to run.

    Its `logits` are the encoder's outputs, which a `speechrnn.tasks.recognition.attention_search.AttentionSearch`
    takes.

    Args and errors: see `speechrnn.runtime.session.Session`.
    """

    file_kind = noun = "recognizer with attention"
    parts = ("ctc", "begin", "step")

    def alone(self, encoded: np.ndarray) -> np.ndarray:
        """See `Attends`."""
        return self._part("ctc", ["logits"], {"encoded": encoded})[0]

    def begin(self, encoded: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """See `Attends`."""
        length = np.array([len(encoded)], np.int32)
        values, keys, first = self._part(
            "begin", ["values", "keys", "first_output"], {"encoded": encoded[None], "length": length}
        )
        return {"values": values, "keys": keys, "length": length}, begun(self.metadata["decoder"], first, len(encoded))

    def step(
        self, previous: np.ndarray, memory: Mapping[str, np.ndarray], states: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """See `speechrnn.tasks.sequence_to_sequence.search.Step`."""
        names = self.metadata["decoder"]
        outputs = ["logits", "attention", *(f"next_{name}" for name in names)]
        logits, attention, *after = self._part("step", outputs, {"previous": previous, **memory, **states})
        return logits, attention, dict(zip(names, after, strict=True))
