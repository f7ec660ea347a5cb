"""Builds manifests from corpora: measures the recordings and writes one manifest per split."""

import functools
import inspect
import json
import os
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from speechrnn import audio, signals
from speechrnn.data import manifest
from speechrnn.data.manifest import Example, shuffled, split_by_subject
from speechrnn.faults import Faults, data_error, kind_of, options_as_keywords
from speechrnn.files import refuse_existing

_WORKERS = 8

_lengths: ContextVar["RecordingLengths | None"] = ContextVar("lengths", default=None)
"""The `RecordingLengths` that is active in the current context."""


@dataclass(frozen=True)
class Draft:
    """An example whose recording has not been measured: the fields of an `Example`, with `duration` optional."""

    path: str | os.PathLike[str]
    text: str | None = None
    label: str | int | None = None
    labels: tuple[Any, ...] | None = None
    subject: str | None = None
    id: str | None = None
    offset: float = 0.0
    duration: float | None = None
    """Length of a segment; from `offset` to the end of the file if `None`."""
    channel: int | None = None
    """Channel to read; the mean of all if `None`."""
    extra: Mapping[str, Any] = field(default_factory=dict)


Splits = Mapping[str, Iterable[Draft | Example]]
"""Examples of a corpus by the name of the split."""


@dataclass(frozen=True)
class Preparation:
    """Options for preparing a corpus."""

    out: str | os.PathLike[str]
    """Folder for the manifests, and for the records that some of them point to."""
    overwrite: bool = False
    """Replace files that exist."""
    faults: Faults | None = None
    """Collects examples that cannot be used; if `None`, the first fault is an error, and no manifest is written."""
    progress: Callable[[int], object] | None = None
    """Called with the number of recordings done since the last call."""

    @cached_property
    def collector(self) -> Faults:
        """`faults`, or a new collector if that is `None`."""
        return Faults() if self.faults is None else self.faults

    def check(self) -> None:
        """Raise the first fault, unless the caller collects them in `faults`."""
        if self.faults is None:
            self.collector.raise_first()

    def refuse_existing(self, *splits: str) -> None:
        """Raise if the manifest of a split exists and may not be replaced; to be called before records are written.

        Raises:
            FileExistsError: A manifest exists.
        """
        for split in splits:
            refuse_existing(Path(self.out, f"{split}.jsonl"), overwrite=self.overwrite)

    def write_record(self, name: str, signal: Any, rate: float, *, folder: str = "records", **more: Any) -> Path:
        """Write a record that a manifest refers to, with the arguments of `signals.write`; returns its path."""
        path = Path(self.out, folder, f"{name}.npz")
        signals.write(path, signal, rate, overwrite=self.overwrite, **more)
        return path


@dataclass(frozen=True)
class ValidSplit(Preparation):
    """Options for preparing a corpus with a validation split."""

    valid_fraction: float = 0.0
    """Share of the data that becomes `valid.jsonl`: counted in seconds of the training data, in whole
    subjects, or a part of each class if no subject is known."""
    seed: int = 0
    """Seed of random numbers: what is held out."""


@dataclass(frozen=True)
class TestSplit(ValidSplit):
    """Options for preparing a corpus without a test set of its own."""

    test_fraction: float = 0.0
    """Share of the data that becomes `test.jsonl`: chosen in the same way."""


def measured(
    drafts: Iterable[Draft | Example], faults: Faults, *, progress: Callable[[int], object] | None = None
) -> list[Example]:
    """Measure recordings by their headers, to get examples with durations.

    Args:
        drafts: Examples to measure; those of class `Example`, whose durations are known, are returned unchanged.
        faults: Collects missing, empty and undecodable recordings, transcripts without characters and duplicate ids;
            the other examples are returned.
        progress: Called with the number of recordings done since the last call.

    Returns:
        The examples in the order of the drafts.
    """
    lengths = _lengths.get()

    def measure(draft: Draft | Example) -> Example | None:
        if isinstance(draft, Example):
            return draft
        name = draft.id or Path(draft.path).stem
        try:
            if draft.text is not None and not draft.text.strip():
                raise data_error(draft.path, "without a transcript", f"the transcript of {name} has no characters.")
            return _example(draft, _seconds(draft) if lengths is None else lengths.of(draft))
        except (ValueError, OSError) as error:
            faults.add_error(name, error)
            return None

    examples: dict[str, Example] = {}
    with ThreadPoolExecutor(_WORKERS) as pool:
        for example in pool.map(measure, drafts):
            if progress is not None:
                progress(1)
            if example is None:
                continue
            first = examples.setdefault(example.id, example)
            if first is not example:
                message = f"{example.path}: its id {example.id!r} is that of {first.path}. Give each its own `id`."
                faults.add(example.id, "duplicate", message)
    return list(examples.values())


