"""Run a recognizer of whole signals on a stream, in overlapping windows."""

from __future__ import annotations

import math
import os

import numpy as np

from speechrnn.runtime.session import ModelFile
from speechrnn.tasks.recognition.session import RecognizerSession
from speechrnn.tasks.recognition.streaming_base import BaseStreamingSession

PAST, STEP, FUTURE = 8.0, 0.96, 0.8
"""Seconds of a window: the past context, the part whose words are written, and the future context."""


class WindowedSession(BaseStreamingSession, RecognizerSession):
    """Runs a recognizer of whole signals, such as a bidirectional one, on one window of a stream at a time.

    Whenever `step + future` seconds have arrived, the network runs on them and on the `past` seconds before, and the
    frames of the `step` seconds are used (Zhang et al., arXiv:1510.08983, "latency-controlled" layers). It answers
    later than a streaming model, and costs `(past + step + future) / step` times as much as the whole signal at once.
    Its logits are close to those of the whole signal, equal to them for signals shorter than `step + future`, and do
    not depend on how the samples were split.

    Args:
        model: An `.onnx` or `.tflite` recognizer of whole signals, its bytes, or the result of
            `speechrnn.runtime.session.read`.
        threads: Processor threads.
        past: Seconds of past context, for the layers that read forwards.
        step: Seconds from one run of the network to the next.
        future: Seconds of future context, for the layers that read backwards; the output is delayed by them.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not such a model, see `speechrnn.runtime.session.Session`; or a number of seconds is
            negative, or `step` is shorter than a frame.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes | ModelFile,
        *,
        threads: int | None = 1,
        past: float = PAST,
        step: float = STEP,
        future: float = FUTURE,
    ) -> None:
        if not (past >= 0 and future >= 0 and step > 0 and math.isfinite(past + step + future)):
            raise ValueError(
                "`past` and `future` must be seconds, at least 0, and `step` more than 0. Received: "
                f"{past=}, {step=}, {future=}."
            )
        self._seconds = past, step, future
        super().__init__(model, threads=threads or 1)

    def _read_metadata(self) -> None:
        # In samples, as multiples of one frame of logits, so that the frames of all windows are aligned.
        self._frame = self.stride * int(self.metadata["hop"])
        past, step, future = (round(seconds * self.sample_rate / self._frame) for seconds in self._seconds)
        if not step:
            raise ValueError(f"a step must be at least one frame, {self._frame / self.sample_rate:g} s")
        self._past, self._step, self._future = past * self._frame, step * self._frame, future * self._frame

    def _reset_stream(self) -> None:
        self._before = 0

    @property
    def block(self) -> int:
        """Samples from one run of the network to the next."""
        return self._step

    @property
    def latency(self) -> float:
        """Algorithmic latency: seconds from the start of a frame of logits to the last sample that it depends on."""
        return (self._step + self._ahead) / self.sample_rate

    @property
    def _ahead(self) -> int:
        """Samples needed after the step: the future context, and at least the rest of the last feature window."""
        return max(self._future, int(self.metadata["window"]) - int(self.metadata["hop"]))

    def advance(self, samples: np.ndarray) -> np.ndarray:
        """Like `push`, but returns the logits that can be computed so far: float32 `(frames, vocabulary)`."""
        self._append(samples)
        windows, first_frames = [], []
        while len(self._samples) >= self._before + self._step + self._ahead:
            windows.append(self._samples[: self._before + self._step + self._ahead])
            first_frames.append(self._before // self._frame)
            dropped = max(0, self._before + self._step - self._past)
            self._before += self._step - dropped
            self._samples = self._samples[dropped:]
        count = self._step // self._frame
        logits = RecognizerSession.logits(self, windows) if windows else []
        return np.concatenate(
            [
                self._no_logits(),
                *(rows[first : first + count] for rows, first in zip(logits, first_frames, strict=True)),
            ]
        )

    def flush(self) -> np.ndarray:
        """Like `finish`, but returns the remaining logits: float32 `(frames, vocabulary)`."""
        logits = self.advance(np.zeros(0, np.float32))
        self._finished = True
        rest = RecognizerSession.logits(self, [self._samples])[0][self._before // self._frame :]
        return np.concatenate([logits, rest])
