"""What the command line does with models of a kind, unless a subclass in `tasks/*/command.py` has more of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import IO, TYPE_CHECKING, Any, ClassVar

from speechrnn import files
from speechrnn.faults import Fault, Faults, kind_of
from speechrnn.models.kinds import Kind, resolve

if TYPE_CHECKING:
    from rich.console import Console

    from speechrnn.data.manifest import Example


class Command:
    """Options and words of a kind; nothing here imports TensorFlow.

    Groups of options are strings `"module:name"` of dataclasses and functions that declare them.

    Args:
        kind: The kind, whose functions do the work.
    """

    summary: ClassVar[str] = "Run a model of this kind on recordings."
    """What its verb does, in one sentence."""
    epilog: ClassVar[str] = ""
    """The last lines of the verb's help."""
    source: ClassVar[tuple[str, str]] = ("FILE", "Records of signals.")
    """What the verb takes: its name, and a sentence."""
    ships: ClassVar[str | None] = None
    """The model that comes with the package and is taken where none is given."""
    alone: ClassVar[bool] = False
    """Whether its verb does something without a source."""
    pipes: ClassVar[bool] = False
    """Whether `-` means standard input."""
    formats: ClassVar[Mapping[str, bool]] = {"json": True}
    """How answers are written, the default first; whether several can follow each other in one file."""
    binary: ClassVar[frozenset[str]] = frozenset()
    """Formats that are no text, and no terminal can show."""
    run_options: ClassVar[tuple[str, ...]] = ()
    """What `outcomes` takes."""
    of_sources: ClassVar[frozenset[str]] = frozenset()
    """Those of `run_options` that say what the sources are, which only `expanded` needs."""
    write_options: ClassVar[tuple[str, ...]] = ()
    """What `render` takes."""
    verbs: ClassVar[frozenset[str]] = frozenset({"train", "evaluate"})
    """Which of these verbs know the kind."""
    learns: ClassVar[str] = "what the kind learns"
    """What it learns from, as in "texts"."""
    reading: ClassVar[tuple[str, ...]] = ()
    """What `read` takes."""
    training: ClassVar[tuple[str, ...]] = ("speechrnn.training.options:TrainingOptions",)
    """Its training options."""
    network: ClassVar[tuple[str, ...]] = ()
    """What its builder takes."""
    further: ClassVar[tuple[str, ...]] = ()
    """What `continued` takes."""
    features: ClassVar[tuple[str, ...]] = ()
    """Options of its features, where they can be chosen."""
    augments: ClassVar[bool] = False
    """Whether its examples can be augmented."""
    evaluation: ClassVar[tuple[str, ...]] = ()
    """What `evaluate` takes."""
    details: ClassVar[bool] = False
    """Whether its reports tell of single examples and of people."""
    example_noun: ClassVar[str] = "details"
    """What `to_dict` of these calls the examples."""
    divides: ClassVar[bool] = False
    """Whether an evaluation can be divided: it has `records` and `report_of`."""
    manifests: ClassVar[bool] = False
    """Whether its verb takes the examples of a manifest."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def fits(self, line: Mapping[str, Any]) -> bool:
        """Whether a line of a manifest has what the kind learns, so that the task need not be named."""
        return False

    def read(self, paths: Iterable[str], *, faults: Faults | None = None, **options: Any) -> list[Any]:
        """The examples of files; options are those of `reading`."""
        return [example for path in paths for example in resolve(self.kind.read)(path, faults=faults)]

    def outcomes(
        self, model: Any, sources: Iterable[Any], *, path: str | None, progress: Any, on_progress: Any, **options: Any
    ) -> Iterator[Any]:
        """The answer for each source, or the `Fault` that it has.

        Args:
            model: A session.
            sources: Paths, or streams.
            path: Where the model comes from, a file or the name of one that ships.
            progress: Called with each source that is done.
            on_progress: Called with a path, the seconds done and the seconds there are.
            **options: Of `run_options`.
        """
        how = {name: value for name, value in options.items() if name not in self.of_sources}
        return resolve(self.kind.run)(model, sources, progress=progress, **how)

    def expanded(self, sources: Sequence[str], **options: Any) -> list[tuple[Any, str]]:
        """What `outcomes` takes for the words of a command line, each with the name of its files in a folder.

        A manifest stands for its examples, where the kind has that; their files are called by their ids. A `Fault`
        stands for what could not be read, and is not given to `outcomes`.
        """
        if self.manifests and any(source.endswith(".jsonl") for source in sources):
            from speechrnn.data import manifest

            faults = Faults()

            def examples(path: str) -> list[Any]:
                return manifest.read(path, faults=faults)

            lists = [self.parts_of(path, examples) if path.endswith(".jsonl") else [path] for path in sources]
            given: list[Any] = [*(one for found in lists for one in found), *faults]
            names = [f"{one.id}.id" if hasattr(one, "id") else str(one) for one in given]  # of which the stem is the id
            return list(zip(given, files.output_names(names), strict=True))
        return list(zip(sources, files.output_names(sources), strict=True))

    def parts_of(self, path: str, read: Callable[[str], list[Any]]) -> list[Any]:
        """What a file holds, or its fault: the other inputs are worked on without it."""
        try:
            return read(path)
        except (OSError, ValueError) as error:
            missing = isinstance(error, FileNotFoundError) and error.filename
            return [Fault(path, kind_of(error), f"{path}: there is no such file." if missing else str(error))]

    def header(self, model: Any, format: str) -> str | bytes:
        """What comes before the answers of a file."""
        return ""

    def finish(self, file: IO[bytes], format: str) -> None:
        """What is done with a file whose answers are written, unless it is a pipe; not for JSON."""

    def render(self, answer: Any, format: str, *, name: str | None, **options: Any) -> str | bytes:
        """An answer in a format that is not JSON: text, or bytes of a format that is none.

        Args:
            answer: The answer.
            format: One of `formats`.
            name: What its file would be called, if answers of other sources stand in the same file; else None.
            **options: Of `write_options`.
        """
        raise NotImplementedError

    def to_dict(self, answer: Any, **options: Any) -> dict[str, Any]:
        """An answer as JSON can hold it."""
        return answer.to_dict() if hasattr(answer, "to_dict") else asdict(answer)

    def begun(self, examples: Sequence[Example], options: Any, **built: Any) -> Any:
        """A new model for examples.

        Args:
            examples: What it will be trained on.
            options: How it will be trained, of the first class in `training`.
            **built: Of `network`, and `features`.
        """
        return resolve(str(self.kind.build))(examples, **built)

    def continued(self, path: str, examples: Sequence[Example], **options: Any) -> Any:
        """The model in a file, to be trained further on examples; options are those of `further`."""
        from speechrnn.models import loading

        return loading.load_bundle(path)

    def evaluate(self, model: Any, examples: Sequence[Example], **options: Any) -> Any:
        """The report of a model on examples; options are `faults`, `progress` and those of `evaluation`."""
        return resolve(self.kind.evaluate)(model, examples, **options)

    def records(self, report: Any) -> Any:
        """What a report is made of, as JSON can hold it, so that `report_of` can join several."""
        raise NotImplementedError

    def report_of(self, records: Sequence[Any], *, faults: Sequence[Fault], elapsed: float, **options: Any) -> Any:
        """The report of all examples, from the `records` of its parts in order; options are those of `evaluation`."""
        raise NotImplementedError

    def report(self, report: Any, *, details: bool) -> dict[str, Any]:
        """A report as JSON can hold it, with every example where details are wanted."""
        return report.to_dict(**{self.example_noun: details}) if self.details else report.to_dict()

    def print_report(self, report: Any, console: Console, examples: Sequence[Example], *, per_subject: bool) -> None:
        """Print a report, with a table of the people where it is wanted."""
        console.print(str(report), markup=False, soft_wrap=True)