class RecordingLengths:
    """Lengths of a corpus's recordings, which several processes measure before one writes the manifests.

    Opening recordings is most of the work with a large corpus; listing them is not.

    Args:
        measured: Seconds by recording; where it cannot be read, the kind of its fault and the message.
    """

    def __init__(self, measured: Mapping[str, float | list[str]] | None = None) -> None:
        self.measured = dict(measured or {})
        self.listed: dict[str, Draft] | None = None
        """The recordings that `build` received in a block of `listing`, in order, without duplicates."""

    @contextmanager
    def listing(self) -> Iterator[None]:
        """Context in which `build` only lists the recordings, in `listed`."""
        self.listed = {}
        with self.applied():
            yield

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Context in which `build` uses these lengths instead of opening recordings."""
        token = _lengths.set(self)
        try:
            yield
        finally:
            _lengths.reset(token)

    def measure(self, chosen: slice, progress: Callable[[int], object] | None = None) -> None:
        """Measure some of the listed recordings."""
        recordings = list((self.listed or {}).items())[chosen]

        def length(recording: tuple[str, Draft]) -> float | list[str]:
            try:
                return _seconds(recording[1])
            except (ValueError, OSError) as error:
                return [kind_of(error), str(error)]

        with ThreadPoolExecutor(_WORKERS) as pool:
            for (name, _), measured in zip(recordings, pool.map(length, recordings), strict=True):
                self.measured[name] = measured
                if progress is not None:
                    progress(1)

    def of(self, draft: Draft) -> float:
        """The length of a draft's recording in seconds.

        Raises:
            ValueError: It could not be read.
        """
        length = self.measured.get(_recording_key(draft))
        if length is None:
            raise data_error(draft.path, "new", "was not there when the shards measured the corpus. Measure it again.")
        if isinstance(length, list):
            error = ValueError(length[1])
            error.kind = length[0]  # type: ignore[attr-defined]
            raise error
        return length


def _recording_key(draft: Draft) -> str:
    """JSON of the fields that determine the length of a draft's recording."""
    options = {name: draft.extra.get(name) for name in ("row", "rate", "channels", "table", "encoding")}
    return json.dumps([os.fspath(draft.path), options | {"channel": draft.channel}], default=str)


def _example(draft: Draft, total: float) -> Example:
    duration = total - draft.offset if draft.duration is None else draft.duration
    if duration <= 0 or draft.offset + duration > total + 0.01:
        raise data_error(
            draft.path,
            "shorter than their segment",
            f"lasts {total:.3f} s. Received a segment of {duration:.3f} s from {draft.offset:.3f} s.",
        )
    return Example(**{**vars(draft), "duration": duration, "extra": dict(draft.extra)})


def _seconds(draft: Draft) -> float:
    """Length of a draft's recording in seconds; raises if a chosen channel is missing."""
    if signals.is_signal(draft.path):
        options = {name: draft.extra.get(name) for name in ("row", "rate", "channels", "table")}
        return signals.probe(draft.path, **options).duration
    info = audio.probe(draft.path, encoding=draft.extra.get("encoding"))
    if draft.channel is not None and draft.channel >= info.channels:
        message = f"has {info.channels} channels. Received: channel {draft.channel}, counted from 0."
        raise data_error(draft.path, "lacking the channel", message)
    return info.duration


