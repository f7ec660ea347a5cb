"""Texts written by a language model, one character after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from speechrnn.decoding.rescoring import BOUNDARY
from speechrnn.faults import Fault
from speechrnn.models.answers import Answer

__all__ = ["Generated", "outcomes"]


@dataclass(frozen=True)
class Generated(Answer):
    """A text that a model wrote."""

    path: str
    """The prompt."""
    text: str
    """The prompt and what follows it."""
    error: str | None = None
    """Why there is no text; None where there is one."""

    @classmethod
    def failed(cls, path: str, error: str) -> Generated:
        """The answer for a prompt that could not be continued."""
        return cls(path, "", error)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {"prompt": self.path, "text": self.text}


def outcomes(
    model: Any,
    prompts: Iterable[str],
    *,
    length: int = 200,
    temperature: float = 1.0,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Iterator[Generated | Fault]:
    """The text after each prompt, or why there is none; see `Generates.generate`."""
    if length < 1 or not 0 <= temperature < np.inf or seed < 0:
        raise ValueError(
            "`length` must be at least 1, `temperature` and `seed` zero or positive. "
            f"Received: {length=}, {temperature=}, {seed=}."
        )
    stepping = model.stepping()
    for prompt in prompts:
        try:
            yield Generated(prompt, _text(stepping, prompt, length, temperature, np.random.default_rng(seed)))
        except ValueError as error:
            yield Fault(prompt, "invalid", str(error))
        if progress is not None:
            progress(prompt)


def _text(model: Any, prompt: str, length: int, temperature: float, rng: np.random.Generator) -> str:
    symbols = [BOUNDARY, *model.vocabulary.encode(prompt)]
    logits, states = model.advance(symbols, model.initial_states(1))
    text = prompt
    for _ in range(length):
        symbol = _drawn(logits, temperature, rng)
        if symbol == BOUNDARY:
            text, states = text + "\n", model.initial_states(1)
        else:
            text += model.vocabulary.symbols[symbol - 1]
        logits, states = model.advance([symbol], states)
    return text


def _drawn(logits: np.ndarray, temperature: float, rng: np.random.Generator) -> int:
    if temperature == 0:
        return int(logits.argmax())
    # The largest of Gumbel noises is a draw from the softmax, and no exponential can overflow.
    return int((logits.astype(np.float64) / temperature + rng.gumbel(size=logits.shape)).argmax())
