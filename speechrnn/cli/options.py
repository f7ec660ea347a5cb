"""Options of the command line, as dataclasses and functions declare them.

Of a dataclass, the string under a field is its help; of a function, the entry in the docstring's `Args:`. Names, types,
defaults and sentences stand in one place, where the option is declared; docstring_parser reads the sentences.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import docstring_parser

from speechrnn.faults import field_docs
from speechrnn.models.kinds import resolve

REQUIRED = dataclasses.MISSING
"""The default of an option that must be given."""

PLUMBING = ("faults", "progress", "on_progress", "on_error")
"""Arguments of functions that are for callers in Python."""

_RENAMED = {("table", "encoding"): "table_encoding"}
"""Options within an argument whose names mean something else elsewhere."""
_TEXTS = "normalize_texts"
"""What the command line calls the `normalize` of texts; that of features is another thing."""
_METAVARS = {"root": "DIR", **dict.fromkeys(("calibration", "keys", "lexicon", "reference"), "FILE")}
"""What stands for the values of options that are paths, and plain strings to Python."""
_LISTS = (list, tuple, Sequence, Iterable)
SHARED = {
    "calibration": "A calibration of confidences, made by `speechrnn calibrate`.",
    "details": "With --json, write details, too.",
    "json": "Write JSON instead of text.",
    "normalize_texts": "Convert texts to lower case without punctuation.",
    "out": "Where the results are written.",
    "overwrite": "Replace files that exist.",
    "shard": "Do only part I of N; `speechrnn merge OUT` joins all parts.",
}
"""What options do that several verbs have; a verb's docstring adds its own, after a colon or as a sentence."""


@dataclass(frozen=True)
class Group:
    """Options that a dataclass or a function declares."""

    source: str
    """Module and name, such as `speechrnn.training.options:TrainingOptions`; with `table=` before it, they are given on
    as one argument `table`."""
    title: str = ""
    """Heading in the help; the first line of the source's docstring by default."""
    skip: tuple[str, ...] = ()
    """Names that are no options of the command line; positional arguments of a function never are."""

    @property
    def options(self) -> list[Option]:
        """In the order of their declaration."""
        argument, _, reference = self.source.rpartition("=")
        source = resolve(reference)
        title = self.title or _heading(source)
        positional = () if dataclasses.is_dataclass(source) else _positional(source)
        found = declared(source, title=title, skip=(*self.skip, *PLUMBING, *positional))
        return [_nested(argument, option) for option in found] if argument else found


@dataclass(frozen=True)
class Option:
    """One argument or option."""

    name: str
    type: Any
    """str, int, float, bool, a Literal, a tuple of one of these, or one of all these and None."""
    help: str
    default: Any = REQUIRED
    metavar: str | None = None
    """What stands for the value in the help, where it is not told by the type."""
    positional: Literal["one", "many"] | None = None
    title: str = "options"
    """Heading in the help."""
    within: str | None = None
    """The argument that gets it together with others, as a dictionary."""
    key: str = ""
    """Its name there, if it is another one."""

    @property
    def flag(self) -> str:
        """As it is written on the command line."""
        return (self.metavar or self.name.upper()) if self.positional else "--" + self.name.replace("_", "-")

    @property
    def shown(self) -> str:
        """As the help has it, with what stands for the value."""
        if self.positional:
            return f"{self.flag} ..." if self.positional == "many" else self.flag
        if self.type is bool and not self.default:
            return self.flag
        if self.type is bool or bool in get_args(self.type):
            return f"--[no-]{self.flag[2:]}"
        folder = "DIR" if self.name.endswith(("_dir", "_folder")) else None
        value = _shown(self.type, folder or _METAVARS.get(self.name) or self.metavar)
        if value.endswith("}") and self.default is not None and type(None) in get_args(self.type):
            value = f"{value[:-1]},none}}"
        return f"{self.flag} {value}"

    @property
    def default_words(self) -> str:
        """The default as it would be written, or nothing where there is none to tell."""
        if self.default is REQUIRED or self.default is None or self.default is False:
            return ""
        if self.default is True:
            return "on"
        values = self.default if isinstance(self.default, tuple | list) else [self.default]
        return " ".join(map(str, values))


def declared(source: Any, *, title: str = "options", skip: Sequence[str] = ()) -> list[Option]:
    """The options of a dataclass, or the arguments of a function.

    Args:
        source: The dataclass or the function.
        title: Heading of the options in the help.
        skip: Names that are no options.

    Raises:
        TypeError: The type of an option cannot be said on a command line.
    """
    found = (_fields if dataclasses.is_dataclass(source) else _arguments)(source, title, skip)
    return [
        dataclasses.replace(one, name=_TEXTS, key=one.name) if one.name == "normalize" and one.type is bool else one
        for one in found
    ]


