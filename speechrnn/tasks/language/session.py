"""A language model run by ONNX Runtime: it judges sentences and writes new ones, and no TensorFlow is started."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from speechrnn.decoding import rescoring
from speechrnn.faults import of_file
from speechrnn.models import loading
from speechrnn.runtime import onnxfile
from speechrnn.runtime.session import start
from speechrnn.text import Vocabulary

KIND = "language model"
"""What the metadata of such a file say it is."""


class LanguageSession:
    """A language model that `speechrnn export` wrote, ready to run.

    Args:
        path: The `.onnx` file, or its bytes.
        threads: Processor threads; None takes those that this process may run on, up to eight.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no language model of ours, or damaged, or of another format version.
    """

    def __init__(self, path: str | os.PathLike[str] | bytes, *, threads: int | None = None) -> None:
        name = "The model" if isinstance(path, bytes) else os.fspath(path)
        content, self.metadata = onnxfile.read(path)
        kind = self.metadata.get("kind")
        if kind != KIND:
            raise ValueError(
                f"{name}: must hold a language model. Received: {kind!r}. Make one with "
                "`speechrnn lm train --kind rnn`."
            )
        with of_file(name):
            self.vocabulary = Vocabulary.from_config(self.metadata["vocabulary"])
        self._session = start(content, name, threads=threads)

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """Natural logarithm of the probability of each sentence, its end counted: float64 `(texts,)`.

        Raises:
            ValueError: A text has characters that the model lacks.
        """
        found = np.zeros(len(texts))
        for places, ids, lengths in rescoring.batches(self.vocabulary, texts):
            feed = {"ids": ids, "length": lengths, **self._start(len(ids))}
            (logits,) = self._session.run(["logits"], feed)
            found[places] = rescoring.log_probabilities(logits, ids, lengths)
        return found

    def generate(self, length: int = 200, *, temperature: float = 1.0, seed: int = 0, prefix: str = "") -> str:
        """Write text, character by character; each sentence begins a line.

        Args:
            length: Characters to write after the prefix, the ends of sentences counted.
            temperature: 1 draws as likely as the model says, less is safer, 0 always takes the likeliest.
            seed: Of the draws: the same one writes the same text.
            prefix: How the first sentence begins.

        Raises:
            ValueError: A number is out of its range, or the prefix has characters that the model lacks.
        """
        if length < 1 or not 0 <= temperature < np.inf or seed < 0:
            raise ValueError(
                "`length` must be at least 1, `temperature` and `seed` zero or positive. "
                f"Received: {length=}, {temperature=}, {seed=}."
            )
        rng = np.random.default_rng(seed)
        symbols = [rescoring.BOUNDARY, *self.vocabulary.encode(prefix)]
        logits, states = self._advance(symbols, self._start(1))
        text = prefix
        for _ in range(length):
            symbol = _drawn(logits, temperature, rng)
            if symbol == rescoring.BOUNDARY:
                text, states = text + "\n", self._start(1)
            else:
                text += self.vocabulary.symbols[symbol - 1]
            logits, states = self._advance([symbol], states)
        return text

    def _start(self, rows: int) -> dict[str, np.ndarray]:
        """States at the start of a sentence."""
        return {name: np.zeros((1, rows, units), "float32") for name, units in self.metadata["states"].items()}

    def _advance(self, symbols: Sequence[int], states: dict[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
        """Logits of what follows the last symbol, and the states there."""
        feed = {"ids": np.array([symbols], "int32"), "length": np.array([len(symbols)], "int32"), **states}
        logits, *after = self._session.run(["logits", *(f"next_{name}" for name in states)], feed)
        return logits[0, -1], dict(zip(states, after, strict=True))


def _drawn(logits: np.ndarray, temperature: float, rng: np.random.Generator) -> int:
    if temperature == 0:
        return int(logits.argmax())
    # The largest of Gumbel noises is a draw from the softmax, and no exponential can overflow.
    return int((logits.astype(np.float64) / temperature + rng.gumbel(size=logits.shape)).argmax())


def load(path: str | os.PathLike[str], *, threads: int | None = None) -> LanguageSession:
    """A session of a language model in an `.onnx` or `.keras` file; a `.keras` is exported once and kept.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no language model, or damaged.
        ModuleNotFoundError: It must be exported and TensorFlow is not installed.
    """
    if loading.is_keras(path):
        return LanguageSession(loading.kept(os.fspath(path), exported=_exported), threads=threads)
    return LanguageSession(path, threads=threads)


def _exported(path: str) -> bytes:
    from speechrnn.tasks.language.export import language_bytes
    from speechrnn.tasks.language.model import load as load_keras

    return language_bytes(load_keras(path))
