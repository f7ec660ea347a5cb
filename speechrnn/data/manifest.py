"""Manifests: one JSON object per line for each recording or segment of a recording.

```
{"path": "wav/an251.flac", "duration": 1.23, "text": "yes", "subject": "fash", "id": "an251-fash-b"}
```
A relative path is relative to the manifest's own folder, so a folder can be moved with its manifest.
"""

import hashlib
import itertools
import json
import logging
import math
import numbers
import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from speechrnn.faults import Faults, data_error, kind_of, suggestion
from speechrnn.files import replacing

_log = logging.getLogger(__name__)

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_SURROGATE = re.compile("[\ud800-\udfff]")
_OTHER_NAMES = {
    "speaker": "subject", "speaker_id": "subject", "client_id": "subject", "patient": "subject",
    "audio": "path", "audio_filepath": "path", "audio_path": "path", "file": "path", "filename": "path", "wav": "path",
    "transcript": "text", "transcription": "text", "sentence": "text", "class": "label", "target": "label",
    "length": "duration", "start": "offset", "begin": "offset", "utterance": "id", "utt_id": "id", "name": "id",
}  # fmt: skip
"""Keys of other programs' manifests, and ours for them."""
_MAX_DIGITS = 4000  # Python's limit for integers is 4300
_MAX_BAD_LINES = 3
"""Up to this many lines without a JSON object are reported line by line; a file of more is not a manifest."""
_NO_MANIFEST = " A manifest has one JSON object per line; `speechrnn prepare table` makes one from a table."


@dataclass(frozen=True)
class Example:
    """One recording, or a segment of one, with its transcript or labels.

    Raises:
        ValueError: A field's value is of the wrong type or out of range.

    Example:
    >>> Example("wav/an251-fash-b.flac", 1.23, text="yes", subject="fash").id
    'an251-fash-b'
    """

    path: str
    """Path of the file, valid in the current folder."""
    duration: float
    """Length in seconds of the file or segment."""
    text: str | None = None
    """Transcript."""
    label: str | int | None = None
    """Class of the whole recording."""
    labels: tuple[Any, ...] | None = None
    """Classes of its stretches, as (start, end, class), or one class per frame."""
    offset: float = 0.0
    """Start of the segment in seconds."""
    channel: int | None = None
    """Channel to read, counted from 0; the mean of all if absent."""
    subject: str | None = None
    """Speaker or patient."""
    id: str = ""
    """Name of the utterance; the stem of the path if absent."""
    extra: dict[str, Any] = field(default_factory=dict, hash=False)
    """Anything else, such as `encoding` of headerless samples, as in `s16be@16000`."""

    def __post_init__(self) -> None:
        values = {f.name: _valid(f.name, getattr(self, f.name)) for f in fields(self)}
        values["id"] = values["id"] or Path(self.path).stem
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def encoding(self) -> str | None:
        """Coding, rate and channels of headerless samples; `None` for a file with a header."""
        return self.extra.get("encoding")


def _valid(name: str, value: Any) -> Any:
    """Check the value of a field and convert it to its stored type."""
    if name == "path":
        value = os.fspath(value) if isinstance(value, os.PathLike) else value
        if not isinstance(value, str) or not value or "\0" in value:
            raise _field_error(name, "must be a file name", value)
        if _URL.match(value):
            raise _field_error(name, "must be a file. Download it, and give its name", value)
    elif name in ("duration", "offset"):
        try:
            number = float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else math.nan
        except OverflowError:  # an integer of hundreds of digits
            number = math.inf
        if not math.isfinite(number) or number < 0 or (name == "duration" and number == 0):
            raise _field_error(name, "must be positive" if name == "duration" else "must be zero or more", value)
        return number
    elif value is None:
        return {"id": "", "extra": {}}.get(name)
    elif name in ("text", "subject", "id"):
        if not isinstance(value, str):
            raise _field_error(name, "must be a string", value)
        if name == "text" and not value.isascii() and _SURROGATE.search(value):
            raise _field_error(name, "must be whole characters, without half of a pair", value)
        if name == "text" and "\0" in value:
            raise _field_error(name, "must be text without zeros", value)
    elif name == "channel":
        if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < 0:
            raise _field_error(name, "must be a whole number from 0", value)
        return int(value)
    elif name == "label":
        if not isinstance(value, str | numbers.Integral) or isinstance(value, bool):
            raise _field_error(name, "must be a string or a whole number", value)
        return value if isinstance(value, str) else int(value)
    elif name == "labels":
        if not isinstance(value, list | tuple):
            raise _field_error(name, "must be a list", value)
        for row in value:
            if isinstance(row, list | tuple) and not _is_stretch(row):
                raise _field_error(name, "must be classes, or stretches [start, end, class] in seconds", row)
        return tuple(tuple(row) if isinstance(row, list) else row for row in value)
    elif not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise _field_error(name, "must be an object with string keys", value)
    return value