def peek(words: Sequence[str], flag: str) -> str | None:
    """The value of an option in words that have not been parsed yet; the last one, if there are several."""
    found = None
    for index, word in enumerate(words):
        if word == "--":
            break
        if word.startswith(f"{flag}="):
            found = word.partition("=")[2]
        elif word == flag and index + 1 < len(words):
            found = words[index + 1]
    return found


def _heading(source: Any) -> str:
    """The first line of its docstring."""
    return (inspect.getdoc(source) or "options").partition("\n")[0].rstrip(".")


def _nested(argument: str, option: Option) -> Option:
    """An option that is given on within an argument."""
    name = _RENAMED.get((argument, option.name), option.name)
    return dataclasses.replace(option, name=name, within=argument, key=option.name)


def _positional(function: Callable[..., Any]) -> Iterator[str]:
    for name, one in inspect.signature(function).parameters.items():
        if one.kind is one.POSITIONAL_OR_KEYWORD:
            yield name


def _fields(source: Any, title: str, skip: Sequence[str]) -> Iterator[Option]:
    hints = get_type_hints(source, include_extras=True)
    for field in dataclasses.fields(source):
        if field.name in skip:
            continue
        made = field.default_factory
        default = field.default if made is dataclasses.MISSING else made()
        kind, metavar = _type(hints[field.name], f"{source.__name__}.{field.name}")
        yield Option(field.name, kind, field_docs(source).get(field.name, ""), default, metavar, title=title)


def _arguments(source: Callable[..., Any], title: str, skip: Sequence[str]) -> Iterator[Option]:
    parsed = docstring_parser.parse(inspect.getdoc(source) or "", docstring_parser.DocstringStyle.GOOGLE)
    told = {name.strip(): entry.description or "" for entry in parsed.params for name in entry.arg_name.split(",")}
    shared = SHARED if source.__module__.startswith("speechrnn.cli.") else {}
    wanted = {name: one for name, one in inspect.signature(source).parameters.items() if name not in skip}
    annotated = types.SimpleNamespace(__annotations__={name: one.annotation for name, one in wanted.items()})
    hints = get_type_hints(annotated, vars(sys.modules[source.__module__]), include_extras=True)
    for name, one in wanted.items():
        if one.kind is one.VAR_KEYWORD:
            continue
        within = next((part for part in get_args(hints[name]) if dataclasses.is_dataclass(part)), None)
        if within is not None:
            yield from (_nested(name, option) for option in _fields(within, _heading(within), ()))
            continue
        kind, metavar = _type(hints[name], f"{source.__name__}: `{name}`")
        default = REQUIRED if one.default is one.empty else one.default
        places: dict[Any, Literal["one", "many"]] = {one.POSITIONAL_ONLY: "one", one.VAR_POSITIONAL: "many"}
        words = _joined(shared.get(name, ""), " ".join(told.get(name, "").split()))
        yield Option(name, kind, words, default, metavar, places.get(one.kind), title)


def _joined(first: str, more: str) -> str:
    """A sentence and what is added to it: another one, or what the sentence is about."""
    if more and first and not more[0].isupper():
        return f"{first.removesuffix('.')}: {more}"
    return f"{first} {more}".strip()


def _type(hint: Any, what: str) -> tuple[Any, str | None]:
    """A type that words can be turned into, and the metavar that comes with it."""
    metavar = None
    if get_origin(hint) is Annotated:
        hint, *more = get_args(hint)
        metavar = next((one for one in more if isinstance(one, str)), None)
    origin, inner = get_origin(hint), get_args(hint)
    if hint in (str, int, float, bool) or origin is Literal:
        return hint, metavar
    if hint is os.PathLike or (isinstance(origin or hint, type) and issubclass(origin or hint, os.PathLike)):
        return str, metavar or "FILE"
    if origin in _LISTS:
        if origin is tuple and inner[-1] is not ...:
            return tuple[tuple(_type(one, what)[0] for one in inner)], metavar  # type: ignore[misc]
        return tuple[_type(inner[0], what)[0], ...], metavar  # type: ignore[misc]
    if origin in (Union, types.UnionType):
        parts = [_type(one, what) for one in inner if one is not type(None)]
        metavar = next((told for told in (metavar, *(part[1] for part in parts)) if told), None)
        found = {part[0] for part in parts}
        if found == {int, float}:
            found = {float}
        if len(found) == 1:
            (one,) = found
            return (one | None if type(None) in inner else one), metavar
    raise TypeError(f"{what} cannot be said on a command line, since it is {hint}. Skip it, or annotate it.")


def _shown(kind: Any, metavar: str | None) -> str:
    origin, inner = get_origin(kind), [one for one in get_args(kind) if one is not type(None)]
    if origin is Literal:
        return "{" + (" or " if "," in inner else ",").join(map(str, inner)) + "}"
    if origin is tuple:
        return " ".join("..." if one is ... else _shown(one, metavar) for one in inner)
    if origin is not None:  # a union with None
        return _shown(inner[0], metavar)
    return metavar or {int: "N", float: "X", str: "TEXT"}[kind]
