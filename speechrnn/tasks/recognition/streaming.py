"""A one-directional recognizer that listens step by step."""

from __future__ import annotations

import os

import numpy as np

from speechrnn.runtime.litert import LiteRtFile
from speechrnn.runtime.session import ModelFile
from speechrnn.tasks.recognition.listening import Listening


class StreamingSession(Listening):
    """A one-directional recognizer run block by block, with its states kept between the blocks.

    The logits are those of the whole signal, however it is split, and so are the words of the best path. A search
    through a lexicon makes words final once all that it keeps agrees on them.

    Args:
        model: An `.onnx` file that `speechrnn export --streaming` wrote, a `.tflite` file of `--format litert`, its
            bytes, or the file as it was read.
        threads: Processor threads; a block is so small that more than one seldom help.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no streaming model of ours; see `speechrnn.runtime.session.Session`.
    """

    file_kind = "streaming recognizer"
    noun = "streaming recognizer"
    hint = " Export a one-directional model with `speechrnn export --model MODEL.keras --streaming`."

    def __init__(self, model: str | os.PathLike[str] | bytes | ModelFile, *, threads: int | None = 1) -> None:
        super().__init__(model, threads=threads or 1)

    def _heard(self) -> None:
        shapes: dict[str, list[int | None]] = self.metadata["states"]
        self._shapes = {name: [size or 1 for size in shape] for name, shape in shapes.items()}
        self._hop, self._window = int(self.metadata["hop"]), int(self.metadata["window"])
        self._delay = int(self.metadata.get("look_ahead", 0))
        self._outputs = ["logits", *(f"next_{state}" for state in self._shapes)]
        # LiteRT's shapes are fixed, and in 8 bits ONNX Runtime takes one scale for all that it is given: one block at
        # a time there.
        alone = isinstance(self.file, LiteRtFile) or self.metadata.get("precision") == "int8"
        self._most_blocks = 1 if alone else None
        self.steps_together = not alone and all(shape and shape[0] is None for shape in shapes.values())

    @property
    def block(self) -> int:
        """Samples of one frame of logits; the network runs whenever so many have come."""
        return self.stride * self._hop

    @property
    def latency(self) -> float:
        """Algorithmic latency: seconds from the beginning of a frame of logits to the last sample that it needs."""
        return ((1 + self._delay) * self.block + self._window - self._hop) / self.sample_rate

    def _begin(self) -> None:
        self._states = {name: np.zeros(shape, np.float32) for name, shape in self._shapes.items()}
        self._begun = False
        self._early = self._delay  # logits to come that lie before the first frame

    def advance(self, samples: np.ndarray) -> np.ndarray:
        """As `push`, giving the logits that can be computed: float32 `(frames, vocabulary)`."""
        self._take(samples)
        shared = self._window - self._hop
        if not self._begun and len(self._waiting) >= shared:
            self._begun = True
            if "carry" in self._states:  # longer by one sample, a zero, where there is a high-pass filter
                self._states["carry"][0, self._states["carry"].shape[1] - shared :] = self._waiting[:shared]
            self._waiting = self._waiting[shared:]
        count = len(self._waiting) // self.block
        if not self._begun or not count:
            return self._nothing()
        now, self._waiting = self._waiting[: count * self.block], self._waiting[count * self.block :]
        return self._logits(now, count * self.stride)

    def flush(self) -> np.ndarray:
        """As `finish`, giving the logits of what is left: float32 `(frames, vocabulary)`.

        At most one frame, and as many as the model looks ahead.
        """
        rest = self.advance(np.zeros(0, np.float32))
        self._finished = True
        frames = len(self._waiting) // self._hop if self._begun else 0
        found = [rest]
        if frames:
            found.append(self._logits(np.pad(self._waiting, (0, self.block - len(self._waiting))), frames))
        if self._begun and self._delay:  # what the look-ahead still owes, with nothing after the end
            found.append(self._logits(np.zeros(self._delay * self.block, np.float32), 0))
        return np.concatenate(found)

    def _logits(self, samples: np.ndarray, frames: int) -> np.ndarray:
        """Logits of whole blocks of which so many frames of features count; 0 for blocks after the end."""
        logits = self._steps(samples, frames)[: -(-frames // self.stride) if frames else None]
        skipped = min(self._early, len(logits))
        self._early -= skipped
        return logits[skipped:]

    def _steps(self, samples: np.ndarray, frames: int) -> np.ndarray:
        """What the network gives for these blocks; its states move on."""
        found = []
        size = (self._most_blocks or max(1, len(samples) // self.block)) * self.block
        for start in range(0, len(samples), size):
            block = samples[start : start + size]
            count = max(0, min(len(block) // self._hop, frames - start // self._hop))
            given = {"samples": block[None], "frames": np.array([count], np.int32), **self._states}
            logits, *states = self._session.run(self._outputs, given)
            self._states = dict(zip(self._shapes, states, strict=True))
            found.append(logits[0])
        return np.concatenate(found)