def _is_stretch(row: Sequence[Any]) -> bool:
    """Whether a row is a start and an end in seconds, and a class."""
    if len(row) != 3 or not isinstance(row[2], str | numbers.Integral):
        return False
    return all(isinstance(at, numbers.Real) and not isinstance(at, bool) and math.isfinite(at) for at in row[:2])


def _field_error(name: str, requirement: str, value: Any) -> ValueError:
    return ValueError(f"`{name}` {requirement}. Received: {value!r:.100}.")


def read(path: str | os.PathLike[str], *, faults: Faults | None = None) -> list[Example]:
    """Read a manifest.

    Args:
        path: A JSONL file in UTF-8. Blank lines are skipped.
        faults: Collects bad lines, which are skipped. If `None`, the first bad line is an error.

    Returns:
        The examples in order, their paths joined to the manifest's folder.

    Raises:
        FileNotFoundError: The file does not exist.
        IsADirectoryError: It is a folder.
        ValueError: `faults` is not given, and a line is not valid JSON, lacks a key, has an unknown key, a value out
            of range, a path outside the manifest's folder or the id of an earlier line, or the file has no lines.
    """
    collected = Faults() if faults is None else faults
    examples: list[Example] = []
    lines: dict[str, int] = {}
    total = 0
    for number, line in enumerate(file_lines := _lines(path), start=1):
        if not line.strip():
            continue
        total += 1
        if total == 1 and not any(one.lstrip().startswith(b"{") for one in file_lines):
            if not _is_text(line):
                message = f"is no text: it begins with {line[:12]!r}.{_NO_MANIFEST}"
                raise data_error(os.fspath(path), "no manifest", message)
            if sum(map(bool, map(bytes.strip, file_lines))) > _MAX_BAD_LINES:
                message = f"is no manifest: no line is a JSON object. It begins with {line[:40]!r}.{_NO_MANIFEST}"
                raise data_error(os.fspath(path), "no manifest", message)
        where = f"{os.fspath(path)}:{number}"
        try:
            example = _parse(line, os.path.dirname(path))
            first = lines.setdefault(example.id, number)
            if first != number:
                raise data_error(
                    where, "duplicate", f"the id {example.id!r} is that of line {first}. Give each line its own `id`."
                )
        except (ValueError, RecursionError) as error:
            kind = kind_of(error)
            hint = "" if total > 1 or os.fspath(path).endswith(".jsonl") else _NO_MANIFEST
            error = data_error(where, kind, f"{error}{hint}")
            collected.add(where, "bad lines" if kind == "invalid" else kind, str(error))
            continue
        examples.append(example)
    if not total:
        name = os.fspath(path)
        collected.add(name, "empty", f"{name}: has no examples. Make it with `speechrnn prepare`.")
    if faults is None:
        collected.raise_first()
    return examples


def _lines(path: str | os.PathLike[str]) -> list[bytes]:
    try:
        return Path(path).read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: there is no such manifest. Make it with `speechrnn prepare`.") from error
    except IsADirectoryError as error:
        raise IsADirectoryError(f"{path}: is a folder. Give the path of a .jsonl manifest.") from error


def _is_text(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return b"\0" not in line


def _parse(line: bytes, folder: str) -> Example:
    try:
        text = line.decode("utf-8")
        entry = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant, parse_int=_integer)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"is not JSON: {error.msg.removesuffix(' at')} at column {error.colno}. Received: {line[:60]!r}."
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8: {error.reason} at byte {error.start + 1}. Save the file as UTF-8.") from error
    except RecursionError as error:
        raise ValueError("is nested too deeply.") from error
    if not isinstance(entry, dict):
        raise ValueError(f"must be one JSON object. Received: {line[:60]!r}.")
    known = [f.name for f in fields(Example)]
    for key in entry:
        if key not in known:
            field_name = _OTHER_NAMES.get(key.lower())
            hint = f" Did you mean `{field_name}`?" if field_name else suggestion(key, known)
            raise ValueError(f"unknown key `{key}`.{hint} Anything else belongs under `extra`.")
    for key in ("path", "duration"):
        if key not in entry:
            raise ValueError(f"lacks `{key}`. Received the keys {sorted(entry)}.")
    entry["path"] = _join(folder, _valid("path", entry["path"]))
    return Example(**{key: value for key, value in entry.items() if value is not None or key in ("path", "duration")})


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entry = dict(pairs)
    if len(entry) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"has the key `{next(k for k in keys if keys.count(k) > 1)}` twice.")
    return entry


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"has a number of {len(digits):,} digits, at most {_MAX_DIGITS:,} are read: {digits[:20]}...")
    return int(digits)


