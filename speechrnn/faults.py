"""Faults: what was wrong with the data, collected and counted while the rest of the work goes on; and with options."""

import codecs
import contextlib
import difflib
import functools
import inspect
import math
import os
import re
import textwrap
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Fault:
    """One thing wrong with one piece of data."""

    where: str
    """Path, utterance or `file:line`."""
    kind: str
    """Short phrase that can follow a number: `missing`, `empty`, `too short for their text`."""
    message: str
    """What was required, what was received, what to do."""

    def __str__(self) -> str:
        return self.message if self.message.startswith(self.where) else f"{self.where}: {self.message}"

    def exception(self) -> Exception:
        """The fault as an exception: `FileNotFoundError`, `IsADirectoryError`, or a `ValueError` of its kind."""
        plain = {"missing": FileNotFoundError, "not a file": IsADirectoryError}.get(self.kind)
        return plain(str(self)) if plain else data_error(self.where, self.kind, self.message)


class Faults:
    """Thread-safe collector of faults.

    Example:
    >>> faults = Faults()
    >>> faults.add("an251-fash-b", "empty", "an251-fash-b.wav is empty (0 bytes).")
    >>> faults.summary(948)
    '1 of 948 examples dropped: 1 empty. First: an251-fash-b.'
    """

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, where: str, kind: str, message: str) -> None:
        """Record one fault."""
        with self._lock:
            self._faults.append(Fault(str(where), kind, message))

    def add_error(self, where: str, error: BaseException) -> None:
        """Record an exception, under the kind that `kind_of` gives it."""
        self.add(where, kind_of(error), str(error))

    def extend(self, faults: Iterable[Fault]) -> None:
        """Record faults that were found elsewhere."""
        with self._lock:
            self._faults.extend(faults)

    def __len__(self) -> int:
        return len(self._faults)

    def __iter__(self) -> Iterator[Fault]:
        with self._lock:
            return iter(list(self._faults))

    def counts(self) -> dict[str, int]:
        """Number of faults of each kind: the most frequent first, and by name where as many were found."""
        counted = Counter(fault.kind for fault in self)
        return dict(sorted(counted.items(), key=lambda entry: (-entry[1], entry[0])))

    def summary(self, total: int, *, noun: str = "examples") -> str:
        """One sentence: how many of `total` were dropped, why, and the first of them."""
        faults = list(self)
        if not faults:
            return f"0 of {total:,} {noun} dropped."
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in self.counts().items())
        return f"{len(faults):,} of {total:,} {noun} dropped: {kinds}. First: {faults[0].where}."

    def raise_first(self) -> None:
        """Raise the first fault as a `ValueError` that says how many follow; nothing if there is none."""
        faults = list(self)
        if faults:
            more = f" (and {len(faults) - 1:,} more)" if len(faults) > 1 else ""
            raise data_error(faults[0].where, faults[0].kind, f"{faults[0].message}{more}")


def data_error(where: object, kind: str, message: str) -> ValueError:
    """A `ValueError` about data at `where`, carrying its `kind` for a collector.

    Example:
    >>> error = data_error("a.wav", "empty", "is empty (0 bytes).")
    >>> str(error), kind_of(error)
    ('a.wav: is empty (0 bytes).', 'empty')
    """
    place = str(where)
    error = ValueError(message if message.startswith(place) else f"{place}: {message}")
    error.kind = kind  # type: ignore[attr-defined]
    return error


