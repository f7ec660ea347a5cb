"""Encoder-decoders on the command line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from speechrnn.faults import Fault, read_lines
from speechrnn.models.commands import Command

if TYPE_CHECKING:
    from rich.console import Console

_OPTIONS = "speechrnn.tasks.sequence_to_sequence.options"


class SequenceCommand(Command):
    """Translate texts."""

    summary = "Translate texts, such as letters to phones or one language to another."
    epilog = """\
The target of a single TEXT is printed alone; of several each line is `source<TAB>target`, in the order given. With
--best above 1 each of the best targets has a line, with `<TAB>score` behind it. With --json each line is an object.
"""
    source = ("TEXT", "A text to translate.")
    formats: ClassVar[Mapping[str, bool]] = {"txt": True, "json": True}
    run_options = (f"{_OPTIONS}:SearchOptions", f"{_OPTIONS}:SourceOptions")
    source_options = frozenset({"lines"})
    trained_on = "pairs of texts: files with a source, a tab and its target on every line"
    training_options = (f"{_OPTIONS}:SequenceTraining",)
    network_options = (f"{_OPTIONS}:SequenceNetwork",)
    evaluation_options = (f"{_OPTIONS}:SequenceEvaluation",)
    details = True

    def expand_sources(self, sources: Sequence[str], **options: Any) -> list[tuple[Any, str]]:
        """See `Command`; a source is a text, not a path."""
        texts: list[Any] = list(sources)
        if options.get("lines"):

            def lines(path: str) -> list[Any]:
                return [(text, f"{path}:{number}") for number, text in enumerate(read_lines(path), start=1)]

            texts = [one for path in sources for one in self.read_or_fault(path, lines)]
        return [(text, f"text{number}") for number, text in enumerate(texts, start=1)]

    def outcomes(self, model: Any, sources: Iterable[Any], *, lines: bool = False, **options: Any) -> Iterator[Any]:
        """See `Command`; with `lines` a source is a pair of a text and its location in a file, for faults."""
        if not lines:
            return super().outcomes(model, sources, **options)
        located = list(sources)
        results = super().outcomes(model, [text for text, _ in located], **options)
        return (
            Fault(where, one.kind, f"{where}: {one.message}") if isinstance(one, Fault) else one
            for (_, where), one in zip(located, results, strict=True)
        )

    def render(self, answer: Any, format: str, *, name: str | None, **options: Any) -> str:
        """See `Command`."""
        scored = [(one.text, f"\t{one.score:.4f}") for one in answer.candidates]
        if len(scored) == 1:
            scored = [(answer.text, "")]
        return "".join(f"{answer.path}\t{text}{score}\n" if name else f"{text}{score}\n" for text, score in scored)

    def print_report(self, report: Any, console: Console, examples: Sequence[Any], *, per_subject: bool) -> None:
        """See `Command`."""
        report.print(console)
