"""Generate texts with a language model, symbol by symbol."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from speechrnn.decoding.rescoring import BOUNDARY
from speechrnn.faults import Fault, options_as_keywords
from speechrnn.models.answers import Answer, answer_each
from speechrnn.tasks.language.options import GenerationOptions


@dataclass(frozen=True)
class Generated(Answer):
    """A generated text."""

    text: str = ""
    """The prompt and the generated text."""

    def to_dict(self) -> dict[str, Any]:
        """The text as JSON values."""
        return {"prompt": self.path, "text": self.text}


@options_as_keywords(GenerationOptions)
def outcomes(
    model: Any,
    prompts: Iterable[str],
    *,
    options: GenerationOptions,
    progress: Callable[[str], None] | None = None,
) -> Iterator[Generated | Fault]:
    """Generate a text for each prompt, and yield it or a `Fault`; see `LanguageMethods.generate`."""
    stepping = model.stepping()

    def written(prompt: str) -> Generated:
        rng = np.random.default_rng(options.seed)
        drawn = partial(_drawn, temperature=options.temperature, top_k=options.top_k, rng=rng)
        return Generated(prompt, _text(stepping, prompt, options.length, drawn))

    yield from answer_each(prompts, written, progress)


def _text(model: Any, prompt: str, length: int, drawn: Callable[[np.ndarray], int]) -> str:
    sentence = model.vocabulary.encode(prompt)
    sentences = [sentence]
    logits, states = model.advance([BOUNDARY, *sentence], model.initial_states(1))
    for _ in range(length):
        symbol = drawn(logits)
        if symbol == BOUNDARY:
            sentences.append([])
            states = model.initial_states(1)
        else:
            sentences[-1].append(symbol)
        logits, states = model.advance([symbol], states)
    return "\n".join(map(model.vocabulary.decode, sentences))


def _drawn(logits: np.ndarray, *, temperature: float, top_k: int, rng: np.random.Generator) -> int:
    if temperature == 0:
        return int(logits.argmax())
    # The largest of Gumbel noises is a draw from the softmax, and no exponential can overflow.
    noisy = logits.astype(np.float64) / temperature + rng.gumbel(size=logits.shape)
    if 0 < top_k < len(logits):
        noisy[np.argsort(-logits, kind="stable")[top_k:]] = -np.inf
    return int(noisy.argmax())
