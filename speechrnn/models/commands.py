"""What the command line does with models of a kind; a subclass in `tasks/*/command.py` adds to it or changes it."""

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
    """Command-line options and texts of a kind; nothing here imports TensorFlow.

    Groups of options are strings `"module:name"` that name the dataclass or function that declares them.

    Args:
        kind: The kind, whose functions do the work.
    """

    summary: ClassVar[str] = "Run a model of this kind on recordings."
    """What its verb does, in one sentence."""
    epilog: ClassVar[str] = ""
    """The last lines of the verb's help."""
    source: ClassVar[tuple[str, str]] = ("FILE", "Records of signals.")
    """The verb's argument: its name, and a sentence about it."""
    default_model: ClassVar[str | None] = None
    """Name of the included model that is used if none is given."""
    source_optional: ClassVar[bool] = False
    """Whether its verb also runs without a source."""
    accepts_stdin: ClassVar[bool] = False
    """Whether `-` means standard input."""
    formats: ClassVar[Mapping[str, bool]] = {"json": True}
    """Output formats, the default first, each with whether one file can hold several answers."""
    binary: ClassVar[frozenset[str]] = frozenset()
    """Formats that are not text, so that a terminal cannot show them."""
    run_options: ClassVar[tuple[str, ...]] = ()
    """Options of `outcomes`."""
    source_options: ClassVar[frozenset[str]] = frozenset()
    """The `run_options` that say how to read the sources; only `expand_sources` needs them."""
    write_options: ClassVar[tuple[str, ...]] = ()
    """Options of `render`."""
    shown_in: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Options that have an effect in some formats only, with these formats."""
    verbs: ClassVar[frozenset[str]] = frozenset({"train", "evaluate"})
    """Which of these verbs support the kind."""
    trained_on: ClassVar[str] = "what the kind learns"
    """What its training manifests contain, such as "texts"."""
    read_options: ClassVar[tuple[str, ...]] = ()
    """Options of `read`."""
    training_options: ClassVar[tuple[str, ...]] = ("speechrnn.training.options:TrainingOptions",)
    """Training options; the first is the class of the kind's options."""
    network_options: ClassVar[tuple[str, ...]] = ()
    """Options of a new model's network."""
    finetune_options: ClassVar[tuple[str, ...]] = ()
    """Options of `model_to_finetune`."""
    feature_options: ClassVar[tuple[str, ...]] = ()
    """Options of a new model's features."""
    can_augment: ClassVar[bool] = False
    """Whether its examples can be augmented."""
    evaluation_options: ClassVar[tuple[str, ...]] = ()
    """Options of `evaluate`."""
    details: ClassVar[bool] = False
    """Whether its reports list single examples and subjects."""
    example_noun: ClassVar[str] = "details"
    """The argument of a report's `to_dict` that includes the examples."""
    can_shard: ClassVar[bool] = False
    """Whether an evaluation can be split into shards: it has `records` and `report_of`."""
    accepts_manifests: ClassVar[bool] = False
    """Whether a source of its verb can be a manifest, which stands for its examples."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def fits(self, line: Mapping[str, Any]) -> bool:
        """Whether a line of a manifest suits the kind, so that `--task` is not needed."""
        return False

    def read(self, paths: Iterable[str], *, faults: Faults | None = None, **options: Any) -> list[Any]:
        """Read the examples in files; options are those of `read_options`."""
        return [example for path in paths for example in resolve(self.kind.read)(path, faults=faults)]

    def outcomes(
        self, model: Any, sources: Iterable[Any], *, path: str | None, progress: Any, on_progress: Any, **options: Any
    ) -> Iterator[Any]:
        """The answer for each source, or a `Fault`.

        Args:
            model: A session.
            sources: Paths, or streams.
            path: The model's file, or the name of an included model.
            progress: Called with each source that is done.
            on_progress: Called with a path, the seconds done and the seconds in total.
            **options: Of `run_options`.
        """
        options = {name: value for name, value in options.items() if name not in self.source_options}
        return resolve(self.kind.run)(model, sources, progress=progress, **options)

    def expand_sources(self, sources: Sequence[str], **options: Any) -> list[tuple[Any, str]]:
        """The sources of `outcomes` for the arguments of a command line, each with its file name in `--out-dir`.

        If the kind accepts manifests, one stands for its examples, whose files are named by their ids. A `Fault` stands
        for what could not be read, and is not passed to `outcomes`.
        """
        if self.accepts_manifests and any(source.endswith(".jsonl") for source in sources):
            from speechrnn.data import manifest

            faults = Faults()

            def examples(path: str) -> list[Any]:
                return manifest.read(path, faults=faults)

            lists = [self.read_or_fault(path, examples) if path.endswith(".jsonl") else [path] for path in sources]
            expanded: list[Any] = [*(item for items in lists for item in items), *faults]
            names = [f"{item.id}.id" if hasattr(item, "id") else str(item) for item in expanded]  # the stem is the id
            return list(zip(expanded, files.output_names(names), strict=True))
        return list(zip(sources, files.output_names(sources), strict=True))

    def read_or_fault(self, path: str, read: Callable[[str], list[Any]]) -> list[Any]:
        """The items in a file, or a `Fault` if it cannot be read, so that the other files are still used."""
        try:
            return read(path)
        except (OSError, ValueError) as error:
            missing = isinstance(error, FileNotFoundError) and error.filename
            return [Fault(path, kind_of(error), f"{path}: there is no such file." if missing else str(error))]

    def header(self, model: Any, format: str) -> str | bytes:
        """The start of an output file, before its answers."""
        return ""

    def finish(self, file: IO[bytes], format: str) -> None:
        """Complete an output file after its answers are written; not called for pipes or JSON."""

    def render(self, answer: Any, format: str, *, name: str | None, **options: Any) -> str | bytes:
        """An answer in a format other than JSON: text, or bytes for a format in `binary`.

        Args:
            answer: The answer.
            format: One of `formats`.
            name: Name of the file that the answer would have alone, if one file holds several answers; else None.
            **options: Of `write_options`.
        """
        raise NotImplementedError

    def to_dict(self, answer: Any, **options: Any) -> dict[str, Any]:
        """An answer as JSON values."""
        return answer.to_dict() if hasattr(answer, "to_dict") else asdict(answer)

    def new_model(self, examples: Sequence[Example], options: Any, **built: Any) -> Any:
        """Build a model for examples.

        Args:
            examples: The training examples.
            options: Training options, of the first class in `training_options`.
            **built: Options of `network_options` and `feature_options`.
        """
        return resolve(str(self.kind.build))(examples, **built)

    def model_to_finetune(self, path: str, examples: Sequence[Example], **options: Any) -> Any:
        """Load a model that will be trained further on examples; options are those of `finetune_options`."""
        from speechrnn.models import loading

        return loading.load_bundle(path)

    def evaluate(self, model: Any, examples: Sequence[Example], **options: Any) -> Any:
        """Evaluate a model on examples; options are `faults`, `progress` and those of `evaluation_options`."""
        return resolve(self.kind.evaluate)(model, examples, **options)

    def records(self, report: Any) -> Any:
        """The data of a report as JSON values, from which `report_of` joins several reports."""
        raise NotImplementedError

    def report_of(self, records: Sequence[Any], *, faults: Sequence[Fault], elapsed: float, **options: Any) -> Any:
        """Join the `records` of shards, in order, into one report; options are those of `evaluation_options`."""
        raise NotImplementedError

    def report(self, report: Any, *, details: bool) -> dict[str, Any]:
        """A report as JSON values, with every example if `details` is set."""
        return report.to_dict(**{self.example_noun: details}) if self.details else report.to_dict()

    def print_report(self, report: Any, console: Console, examples: Sequence[Example], *, per_subject: bool) -> None:
        """Print a report, with a table of the subjects if `per_subject` is set."""
        console.print(str(report), markup=False, soft_wrap=True)
