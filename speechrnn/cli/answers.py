"""Verbs of the kinds of models: `transcribe`, `classify`, `forecast`, `generate` and others in the registry."""

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path, PurePath
from typing import IO, Annotated, Any, Literal

from speechrnn import files
from speechrnn.cli import sharding, terminal
from speechrnn.cli.options import Group
from speechrnn.cli.verb import UsageError, Verb
from speechrnn.data.shards import Part
from speechrnn.faults import Fault, Faults
from speechrnn.models import kinds
from speechrnn.models.commands import Command

_EPILOG = """
Inputs that cannot be read are named on standard error, the rest is done, and the exit code is 1.
"""


def verb(kind: kinds.Kind) -> Verb:
    """Create the verb of a kind."""
    command: Command = kinds.resolve(kind.command)(kind)
    word, sentence = command.source
    default = (
        f", or the name of an included model; by default `{command.default_model}`."
        if command.default_model
        else ". (required)"
    )

    # This module has no postponed annotations, since these depend on the kind.
    def answer(
        *sources: Annotated[str, word],
        options: Mapping[str, Any],
        writing: Mapping[str, Any],
        model: Annotated[str | None, "MODEL"] = None,
        format: tuple[Literal[tuple(command.formats)], ...] = (),  # type: ignore[valid-type]
        json: bool = False,
        out: Annotated[str | None, "FILE"] = None,
        out_dir: Annotated[str | None, "DIR"] = None,
        overwrite: bool = False,
        shard: Annotated[str | None, "I/N"] = None,
    ) -> int:
        model = command.default_model if model is None else model
        if model is None:
            raise UsageError(f"--model is required. `speechrnn train --task {kind.method}` makes one.")
        formats = tuple(dict.fromkeys([*format, *(["json"] if json else [])])) or (next(iter(command.formats)),)
        for options_class in map(kinds.resolve, command.write_options):  # check the values before the work begins
            options_class(**{one.name: writing[one.name] for one in fields(options_class) if one.name in writing})
        named_inputs = command.expand_sources(sources, **options)
        _check(command, sources, len(named_inputs), formats, out, out_dir)
        for name, shown in command.shown_in.items():
            if {**options, **writing}.get(name) and not {*shown} & {*formats}:
                raise UsageError(
                    f"--{name.replace('_', '-')} has no effect on {' and '.join(formats)}. "
                    f"Use --format {' or '.join(shown)}."
                )
        output = _Output(command, formats, dict(writing), named_inputs, out, out_dir, overwrite)
        inputs = [source for source, _ in named_inputs]
        if shard is None:
            faults = Faults()
            _run(kind, command, model, inputs, dict(options), output, faults)
            return terminal.print_summary(faults, len(inputs), noun="files")
        if command.accepts_stdin and "-" in sources:
            raise UsageError("`-` cannot be divided into shards.")
        from speechrnn.models import loading  # not at the top: --help must not import NumPy

        def work(chosen: slice, file: IO[bytes], part: Part, faults: Faults) -> None:
            part_output = output.for_shard(chosen, file, head=part.shard.index == 1)
            _run(kind, command, model, inputs[chosen], dict(options), part_output, faults)

        how = {**options, **writing, "format": formats, "out_dir": out_dir is not None}
        path = loading.file_of(model)
        target = sharding.folder(out or out_dir)
        return sharding.run(
            shard, target, inputs, work, verb=kind.method, options=how, model=path, overwrite=overwrite, noun="files"
        )  # fmt: skip

    answer.__doc__ = f"""{command.summary}

    Args:
        sources: {sentence}
        model: A .onnx or .keras {kind.noun}{default}
        format: Format of the results (default: {next(iter(command.formats))}). Several need --out-dir.
        json: as --format json, one object per line.
        out: a file; by default standard output.
        out_dir: Write a file for every input and format into this folder.
        shard: Needs --out or --out-dir.
    """
    groups = {
        "options": [Group(source) for source in command.run_options],
        "writing": [Group(source) for source in command.write_options],
    }
    elsewhere = {"--rate": "is given as --encoding s16le@HZ."} if command.accepts_stdin else {}
    return Verb(
        kind.method, answer, groups, command.epilog + _EPILOG, elsewhere, without_arguments=command.source_optional
    )


def _check(
    command: Command, sources: Sequence[str], count: int, formats: Sequence[str], out: str | None, out_dir: str | None
) -> None:
    """Refuse combinations of options that exclude each other."""
    if out_dir is not None:
        if out is not None:
            raise UsageError("--out and --out-dir exclude each other.")
    elif len(formats) > 1:
        raise UsageError(f"several formats ({', '.join(formats)}) need --out-dir DIR.")
    elif count > 1 and not command.formats[formats[0]]:
        raise UsageError(f"{formats[0]} of several files needs --out-dir DIR.")
    if out and formats[0] in command.binary and PurePath(out).suffix not in ("", f".{formats[0]}"):
        raise UsageError(f"--out must end in .{formats[0]}. Received: {out}.")
    if command.accepts_stdin and sources.count("-") > 1:
        raise UsageError("`-` can be read once only.")


