"""What every corpus has in common: recordings are measured, and the splits written as manifests."""

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

_lengths: ContextVar["Lengths | None"] = ContextVar("lengths", default=None)
"""What knows the lengths of recordings, or learns what there are, within its blocks."""


@dataclass(frozen=True)
class Draft:
    """An example before its recording was looked at: all that an `Example` has but the duration."""

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
"""What a corpus has, by the name of the split."""


@dataclass(frozen=True)
class Preparation:
    """How a corpus becomes manifests."""

    out: str | os.PathLike[str]
    """Folder for the manifests, and for the records that some of them point to."""
    overwrite: bool = False
    """Replace files that exist."""
    faults: Faults | None = None
    """Collects what cannot be used; without it the first fault is an error, and no manifest is written."""
    progress: Callable[[int], object] | None = None
    """Called with the number of recordings done since the last call."""

    @cached_property
    def found(self) -> Faults:
        """The collector, its own where none was given."""
        return Faults() if self.faults is None else self.faults

    def check(self) -> None:
        """Raise the first fault, where no collector was given."""
        if self.faults is None:
            self.found.raise_first()

    def refuse_existing(self, *splits: str) -> None:
        """Raise if the manifest of a split is there and must not be replaced: before records are written, not after.

        Raises:
            FileExistsError: It is.
        """
        for split in splits:
            refuse_existing(Path(self.out, f"{split}.jsonl"), overwrite=self.overwrite)

    def write_record(self, name: str, signal: Any, rate: float, *, folder: str = "records", **more: Any) -> Path:
        """Write a record that manifests point to, with the arguments of `signals.write`; gives its path."""
        path = Path(self.out, folder, f"{name}.npz")
        signals.write(path, signal, rate, overwrite=self.overwrite, **more)
        return path


@dataclass(frozen=True)
class ValidSplit(Preparation):
    """How a corpus becomes manifests, one of them held out."""

    valid_fraction: float = 0.0
    """Share of the data that becomes `valid.jsonl`: counted in seconds of the training data, in whole
    subjects, or a part of each class if no subject is known."""
    seed: int = 0
    """Seed of random numbers: what is held out."""


@dataclass(frozen=True)
class TestSplit(ValidSplit):
    """How a corpus that has no test set becomes manifests."""

    test_fraction: float = 0.0
    """Share of the data that becomes `test.jsonl`: chosen in the same way."""


def measured(
    drafts: Iterable[Draft | Example], faults: Faults, *, progress: Callable[[int], object] | None = None
) -> list[Example]:
    """Examples with the durations that the headers of their recordings give.

    Args:
        drafts: What to measure; examples, whose lengths are known, stay as they are.
        faults: Collects missing, empty and undecodable recordings, transcripts without characters and ids that
            occurred before; the rest is returned.
        progress: Called with the number of recordings done since the last call.

    Returns:
        The examples in the order of the drafts.
    """
    known = _lengths.get()

    def measure(draft: Draft | Example) -> Example | None:
        if isinstance(draft, Example):
            return draft
        name = draft.id or Path(draft.path).stem
        try:
            if draft.text is not None and not draft.text.strip():
                raise data_error(draft.path, "without a transcript", f"the transcript of {name} has no characters.")
            return _example(draft, _seconds(draft) if known is None else known.of(draft))
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


class Lengths:
    """Lengths of recordings by what is read: measured in parts, and then used as if they were measured now.

    Looking into recordings is most of the work with a large corpus; listing them is not.

    Args:
        found: Seconds by recording; where it cannot be read, the kind of its fault and the message.
    """

    def __init__(self, found: Mapping[str, float | list[str]] | None = None) -> None:
        self.found = dict(found or {})
        self.listed: dict[str, Draft] | None = None
        """Every recording that `build` was given in a block of `listing`, in order, each once."""

    @contextmanager
    def listing(self) -> Iterator[None]:
        """Within the block `build` lists recordings, and makes nothing."""
        self.listed = {}
        with self.used():
            yield

    @contextmanager
    def used(self) -> Iterator[None]:
        """Within the block `build` takes the lengths that are found here."""
        token = _lengths.set(self)
        try:
            yield
        finally:
            _lengths.reset(token)

    def measure(self, chosen: slice, progress: Callable[[int], object] | None = None) -> None:
        """Find the lengths of some of the listed recordings."""
        recordings = list((self.listed or {}).items())[chosen]

        def length(recording: tuple[str, Draft]) -> float | list[str]:
            try:
                return _seconds(recording[1])
            except (ValueError, OSError) as error:
                return [kind_of(error), str(error)]

        with ThreadPoolExecutor(_WORKERS) as pool:
            for (name, _), found in zip(recordings, pool.map(length, recordings), strict=True):
                self.found[name] = found
                if progress is not None:
                    progress(1)

    def of(self, draft: Draft) -> float:
        """The length of a draft's recording in seconds.

        Raises:
            ValueError: It could not be read.
        """
        found = self.found.get(_recording(draft))
        if found is None:
            raise data_error(draft.path, "new", "was not there when the shards measured the corpus. Measure it again.")
        if isinstance(found, list):
            error = ValueError(found[1])
            error.kind = found[0]  # type: ignore[attr-defined]
            raise error
        return found