def _no_constant(name: str) -> float:
    raise ValueError(f"numbers must be finite. Received: {name}.")


def _join(folder: str, path: str) -> str:
    if os.path.isabs(path):
        return path
    inside = os.path.normpath(path)
    if inside == os.pardir or inside.startswith(os.pardir + os.sep):
        raise ValueError(f"`path` may not lead out of the manifest's folder. Received: {path!r}. Use an absolute path.")
    return os.path.join(folder, inside)


def write(path: str | os.PathLike[str], examples: Iterable[Example], *, overwrite: bool = False) -> None:
    """Write a manifest atomically.

    Args:
        path: The file, by convention ending in .jsonl.
        examples: The examples. Paths under the manifest's folder are written relative to it, others absolute.
        overwrite: Replace an existing manifest.

    Raises:
        FileExistsError: The file exists and `overwrite` is false.
        OSError: The folder cannot be written, or the disk is full; no partial file stays behind.
        ValueError: Two examples have the same id, or `extra` cannot be written as JSON.
    """
    folder = os.path.abspath(os.path.dirname(path))
    seen: set[str] = set()
    with replacing(path, overwrite=overwrite) as file:
        for example in examples:
            if example.id in seen:
                raise data_error(path, "duplicate", f"two examples have the id {example.id!r}. Give each its own `id`.")
            seen.add(example.id)
            file.write(_line(example, folder))


