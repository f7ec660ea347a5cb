"""Faults in data, which are collected and counted while the rest is processed, and checks of options."""

import codecs
import contextlib
import difflib
import functools
import inspect
import math
import numbers
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
    """A problem with one piece of data."""

    where: str
    """Path, utterance or `file:line`."""
    kind: str
    """Short phrase that can follow a number: `missing`, `empty`, `too short for their text`."""
    message: str
    """What was required, what was received, what to do."""

    def __str__(self) -> str:
        return self.message if self.message.startswith(self.where) else f"{self.where}: {self.message}"

    def exception(self) -> Exception:
        """Convert to `FileNotFoundError`, `IsADirectoryError`, or a `ValueError` with the fault's `kind`."""
        os_error = {"missing": FileNotFoundError, "not a file": IsADirectoryError}.get(self.kind)
        return os_error(str(self)) if os_error else data_error(self.where, self.kind, self.message)


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
        """Record an exception as a fault of the kind `kind_of(error)`."""
        self.add(where, kind_of(error), str(error))

    def extend(self, faults: Iterable[Fault]) -> None:
        """Record several faults."""
        with self._lock:
            self._faults.extend(faults)

    def __len__(self) -> int:
        return len(self._faults)

    def __iter__(self) -> Iterator[Fault]:
        with self._lock:
            return iter(list(self._faults))

    def counts(self) -> dict[str, int]:
        """Number of faults of each kind, by descending number, then by name."""
        counted = Counter(fault.kind for fault in self)
        return dict(sorted(counted.items(), key=lambda entry: (-entry[1], entry[0])))

    def summary(self, total: int, *, noun: str = "examples") -> str:
        """One sentence: how many of `total` were dropped, why, and which was the first."""
        faults = list(self)
        if not faults:
            return f"0 of {total:,} {noun} dropped."
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in self.counts().items())
        return f"{len(faults):,} of {total:,} {noun} dropped: {kinds}. First: {faults[0].where}."

    def raise_first(self) -> None:
        """Raise a `ValueError` with the first fault and the number of others; do nothing if there are no faults."""
        faults = list(self)
        if faults:
            more = f" (and {len(faults) - 1:,} more)" if len(faults) > 1 else ""
            raise data_error(faults[0].where, faults[0].kind, f"{faults[0].message}{more}")


def data_error(where: object, kind: str, message: str) -> ValueError:
    """Create a `ValueError` about data at `where`; `kind_of` returns its `kind`.

    Example:
    >>> error = data_error("a.wav", "empty", "is empty (0 bytes).")
    >>> str(error), kind_of(error)
    ('a.wav: is empty (0 bytes).', 'empty')
    """
    prefix = str(where)
    error = ValueError(message if message.startswith(prefix) else f"{prefix}: {message}")
    error.kind = kind  # type: ignore[attr-defined]
    return error


