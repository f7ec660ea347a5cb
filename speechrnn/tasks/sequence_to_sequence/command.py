"""Encoder-decoders on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from speechrnn.models.commands import Command

_OPTIONS = "speechrnn.tasks.sequence_to_sequence.options"


class SequenceCommand(Command):
    """Translate texts."""

    summary = "Translate texts, such as letters to phones or one language to another."
    epilog = """\
The target of a single TEXT is printed alone; of several each line is `source<TAB>target`, in the order given. With
--json each line is an object.
"""
    source = ("TEXT", "A text to translate.")
    formats: ClassVar[Mapping[str, bool]] = {"txt": True, "json": True}
    run_options = (f"{_OPTIONS}:SearchOptions",)
    learns = "pairs of texts: files with a source, a tab and its target on every line"
    training = (f"{_OPTIONS}:SequenceTraining",)
    network = (f"{_OPTIONS}:SequenceNetwork",)
    evaluation = (f"{_OPTIONS}:SearchOptions", f"{_OPTIONS}:SequenceEvaluation")
    details = True

    def expanded(self, sources: Sequence[str], **options: Any) -> list[tuple[Any, str]]:
        """See `Command`; a text is no path."""
        return [(source, f"text{number}") for number, source in enumerate(sources, start=1)]

    def render(self, answer: Any, format: str, *, several: bool, **options: Any) -> str:
        """See `Command`."""
        return f"{answer.path}\t{answer.text}\n" if several else f"{answer.text}\n"

    def report(self, report: Any, *, details: bool) -> dict[str, Any]:
        """See `Command`."""
        return report.to_dict(details=details)

    def validated(self, row: Mapping[str, float]) -> str:
        """Error rates."""
        return f"errors {row['val_symbol_error']:.2%} of symbols, {row['val_sequence_error']:.1%} of sequences"