def _line(example: Example, folder: str) -> bytes:
    entry = {f.name: getattr(example, f.name) for f in fields(Example)}
    entry = {key: value for key, value in entry.items() if value is not None and value != {}}
    if not entry["offset"]:
        del entry["offset"]
    path = os.path.abspath(example.path)
    entry["path"] = os.path.relpath(path, folder) if path.startswith(folder.rstrip(os.sep) + os.sep) else path
    try:
        text = json.dumps(entry, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{example.id}: cannot be written as JSON: {error}.") from error
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError:  # a file name that is not UTF-8, which Python decodes to surrogates
        return json.dumps(entry, allow_nan=False).encode() + b"\n"


def split_by_subject(
    examples: Sequence[Example],
    *,
    fraction: float,
    seed: int = 0,
    key: Callable[[Example], Hashable] | None = None,
) -> tuple[list[Example], list[Example]]:
    """Hold out all examples of some subjects, so that no speaker or patient is in both parts.

    Subjects are ranked by a hash of their name and the seed, and held out in that order if this brings the held-out
    part closer to `fraction` of the seconds. The choice changes little when recordings are added.

    Args:
        examples: The examples to split; their order is kept.
        fraction: Fraction of the seconds to hold out, between 0 and 1.
        seed: Chooses the subjects.
        key: Key that the parts must not share; `subject` by default.

    Returns:
        The remaining examples, and those held out; neither is empty.

    Raises:
        ValueError: `fraction` is out of range, an example has no subject, or there are fewer than two subjects.

    Example:
    >>> examples = [Example(f"{s}{i}.wav", 1, subject=s) for s in "abcd" for i in "12"]
    >>> remaining, held_out = split_by_subject(examples, fraction=0.25)
    >>> len(remaining), len({e.subject for e in held_out})
    (6, 1)
    """
    subject_of = key or (lambda example: example.subject)
    seconds: dict[Hashable, float] = {}
    for example in examples:
        subject = subject_of(example)
        if subject is None:
            raise ValueError(f"{example.id}: has no subject, so a split by subject cannot place it. Name its speaker.")
        seconds[subject] = seconds.get(subject, 0.0) + example.duration
    if len(seconds) < 2:
        raise ValueError(f"A split by subject needs at least two subjects. Received: {sorted(map(str, seconds))}.")
    ranked = shuffled(seconds, fraction, seed)
    target, total = fraction * sum(seconds.values()), 0.0
    held_out: set[Hashable] = set()
    for subject in ranked[:-1]:
        if not held_out or abs(total + seconds[subject] - target) < abs(total - target):
            held_out.add(subject)
            total += seconds[subject]
    return [e for e in examples if subject_of(e) not in held_out], [e for e in examples if subject_of(e) in held_out]


def shuffled(names: Iterable[Hashable], fraction: float, seed: int) -> list[Any]:
    """Shuffle names in an order that depends only on the names and the seed, to hold out a `fraction` of them.

    Raises:
        ValueError: `fraction` is out of range.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"`fraction` must lie between 0 and 1. Received: {fraction}.")
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}\0{name}".encode(errors="replace")).digest())


def check_disjoint(splits: Mapping[str, Sequence[Example]]) -> None:
    """Check that no subject is in two splits, since a model must not be tested on subjects of its training data.

    Args:
        splits: Examples by the name of their split; those without a subject are skipped.

    Raises:
        ValueError: Splits share subjects; the message names some of them.

    Example:
    >>> check_disjoint({"train": [Example("a.wav", 1, subject="x")], "test": [Example("b.wav", 1, subject="x")]})
    Traceback (most recent call last):
    ValueError: The splits 'train' and 'test' share 1 subject: x. Split by subject, or what is scored has been learned.
    """
    subjects = {name: {example.subject for example in examples} - {None} for name, examples in splits.items()}
    for first, second in itertools.combinations(subjects, 2):
        shared = sorted(map(str, subjects[first] & subjects[second]))
        if shared:
            names = ", ".join(shared[:5]) + (f" and {len(shared) - 5} more" if len(shared) > 5 else "")
            share = (
                f"share {len(shared)} subject{'s' * (len(shared) > 1)}: {names}. Split by subject, or what is scored"
            )
            raise ValueError(f"The splits {first!r} and {second!r} {share} has been learned.")


def stratified_group_folds(
    examples: Sequence[Example], folds: int, *, seed: int = 0, key: Callable[[Example], Hashable] | None = None
) -> list[tuple[list[Example], list[Example]]]:
    """Divide examples into folds without common subjects and with about the same class frequencies as all examples.

    By scikit-learn's `StratifiedGroupKFold`; with as many folds as subjects, each fold is one subject. If no example
    has a subject, each is a subject of its own. An example with several classes counts as its most frequent one.

    Args:
        examples: Examples with labels.
        folds: Number of folds, 2 or more.
        seed: Seed of the order of subjects.
        key: Key that the parts must not share; `subject` by default.

    Returns:
        The remaining and the held-out examples of each fold, in their order; every example is held out once.

    Raises:
        ModuleNotFoundError: scikit-learn is not installed; it comes with the extra `speechrnn[signals]`.
        ValueError: An example has no class, only some have a subject, there are fewer subjects than folds, or no class
            has an example for each fold where there are more subjects than folds.
    """
    subject_of = key or (lambda example: example.subject)
    groups = [subject_of(example) for example in examples]
    unnamed = [example.id for example, group in zip(examples, groups, strict=True) if group is None]
    if 0 < len(unnamed) < len(examples):
        raise ValueError(
            f"{len(unnamed)} of {len(examples)} examples have no subject, {unnamed[0]} the first. Name all."
        )
    subjects = list(range(len(examples))) if unnamed else _numbered(groups)
    if not 2 <= folds <= len(set(subjects)):
        raise ValueError(f"`folds` must be from 2 to the {len(set(subjects))} subjects. Received: {folds}.")
    classes = [_main_class(example) for example in examples]
    for name, count in Counter(name for name, _ in set(zip(classes, subjects, strict=True))).items():
        if count < folds:
            _log.warning("Class %s has %d subjects for %d folds: some folds hold none.", name, count, folds)
    if folds == len(set(subjects)):  # nothing to choose, and scikit-learn may leave a fold empty
        held = [{index for index, name in enumerate(subjects) if name == subject} for subject in sorted(set(subjects))]
    else:
        if folds > (largest := max(Counter(classes).values())):
            raise ValueError(
                f"`folds` must be at most {largest}, the examples of the most frequent class, or all subjects."
            )
        from sklearn.model_selection import StratifiedGroupKFold

        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about rare classes, which are logged above
            held = [set(fold.tolist()) for _, fold in splitter.split(subjects, _numbered(classes), subjects)]
    everything = list(enumerate(examples))
    return [([e for i, e in everything if i not in fold], [e for i, e in everything if i in fold]) for fold in held]


def _numbered(values: Sequence[Hashable]) -> list[int]:
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    return [numbers[value] for value in values]


def _main_class(example: Example) -> str:
    """The label of an example, or the most frequent one of its stretches or frames, or its tags joined."""
    if example.label is not None:
        return str(example.label)
    if example.labels:
        seconds: Counter[str] = Counter()
        for row in example.labels:
            segment = isinstance(row, tuple)
            seconds[str(row[2] if segment else row)] += row[1] - row[0] if segment else 1
        return seconds.most_common(1)[0][0]
    if example.extra.get("tags"):
        return " ".join(map(str, example.extra["tags"]))
    raise ValueError(f"{example.id}: has no class, so folds cannot be stratified. Give it a `label`.")