@contextlib.contextmanager
def of_file(path: str | os.PathLike[str], *, extra: str = "", said: str = "cannot be read") -> Iterator[None]:
    """The boundary around a reader: whatever it raises becomes the fault of the file that it reads.

    What names a file already passes as it is, as most of what the operating system says does. A library that is
    missing, a file that asks for more memory than there is, and anything else that a library raises inside itself
    become a `ValueError` that carries its kind.

    Args:
        path: The file.
        extra: Of this package, such as `signals`: what to install where a library is missing.
        said: What is said of the file where a library does not tell more than what went wrong inside it.

    Example:
    >>> with of_file("a.hea"):
    ...     {}["17"]
    Traceback (most recent call last):
    ...
    ValueError: a.hea: cannot be read: KeyError: '17'.
    """
    name = os.fspath(path)
    try:
        yield
    except ImportError as error:
        advice = f' Run: pip install "speechrnn[{extra}]"' if extra and "pip install" not in str(error) else ""
        raise data_error(name, "lacking a library", f"cannot be read without a library: {error}.{advice}") from error
    except MemoryError as error:
        message = "asks for more memory than there is. Its header is damaged, or it has to be read in segments."
        raise data_error(name, "too large", message) from error
    except OSError as error:
        if error.filename is not None or name in str(error):
            raise
        raise data_error(name, "undecodable", f"{said}: {error}.") from error
    except Exception as error:
        if isinstance(error, ValueError) and hasattr(error, "kind") and name in str(error):
            raise
        told = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise data_error(name, "undecodable", f"{said}: {told.rstrip('.')}.") from error


def kind_of(error: BaseException) -> str:
    """The kind of fault an exception stands for."""
    kind = getattr(error, "kind", None)
    if isinstance(kind, str):
        return kind
    if isinstance(error, FileNotFoundError):
        return "missing"
    if isinstance(error, IsADirectoryError):
        return "not a file"
    return "unreadable" if isinstance(error, OSError) else "invalid"


def suggestion(name: object, known: Iterable[object], listed: str = "") -> str:
    """`" Did you mean `x`?"` for the nearest known name, or nothing; and with a word for them, all that are known.

    Example:
    >>> suggestion("durtion", ["path", "duration"])
    ' Did you mean `duration`?'
    >>> suggestion("label", ["path", "duration"], "Columns")
    ' Columns: path, duration.'
    """
    names = [str(one) for one in known]
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f" Did you mean `{near[0]}`?" if near else ""
    return f"{hint} {listed}: {', '.join(names) or 'none'}." if listed else hint


def not_among(name: str, value: object, known: Iterable[object], *, other: str = "") -> str:
    r"""What is said of a value that must be one of those that are known; the nearest one is named.

    Args:
        name: Of the argument, or words for what it is, such as `the ending`.
        value: What was received.
        known: What it may be.
        other: What else it may be, in words.

    Example:
    >>> not_among("cell", "grr", ["lstm", "gru"], other="a layer")
    "`cell` must be one of lstm, gru, or a layer. Received: cell='grr'. Did you mean `gru`?"
    """
    known = list(known)
    told = ", ".join(map(str, known)) + (f", or {other}" if other else "")
    what, received = (f"`{name}`", f"{name}={value!r:.80}") if name.isidentifier() else (name, f"{value!r:.80}")
    return f"{what} must be one of {told}. Received: {received}.{suggestion(value, known)}"


def check_choice(
    name: str,
    value: object,
    known: Collection[object],
    *,
    other: str = "",
    where: object = None,
    error: type[Exception] = ValueError,
) -> None:
    """Refuse a value that is not one of those that are known, in the words of `not_among`.

    Args:
        name: Of the argument, or words for what it is.
        value: What was received.
        known: What it may be.
        other: What else it may be, in words.
        where: File or folder that has what is known.
        error: Class of the error.

    Raises:
        ValueError: It is none of them, or an error of the class that is asked for.
    """
    if value not in list(known):  # which takes values that cannot be hashed
        place = "" if where is None else f"{where}: "
        raise error(f"{place}{not_among(name, value, known, other=other)}")


def check_options(given: Iterable[str], known: Iterable[str], method: str) -> None:
    """Refuse options that a method lacks.

    Raises:
        TypeError: One is unknown; the nearest known one is named.
    """
    known = list(known)
    for name in given:
        if name not in known:
            raise TypeError(f"`{method}` has no option `{name}`.{suggestion(name, known, 'Known')}")