def corpus(
    kind: type[Preparation], *, key: Callable[[Example], Hashable] | None = None
) -> Callable[[Callable[..., Splits]], Callable[..., dict[str, list[Example]]]]:
    """Decorator: turns a function that lists the examples of a corpus into one that writes manifests.

    Callers pass the corpus, `out`, and the other fields of `kind` as keywords. The decorated function receives these
    as `options`, and adds faults to `options.collector`.

    Args:
        kind: Class of the options.
        key: Key that training and validation examples must not share; the subject by default.
    """

    def decorated(function: Callable[..., Splits]) -> Callable[..., dict[str, list[Example]]]:
        @functools.wraps(function)
        def prepare(*, options: Preparation, **arguments: Any) -> dict[str, list[Example]]:
            drafts_by_split = function(options=options, **arguments)
            splits = {name: list(drafts) for name, drafts in drafts_by_split.items()}
            options.check()
            return build(splits, key=key, **{one.name: getattr(options, one.name) for one in fields(options)})

        signature = inspect.signature(function).replace(return_annotation=dict[str, list[Example]])
        prepare.__signature__ = signature  # type: ignore[attr-defined]
        return options_as_keywords(kind, "out")(prepare)

    return decorated


@options_as_keywords(TestSplit, "out")
def build(  # noqa: D417 - the decorator adds the options
    splits: Splits, *, options: TestSplit, key: Callable[[Example], Hashable] | None = None
) -> dict[str, list[Example]]:
    """Measure the recordings of every split and write `out/{split}.jsonl`.

    Args:
        splits: Drafts or examples by the name of their split.
        key: Key that training and validation examples must not share; the subject by default.

    Returns:
        The examples by split, as written; empty while `RecordingLengths.listing` is active.

    Raises:
        FileExistsError: A manifest exists and `overwrite` is false.
        ValueError: The data have a fault and `faults` is not given, a split has no usable examples, or no validation
            split can be made.
    """
    fractions = {"test": options.test_fraction, "valid": options.valid_fraction}
    held_out = {name: part for name, part in fractions.items() if part}
    names = [*splits, *held_out]
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or names.count(name) > 1:
            raise ValueError(f"Cannot name a split {name!r}: it must be new, of letters, digits, `.`, `_` and `-`.")
        options.refuse_existing(name)
    lengths = _lengths.get()
    if lengths is not None and lengths.listed is not None:
        drafts = [draft for part in splits.values() for draft in part if isinstance(draft, Draft)]
        lengths.listed |= {_recording_key(draft): draft for draft in drafts}
        return {}
    before = len(options.collector)
    prepared = {name: measured(drafts, options.collector, progress=options.progress) for name, drafts in splits.items()}
    options.check()
    for name, examples in prepared.items():
        if not examples:
            faults = list(options.collector)  # first those of recordings, then those of listing
            first = next((fault.message for fault in faults[before:] + faults[:before]), "there is nothing in it.")
            path = Path(options.out, f"{name}.jsonl")
            raise ValueError(f"{path}: No example of the split {name!r} can be used. Check the folder. First: {first}")
    for name, fraction in held_out.items():
        prepared = _with_held_out(prepared, name, fraction, options.seed, key)
    for name, examples in prepared.items():
        manifest.write(Path(options.out, f"{name}.jsonl"), examples, overwrite=options.overwrite)
    return prepared


def _with_held_out(
    splits: dict[str, list[Example]],
    name: str,
    fraction: float,
    seed: int,
    key: Callable[[Example], Hashable] | None,
) -> dict[str, list[Example]]:
    training = [split for split in splits if split.startswith("train")]
    if not training:
        raise ValueError(f"A split is taken from one called train, to make {name!r}. Received: {', '.join(splits)}.")
    pooled = [example for split in training for example in splits[split]]
    if key is None and all(e.subject is None and e.label is not None for e in pooled):
        held_out = _stratified(pooled, fraction, seed)
    else:
        _, held_out = split_by_subject(pooled, fraction=fraction, seed=seed, key=key)
    chosen = {example.id for example in held_out}
    remaining = {split: [e for e in splits[split] if e.id not in chosen] for split in training}
    for split, examples in remaining.items():
        if not examples:
            raise ValueError(f"All speakers of {split!r} would be held out for {name!r}. Lower the fraction.")
    return {**splits, **remaining, name: held_out}


