"""Methods that all language models share, bundles and sessions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from speechrnn.data.manifest import Example
from speechrnn.decoding import rescoring
from speechrnn.faults import options_as_keywords
from speechrnn.models.answers import ModelMethods, OnError
from speechrnn.tasks.language.generation import Generated
from speechrnn.tasks.language.options import GenerationOptions


class LanguageMethods(ModelMethods):
    """The methods of language models."""

    @staticmethod
    def is_example(value: Any) -> bool:
        """Sentences, or examples with texts."""
        return isinstance(value, str | Example)

    def logits(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Logits of the next symbol after each symbol int32 `(batch, steps)`: float32 `(batch, steps, vocabulary)`."""
        raise NotImplementedError

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """Natural logarithm of the probability of each sentence, including its end: float64 `(texts,)`.

        Raises:
            ValueError: A text has symbols that the model lacks.
        """
        scores = np.zeros(len(texts))
        for places, ids, lengths in rescoring.batches(cast(Any, self).vocabulary, texts):
            scores[places] = rescoring.log_probabilities(self.logits(ids, lengths), ids, lengths)
        return scores

    @options_as_keywords(GenerationOptions)
    def generate(  # noqa: D417 - the decorator adds the options
        self,
        prompts: Any = "",
        *,
        options: GenerationOptions,
        on_error: OnError = "raise",
        progress: Callable[[str], None] | None = None,
    ) -> Any:
        """Write text after one prompt, or after each of several, symbol by symbol; each sentence begins a line.

        Args:
            prompts: How the first sentence begins; or an iterable of such beginnings.
            on_error: "raise" raises what is wrong with a prompt; "collect" gives an answer whose `ok` is false and
                whose `error` says why.
            progress: Called with each prompt once it is done.

        Returns:
            A `Generated` for one prompt; for several an iterator of them, in the order given.

        Raises:
            ValueError: A number is out of its range, or, with "raise", a prompt has characters that the model lacks.
        """
        return self._answer(Generated, prompts, on_error, progress=progress, **vars(options))
