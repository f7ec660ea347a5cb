"""Run a one-directional recognizer on a stream, block by block."""

from __future__ import annotations

import os

import numpy as np

from speechrnn.runtime.litert import LiteRtFile
from speechrnn.runtime.session import ModelFile
from speechrnn.tasks.recognition.streaming_base import BaseStreamingSession


class StreamingSession(BaseStreamingSession):
    """A one-directional recognizer that runs block by block, and passes its states on between the blocks.

    The logits, and the words of the best path, equal those of the whole signal, however it is split. A search through a
    lexicon makes words final once all its hypotheses agree on them.

    Args:
        model: An `.onnx` file that `speechrnn export --streaming` wrote, a `.tflite` file of `--format litert`, its
            bytes, or the result of `speechrnn.runtime.session.read`.
        threads: Processor threads; a block is so small that more than one seldom helps.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not a streaming model of this package; see `speechrnn.runtime.session.Session`.
    """

    file_kind = "streaming recognizer"
    noun = "streaming recognizer"
    hint = " Export a one-directional model with `speechrnn export --model MODEL.keras --streaming`."

    def __init__(self, model: str | os.PathLike[str] | bytes | ModelFile, *, threads: int | None = 1) -> None:
        super().__init__(model, threads=threads or 1)

    def _read_metadata(self) -> None:
        shapes: dict[str, list[int | None]] = self.metadata["states"]
        self._shapes = {name: [size or 1 for size in shape] for name, shape in shapes.items()}
        self._hop, self._window = int(self.metadata["hop"]), int(self.metadata["window"])
        self._delay = int(self.metadata.get("look_ahead", 0))
        self._outputs = ["logits", *(f"next_{state}" for state in self._shapes)]
        # One block at a time if shapes are fixed, as in LiteRT, or in 8 bits, where ONNX Runtime uses one scale for all
        # of its input.
        single = isinstance(self.file, LiteRtFile) or self.metadata.get("precision") == "int8"
        self._max_blocks = 1 if single else None
        self.can_batch_steps = not single and all(shape and shape[0] is None for shape in shapes.values())

    @property
    def block(self) -> int:
        """Samples per frame of logits; the network runs whenever so many have arrived."""
        return self.stride * self._hop

    @property
    def latency(self) -> float:
        """Algorithmic latency: seconds from the start of a frame of logits to the last sample that it depends on."""
        return ((1 + self._delay) * self.block + self._window - self._hop) / self.sample_rate

    def _reset_stream(self) -> None:
        self._states = {name: np.zeros(shape, np.float32) for name, shape in self._shapes.items()}
        self._started = False
        self._to_skip = self._delay  # the first logits of a delayed stream belong to no frame

    def advance(self, samples: np.ndarray) -> np.ndarray:
        """Like `push`, but returns the logits that can be computed so far: float32 `(frames, vocabulary)`."""
        self._append(samples)
        overlap = self._window - self._hop
        if not self._started and len(self._samples) >= overlap:
            self._started = True
            if "carry" in self._states:  # with pre-emphasis it is longer by one sample, a zero
                self._states["carry"][0, self._states["carry"].shape[1] - overlap :] = self._samples[:overlap]
            self._samples = self._samples[overlap:]
        count = len(self._samples) // self.block
        if not self._started or not count:
            return self._no_logits()
        blocks, self._samples = self._samples[: count * self.block], self._samples[count * self.block :]
        return self._logits(blocks, count * self.stride)

    def flush(self) -> np.ndarray:
        """Like `finish`, but returns the remaining logits: float32 `(frames, vocabulary)`.

        They are at most one frame more than the model's look-ahead.
        """
        rest = self.advance(np.zeros(0, np.float32))
        self._finished = True
        frames = len(self._samples) // self._hop if self._started else 0
        parts = [rest]
        if frames:
            parts.append(self._logits(np.pad(self._samples, (0, self.block - len(self._samples))), frames))
        if self._started and self._delay:  # frames that were delayed by the look-ahead; zeros follow the end
            parts.append(self._logits(np.zeros(self._delay * self.block, np.float32), 0))
        return np.concatenate(parts)

    def _logits(self, samples: np.ndarray, frames: int) -> np.ndarray:
        """Logits of whole blocks with so many valid feature frames; 0 for blocks after the end."""
        logits = self._steps(samples, frames)[: -(-frames // self.stride) if frames else None]
        skipped = min(self._to_skip, len(logits))
        self._to_skip -= skipped
        return logits[skipped:]

    def _steps(self, samples: np.ndarray, frames: int) -> np.ndarray:
        """Run the network on these blocks, and update its states."""
        logits_by_block = []
        size = (self._max_blocks or max(1, len(samples) // self.block)) * self.block
        for start in range(0, len(samples), size):
            block = samples[start : start + size]
            count = max(0, min(len(block) // self._hop, frames - start // self._hop))
            inputs = {"samples": block[None], "frames": np.array([count], np.int32), **self._states}
            logits, *states = self._session.run(self._outputs, inputs)
            self._states = dict(zip(self._shapes, states, strict=True))
            logits_by_block.append(logits[0])
        return np.concatenate(logits_by_block)