def _stratified(examples: list[Example], fraction: float, seed: int) -> list[Example]:
    """Choose the same fraction of each class, at least one recording but never all of them.

    Parts of one recording stay together; recordings with several classes are grouped by their set of classes.
    """
    parts: dict[Hashable, list[Example]] = {}
    for example in examples:
        parts.setdefault((example.path, example.extra.get("row")), []).append(example)
    labels_of = {group[0].id: frozenset(example.label for example in group) for group in parts.values()}
    ranked = shuffled(labels_of, fraction, seed)
    chosen: set[str] = set()
    for labels in set(labels_of.values()):
        group = [name for name in ranked if labels_of[name] == labels]
        chosen.update(group[: min(max(1, round(fraction * len(group))), len(group) - 1)])
    if not chosen:
        raise ValueError(
            "No class has two recordings, so none can be held out. Say yourself what belongs to which split. Received: "
            f"recordings: {len(parts)}, examples: {len(examples)}."
        )
    held_out = {example.id for group in parts.values() if group[0].id in chosen for example in group}
    return [example for example in examples if example.id in held_out]


def find_audio(stem: str | os.PathLike[str], suffixes: Iterable[str], faults: Faults) -> Path | None:
    """Find the file with this stem and the first of the suffixes that exists; if none does, add a fault."""
    suffixes = tuple(suffixes)
    for suffix in suffixes:
        if (path := Path(f"{os.fspath(stem)}{suffix}")).is_file():
            return path
    message = f"{stem}: there is no such recording with any of the endings {', '.join(suffixes)}."
    faults.add(Path(stem).name, "missing", message)
    return None


def find_tables(folder: str | os.PathLike[str]) -> list[Path]:
    """Find the tables in a folder and its subfolders, sorted by path; a path of one table is returned as it is.

    Raises:
        FileNotFoundError: There is neither.
        ValueError: The folder has none.
    """
    folder = Path(folder)
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder or table.")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".csv", ".tsv", ".parquet"))
    if not paths:
        raise ValueError(f"{folder}: has no .csv, .tsv or .parquet.")
    return paths


def in_chunks(
    record: Draft, stretches: Sequence[tuple[int, int, str]], samples: range, chunk: int, rate: float, *, digits: int
) -> Iterator[Draft]:
    """Cut a record into chunks, and yield those with labels; times of labels count from the start of their chunk.

    Args:
        record: Draft of the whole record.
        stretches: First sample, end sample (exclusive) and class of each labeled stretch.
        samples: The samples of the record to cut.
        chunk: Samples in a chunk; the last one may be shorter.
        rate: Samples per second.
        digits: Minimum digits of the first sample's number in a chunk's id.
    """
    for begin in range(samples.start, samples.stop, chunk):
        end = min(begin + chunk, samples.stop)
        inside = [(max(a, begin) - begin, min(b, end) - begin, c) for a, b, c in stretches if a < end and b > begin]
        if inside:
            yield replace(
                record,
                labels=tuple((start / rate, stop / rate, name) for start, stop, name in inside),
                id=f"{record.id}-{begin:0{digits}}",
                offset=begin / rate,
                duration=(end - begin) / rate,
            )


def folders_with(folder: Path, pattern: str, message: str) -> dict[str, Path]:
    """The folder if it has files that match a pattern, else its subfolders that do, by name.

    Raises:
        ValueError: There is none; with this message.
    """
    if any(folder.glob(pattern)):
        return {folder.resolve().name: folder}
    folders = {path.name: path for path in sorted(folder.iterdir()) if any(path.glob(pattern))}
    if not folders:
        raise ValueError(f"{folder}: {message}")
    return folders


def need_folder(folder: str | os.PathLike[str], hint: str, within: str = "") -> Path:
    """Check that a folder exists and return its path, or that of its subfolder `within` if there is one.

    Raises:
        FileNotFoundError: It does not exist.
        NotADirectoryError: It is a file.
    """
    path = Path(folder)
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such folder. {hint}")
    if not path.is_dir():
        raise NotADirectoryError(f"{path}: is not a folder. {hint}")
    return path / within if (path / within).is_dir() else path