def check_lists(given: Mapping[str, Any], declared: Mapping[str, inspect.Parameter]) -> None:
    """Refuse a text where several are wanted: it would be taken for its characters.

    Args:
        given: Values by the names of their parameters.
        declared: The parameters, whose annotations say where several texts are wanted.

    Raises:
        TypeError: There is such a text.
    """
    for name, value in given.items():
        wanted = str(declared[name].annotation) if name in declared else ""
        several = re.search(r"(Sequence|Iterable|Collection|list|tuple)\[str\b", wanted)
        if isinstance(value, str) and several and not re.search(r"\bstr\b", re.sub(r"\[[^\[\]]*\]", "", wanted)):
            raise TypeError(f"`{name}` must be a list of texts. Received: {value!r:.80}. Write {name}=[{value!r:.80}].")


def require(options: object, requirement: str, holds: Any, *names: str) -> None:
    """Refuse options out of their range.

    Raises:
        ValueError: `holds` is false for the value of one of the names.
    """
    for name in names:
        value = getattr(options, name)
        if not holds(value):
            raise ValueError(f"`{name}` must be {requirement}. Received: {name}={value!r}.")


@dataclass(frozen=True)
class Range:
    """What the numbers of an option must be; it stands in the option's type."""

    requirement: str
    """That in words."""
    holds: Callable[[Any], bool]


Count = Annotated[int, Range("at least 1", lambda value: value >= 1)]
Whole = Annotated[int, Range("zero or positive", lambda value: value >= 0)]
NotNegative = Annotated[float, Range("zero or positive", lambda value: value >= 0)]
Positive = Annotated[float, Range("positive", lambda value: value > 0)]
Finite = Annotated[float, Range("positive", lambda value: 0 < value < math.inf)]
Share = Annotated[float, Range("in [0, 1)", lambda value: 0 <= value < 1)]


class Checked:
    """A dataclass of options that refuses numbers out of the ranges, and words not among those, that its types name.

    Example:
    >>> @dataclass(frozen=True)
    ... class Cooking(Checked):
    ...     eggs: Count = 2
    ...     heat: Literal["low", "high"] = "low"
    >>> Cooking(eggs=0)
    Traceback (most recent call last):
    ...
    ValueError: `eggs` must be at least 1. Received: eggs=0.
    """

    def __post_init__(self) -> None:
        kind: type = type(self)
        for name, optional, limit in _limits(kind):
            if isinstance(limit, Range):
                if not (optional and getattr(self, name) is None):
                    require(self, limit.requirement, limit.holds, name)
            else:
                check_choice(name, getattr(self, name), (*limit, None) if optional else limit)


@functools.cache
def _limits(kind: type) -> list[tuple[str, bool, Any]]:
    """The ranges and choices of a dataclass: the field of each, and whether that may be None."""
    found = []
    hints = get_type_hints(kind, include_extras=True)
    for name in (field.name for field in fields(kind)):
        parts = get_args(hints[name]) if get_origin(hints[name]) in (Union, UnionType) else (hints[name],)
        for part in parts:
            limits = [get_args(part)] if get_origin(part) is Literal else getattr(part, "__metadata__", ())
            found += [(name, type(None) in parts, each) for each in limits if isinstance(each, Range | tuple)]
    return found


def takes(kind: type, *positional: str) -> Callable[[Callable[..., _Result]], Callable[..., _Result]]:
    """Let a function be called with the fields of a dataclass as keywords, which its argument `options` holds together.

    Its signature and its docstring have the fields as well, so that `help` shows them.

    Args:
        kind: The dataclass.
        *positional: Fields that may be given by position as well, behind the function's own arguments.
    """

    def decorated(function: Callable[..., _Result]) -> Callable[..., _Result]:
        declared = inspect.signature(function)
        own = [one for one in declared.parameters.values() if one.name != "options"]
        first = [one.name for one in own if one.kind is one.POSITIONAL_OR_KEYWORD]
        hints = get_type_hints(kind)
        taken = [_parameter(field, hints[field.name], positional) for field in fields(kind)]
        shown = sorted((*own, *taken), key=lambda one: one.kind)
        open_ended = any(one.kind is one.VAR_KEYWORD for one in own)
        order = (*first, *positional)

        @functools.wraps(function)
        def call(*arguments: Any, **given: Any) -> _Result:
            placed = dict(zip(order, arguments, strict=False))
            if len(placed) < len(arguments) or placed.keys() & given.keys():
                raise TypeError(f"`{function.__name__}` takes by position {', '.join(order) or 'nothing'}, once.")
            given = {**placed, **given}
            if not open_ended:
                check_options(given, [one.name for one in shown], function.__name__)
            check_lists(given, {one.name: one for one in shown})
            options = kind(**{one.name: given.pop(one.name) for one in taken if one.name in given})
            return function(options=options, **given)

        call.__signature__ = declared.replace(parameters=shown)  # type: ignore[attr-defined]
        call.__doc__ = _documented(inspect.getdoc(function) or "", kind)
        return call

    return decorated