def _run(
    kind: kinds.Kind,
    command: Command,
    model: str,
    sources: Sequence[Any],
    options: dict[str, Any],
    to: "_Output",
    faults: Faults,
) -> None:
    opened = [terminal.standard_input() if command.accepts_stdin and source == "-" else source for source in sources]
    positions = [position for position, source in enumerate(opened) if not isinstance(source, Fault)]
    with to.opened() as begin, terminal.file_progress(len(sources), to_terminal=to.to_terminal) as (done, within):
        session = terminal.load_any(model, kind.name)
        terminal.start_tensorflow_for(options.get("rescore"))
        write = begin(session)
        readable = [opened[position] for position in positions]
        outcomes = command.outcomes(session, readable, path=model, progress=done, on_progress=within, **options)
        unread = ((-1, source) for source in opened if isinstance(source, Fault))
        for index, outcome in itertools.chain(unread, zip(positions, outcomes, strict=True)):
            if isinstance(outcome, Fault):
                faults.extend([outcome])
                terminal.print_faults(outcome)
            else:
                write(index, outcome)


class _NothingError(Exception):
    """There are no results to write."""


class _Output:
    """Writes answers to standard output, a file, or a folder with one file per input and format."""

    def __init__(
        self,
        command: Command,
        formats: Sequence[str],
        writing: dict[str, Any],
        named: Sequence[tuple[Any, str]],
        out: str | None,
        out_dir: str | None,
        overwrite: bool,
    ) -> None:
        self._command, self._formats, self._writing, self._named = command, formats, writing, named
        self._out, self._out_dir, self._overwrite = out, out_dir, overwrite
        self._several, self._head = len(named) > 1, True
        self._file: IO[bytes] | None = None

    def for_shard(self, chosen: slice, file: IO[bytes], *, head: bool) -> "_Output":
        """The output of some of the inputs; without a folder it goes to the file of a shard's part."""
        part = copy.copy(self)
        part._named, part._file, part._head = self._named[chosen], file, head
        return part

    @property
    def to_terminal(self) -> bool:
        """Whether answers may be printed where the progress bar is."""
        return self._out is None and self._out_dir is None

    @contextmanager
    def opened(self) -> Iterator[Callable[[Any], Callable[[int, Any], None]]]:
        """Yield a function that starts the output for a model and returns one that writes an answer by its index."""
        if self._out_dir is not None:
            outputs = self._paths(self._out_dir)
            yield lambda model: lambda index, answer: self._write(index, outputs[index], model, answer)
            return
        to_whole_file = self._out is not None and self._file is None
        with suppress(_NothingError), terminal.output(self._out, overwrite=self._overwrite, part=self._file) as file:
            (format,) = self._formats
            answers = 0
            if format in self._command.binary and file.isatty():
                raise UsageError(f"{format} cannot be shown in a terminal. Give --out FILE, or use a pipe.")

            def put(part: str | bytes) -> None:
                if isinstance(part, bytes):
                    file.buffer.write(part)
                else:
                    file.write(part)
                file.flush()

            def begin(model: Any) -> Callable[[int, Any], None]:
                put("" if format == "json" or not self._head else self._command.header(model, format))

                def write(index: int, answer: Any) -> None:
                    nonlocal answers
                    answers += 1
                    put(self._render(index, answer, format, alone=not self._several))

                return write

            yield begin
            if to_whole_file and format in self._command.binary and not answers:
                raise _NothingError  # else a header alone would replace the file
            if self._out is not None and format != "json" and file.seekable():
                self._command.finish(file.buffer, format)

    def _paths(self, folder: str) -> list[list[Path]]:
        """The output files of each input; existing ones are refused before the work begins."""
        outputs = [[Path(folder, f"{name}.{format}") for format in self._formats] for _, name in self._named]
        for path in (path for paths in outputs for path in paths):
            files.refuse_existing(path, overwrite=self._overwrite)
        Path(folder).mkdir(parents=True, exist_ok=True)
        return outputs

    def _write(self, index: int, paths: Sequence[Path], model: Any, answer: Any) -> None:
        for path, format in zip(paths, self._formats, strict=True):
            parts = [] if format == "json" else [self._command.header(model, format)]
            parts.append(self._render(index, answer, format, alone=True, indent=1))
            with files.replacing(path, overwrite=self._overwrite) as file:
                for part in parts:
                    file.write(part if isinstance(part, bytes) else part.encode("utf-8", "surrogateescape"))
                if format != "json":
                    self._command.finish(file, format)

    def _render(self, index: int, answer: Any, format: str, *, alone: bool, indent: int | None = None) -> str | bytes:
        source, name = self._named[index]
        if format == "json":
            entry = self._command.to_dict(answer, **self._writing)
            example_id = getattr(source, "id", "")  # of a manifest's line, such as a part of a recording
            if example_id and example_id != Path(answer.path).stem:
                entry = {"id": example_id, **entry}
            return files.as_json(entry, indent=indent) + "\n"
        return self._command.render(answer, format, name=None if alone else name, **self._writing)
