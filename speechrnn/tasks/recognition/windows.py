"""A recognizer of whole signals that listens: it hears the stream through windows that overlap."""

from __future__ import annotations

import math
import os

import numpy as np

from speechrnn.runtime.session import ModelFile
from speechrnn.tasks.recognition.listening import Listening
from speechrnn.tasks.recognition.session import RecognizerSession

PAST, STEP, FUTURE = 8.0, 0.96, 0.8
"""Seconds of a window: what is heard again, what is written, and what is heard ahead of it."""


class WindowedSession(Listening, RecognizerSession):
    """A recognizer of whole signals, such as a bidirectional one, run over a window of a stream at a time.

    Whenever `step` seconds have come, and `future` more, the network runs on them and the `past` seconds before, and
    the frames in the middle are written (Zhang et al., arXiv:1510.08983, "latency-controlled" layers). So it answers
    later than a streaming model, and costs `(past + step + future) / step` times as much as the whole signal at once.
    Its logits are close to those of the whole signal, the same for signals shorter than `step + future`, and do not
    depend on how the samples were split.

    Args:
        model: An `.onnx` or `.tflite` recognizer of whole signals, its bytes, or the file as it was read.
        threads: Processor threads.
        past: Seconds that are heard again, so that the layers that read forward know what came before.
        step: Seconds from one run of the network to the next.
        future: Seconds that are waited for, so that the layers that read backward know what comes.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no such model, see `speechrnn.runtime.session.Session`; or a number of seconds is
            negative, or `step` shorter than a frame.
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

    def _heard(self) -> None:
        # In samples, multiples of those of one frame of logits, so that the frames of all windows are the same ones.
        self._frame = self.stride * int(self.metadata["hop"])
        past, step, future = (round(seconds * self.sample_rate / self._frame) for seconds in self._seconds)
        if not step:
            raise ValueError(f"a step must be at least one frame, {self._frame / self.sample_rate:g} s")
        self._past, self._step, self._future = past * self._frame, step * self._frame, future * self._frame

    def _begin(self) -> None:
        self._before = 0

    @property
    def block(self) -> int:
        """Samples after which the network runs again."""
        return self._step

    @property
    def latency(self) -> float:
        """Algorithmic latency: seconds from the beginning of a frame of logits to the last sample that it needs."""
        return (self._step + self._ahead) / self.sample_rate

    @property
    def _ahead(self) -> int:
        """Samples that must have come beyond those of the frames that are written: the last window reaches there."""
        return max(self._future, int(self.metadata["window"]) - int(self.metadata["hop"]))

    def advance(self, samples: np.ndarray) -> np.ndarray:
        """As `push`, giving the logits that can be computed: float32 `(frames, vocabulary)`."""
        self._take(samples)
        windows, skipped = [], []
        while len(self._waiting) >= self._before + self._step + self._ahead:
            windows.append(self._waiting[: self._before + self._step + self._ahead])
            skipped.append(self._before // self._frame)
            passed = max(0, self._before + self._step - self._past)
            self._before += self._step - passed
            self._waiting = self._waiting[passed:]
        count = self._step // self._frame
        found = RecognizerSession.logits(self, windows) if windows else []
        return np.concatenate(
            [self._nothing(), *(rows[first : first + count] for rows, first in zip(found, skipped, strict=True))]
        )

    def flush(self) -> np.ndarray:
        """As `finish`, giving the logits of what is left: float32 `(frames, vocabulary)`."""
        found = self.advance(np.zeros(0, np.float32))
        self._finished = True
        rest = RecognizerSession.logits(self, [self._waiting])[0][self._before // self._frame :]
        return np.concatenate([found, rest])