def _parameter(field: Any, annotation: Any, positional: tuple[str, ...]) -> inspect.Parameter:
    default = inspect.Parameter.empty if field.default is MISSING else field.default
    kinds = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Parameter(field.name, kinds[field.name in positional], default=default, annotation=annotation)


def _documented(doc: str, kind: type) -> str:
    """The docstring with the sentences of the fields among its arguments."""
    wrapped = (
        textwrap.fill(f"{name}: {words}", 116, initial_indent=" " * 4, subsequent_indent=" " * 8)
        for name, words in sentences(kind).items()
    )
    before, heading, after = doc.partition("\nArgs:\n")
    own, gap, rest = after.partition("\n\n")
    return before + heading + "\n".join([own.rstrip(), *wrapped]) + gap + rest if heading else doc


@functools.cache
def sentences(kind: type) -> dict[str, str]:
    """What stands under each field of a dataclass, those of its bases first; a field declared again has its own."""
    import docstring_parser

    told = [sentences(base) for base in reversed(kind.__bases__) if base is not object]
    own = {
        one.arg_name: " ".join((one.description or "").split())
        for one in docstring_parser.parse_from_object(kind).params
    }
    return {name: words for found in (*told, own) for name, words in found.items()}


_PACKINGS = {
    b"\x1f\x8b\x08": "packed by gzip: unpack it", b"BZh": "packed by bzip2: unpack it",
    b"\xfd7zXZ\0": "packed by xz: unpack it", b"\x28\xb5\x2f\xfd": "packed by zstd: unpack it",
    b"PK\x03\x04": "a ZIP archive, as workbooks (.xlsx) are: unpack it, or save its table as CSV",
    b"\xd0\xcf\x11\xe0": "a file of Microsoft Office: save its table as CSV",
}  # fmt: skip


def packing(data: bytes) -> str:
    r"""What bytes that should be text are instead and what to do, if they begin as packed files do.

    Example:
    >>> packing(b"PK\x03\x04...")[:13], packing(b"time,x")
    ('a ZIP archive', '')
    """
    return next((said for mark, said in _PACKINGS.items() if data.startswith(mark)), "")


def read_text(path: str | os.PathLike[str], *, missing: str = "") -> str:
    """The content of a text file in UTF-8, with a byte order mark or without; its lines end in line feeds alone.

    Args:
        path: The file.
        missing: What is said of it if it is not there.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not UTF-8; the message names the file and the line.
    """
    try:
        data = Path(path).read_bytes().removeprefix(codecs.BOM_UTF8)
    except FileNotFoundError as error:
        if not missing:
            raise
        raise FileNotFoundError(f"{os.fspath(path)}: {missing}") from error
    if packed := packing(data):
        raise data_error(path, "not text", f"must be text in UTF-8, it is {packed}.")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"{os.fspath(path)}:{line}: must be text in UTF-8: {error.reason}. Save the file as UTF-8."
        raise data_error(path, "not text", message) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_lines(path: str | os.PathLike[str], *, missing: str = "") -> list[str]:
    """The lines of a text file, as `read_text` reads it.

    Unlike those of `str.splitlines`, which takes characters within texts, such as U+2028, for ends of lines.
    """
    text = read_text(path, missing=missing)
    return text.removesuffix("\n").split("\n") if text else []