@contextlib.contextmanager
def file_faults(path: str | os.PathLike[str], *, extra: str = "", problem: str = "cannot be read") -> Iterator[None]:
    """Context manager around a reader: every exception becomes a fault of the file that is read.

    Exceptions that name a file already, as most of the operating system's do, pass unchanged. A missing library,
    a file that needs more memory than there is, and any other exception of a library become a `ValueError` with a
    `kind`.

    Args:
        path: The file.
        extra: Extra of this package, such as `signals`, to recommend where a library is missing.
        problem: Start of the message where the exception does not name the file.

    Example:
    >>> with file_faults("a.hea"):
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
        raise data_error(name, "undecodable", f"{problem}: {error}.") from error
    except Exception as error:
        if isinstance(error, ValueError) and hasattr(error, "kind") and name in str(error):
            raise
        reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise data_error(name, "undecodable", f"{problem}: {reason.rstrip('.')}.") from error


def kind_of(error: BaseException) -> str:
    """The kind of fault that an exception reports."""
    kind = getattr(error, "kind", None)
    if isinstance(kind, str):
        return kind
    if isinstance(error, FileNotFoundError):
        return "missing"
    if isinstance(error, IsADirectoryError):
        return "not a file"
    return "unreadable" if isinstance(error, OSError) else "invalid"


def suggestion(name: object, known: Iterable[object], list_title: str = "") -> str:
    """`" Did you mean `x`?"` for the most similar known name, or nothing; with a `list_title`, all known names follow.

    Example:
    >>> suggestion("durtion", ["path", "duration"])
    ' Did you mean `duration`?'
    >>> suggestion("label", ["path", "duration"], "Columns")
    ' Columns: path, duration.'
    """
    names = [str(one) for one in known]
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f" Did you mean `{near[0]}`?" if near else ""
    return f"{hint} {list_title}: {', '.join(names) or 'none'}." if list_title else hint


def choice_message(name: str, value: object, known: Iterable[object], *, other: str = "") -> str:
    r"""Message about a value that is not one of the known ones, with a suggestion.

    Args:
        name: Name of the argument, or a phrase such as `the ending`.
        value: The value received.
        known: The values allowed.
        other: What else is allowed, in words.

    Example:
    >>> choice_message("cell", "grr", ["lstm", "gru"], other="a layer")
    "`cell` must be one of lstm, gru, or a layer. Received: cell='grr'. Did you mean `gru`?"
    """
    known = list(known)
    allowed = ", ".join(map(str, known)) + (f", or {other}" if other else "")
    subject, received = (f"`{name}`", f"{name}={value!r:.80}") if name.isidentifier() else (name, f"{value!r:.80}")
    return f"{subject} must be one of {allowed}. Received: {received}.{suggestion(value, known)}"


def check_choice(
    name: str,
    value: object,
    known: Collection[object],
    *,
    other: str = "",
    where: object = None,
    error: type[Exception] = ValueError,
) -> None:
    """Raise an error with `choice_message` unless a value is one of the known ones.

    Args:
        name: Name of the argument, or a phrase.
        value: The value received.
        known: The values allowed.
        other: What else is allowed, in words.
        where: File or folder that the known values come from.
        error: Class of the error.

    Raises:
        ValueError: The value is not known; `error` names another class.
    """
    if value not in list(known):  # a list, since the value may not be hashable
        prefix = "" if where is None else f"{where}: "
        raise error(f"{prefix}{choice_message(name, value, known, other=other)}")


def check_options(names: Iterable[str], known: Iterable[str], method: str) -> None:
    """Refuse options that a method does not have.

    Raises:
        TypeError: An option is unknown; the message suggests a known one.
    """
    known = list(known)
    for name in names:
        if name not in known:
            raise TypeError(f"`{method}` has no option `{name}`.{suggestion(name, known, 'Known')}")


def check_types(arguments: Mapping[str, Any], annotations: Mapping[str, Any]) -> None:
    """Check values whose type is a number or a list of strings.

    A string would be taken as a list of its characters, and a dictionary as a list of its keys. Other types are not
    checked.

    Args:
        arguments: Values by their names.
        annotations: Types by the names of the values, as types or strings.

    Raises:
        TypeError: A value has another type.

    Example:
    >>> check_types({"beam": 2.5}, {"beam": "int | None"})
    Traceback (most recent call last):
    ...
    TypeError: `beam` must be a whole number. Received: 2.5.
    """
    for name, value in arguments.items():
        annotation = _type_name(annotations.get(name, ""))
        types = frozenset(annotation.split(" | "))
        if types <= _NUMBERS.keys() and types & {"int", "float"}:
            valid = isinstance(value, tuple(_NUMBERS[each] for each in types))
            if not valid or (isinstance(value, bool) and "bool" not in types):
                expected = "a number" if "float" in types else "a whole number"
                raise TypeError(f"`{name}` must be {expected}. Received: {value!r:.80}.")
        elif re.search(r"(Sequence|Iterable|Collection|list|tuple)\[str\b", annotation):
            if isinstance(value, str) and not re.search(r"\bstr\b", re.sub(r"\[[^\[\]]*\]", "", annotation)):
                advice = f" Write {name}=[{value!r:.80}]."
            elif _STRING_LIST.fullmatch(annotation) and not _may_be_strings(value):
                advice = ""
            else:
                continue
            raise TypeError(f"`{name}` must be a list of texts. Received: {value!r:.80}.{advice}")


def _type_name(annotation: Any) -> str:
    """Format a type as in a signature, such as `int | None`."""
    if get_origin(annotation) in (Union, UnionType):
        return " | ".join(map(_type_name, get_args(annotation)))
    return annotation.__name__ if type(annotation) is type else str(annotation)


_STRING_LIST = re.compile(r"([\w.]*\bSequence|list|tuple)\[str(, \.\.\.)?\]( \| None)?")


def _may_be_strings(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(isinstance(each, str | os.PathLike) for each in value)
    return not isinstance(value, bytes | Mapping)


_NUMBERS: dict[str, type] = {
    "int": numbers.Integral, "float": numbers.Real, "bool": bool, "None": type(None), "NoneType": type(None),
}  # fmt: skip


def require(options: object, requirement: str, holds: Any, *names: str) -> None:
    """Refuse options that are out of range.

    Raises:
        ValueError: `holds` is false for the value of one of the names.
    """
    for name in names:
        value = getattr(options, name)
        if not holds(value):
            raise ValueError(f"`{name}` must be {requirement}. Received: {name}={value!r}.")


@dataclass(frozen=True)
class Range:
    """Range of a numeric option, put into the option's type with `Annotated`."""

    requirement: str
    """The range in words, as in "`x` must be positive"."""
    holds: Callable[[Any], bool]


