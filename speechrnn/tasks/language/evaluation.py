"""Evaluate language models: the perplexity of sentences, with its interval."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from speechrnn.data import sentences
from speechrnn.data.manifest import Example
from speechrnn.decoding import rescoring
from speechrnn.decoding.rescoring import TextPerplexity
from speechrnn.faults import Fault, Faults
from speechrnn.metrics.intervals import Interval, bootstrap, finite
from speechrnn.models import reports
from speechrnn.models.loading import open_model

if TYPE_CHECKING:
    from rich.console import Console

_PART = 1024
"""Sentences after which progress is reported."""


@dataclass(frozen=True)
class LanguageReport:
    """Perplexity of a language model on sentences; all figures follow from sums over them."""

    perplexity: float
    """Of a word, the end of each sentence counted; NaN where nothing was scored."""
    interval: Interval
    """95 % bootstrap interval of the perplexity, sentences drawn with replacement."""
    bits_per_character: float
    """The ends of sentences and the spaces counted as characters."""
    sentences: int
    """Number of sentences that were scored."""
    words: int
    """Words in them, ends of sentences counted."""
    faults: tuple[Fault, ...] = ()
    """What could not be scored; none of it is in the figures."""

    def __str__(self) -> str:
        if not self.sentences:
            return f"No sentence was scored; {len(self.faults)} failed."
        low, high = self.interval
        line = (
            f"perplexity {self.perplexity:.2f} per word (95 % interval {low:.2f} to {high:.2f}), "
            f"{self.bits_per_character:.3f} bits per character; {self.words:,} words of {self.sentences:,} sentences"
        )
        return line + (f"; {len(self.faults)} more FAILED and are in none of these figures." if self.faults else ".")

    def to_dict(self, *, details: bool = False) -> dict[str, Any]:
        """As JSON can hold it; there are no `details`."""
        figures = {"perplexity": finite(self.perplexity), "bits_per_character": finite(self.bits_per_character)}
        others = {"interval": [finite(bound) for bound in self.interval], "faults": [str(one) for one in self.faults]}
        return asdict(self) | figures | others | {"failed": len(self.faults)}

    def print(self, console: Console | None = None) -> None:
        """Print the report; to standard output unless a console is given."""
        reports.print_summary(self, console)


def read(path: str | os.PathLike[str]) -> list[str]:
    """The sentences of a text file, or the texts of a manifest, in their normal form."""
    return list(sentences.read([path]))


def evaluate(
    model: Any,
    examples: Iterable[str | Example],
    *,
    faults: Faults | None = None,
    progress: Callable[[str], object] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> LanguageReport:
    """Score sentences with a language model.

    Args:
        model: A language model, or the path of one.
        examples: Sentences, or examples with texts.
        faults: Collects what cannot be scored; it is in the report as well.
        progress: Called with the name of each sentence once it is done.
        resamples: Bootstrap replications.
        seed: Seed of the bootstrap.
    """
    collected = Faults() if faults is None else faults
    loaded = open_model(model, "language model")
    names, texts = [], []
    for number, example in enumerate(examples, 1):
        name, said = (example.id, example.text) if isinstance(example, Example) else (f"sentence {number}", example)
        said = " ".join((said or "").split())
        if not said:
            collected.add(name, "without a text", f"{name}: has no text.")
        elif lacking := sorted(loaded.vocabulary.missing(said)):
            shown = " ".join(map(repr, lacking[:10]))
            collected.add(name, "unknown symbols", f"{name}: has symbols that the model never saw: {shown}.")
        else:
            names.append(name)
            texts.append(said)
    parts = [np.zeros((0, 3))]
    for start in range(0, len(texts), _PART):
        part = slice(start, start + _PART)
        parts.append(rescoring.tallies(loaded, texts[part]))
        if progress is not None:
            for name in names[part]:
                progress(name)
    counted = np.concatenate(parts)
    results = bootstrap(counted, lambda sums: {"": np.exp(-sums[:, 0] / sums[:, 1])}, resamples=resamples, seed=seed)
    whole = rescoring.perplexity_of(counted) if names else TextPerplexity(math.nan, math.nan, 0, 0, math.nan)
    return LanguageReport(
        whole.perplexity, results[""], whole.bits_per_character, len(names), whole.words, tuple(collected)
    )
