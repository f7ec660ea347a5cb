"""Classifiers on the command line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from speechrnn import files
from speechrnn.data.manifest import Example
from speechrnn.faults import Fault, read_lines
from speechrnn.models.commands import Command

if TYPE_CHECKING:
    from rich.console import Console

_OPTIONS = "speechrnn.tasks.classification.options"


class ClassifierCommand(Command):
    """Classify records."""

    summary = "Classify records of signals, sounds or texts."
    epilog = """\
Each line is `path<TAB>class<TAB>probability`, in the order given; of a model that knows several classes at once all
that are likely, with commas between. A model with one class per frame gives a line for every stretch of equal class:
`path<TAB>start<TAB>end<TAB>class<TAB>probability`, times in seconds. With --json each line is an object, with the
probability of every class.

FILE may be a WFDB header, EDF, BDF, CSV, TSV, Parquet, NPZ, MAT, .ts or any audio file; for a classifier of texts it is
a text in UTF-8, or with --lines a text on each line.
"""
    source = ("FILE", "Records of signals, audio, or texts.")
    can_augment = details = can_shard = accepts_manifests = True
    example_noun = "records"
    formats: ClassVar[Mapping[str, bool]] = {"tsv": True, "json": True}
    run_options = (
        f"{_OPTIONS}:ClassificationOptions",
        f"{_OPTIONS}:TextSources",
        "table=speechrnn.signals.options:TableOptions",
    )
    source_options = frozenset({"lines"})
    write_options = (f"{_OPTIONS}:ClassWriting",)
    trained_on = "labels, one class each (`label`), one class per frame (`labels`) or several at once (`tags`)"
    training_options = (f"{_OPTIONS}:ClassifierTraining",)
    network_options = (f"{_OPTIONS}:ClassifierNetwork",)
    feature_options = ("speechrnn.features.options:LogMelOptions",)
    evaluation_options = (f"{_OPTIONS}:ClassifierEvaluation",)

    def fits(self, line: Mapping[str, Any]) -> bool:
        """Whether the line has a label."""
        tags = line.get("extra", {}).get("tags")
        return line.get("label") is not None or line.get("labels") is not None or bool(tags)

    def expand_sources(self, sources: Sequence[str], **options: Any) -> list[tuple[Any, str]]:
        """See `Command`; with `lines` each line of a text file is a source."""
        if not options.get("lines"):
            return super().expand_sources(sources, **options)

        def texts(path: str) -> list[Example]:
            lines = enumerate(read_lines(path), start=1)
            named = ((f"{path}:{number}", line) for number, line in lines)
            return [Example(name, max(len(line), 1), text=line, id=name) for name, line in named]

        expanded = [item for path in sources for item in self.read_or_fault(path, texts)]
        names = [item.where if isinstance(item, Fault) else item.path for item in expanded]
        return list(zip(expanded, files.output_names(names), strict=True))

    def outcomes(self, model: Any, sources: Iterable[Any], **options: Any) -> Iterator[Any]:
        """See `Command`."""
        if options.get("lines") and model.tokens is None:
            raise ValueError("--lines is for classifiers of texts. This model classifies signals.")
        if model.tokens is not None:
            sources = (Path(source) if isinstance(source, str) else source for source in sources)
        return super().outcomes(model, sources, **options)

    def render(self, answer: Any, format: str, *, name: str | None, **options: Any) -> str:
        """See `Command`."""
        if options.get("details"):
            raise ValueError("--details needs --json.")
        if answer.task == "frames":
            return "".join(
                f"{answer.path}\t{segment.start:.3f}\t{segment.end:.3f}\t{segment.label}\t{segment.probability:.3f}\n"
                for segment in answer.segments()
            )
        chosen = [answer.classes.index(label) for label in answer.labels]
        probabilities = ",".join(f"{answer.probabilities[k]:.3f}" for k in chosen)
        return f"{answer.path}\t{','.join(answer.labels)}\t{probabilities}\n"

    def to_dict(self, answer: Any, **options: Any) -> dict[str, Any]:
        """See `Command`."""
        return answer.to_dict(frames=options.get("details", False))

    def records(self, report: Any) -> Any:
        """See `Command`."""
        return report.stored()

    def report_of(self, records: Sequence[Any], *, faults: Sequence[Fault], elapsed: float, **options: Any) -> Any:
        """See `Command`."""
        from speechrnn.tasks.classification.report import restored

        return restored(records, faults=faults, elapsed=elapsed, seed=options.get("seed", 0))

    def print_report(self, report: Any, console: Console, examples: Sequence[Example], *, per_subject: bool) -> None:
        """See `Command`."""
        from speechrnn.tasks.classification import print_report

        print_report(report, console, per_subject=per_subject)