Count = Annotated[int, Range("at least 1", lambda value: value >= 1)]
NonNegativeInt = Annotated[int, Range("zero or positive", lambda value: value >= 0)]
NonNegative = Annotated[float, Range("zero or positive", lambda value: value >= 0)]
Positive = Annotated[float, Range("positive", lambda value: value > 0)]
PositiveFinite = Annotated[float, Range("positive", lambda value: 0 < value < math.inf)]
Fraction = Annotated[float, Range("in [0, 1)", lambda value: 0 <= value < 1)]


class CheckedOptions:
    """Base of option dataclasses: checks each value against the `Range` or `Literal` in its field's type.

    Example:
    >>> @dataclass(frozen=True)
    ... class Cooking(CheckedOptions):
    ...     eggs: Count = 2
    ...     heat: Literal["low", "high"] = "low"
    >>> Cooking(eggs=0)
    Traceback (most recent call last):
    ...
    ValueError: `eggs` must be at least 1. Received: eggs=0.
    """

    def __post_init__(self) -> None:
        kind: type = type(self)
        check_types({name: getattr(self, name) for name in _types(kind)}, _types(kind))
        for name, optional, limit in _limits(kind):
            if isinstance(limit, Range):
                if not (optional and getattr(self, name) is None):
                    require(self, limit.requirement, limit.holds, name)
            else:
                check_choice(name, getattr(self, name), (*limit, None) if optional else limit)