def _recording(draft: Draft) -> str:
    """What decides the length of a draft's recording."""
    asked = {name: draft.extra.get(name) for name in ("row", "rate", "channels", "table", "encoding")}
    return json.dumps([os.fspath(draft.path), asked | {"channel": draft.channel}], default=str)


def _example(draft: Draft, whole: float) -> Example:
    duration = whole - draft.offset if draft.duration is None else draft.duration
    if duration <= 0 or draft.offset + duration > whole + 0.01:
        raise data_error(
            draft.path,
            "shorter than their segment",
            f"lasts {whole:.3f} s. Received a segment of {duration:.3f} s from {draft.offset:.3f} s.",
        )
    return Example(**{**vars(draft), "duration": duration, "extra": dict(draft.extra)})


def _seconds(draft: Draft) -> float:
    """Length of the recording; a signal's channels have to be there too."""
    if signals.is_signal(draft.path):
        how = {name: draft.extra.get(name) for name in ("row", "rate", "channels", "table")}
        return signals.probe(draft.path, **how).duration
    info = audio.probe(draft.path, encoding=draft.extra.get("encoding"))
    if draft.channel is not None and draft.channel >= info.channels:
        message = f"has {info.channels} channels. Received: channel {draft.channel}, counted from 0."
        raise data_error(draft.path, "lacking the channel", message)
    return info.duration


def corpus(
    kind: type[Preparation], *, key: Callable[[Example], Hashable] | None = None
) -> Callable[[Callable[..., Splits]], Callable[..., dict[str, list[Example]]]]:
    """Make a function that lists what a corpus has one that writes its manifests and gives their examples.

    It is called with the corpus, `out`, and the other fields of `kind` as keywords; the function gets these as
    `options`, and adds to `options.found` what cannot be used.

    Args:
        kind: What can be said of the manifests.
        key: What training and validation must not share; the subject by default.
    """

    def decorated(function: Callable[..., Splits]) -> Callable[..., dict[str, list[Example]]]:
        @functools.wraps(function)
        def prepare(*, options: Preparation, **given: Any) -> dict[str, list[Example]]:
            listed = function(options=options, **given)
            splits = {name: list(drafts) for name, drafts in listed.items()}
            options.check()
            return build(splits, key=key, **{one.name: getattr(options, one.name) for one in fields(options)})

        made = inspect.signature(function).replace(return_annotation=dict[str, list[Example]])
        prepare.__signature__ = made  # type: ignore[attr-defined]
        return options_as_keywords(kind, "out")(prepare)

    return decorated