@functools.cache
def _types(kind: type) -> dict[str, Any]:
    """The type of each field of a dataclass."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


@functools.cache
def _limits(kind: type) -> list[tuple[str, bool, Any]]:
    """The ranges and choices of a dataclass as `(field, may be None, limit)`."""
    limits: list[tuple[str, bool, Any]] = []
    hints = get_type_hints(kind, include_extras=True)
    for name in (field.name for field in fields(kind)):
        parts = get_args(hints[name]) if get_origin(hints[name]) in (Union, UnionType) else (hints[name],)
        for part in parts:
            declared = [get_args(part)] if get_origin(part) is Literal else getattr(part, "__metadata__", ())
            limits += [(name, type(None) in parts, limit) for limit in declared if isinstance(limit, Range | tuple)]
    return limits


def options_as_keywords(kind: type, *positional: str) -> Callable[[Callable[..., _Result]], Callable[..., _Result]]:
    """Decorator: callers pass the fields of a dataclass as keywords; the function receives them as its `options`.

    The signature and the docstring get the fields too, so that `help` shows them.

    Args:
        kind: The dataclass.
        *positional: Fields that may be passed by position too, after the function's own arguments.
    """

    def decorated(function: Callable[..., _Result]) -> Callable[..., _Result]:
        signature = inspect.signature(function)
        own = [parameter for parameter in signature.parameters.values() if parameter.name != "options"]
        hints = get_type_hints(kind)
        added = [_parameter(field, hints[field.name], positional) for field in fields(kind)]
        parameters = {p.name: p for p in sorted((*own, *added), key=lambda parameter: parameter.kind)}
        any_keyword = any(parameter.kind is parameter.VAR_KEYWORD for parameter in own)
        order = (*(p.name for p in own if p.kind is p.POSITIONAL_OR_KEYWORD), *positional)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> _Result:
            by_position = dict(zip(order, args, strict=False))
            if len(by_position) < len(args) or by_position.keys() & kwargs.keys():
                raise TypeError(f"`{function.__name__}` takes by position {', '.join(order) or 'nothing'}, once.")
            kwargs = {**by_position, **kwargs}
            if not any_keyword:
                check_options(kwargs, parameters, function.__name__)
            check_types(kwargs, {name: parameter.annotation for name, parameter in parameters.items()})
            options = kind(**{field.name: kwargs.pop(field.name) for field in added if field.name in kwargs})
            return function(options=options, **kwargs)

        call.__signature__ = signature.replace(parameters=list(parameters.values()))  # type: ignore[attr-defined]
        call.__doc__ = _documented(inspect.getdoc(function) or "", kind)
        return call

    return decorated


def _parameter(field: Any, annotation: Any, positional: tuple[str, ...]) -> inspect.Parameter:
    default = inspect.Parameter.empty if field.default is MISSING else field.default
    kinds = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Parameter(field.name, kinds[field.name in positional], default=default, annotation=annotation)


def _documented(doc: str, kind: type) -> str:
    """The docstring with the fields added to its arguments."""
    wrapped = (
        textwrap.fill(f"{name}: {text}", 116, initial_indent=" " * 4, subsequent_indent=" " * 8)
        for name, text in field_docs(kind).items()
    )
    before, heading, after = doc.partition("\nArgs:\n")
    own, gap, rest = after.partition("\n\n")
    return before + heading + "\n".join([own.rstrip(), *wrapped]) + gap + rest if heading else doc


@functools.cache
def field_docs(kind: type) -> dict[str, str]:
    """The docstring of each field of a dataclass, inherited fields first; a redefined field has the new one."""
    import docstring_parser

    inherited = [field_docs(base) for base in reversed(kind.__bases__) if base is not object]
    own = {
        field.arg_name: " ".join((field.description or "").split())
        for field in docstring_parser.parse_from_object(kind).params
    }
    return {name: text for docs in (*inherited, own) for name, text in docs.items()}


_PACKED_FORMATS = {
    b"\x1f\x8b\x08": "packed by gzip: unpack it", b"BZh": "packed by bzip2: unpack it",
    b"\xfd7zXZ\0": "packed by xz: unpack it", b"\x28\xb5\x2f\xfd": "packed by zstd: unpack it",
    b"PK\x03\x04": "a ZIP archive, as workbooks (.xlsx) are: unpack it, or save its table as CSV",
    b"\xd0\xcf\x11\xe0": "a file of Microsoft Office: save its table as CSV",
}  # fmt: skip


def packed_format(data: bytes) -> str:
    r"""Name the format of packed data by its first bytes, with advice on how to unpack it; "" for other data.

    Example:
    >>> packed_format(b"PK\x03\x04...")[:13], packed_format(b"time,x")
    ('a ZIP archive', '')
    """
    return next((message for magic, message in _PACKED_FORMATS.items() if data.startswith(magic)), "")


def read_text(path: str | os.PathLike[str], *, missing: str = "") -> str:
    """Read a text file in UTF-8, with or without a byte order mark; all line ends become line feeds.

    Args:
        path: The file.
        missing: Message if it does not exist.

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
    if packed := packed_format(data):
        raise data_error(path, "not text", f"must be text in UTF-8, it is {packed}.")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"{os.fspath(path)}:{line}: must be text in UTF-8: {error.reason}. Save the file as UTF-8."
        raise data_error(path, "not text", message) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_lines(path: str | os.PathLike[str], *, missing: str = "") -> list[str]:
    """Split a text file into lines, as `read_text` reads it.

    Unlike `str.splitlines`, characters within texts such as U+2028 do not end a line.
    """
    text = read_text(path, missing=missing)
    return text.removesuffix("\n").split("\n") if text else []