@options_as_keywords(TestSplit, "out")
def build(  # noqa: D417 - `takes` adds the options
    splits: Splits, *, options: TestSplit, key: Callable[[Example], Hashable] | None = None
) -> dict[str, list[Example]]:
    """Measure the recordings of every split and write `out/{split}.jsonl`.

    Args:
        splits: Drafts, or examples, by the name of their split.
        key: What training and validation must not share; the subject by default.

    Returns:
        The examples by split, as written; none where `Lengths` only list the recordings.

    Raises:
        FileExistsError: There is such a manifest and `overwrite` is false.
        ValueError: Something is wrong with the data and `faults` is not given, a split has nothing left, or no
            validation split can be made.
    """
    fractions = {"test": options.test_fraction, "valid": options.valid_fraction}
    held = {name: part for name, part in fractions.items() if part}
    names = [*splits, *held]
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or names.count(name) > 1:
            raise ValueError(f"Cannot name a split {name!r}: it must be new, of letters, digits, `.`, `_` and `-`.")
        options.refuse_existing(name)
    known = _lengths.get()
    if known is not None and known.listed is not None:
        drafts = [draft for part in splits.values() for draft in part if isinstance(draft, Draft)]
        known.listed |= {_recording(draft): draft for draft in drafts}
        return {}
    before = len(options.found)
    made = {name: measured(drafts, options.found, progress=options.progress) for name, drafts in splits.items()}
    options.check()
    for name, examples in made.items():
        if not examples:
            faults = list(options.found)  # those of reading recordings first, then those of listing them
            first = next((fault.message for fault in faults[before:] + faults[:before]), "there is nothing in it.")
            there = Path(options.out, f"{name}.jsonl")
            raise ValueError(f"{there}: No example of the split {name!r} can be used. Check the folder. First: {first}")
    for name, fraction in held.items():
        made = _with_held_out(made, name, fraction, options.seed, key)
    for name, examples in made.items():
        manifest.write(Path(options.out, f"{name}.jsonl"), examples, overwrite=options.overwrite)
    return made


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
    together = [example for split in training for example in splits[split]]
    if key is None and all(e.subject is None and e.label is not None for e in together):
        held = _of_each_class(together, fraction, seed)
    else:
        _, held = split_by_subject(together, fraction=fraction, seed=seed, key=key)
    chosen = {example.id for example in held}
    left = {split: [e for e in splits[split] if e.id not in chosen] for split in training}
    for split, examples in left.items():
        if not examples:
            raise ValueError(f"All speakers of {split!r} would be held out for {name!r}. Lower the fraction.")
    return {**splits, **left, name: held}


def _of_each_class(examples: list[Example], fraction: float, seed: int) -> list[Example]:
    """The same part of every class, at least one recording and never all: a class with one keeps it in training.

    Parts of one recording stay together; where they have several classes, so do recordings with the same ones.
    """
    parts: dict[Hashable, list[Example]] = {}
    for example in examples:
        parts.setdefault((example.path, example.extra.get("row")), []).append(example)
    found = {same[0].id: frozenset(example.label for example in same) for same in parts.values()}
    ranked = shuffled(found, fraction, seed)
    chosen: set[str] = set()
    for labels in set(found.values()):
        same = [name for name in ranked if found[name] == labels]
        chosen.update(same[: min(max(1, round(fraction * len(same))), len(same) - 1)])
    if not chosen:
        raise ValueError(
            "No class has two recordings, so none can be held out. Say yourself what belongs to which split. Received: "
            f"recordings: {len(parts)}, examples: {len(examples)}."
        )
    held = {example.id for same in parts.values() if same[0].id in chosen for example in same}
    return [example for example in examples if example.id in held]


def find_audio(stem: str | os.PathLike[str], suffixes: Iterable[str], faults: Faults) -> Path | None:
    """The file of this stem with the first ending that is there; where there is none, that is a fault."""
    suffixes = tuple(suffixes)
    for suffix in suffixes:
        if (path := Path(f"{os.fspath(stem)}{suffix}")).is_file():
            return path
    message = f"{stem}: there is no such recording with any of the endings {', '.join(suffixes)}."
    faults.add(Path(stem).name, "missing", message)
    return None


def find_tables(folder: str | os.PathLike[str]) -> list[Path]:
    """The tables in a folder and its folders, by name; or the one table that was named.

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
    """Chunks of a record in which something has a class; times of labels count from the start of their chunk.

    Args:
        record: What they have in common.
        stretches: First sample, the one behind the last, and class of each.
        samples: Those of the record that are cut.
        chunk: Samples in a chunk, the last one apart.
        rate: Samples per second.
        digits: Of the first sample's number, which follows the record's name in theirs.
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
    """A folder that has files of a pattern, or the folders in it that do, by name.

    Raises:
        ValueError: There is none; the message says so.
    """
    if any(folder.glob(pattern)):
        return {folder.resolve().name: folder}
    there = {path.name: path for path in sorted(folder.iterdir()) if any(path.glob(pattern))}
    if not there:
        raise ValueError(f"{folder}: {message}")
    return there


def need_folder(folder: str | os.PathLike[str], hint: str, within: str = "") -> Path:
    """The folder as a path; or the folder of the name `within` in it, if there is one.

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
